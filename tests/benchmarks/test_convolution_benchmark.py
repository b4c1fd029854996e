"""The benchmark of convolutions, in miniature."""

import re

import jax.numpy as jnp
import pytest

from benchmarks import convolution as benchmark
from ramjax.models import convolution

MINIATURE = {"batch": 1, "side": 6, "channels": 16, "repeats": 1}


def test_every_kind_is_measured_both_ways():
    numbers = benchmark.measure(**MINIATURE)
    kinds = re.findall(r"`(\w+)`", benchmark.__doc__.split("JSON object:")[1])[:4]
    for kind in kinds:
        assert numbers[f"{kind}_time_over_plain"] == numbers[f"{kind}_seconds"] / numbers[f"{kind}_plain_seconds"] > 0


def test_another_result_would_be_seen(monkeypatch):
    monkeypatch.setattr(convolution, "_sum_taps", lambda x, kernel, strides, padding: 2 * x + 0 * jnp.sum(kernel))
    with pytest.raises(ValueError, match="In 16 groups"):
        benchmark.measure(**MINIATURE)


def test_channels_that_do_not_divide_are_refused(capsys):
    assert benchmark.main(["convolution", "--channels=12"]) == 1
    assert "multiple of 8" in capsys.readouterr().err

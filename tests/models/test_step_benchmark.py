"""The benchmark of a step, in miniature."""

import dataclasses
import re

import numpy as np
import pytest

from benchmarks import step

MINIATURE = {
    "side": 32,
    "batch": 2,
    "repetitions": 1,
    "seed": 0,
    "model": dataclasses.replace(step.MODEL, widths=(8, 16, 24), blocks=(0, 1, 1), decoder_width=16),
}
NAMED = set(re.findall(r"`(\w+)`", step.__doc__.partition("With --json")[2]))


def test_without_pytorch_ours_is_measured_and_the_rest_is_not_known():
    numbers = step.measure(pytorch=(), **MINIATURE)
    assert numbers.keys() == NAMED
    assert {name for name, value in numbers.items() if value is None} == set(step._OF_PYTORCH)
    words = {"jax", "device", "dtype", *step._OF_PYTORCH}
    assert all(value > 0 for name, value in numbers.items() if name not in words)
    assert "-" in step._table(numbers)


def test_pytorch_is_measured_beside_ours_and_agrees():
    pytest.importorskip("torch", reason="needs the extra 'parity'")
    numbers = step.measure(pytorch=step.LAYOUTS, **MINIATURE)
    assert numbers.keys() == NAMED
    unknown = {name for name, value in numbers.items() if value is None}
    assert unknown == {"pytorch_train_seconds_compiled", "pytorch_inference_seconds_compiled"}
    for what in ("train", "inference"):
        best = min(numbers[f"pytorch_{what}_seconds_{layout}"] for layout in step.LAYOUTS)
        assert numbers[f"{what}_time_over_pytorch"] == pytest.approx(numbers[f"{what}_seconds"] / best)
    assert all(numbers[name] <= most for name, most in step.AGREEMENT.items())


def test_another_network_in_pytorch_would_be_seen(monkeypatch):
    pytest.importorskip("torch", reason="needs the extra 'parity'")
    from benchmarks import step_pytorch

    monkeypatch.setattr(step_pytorch, "EPSILON", 0.1)
    numbers = step.measure(pytorch=step.LAYOUTS[1:], **MINIATURE)
    assert all(numbers[name] > most for name, most in step.AGREEMENT.items())


def test_in_bfloat16_pytorch_agrees_to_its_rounding():
    pytest.importorskip("torch", reason="needs the extra 'parity'")
    model = dataclasses.replace(MINIATURE["model"], dtype="bfloat16")
    numbers = step.measure(pytorch=step.LAYOUTS[1:], **MINIATURE | {"model": model})
    for name, most in step.ROUGH_AGREEMENT.items():
        assert step.AGREEMENT[name] < numbers[name] <= most


def test_masks_and_images_depend_on_the_seed_alone():
    image, target = step.make_inputs(2, 32, 1)
    assert image.shape == (2, 32, 32, 1) and target.shape == (2, 32, 32, 30) and target.dtype == bool
    np.testing.assert_array_equal(image, step.make_inputs(2, 32, 1)[0])
    assert not np.array_equal(image, step.make_inputs(2, 32, 2)[0])


@pytest.mark.parametrize("flag", ["--side=100", "--batch=0", "--no_such=1", "--pytorch=channels"])
def test_bad_flags_end_with_a_message(flag, capsys):
    assert step.main(["step", flag]) == 2
    assert flag.split("=")[0].lstrip("-") in capsys.readouterr().err

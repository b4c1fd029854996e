"""The real job with its records on the devices: the losses of the host's batches, and the same when it goes on."""

import dataclasses

import numpy as np
import pytest

from ramjax.devices.preemption import Preempted
from ramjax.files import read_json_lines
from tests.training import tiny_job


@pytest.fixture
def config(debug_config, tmp_path):
    data = dataclasses.replace(debug_config.data, cache="device", cache_dir=str(tmp_path / "cache"))
    train = dataclasses.replace(debug_config.train, steps=4, log_every=1, eval_every=4, checkpoint_every=2)
    return dataclasses.replace(debug_config, tasks=("bones", "erosions"), data=data, train=train)


def losses(workdir) -> list[float]:
    return [row["train/loss"] for row in read_json_lines(workdir / "metrics.jsonl") if "train/loss" in row]


def quiet(config, **data):
    augment = dataclasses.replace(config.data.augment, noise=0.0)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, augment=augment, **data))


def test_its_losses_are_those_of_the_hosts_batches(config, tmp_path):
    """Without noise, which alone is drawn otherwise."""
    for name in ("device", "none"):
        tiny_job.go(quiet(config, cache=name), tmp_path / name, mode="train")
    found, expected = losses(tmp_path / "device"), losses(tmp_path / "none")
    assert len(found) == len(expected) == 4
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_an_interrupted_run_ends_as_an_uninterrupted_one(config, tmp_path):
    looks = tiny_job.go(config, tmp_path / "whole", mode="train").looks
    with pytest.raises(Preempted):
        tiny_job.go(config, tmp_path / "parts", look=looks // 2, mode="train")
    assert 0 < len(losses(tmp_path / "parts")) < 4
    tiny_job.go(config, tmp_path / "parts", mode="train")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")

"""Lengths in epochs become steps: by hand, and as a run stores them."""

import dataclasses

import pytest

from ramjax.config import Config, ConfigError, OptimizerConfig, TrainConfig
from ramjax.data import pipeline
from ramjax.errors import RunError
from ramjax.training.epochs import in_steps


@pytest.fixture(autouse=True)
def seventeen_records(monkeypatch):
    monkeypatch.setattr(pipeline, "open_train_sources", lambda data: (range(10), range(7)))


def of(batch_size=4, epochs=0.0, warmup_epochs=0.0):
    data = dataclasses.replace(Config().data, batch_size=batch_size)
    return Config(data=data, train=TrainConfig(epochs=epochs), optimizer=OptimizerConfig(warmup_epochs=warmup_epochs))


@pytest.mark.parametrize(
    ("config", "steps", "warmup"),
    [
        (of(), 1000, 50),
        (of(epochs=2), 9, 50),  # 34 records, 4 a step
        (of(epochs=2, batch_size=17), 2, 50),
        (of(epochs=0.01), 1, 50),
        (of(warmup_epochs=4), 1000, 17),
        (of(epochs=100, warmup_epochs=0.5), 425, 3),
    ],
)
def test_steps_by_hand(config, steps, warmup):
    found = in_steps(config)
    assert (found.train.steps, found.optimizer.warmup_steps) == (steps, warmup)
    assert in_steps(found) == found  # a stored config that is read again


def test_nothing_is_opened_for_steps(monkeypatch):
    monkeypatch.delattr(pipeline, "open_train_sources")
    assert in_steps(of()) == of()


def test_what_cannot_be(monkeypatch):
    def fail(data):
        raise ValueError("There is no data set there.")

    monkeypatch.setattr(pipeline, "open_train_sources", fail)
    with pytest.raises(RunError, match="no data set there"):
        in_steps(of(epochs=1))
    with pytest.raises(ConfigError, match="epochs is -1"):
        TrainConfig(epochs=-1)
    with pytest.raises(ConfigError, match="warmup_epochs is -1"):
        OptimizerConfig(warmup_epochs=-1)

"""Lengths in epochs, which become steps before a training begins and its config is stored."""

import dataclasses
import logging
import math

from ramjax.config import Config
from ramjax.data import pipeline
from ramjax.errors import RunError

log = logging.getLogger(__name__)


def in_steps(config: Config) -> Config:
    """The config whose ``train.steps`` and ``optimizer.warmup_steps`` are its epochs, where it has any.

    An epoch is as many steps, rounded up in the end, as show as many records as all training splits have together. The
    splits are opened for that, and so prepared where they are not there yet.

    Raises:
      RunError: a split cannot be opened.
    """
    epochs, warmup = config.train.epochs, config.optimizer.warmup_epochs
    if not epochs and not warmup:
        return config
    try:
        records = sum(map(len, pipeline.open_train_sources(config.data)))
    except ValueError as error:
        raise RunError(str(error)) from error
    train, optimizer = config.train, config.optimizer
    if epochs:
        train = dataclasses.replace(train, steps=_steps(epochs, records, config))
    if warmup:
        optimizer = dataclasses.replace(optimizer, warmup_steps=_steps(warmup, records, config))
    log.info("%d records: %d steps, %d of them of warmup.", records, train.steps, optimizer.warmup_steps)
    return dataclasses.replace(config, train=train, optimizer=optimizer)


def _steps(epochs: float, records: int, config: Config) -> int:
    return max(math.ceil(epochs * records / config.data.batch_size), 1)

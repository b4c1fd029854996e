"""The metrics of a split as one flat dictionary, which eval_test.json keeps."""

from collections.abc import Sequence

from ramjax.config import Config
from ramjax.metrics.cases import Cases, Mode
from ramjax.tasks import Task, measured_by

CANVAS = "canvas/"
"""Stands before the names of what validation measures on the canvas: ``canvas/bones/dsc`` is not ``bones/dsc``."""

COMPAT = "compat/"
"""Stands before the names of what the published evaluators would print."""


def summarize(tasks: Sequence[Task], cases: Cases) -> dict[str, float]:
    """The metrics of one data set, ``<task>/<metric>`` with ``<task>/<metric>/n`` beside each.

    Names of compat metrics begin with ``compat/``; strict metrics have no prefix.
    """
    return _of_mode(tasks, cases, "strict", "") | _of_mode(tasks, cases, "compat", COMPAT)


def summarize_canvas(tasks: Sequence[Task], cases: Cases) -> dict[str, float]:
    """The strict metrics of cases that were measured on the canvas, with ``canvas/`` before each name."""
    return _of_mode(tasks, cases, "strict", CANVAS)


def prefixes(config: Config) -> tuple[str, ...]:
    """What the names of each data set's metrics begin with: nothing where there is one data set alone."""
    return ("",) if len(config.data.names) == 1 else tuple(f"{name}/" for name in config.data.names)


def by_dataset(config: Config, of_datasets: Sequence[dict[str, float]]) -> dict[str, float]:
    """The metrics of all data sets; where there are several, each one's begin with its name."""
    named = zip(prefixes(config), of_datasets, strict=True)
    return {prefix + key: value for prefix, metrics in named for key, value in metrics.items()}


def _of_mode(tasks: Sequence[Task], cases: Cases, mode: Mode, prefix: str) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for task in measured_by(tasks, cases):
        for name, metric in task.metrics(cases, mode).items():
            metrics[prefix + name], metrics[f"{prefix}{name}/n"] = metric.value, metric.n
    return metrics

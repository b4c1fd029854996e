"""What the log tells of a run: what is trained, how a validation went, and the table of the test."""

import logging
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from ramjax.config import Config
from ramjax.data.source import Source
from ramjax.evaluation.split_metrics import COMPAT, prefixes
from ramjax.tasks import Task

log = logging.getLogger(__name__)


def start(
    config: Config,
    tasks: Sequence[Task],
    workdir: pathlib.Path,
    mesh: Mesh,
    sources: Sequence[Source],
    params: Any,
    step: int,
) -> None:
    """Says what is trained, on what, where."""
    for source, weight in zip(sources, config.data.weights, strict=True):
        log.info("%s: %d records, weight %g.", source.name, len(source), weight)
    silent = [task.name for task in tasks if not task.parts]
    if silent:
        log.warning("Nothing is measured of %s: no metric of it will appear.", " and ".join(silent))
    log.info(
        "%s %s: %d steps, %s parameters, %d device(s) (%s, %s).",
        f"Continuing from step {step} of" if step else "Training",
        workdir,
        config.train.steps,
        f"{sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)):,}",
        mesh.size,
        mesh.devices.flat[0].device_kind,
        " x ".join(f"{axis} {size}" for axis, size in mesh.shape.items()),
    )


def selected(config: Config, selected_by: Mapping[str, Sequence[str]], metrics: Mapping[str, float]) -> str:
    """The metrics by which checkpoints are selected, of each data set those that it has labels for."""
    names = [prefix + name for prefix in prefixes(config) for of_task in selected_by.values() for name in of_task]
    shown = [f"{name} {metrics[name]:.4f}" for name in names if metrics.get(f"{name}/n")]
    return ", ".join(shown) or "without a metric to select by"


def table(config: Config, tasks: Sequence[Task], metrics: Mapping[str, float]) -> str:
    """The headlines of the test metrics, in both modes where they differ."""
    headlines = [headline.metric for task in tasks for headline in task.headlines if headline.in_summary]
    names = [(prefix, metric) for prefix in prefixes(config) for metric in headlines if prefix + metric in metrics]
    if not names:
        return "No task has a metric to show."
    width = max(len(prefix + metric) for prefix, metric in names)
    rows = []
    for prefix, metric in names:
        name, compat = prefix + metric, metrics.get(f"{prefix}{COMPAT}{metric}")
        shown = "" if compat is None else f"{compat:.4f}"
        rows.append(f"  {name:{width}}  {metrics[name]:>10.4f}  {shown:>10}  {metrics[name + '/n']:>8}")
    return "\n".join([f"  {'test metric':{width}}  {'strict':>10}  {'compat':>10}  {'n':>8}", *rows])

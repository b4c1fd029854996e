"""The section of the learning curves: the losses, and what validation measured."""

import re
from collections.abc import Sequence

import numpy as np

from ramjax.evaluation.split_metrics import CANVAS
from ramjax.figures import charts, layout
from ramjax.figures.content import Chart, Section
from ramjax.reporting.runs import Run, System
from ramjax.tasks import Task

_SELECTION = "selection"


def section(systems: Sequence[System], tasks: Sequence[Task]) -> Section | None:
    """Learning curves of every run: losses, the metrics that select the checkpoint, and headlines that are validated.

    Older runs call ``validation/canvas/bones/dsc`` ``validation/bones/dsc``; both are drawn as the same curve.
    """
    runs = [run for system in systems for run in system.runs]
    blocks = _losses(runs, tasks)
    for metric, title in _validated(tasks).items():
        for dataset, keys in _keys_of(runs, metric).items():
            where = f", {layout.DATASET_TITLES.get(dataset, dataset)}" if dataset else ""
            identity = layout.slug("curve-validation", dataset, metric)
            blocks.append(_chart(runs, keys, identity, f"Validation: {title}{where}", log=False))
    blocks = [chart for chart in blocks if chart]
    if not blocks:
        return None
    text = ("As they were logged in the course of the training, on the network's own grid.",)
    return Section("curves", "Learning curves", text, tuple(blocks))


def _losses(runs: Sequence[Run], tasks: Sequence[Task]) -> list[Chart | None]:
    titles = {"train/loss": "Training loss"}
    titles |= {f"train/loss/{task.name}": f"Training loss, {layout.title(task.name).lower()}" for task in tasks}
    return [_chart(runs, [key], layout.slug("curve", key), title, log=True) for key, title in titles.items()]


def _validated(tasks: Sequence[Task]) -> dict[str, str]:
    """Titles of the metrics whose curves are shown, task by task: those that select, then the other headlines."""
    found: dict[str, str] = {}
    for task in tasks:
        titles = {headline.metric: headline.title for headline in task.headlines if headline.in_summary}
        found |= {metric: titles.get(metric, metric) for metric in task.selected_by} | titles
    return found | {_SELECTION: "selection of checkpoints"}


def _keys_of(runs: Sequence[Run], metric: str) -> dict[str, list[str]]:
    """The keys under which a metric was logged, by data set; '' where a run has only one."""
    pattern = re.compile(rf"validation/(?:(?P<dataset>.+?)/)??(?:{re.escape(CANVAS)})?{re.escape(metric)}")
    found: dict[str, list[str]] = {}
    for key in dict.fromkeys(key for run in runs for row in run.curves for key in row):
        if match := pattern.fullmatch(key):
            found.setdefault(match["dataset"] or "", []).append(key)
    return found


def _chart(runs: Sequence[Run], keys: Sequence[str], identity: str, title: str, log: bool) -> Chart | None:
    """The curves of the runs that logged one of the keys; None where there is no such run."""
    series = {run.name: _curve(run, keys) for run in runs}
    series = {name: curve for name, curve in series.items() if len(curve[0])}
    if not series:
        return None
    ends = "; ".join(f"{name} ends at {curve[1][-1]:.3f}" for name, curve in series.items())
    return Chart(identity, title, "", charts.lines(series, "step", log=log), f"{title}: {ends}.")


def _curve(run: Run, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values that were logged under one of the keys."""
    points = [(row["step"], row[key]) for row in run.curves for key in keys if isinstance(row.get(key), int | float)]
    x, y = np.array(points, float).reshape(-1, 2).T
    return x, y

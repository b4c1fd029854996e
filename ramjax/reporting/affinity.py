"""The section of task affinity: which tasks help each other, and when in the training."""

from collections.abc import Mapping, Sequence

import numpy as np

from ramjax.figures import charts, layout
from ramjax.figures.content import Chart, Section
from ramjax.reporting.runs import Run, System
from ramjax.tasks import Task

_PREFIX = "train/affinity/"
_TEXT = (
    "Cosine: of the gradients of two tasks with respect to what they share; above 0, they pull the same way. Transfer: "
    "the share of a task's loss (column) that a small step of another task alone (row) takes away; above 0, the row "
    "helps the column. Means over the training, and over the runs of a system.",
)


def section(systems: Sequence[System], tasks: Sequence[Task]) -> Section | None:
    """A matrix of each measure for each system that logged it, and what each pair had over the steps; None without."""
    blocks = []
    for system in systems:
        names = [task.name for task in tasks]
        for measure, title in (("cosine", "Cosine of gradients"), ("transfer", "Transfer")):
            pairs = {(a, b): _curve(system.runs, measure, a, b) for a in names for b in names}
            pairs = {pair: curve for pair, curve in pairs.items() if len(curve[0])}
            if not pairs:
                continue
            there = [name for name in names if any(name in pair for pair in pairs)]
            titles = [layout.title(name) for name in there]
            identity = layout.slug("affinity", measure, system.name)
            of = f"{title}, {system.name}" if len(systems) > 1 else title
            matrix = _means(pairs, there, symmetric=measure == "cosine")
            labels = ("", "") if measure == "cosine" else ("the loss of", "a step of")
            percent = measure == "transfer"
            picture = charts.signed_map(100 * matrix if percent else matrix, titles, *labels)
            unit = " (% of the loss)" if percent else ""
            blocks.append(Chart(identity, of + unit, "", picture, f"{of}: {_words(matrix, titles, percent)}."))
            if measure == "cosine":
                blocks += _of_parts(system, tasks, of, identity)
            blocks.append(_over_steps(pairs, f"{identity}-steps", f"{of} over the steps{unit}", percent))
    return Section("affinity", "Task affinity", _TEXT, tuple(blocks)) if blocks else None


def _of_parts(system: System, tasks: Sequence[Task], of: str, identity: str) -> list[Chart]:
    """For each task whose parts were measured, the mean cosine of each part with each task."""
    charts_of = []
    names = [task.name for task in tasks]
    for task in tasks:
        rows = {
            part: [_mean(_curve(system.runs, "cosine", f"{task.name}.{part}", name)) for name in names]
            for part in task.learned_parts
        }
        rows = {part: values for part, values in rows.items() if np.isfinite(values).any()}
        if not rows:
            continue
        matrix = np.array(list(rows.values()))
        picture = charts.signed_map(matrix, [layout.title(name) for name in names], rows=list(rows))
        title = f"{of}, the parts of {task.name}"
        words = "; ".join(
            f"{part} and {name} {value:+.2f}"
            for part, values in rows.items()
            for name, value in zip(names, values, strict=True)
            if np.isfinite(value)
        )
        charts_of.append(Chart(f"{identity}-{task.name}", title, "", picture, f"{title}: {words}."))
    return charts_of


def _mean(curve: tuple[np.ndarray, np.ndarray]) -> float:
    return float(curve[1].mean()) if len(curve[1]) else float("nan")


def _over_steps(
    pairs: Mapping[tuple[str, str], tuple[np.ndarray, np.ndarray]], identity: str, title: str, percent: bool
) -> Chart:
    """The curves of the pairs of two tasks."""
    series = {
        f"{layout.title(a)} {'→' if percent else '·'} {layout.title(b).lower()}": (x, 100 * y if percent else y)
        for (a, b), (x, y) in pairs.items()
        if a != b
    }
    ends = "; ".join(f"{name} ends at {y[-1]:.2f}" for name, (_, y) in series.items())
    return Chart(identity, title, "", charts.small_lines(series, "step"), f"{title}: {ends}.")


def _curve(runs: Sequence[Run], measure: str, a: str, b: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and the mean over the runs of what was logged there."""
    key, values = f"{_PREFIX}{measure}/{a}/{b}", {}
    for row in (row for run in runs for row in run.curves if isinstance(row.get(key), int | float)):
        values.setdefault(row["step"], []).append(row[key])
    steps = sorted(values)
    return np.array(steps, float), np.array([np.mean(values[step]) for step in steps])


def _means(
    pairs: Mapping[tuple[str, str], tuple[np.ndarray, np.ndarray]], names: Sequence[str], symmetric: bool
) -> np.ndarray:
    """The means over the steps, (n, n); NaN where there is none."""
    matrix = np.full((len(names), len(names)), np.nan)
    for (a, b), (_, values) in pairs.items():
        i, j = names.index(a), names.index(b)
        matrix[i, j] = values.mean()
        if symmetric:
            matrix[j, i] = matrix[i, j]
    return matrix


def _words(matrix: np.ndarray, titles: Sequence[str], percent: bool) -> str:
    factor, unit = (100, " %") if percent else (1, "")
    return "; ".join(
        f"{titles[i]} and {titles[j].lower()} {factor * matrix[i, j]:+.2f}{unit}"
        for i in range(len(titles))
        for j in range(len(titles))
        if i != j and np.isfinite(matrix[i, j])
    )

"""The section that explains how to read the report."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from ramjax.figures import layout
from ramjax.figures.content import Cell, Row, Section, Table
from ramjax.figures.estimates import Evaluated
from ramjax.reporting.estimates import SEED
from ramjax.tasks import Task, measured_by

_Meaning = TypeVar("_Meaning")


def section(evaluated: Sequence[Evaluated], tasks: Sequence[Task], replicates: int) -> Section:
    """Returns the definitions of the metrics, of the two evaluation modes and of the intervals, for these tasks."""
    there = [task for task in tasks if any(measured_by([task], of.cases[0]) for of in evaluated)]
    definitions = _together({task.name: task.definitions for task in there})
    evaluators = _together({task.name: task.evaluators for task in there})
    text = (
        "Strict is how this project thinks the metric should be taken; compat is what the published evaluators of "
        "RAM-W600 and RAM-H1200 print for the same predictions, quirks included, so that it can stand beside "
        "published tables. Only compat compares with published rows, and only on the same data, split and grid.",
        f"Intervals are of 95 %: percentiles of {replicates:,} bootstrap replicates (seed {SEED}) that draw patients "
        "with all their cases, and seeds where there are several. They are given for strict values; where a value "
        "rests on so few patients that more than a fifth of the replicates are undefined, there is none.",
        "n beside a value is the number of cases, sites or lesions behind it. A dash is a value that is not defined.",
    )
    tables = []
    if definitions:
        rows = tuple(Row(name, (Cell(text=meaning),)) for name, meaning in definitions.items())
        tables.append(Table("definitions", "Metrics", "", "Metric", ("Meaning",), rows))
    if evaluators:
        rows = tuple(Row(name, tuple(Cell(text=words) for words in both)) for name, both in evaluators.items())
        tables.append(Table("evaluators", "Strict and compat", "", "Matter", ("Strict", "Compat"), rows))
    return Section("reading", "How to read this", text, tuple(tables))


def _together(of_tasks: Mapping[str, Mapping[str, _Meaning]]) -> dict[str, _Meaning]:
    """The entries of all tasks; one that means something else than an earlier one names its task too."""
    found: dict[str, _Meaning] = {}
    for task, entries in of_tasks.items():
        for name, meaning in entries.items():
            clashes = found.get(name, meaning) != meaning
            found[f"{name} ({layout.title(task).lower()})" if clashes else name] = meaning
    return found

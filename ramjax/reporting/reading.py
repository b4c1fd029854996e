"""The section that tells how to read the others."""

from collections.abc import Sequence

from ramjax.figures.content import Cell, Row, Section, Table
from ramjax.reporting.estimates import SEED, Evaluated


def section(evaluated: Sequence[Evaluated], replicates: int) -> Section:
    """Definitions, what the two evaluators do, and how the intervals came about, for the tasks that are there."""
    scores = any(of.has(scale) for of in evaluated for scale in ("be", "jsn"))
    tasks = [task for task in ("bones", "erosions", "joints") if any(of.has(task) for of in evaluated)]
    tasks += ["be"] if scores else []
    definitions: dict[str, str] = {}
    for task in ["bones", *tasks] if "erosions" in tasks else tasks:
        definitions |= _DEFINITIONS[task]
    quirks = {name: words for task in tasks for name, words in _QUIRKS.get(task, {}).items()}
    text = (
        "Strict is how this project thinks the metric should be taken; compat is what the published evaluators of "
        "RAM-W600 and RAM-H1200 print for the same predictions, quirks included, so that it can stand beside "
        "published tables. Only compat compares with published rows, and only on the same data, split and grid.",
        f"Intervals are of 95 %: percentiles of {replicates:,} bootstrap replicates (seed {SEED}) that draw patients "
        "with all their cases, and seeds where there are several. They are given for strict values; where a value "
        "rests on so few patients that more than a fifth of the replicates are undefined, there is none.",
        "n beside a value is the number of cases, sites or lesions behind it. A dash is a value that is not defined.",
    )
    tables = [
        Table(
            "definitions", "Metrics", "", "Metric", ("Meaning",),
            tuple(Row(name, (Cell(text=meaning),)) for name, meaning in definitions.items()),
        )
    ]  # fmt: skip
    if quirks:
        rows = tuple(Row(name, tuple(Cell(text=words) for words in both)) for name, both in quirks.items())
        tables.append(Table("evaluators", "Strict and compat", "", "Matter", ("Strict", "Compat"), rows))
    return Section("reading", "How to read this", text, tuple(tables))

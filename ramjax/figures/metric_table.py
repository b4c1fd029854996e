"""The default section of a task: its metrics in tables, with their intervals."""

from collections.abc import Sequence

from ramjax.figures import layout
from ramjax.figures.content import Folded, Row, Section, Table
from ramjax.figures.estimates import Evaluated
from ramjax.metrics.cases import MODES
from ramjax.metrics.metric import Headline


def metric_section(several: Sequence[Evaluated], task: str, headlines: Sequence[Headline]) -> Section | None:
    """A table of the headlines, a row a system and mode, and one of all metrics; None where nothing was measured.

    Args:
      several: systems evaluated on one data set.
      task: its name, with which the names of its metrics begin.
      headlines: in the order of the columns.
    """
    first, every = headline_table(several, task, headlines), _all_table(several, task)
    if every is None:
        return None
    blocks = (first, Folded("All metrics in numbers", (every,))) if first else (every,)
    return Section(layout.slug(several[0].dataset, "task", task), layout.title(task), (), blocks)


def headline_table(several: Sequence[Evaluated], task: str, headlines: Sequence[Headline]) -> Table | None:
    """The headlines, a row a system and mode; None where none of them was measured."""
    there = [headline for headline in headlines if any(of.estimate(headline.metric).n for of in several)]
    if not there:
        return None
    several = [of for of in several if any(of.estimate(headline.metric).n for headline in there)]
    names = [headline.metric for headline in there]
    modes = [mode for mode in MODES if any(name in of.estimates[mode] for of in several for name in names)]
    return Table(
        layout.slug(several[0].dataset, "task", task),
        layout.title(task),
        f"Each value with its 95 % interval, and the n behind it. {layout.directions(there)}",
        "Run",
        tuple(headline.title for headline in there),
        tuple(layout.system_rows(several, names, modes=modes)),
        tuple(headline.better for headline in there),
    )


def _all_table(several: Sequence[Evaluated], task: str) -> Table | None:
    """Every metric, a row a metric and mode, a column a system."""
    several = [of for of in several if any(name.startswith(f"{task}/") for name in of.estimates["strict"])]
    rows = []
    for mode in MODES:
        names = dict.fromkeys(name for of in several for name in of.estimates[mode] if name.startswith(f"{task}/"))
        for name in names:
            cells = tuple(of.estimate(name, mode).cell() for of in several)
            if any(cell.n for cell in cells):
                rows.append(Row(name.removeprefix(f"{task}/"), cells, mode))
    if not rows:
        return None
    return Table(
        layout.slug(several[0].dataset, "task", task, "all"),
        f"{layout.title(task)}: all metrics",
        "By name, each value with its 95 % interval, and the n behind it.",
        "Metric",
        tuple(of.name for of in several),
        tuple(rows),
    )

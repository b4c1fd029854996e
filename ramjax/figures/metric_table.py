"""The section of a task that draws none of its own: its metrics, with their intervals, a row a system and mode."""

from collections.abc import Sequence

from ramjax.figures import layout
from ramjax.figures.content import Section, Table
from ramjax.figures.estimates import Evaluated
from ramjax.metrics.cases import MODES
from ramjax.metrics.metric import Headline


def metric_section(several: Sequence[Evaluated], task: str, headlines: Sequence[Headline]) -> Section | None:
    """The headlines of a task, or all its metrics where it names none; None where nothing of it was measured.

    Args:
      several: systems evaluated on one data set.
      task: its name, with which the names of its metrics begin.
      headlines: in the order of the columns.
    """
    titles = {headline.metric: headline.title for headline in headlines} or {
        name: name.partition("/")[2] for of in several for name in of.metrics["strict"] if name.startswith(f"{task}/")
    }
    titles = {name: title for name, title in titles.items() if any(of.estimate(name).n for of in several)}
    if not titles:
        return None
    modes = [mode for mode in MODES if any(name in of.estimates[mode] for of in several for name in titles)]
    table = Table(
        layout.slug(several[0].dataset, task),
        task.capitalize(),
        "Each value with its 95 % interval, and the cases n behind it.",
        "Run",
        tuple(titles.values()),
        tuple(layout.system_rows(several, tuple(titles), modes=modes)),
    )
    return Section(layout.slug(several[0].dataset, "task", task), task.capitalize(), (), (table,))

"""The report of a sweep of ablations: a section for each question, its arms beside the baseline."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ramjax.errors import RunError
from ramjax.figures import charts, layout
from ramjax.figures.content import Cell, Chart, Folded, Row, Section, Table
from ramjax.figures.estimates import Evaluated
from ramjax.metrics.metric import Headline
from ramjax.reporting import estimates, overview
from ramjax.reporting.runs import System
from ramjax.runs import questions
from ramjax.tasks import Task

LEVEL = 0.05
"""A corrected p-value below it is shown as a difference."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a question's arms came to on a data set.

    Attributes:
      question: its name, for ids.
      asks: the question.
      about: what is to be known about it.
      arms: what was measured of each arm, by its name; the baseline first.
      differences: of each other arm from the baseline, corrected for all comparisons of this question.
      missing: arms of which no run is finished, and runs that are not.
    """

    question: str
    asks: str
    about: str
    arms: Mapping[str, Evaluated]
    differences: Mapping[str, estimates.Difference]
    missing: tuple[str, ...]


def find_runs(folder: pathlib.Path) -> tuple[list[questions.Question], dict[str, str]]:
    """The questions of a sweep, and a name for the system of each run that is finished, by the folder of the run.

    A run that is an arm of several questions has the names of all these arms.

    Raises:
      RunError: the folder has no questions, or no run is finished.
    """
    asked, arms = questions.load(folder), {}
    for question in asked:
        for arm, names in question.arms.items():
            for name in names:
                arms.setdefault(name, []).append((question.name, arm))
    finished = {name: of for name, of in arms.items() if (folder / name / "cases.parquet").exists()}
    if not finished:
        raise RunError(f"No run of the sweep in {folder} is finished; start the sweep again.")
    short = {name: " / ".join(dict.fromkeys(arm for _, arm in of)) for name, of in finished.items()}
    whole = {name: " / ".join(f"{question}: {arm}" for question, arm in of) for name, of in finished.items()}
    meant = {text: {whole[name] for name in short if short[name] == text} for text in short.values()}
    return asked, {name: short[name] if len(meant[short[name]]) == 1 else whole[name] for name in finished}


def primary(tasks: Sequence[Task]) -> list[Headline]:
    """The headlines that arms are compared by: those that select checkpoints, or the first of a task without such."""
    found = []
    for task in tasks:
        shown = [headline for headline in task.headlines if headline.in_summary]
        found += [headline for headline in shown if headline.metric in task.selected_by] or shown[:1]
    return found


def answer(
    question: questions.Question,
    evaluated: Mapping[str, Evaluated],
    tasks: Sequence[Task],
    replicates: int,
    advance: Callable[[], None],
) -> Answer:
    """Compares the arms of a question with its baseline.

    Args:
      question: of a sweep.
      evaluated: systems on one data set, by the folder of each of their runs.
      tasks: of all runs.
      replicates: of every bootstrap.
      advance: called after each comparison.
    """
    arms, missing = {}, []
    for arm, names in question.arms.items():
        finished = [name for name in names if name in evaluated]
        if finished:
            arms[arm] = dataclasses.replace(evaluated[finished[0]], name=arm)
        missing += [name for name in names if name not in finished] if finished else [arm]
    baseline = next(iter(question.arms))
    names = [headline.metric for headline in primary(tasks)]
    differences = {}
    if baseline in arms:
        pairs = [(of, arms[baseline]) for arm, of in arms.items() if arm != baseline]
        found = estimates.compare_pairs(pairs, tasks, names, replicates, advance)
        differences = {of.a: of for of in found}
    return Answer(question.name, question.asks, question.about, arms, differences, tuple(missing))


def sections(answers: Sequence[Answer], tasks: Sequence[Task], replicates: int) -> list[Section]:
    """A section for each answer."""
    return [_section(of, tasks, replicates) for of in answers]


def _section(of: Answer, tasks: Sequence[Task], replicates: int) -> Section:
    identity = layout.slug("question", of.question)
    if not of.arms:
        return Section(identity, of.asks, ("None of its runs is finished.",))
    where = layout.slug(next(iter(of.arms.values())).dataset, of.question)
    compared = primary(tasks)
    blocks = [_means(of, compared, where)]
    if of.differences:
        blocks += [_differences(of, compared, where), _p_values(of, compared, where)]
        blocks += [chart for headline in compared if (chart := _chart(of, headline, where))]
    blocks.append(Folded("All headline measures", (_all_headlines(of, overview.headlines_of(tasks), where),)))
    return Section(identity, of.asks, tuple(_text(of, replicates)), tuple(blocks))


def _text(of: Answer, replicates: int) -> list[str]:
    text = [of.about] if of.about else []
    tested = [p for difference in of.differences.values() for p in difference.corrected.values() if np.isfinite(p)]
    if tested:
        text.append(
            f"The baseline is {next(iter(of.arms))}. Differences from it are paired: the same patients are drawn for "
            f"both, and seeds of each. P-values are corrected (Holm) for the {len(tested)} differences of the "
            f"question; below {LEVEL}, the dot is filled."
        )
        least = 2 * len(tested) / (replicates + 1)
        if least > LEVEL:
            text.append(
                f"With {replicates} replicates none of them can be below {least:.2g}; --replicates={200 * len(tested)} "
                "lets the smallest be 0.01."
            )
    elif not of.differences and len(of.arms) > 1:
        text.append("No run of the baseline is finished, so nothing is compared.")
    if of.missing:
        text.append(f"Not finished: {layout.listed(of.missing)}.")
    return text


def _means(of: Answer, compared: Sequence[Headline], where: str) -> Table:
    rows = []
    for arm, it in of.arms.items():
        cells = [Cell(text=str(len(it.cases))), Cell(text=_millions(it.parameters))]
        for headline in compared:
            estimate = it.estimate(headline.metric)
            cells.append(Cell(estimate.value, estimate.low, estimate.high, estimate.seed_sd))
        rows.append(Row(arm, tuple(cells), "strict"))
    return Table(
        f"{where}-means",
        "Each arm",
        "Means ± standard deviation over the seeds, with 95 % intervals over patients and seeds. "
        f"{layout.directions(compared)}",
        "Arm",
        ("Seeds", "Parameters", *(headline.title for headline in compared)),
        tuple(rows),
        (0, 0, *(headline.better for headline in compared)),
    )


def _differences(of: Answer, compared: Sequence[Headline], where: str) -> Table:
    rows = []
    for arm, difference in of.differences.items():
        found = [difference.comparisons.get(headline.metric) for headline in compared]
        cells = (Cell(it.difference, it.low, it.high, digits=4) if it else Cell() for it in found)
        rows.append(Row(arm, tuple(cells), "strict"))
    cases = layout.listed(sorted({f"{difference.cases:,}" for difference in of.differences.values()}))
    return Table(
        f"{where}-differences",
        f"Each arm less {next(iter(of.arms))}",
        f"Paired differences on {cases} cases, with 95 % intervals.",
        "Arm",
        tuple(headline.title for headline in compared),
        tuple(rows),
    )


def _p_values(of: Answer, compared: Sequence[Headline], where: str) -> Table:
    rows = [
        Row(arm, tuple(Cell(difference.corrected.get(headline.metric, np.nan)) for headline in compared), "strict")
        for arm, difference in of.differences.items()
    ]
    return Table(
        f"{where}-p",
        f"P-values of no difference from {next(iter(of.arms))}, corrected",
        "",
        "Arm",
        tuple(headline.title for headline in compared),
        tuple(rows),
    )


def _chart(of: Answer, headline: Headline, where: str) -> Chart | None:
    """The differences of the arms that have the metric, as dots with their intervals."""
    found = {
        arm: (difference.comparisons[headline.metric], difference.corrected[headline.metric] < LEVEL)
        for arm, difference in of.differences.items()
        if headline.metric in difference.comparisons
    }
    if not found:
        return None
    values = np.array([(it.difference, it.low, it.high) for it, _ in found.values()])
    marked = np.array([mark for _, mark in found.values()])
    baseline = next(iter(of.arms))
    better = {1: "", -1: "; left of 0 is better", 0: "; neither side is better"}[headline.better]
    words = "; ".join(
        f"{arm} {it.difference:+.4f} ({it.low:+.4f} to {it.high:+.4f})" + (", a difference" if mark else "")
        for arm, (it, mark) in found.items()
    )
    caption = f"Less {baseline}{better}."
    picture = charts.differences(list(found), values, marked)
    return Chart(
        f"{where}-{layout.slug(headline.metric)}", headline.title, caption, picture, f"{headline.title}: {words}."
    )


def _all_headlines(of: Answer, headlines: Sequence[Headline], where: str) -> Table:
    rows = []
    for headline in headlines:
        found = [it.estimate(headline.metric) for it in of.arms.values()]
        if any(estimate.n for estimate in found):
            cells = tuple(Cell(estimate.value, sd=estimate.seed_sd) for estimate in found)
            rows.append(Row(headline.title, cells, "strict", better=headline.better))
    return Table(
        f"{where}-all",
        "All headline measures",
        "Means ± standard deviation over the seeds; not compared. "
        f"{layout.directions([headline for headline in headlines if headline.title in [row.name for row in rows]])}",
        "Metric",
        tuple(of.arms),
        tuple(rows),
    )


def systems_table(systems: Sequence[System]) -> Table:
    """What was run: a row for each system."""
    rows = []
    for system in systems:
        first = system.runs[0]
        steps = sorted(
            {str(run.cases.about.get("step", "")) for run in system.runs}, key=lambda text: (len(text), text)
        )
        cells = (
            layout.listed([str(run.config.get("seed")) for run in system.runs]),
            layout.listed(first.config["tasks"]),
            _millions(first.parameters),
            layout.listed(list(map(str, steps))),
            f"{len(first.cases):,}",
        )
        rows.append(Row(system.name, tuple(Cell(text=text) for text in cells)))
    columns = ("Seeds", "Tasks", "Parameters", "Tested after step", "Cases")
    caption = "A run that is an arm of several questions is made once."
    return Table("systems", "What was run", caption, "Arms", columns, tuple(rows))


def by_folder(systems: Sequence[System], evaluated: Sequence[Evaluated]) -> dict[str, Evaluated]:
    """The systems on one data set by the folder of each of their runs."""
    named = {system.key: system for system in systems}
    return {run.folder.name: of for of in evaluated for run in named[of.key].runs}


def _millions(parameters: int | None) -> str:
    return "unknown" if parameters is None else f"{parameters / 1e6:.2f} M"

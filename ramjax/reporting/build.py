"""From runs to the report: its sections, and the files it is written as."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from ramjax.figures import layout
from ramjax.figures.content import Section, tables_of
from ramjax.figures.estimates import Evaluated
from ramjax.metrics import cases as cases_lib
from ramjax.notice import NOTE
from ramjax.reporting import affinity, curves, estimates, export, galleries, overview, page, questions, reading, tables
from ramjax.reporting.runs import Run, System, as_systems, datasets_of, find_system, tasks_of
from ramjax.runs.questions import Question
from ramjax.tasks import Task


@dataclasses.dataclass(frozen=True)
class Files:
    """A report as the contents of its files; `captions` and `tables` (ids) are of all tables, chosen or not."""

    html: bytes
    cases: bytes
    csv: bytes
    latex: bytes
    captions: bytes
    tables: tuple[str, ...]


def report(
    runs: Sequence[Run],
    replicates: int,
    progress: Callable[[int], Callable[[], None]],
    *,
    baseline: str | None = None,
    chosen: Sequence[str] = (),
    captions: Mapping[str, Mapping[str, str]] | None = None,
) -> Files:
    """Makes the report of runs that `runs.read_runs` took.

    Args:
      runs: finished runs.
      replicates: of every bootstrap.
      progress: takes how many bootstraps there will be and returns what to call after each.
      baseline: name or folder of the system that the others are compared with; None compares all with each other.
      chosen: tables, by patterns of their ids (see `tables.choose`); all where there is none.
      captions: new titles and captions by the id of the table (see `tables.retitle`).

    Raises:
      RunError: there is no such baseline or table, or runs of different methods were given one name.
    """
    systems, datasets, tasks = as_systems(runs), datasets_of(runs), tasks_of(runs)
    base = None if baseline is None else find_system(systems, baseline)
    names = [headline.metric for headline in overview.headlines_of(tasks)]
    measured = [of for name in datasets for system in systems if (of := estimates.measure(system, name, tasks))]
    comparisons = len(estimates.pairs(measured, base)) * len(names)
    advance = progress(sum(len(of.metrics["strict"]) for of in measured) + comparisons)
    evaluated = [estimates.with_intervals(of, replicates, advance) for of in measured]
    differences = estimates.compare(evaluated, tasks, names, replicates, advance, base)
    all_sections = _sections(systems, tasks, datasets, evaluated, differences, replicates)
    return _files(_title(systems), all_sections, runs, datasets, chosen, captions)


def sweep_report(
    runs: Sequence[Run],
    asked: Sequence[Question],
    replicates: int,
    progress: Callable[[int], Callable[[], None]],
    *,
    chosen: Sequence[str] = (),
    captions: Mapping[str, Mapping[str, str]] | None = None,
) -> Files:
    """As `report`, of the runs of a sweep and the questions that they answer."""
    systems, datasets, tasks = as_systems(runs), datasets_of(runs), tasks_of(runs)
    compared = {headline.metric for headline in questions.primary(tasks)}
    measured = [of for name in datasets for system in systems if (of := estimates.measure(system, name, tasks))]
    pairs = len(datasets) * sum(len(question.arms) - 1 for question in asked)
    advance = progress(len(compared) * (len(measured) + pairs))
    evaluated = [estimates.with_intervals(of, replicates, advance, compared) for of in measured]
    parts = []
    for name in datasets:
        found = questions.by_folder(systems, [of for of in evaluated if of.dataset == name])
        answers = [questions.answer(question, found, tasks, replicates, advance) for question in asked]
        there = questions.sections(answers, tasks, replicates)
        title = layout.DATASET_TITLES.get(name, name)
        parts += there if len(datasets) == 1 else [Section(layout.slug(name), title, sections=tuple(there))]
    summary = Section("summary", "Summary", (), (questions.systems_table(systems),))
    last = affinity.section(systems, tasks), reading.section(evaluated, tasks, replicates)
    all_sections = tuple(section for section in (summary, *parts, *last) if section)
    return _files(_asked_of(asked), all_sections, runs, datasets, chosen, captions)


def _files(
    title: str,
    all_sections: tuple[Section, ...],
    runs: Sequence[Run],
    datasets: Sequence[str],
    chosen: Sequence[str],
    captions: Mapping[str, Mapping[str, str]] | None,
) -> Files:
    sections = tables.choose(tables.retitle(all_sections, captions or {}), chosen, map(layout.slug, datasets))
    shown = tables_of(sections)
    return Files(
        page.render(title, sections).encode(),
        _all_cases(runs),
        export.to_csv(shown).encode(),
        export.to_latex(shown, NOTE).encode(),
        tables.to_captions(tables_of(all_sections)).encode(),
        tuple(table.id for table in tables_of(all_sections)),
    )


def _sections(
    systems: Sequence[System],
    tasks: Sequence[Task],
    datasets: Sequence[str],
    evaluated: Sequence[Evaluated],
    differences: Sequence[estimates.Difference],
    replicates: int,
) -> tuple[Section, ...]:
    headlines = overview.headlines_of(tasks)
    of_datasets = {name: [of for of in evaluated if of.dataset == name] for name in datasets}
    summaries = tuple(overview.summary(several, headlines) for several in of_datasets.values())
    sections = [Section("summary", "Summary", (), (overview.heading(systems, datasets), *summaries))]
    for name, several in of_datasets.items():
        parts = [section for task in tasks for section in task.sections(several)]
        groups = overview.groups_section(several, tasks)
        there = (*parts, groups) if groups else tuple(parts)
        if len(datasets) == 1:
            sections += there
        else:
            sections.append(Section(layout.slug(name), layout.DATASET_TITLES.get(name, name), sections=there))
    sections += [
        overview.comparison_section(differences, headlines),
        overview.seeds_section(evaluated, headlines),
        galleries.section(evaluated, tasks, [run for system in systems for run in system.runs]),
        affinity.section(systems, tasks),
        curves.section(systems, tasks),
        reading.section(evaluated, tasks, replicates),
    ]
    return tuple(section for section in sections if section)


def _asked_of(asked: Sequence[Question]) -> str:
    return layout.title(layout.listed([of.name.replace("_", " ") for of in asked]))


def _title(systems: Sequence[System]) -> str:
    return layout.listed([system.name for system in systems])


def _all_cases(runs: Sequence[Run]) -> bytes:
    """The cases of all runs with a column ``run``."""
    tables = [cases_lib.table(run.cases, {"run": run.name}) for run in runs]
    about = {run.name: run.cases.about for run in runs}
    return cases_lib.encode_table(pa.concat_tables(tables).unify_dictionaries(), about)

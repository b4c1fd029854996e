"""The sections about no single task: what was evaluated, headline metrics, groups of cases, seeds, comparisons."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ramjax.figures import layout
from ramjax.figures.content import Cell, Row, Section, Table
from ramjax.figures.estimates import Evaluated
from ramjax.metrics.metric import Headline
from ramjax.reporting.estimates import Difference, metrics_of
from ramjax.reporting.runs import Run, System
from ramjax.tasks import Task


def headlines_of(tasks: Sequence[Task]) -> list[Headline]:
    """The headlines of the summary and of comparisons, in the order of the tasks."""
    return [headline for task in tasks for headline in task.headlines if headline.in_summary]


def heading(systems: Sequence[System], datasets: Sequence[str]) -> Table:
    """Returns the table of what was evaluated: one column for each run."""
    runs = [run for system in systems for run in system.runs]
    properties = [_properties(run, datasets) for run in runs]
    rows = tuple(Row(name, tuple(Cell(text=of[name] or "unknown") for of in properties)) for name in properties[0])
    caption = "Cases without a known patient count as patients of their own."
    return Table("runs", "What was evaluated", caption, "Property", tuple(run.name for run in runs), rows)


def summary(several: Sequence[Evaluated], headlines: Sequence[Headline]) -> Table:
    """Returns the table of the headline metrics on one data set: one column for each system."""
    there = [headline for headline in headlines if any(of.estimate(headline.metric).n for of in several)]
    rows = [
        Row(
            headline.title,
            tuple(of.estimate(headline.metric).cell() for of in several),
            "strict",
            better=headline.better,
        )
        for headline in there
    ]
    return Table(
        layout.slug(several[0].dataset, "summary"),
        f"Summary: {layout.DATASET_TITLES.get(several[0].dataset, several[0].dataset)}",
        "With 95 % intervals over patients; n counts what a value is taken over: cases, or the sites or lesions of all "
        f"cases. {layout.directions(there)}",
        "Metric",
        tuple(of.name for of in several),
        tuple(rows),
    )


def groups_section(several: Sequence[Evaluated], tasks: Sequence[Task]) -> Section | None:
    """Returns a few headline metrics for each centre, and for hands with and without rheumatoid arthritis."""
    dataset = several[0].dataset
    traits = (("center", "centre", "By centre"), ("is_ra", "diagnosis", "With and without rheumatoid arthritis"))
    tables = [_groups_table(several, tasks, *trait) for trait in traits]
    blocks = tuple(table for table in tables if table)
    if not blocks:
        return None
    text = ("Differences between groups may come of their patients as much as of their radiographs.",)
    return Section(layout.slug(dataset, "groups"), "By centre and diagnosis", text, blocks)


def seeds_section(evaluated: Sequence[Evaluated], headlines: Sequence[Headline]) -> Section | None:
    """Returns mean and standard deviation over the seeds of each system that has several."""
    tables = []
    for of in evaluated:
        if len(of.cases) < 2:
            continue
        rows = []
        for headline in headlines:
            estimate, of_runs = of.estimate(headline.metric), of.metrics["strict"].get(headline.metric)
            if of_runs and estimate.n:
                each = tuple(Cell(metric.value, n=metric.n) for metric in of_runs)
                mean = Cell(estimate.value, sd=estimate.seed_sd, n=len(of.cases))
                rows.append(Row(headline.title, (mean, *each), "strict"))
        columns = ("Mean ± SD over seeds", *of.runs)
        where = layout.DATASET_TITLES.get(of.dataset, of.dataset)
        caption = f"{where}; n of the first column counts seeds. The SD here is between trainings, not between cases."
        tables.append(Table(layout.slug(of.dataset, of.key, "seeds"), of.name, caption, "Metric", columns, tuple(rows)))
    if not tables:
        return None
    text = (
        "Runs that differ in nothing but the seed are pooled everywhere else: values are means over the seeds, and "
        "intervals are of drawing patients and seeds.",
    )
    return Section("seeds", "Seeds", text, tuple(tables))


def comparison_section(differences: Sequence[Difference], headlines: Sequence[Headline]) -> Section | None:
    """Returns the paired differences of systems and a sentence about their p-values."""
    if not differences:
        return None
    tables, text = [], []
    titles = {headline.metric: headline.title for headline in headlines}
    for of in differences:
        where = layout.DATASET_TITLES.get(of.dataset, of.dataset)
        if not of.cases:
            text.append(f"{of.a} and {of.b} share no case of {where}: they are not compared.")
            continue
        rows = [
            Row(titles[name], (_difference_cell(c), _p_cell(c.p_value), _p_cell(of.corrected[name])), "strict")
            for name, c in of.comparisons.items()
        ]
        tables.append(
            Table(
                layout.slug(of.dataset, "compare", str(len(tables) + 1)),
                f"{of.a} less {of.b}",
                f"On the {layout.counted(of.cases, 'case')} of {where} that both have, drawn by patient for both "
                "alike.",
                "Metric",
                ("Difference", "p-value", "p-value, corrected"),
                tuple(rows),
            )
        )
    text.append(
        "An interval without 0 is a difference that another sample of patients would hardly turn round. P-values are "
        "two-sided and never below 2 / (replicates + 1)."
    )
    tested = [c for of in differences for c in of.comparisons.values() if np.isfinite(c.p_value)]
    if tested:
        text.append(_correction(len(tested), min(c.replicates for c in tested)))
    return Section("comparison", "Runs compared", tuple(text), tuple(tables))


def _correction(count: int, replicates: int) -> str:
    """What was corrected for, and whether the replicates are enough for it to find anything."""
    family = f"the {count} p-values" if count > 1 else "the one p-value"
    sentence = f"The corrected ones (Holm) take {family} of this section, all metrics and systems, for one family."
    least = count * 2 / (replicates + 1)
    if least <= 0.05:
        return sentence
    return (
        f"{sentence} With {replicates} replicates none of them can be below {least:.2g}; "
        f"--replicates={200 * count} lets the smallest be 0.01."
    )


def _properties(run: Run, datasets: Sequence[str]) -> dict[str, str]:
    about, of = run.cases.about, run.cases.attributes
    patients = {key or f"case {index}" for index, key in enumerate(of["patient"])}
    counts = ((int((of["dataset"] == name).sum()), layout.DATASET_TITLES.get(name, name)) for name in datasets)
    return {
        "Cases": layout.listed([f"{count:,} of {title}" for count, title in counts if count]),
        "Patients": f"{len(patients):,}",
        "Split": str(about.get("split", "")),
        "Step": str(about.get("step", "")),
        "Checkpoint": str(about.get("checkpoint", "")),
        "Seed": str(about.get("seed", "")),
        "Grid": {"native": "native pixels", "square512": "512 x 512, stretched"}.get(about.get("grid"), ""),
        "NSD tolerance": f"{about.get('tolerance', math.nan):g} {about.get('unit', '')}",
        "Averaged over": _averaged(about) or "nothing",
        "Parameters": "" if run.parameters is None else f"{run.parameters / 1e6:.2f} M",
        "Code": run.git[:12] + ("-dirty" if run.git.endswith("-dirty") else ""),
    }


def _averaged(about: Mapping[str, Any]) -> str:
    """What the predictions are averaged over."""
    parts = ["the mirror image"] if about.get("mirror") else []
    if len(about.get("scales") or []) > 1:
        parts.append(f"scales {layout.listed([f'{scale:g}' for scale in about['scales']])}")
    if about.get("ensemble"):
        parts.append(layout.counted(len(about["ensemble"]), "more run"))
    return layout.listed(parts) if parts else ""


def _difference_cell(comparison) -> Cell:
    return Cell(comparison.difference, comparison.low, comparison.high, n=comparison.n_cases)


def _p_cell(p_value: float) -> Cell:
    return Cell(p_value, digits=3)


def _groups_table(
    several: Sequence[Evaluated], tasks: Sequence[Task], attribute: str, heading: str, title: str
) -> Table | None:
    grouped = [task for task in tasks if any(headline.by_group for headline in task.headlines)]
    headlines = [headline for task in grouped for headline in task.headlines if headline.by_group]
    rows = []
    for of in several:
        values = of.cases[0].attributes[attribute]
        if len(set(values)) < 2:
            return None
        for value in sorted(set(values)):
            cells = _group_cells(of, values == value, grouped, headlines)
            group = _group_name(attribute, value)
            rows.append(Row(f"{of.name}: {group}", cells, "strict", contest=group))
    kept = [index for index in range(len(headlines)) if any(row.cells[index].n for row in rows)]
    if not kept:
        return None
    return Table(
        layout.slug(several[0].dataset, "by", attribute),
        title,
        "n counts what a value is taken over. No intervals: look at these numbers before comparing.",
        f"Run and {heading}",
        tuple(headlines[index].title for index in kept),
        tuple(dataclasses.replace(row, cells=tuple(row.cells[index] for index in kept)) for row in rows),
        tuple(headlines[index].better for index in kept),
    )


def _group_name(attribute: str, value: object) -> str:
    if attribute == "is_ra":
        return {1: "rheumatoid arthritis", 0: "none"}.get(int(value), "unknown")
    return str(value) or "unknown"


def _group_cells(
    of: Evaluated, which: np.ndarray, tasks: Sequence[Task], headlines: Sequence[Headline]
) -> tuple[Cell, ...]:
    """Headlines of some of the cases, means over the seeds."""
    of_runs = [metrics_of(tasks, cases.take(which), "strict") for cases in of.cases]
    cells = []
    for headline in headlines:
        found = [metrics[headline.metric] for metrics in of_runs if headline.metric in metrics]
        cells.append(Cell(float(np.mean([metric.value for metric in found])), n=found[0].n) if found else Cell())
    return tuple(cells)

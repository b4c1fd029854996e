"""What stands first and around the tasks: what was evaluated, headline metrics, centres, curves, seeds, comparisons."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ramjax.figures import charts
from ramjax.figures.content import Cell, Chart, Row, Section, Table
from ramjax.reporting import layout
from ramjax.reporting.estimates import Difference, Evaluated
from ramjax.reporting.runs import Run, System

HEADLINES: dict[str, str] = {
    "bones/dsc": "Bones, DSC",
    "bones/nsd": "Bones, NSD",
    "pairs/dsc": "Overlaps, DSC",
    "erosions/dsc": "Erosions, DSC of any",
    "erosions@labels/lesion_f1_distance": "Lesions, F1 at 2 mm",
    "joints/recall_50": "Joint sites, recall at IoU 0.5",
    "be/qwk": "BE, QWK",
    "be/mae": "BE, MAE",
    "be/total_rmse": "BE, RMSE of hand totals",
    "jsn/qwk": "JSN, QWK",
    "jsn/mae": "JSN, MAE",
    "jsn/total_rmse": "JSN, RMSE of hand totals",
}
"""The measures of the summary and of comparisons; higher is better but for errors."""

_CURVES = {
    "train/loss": ("Training loss", "loss"),
    "train/loss/bones": ("Training loss, bones", "loss"),
    "train/loss/erosions": ("Training loss, erosions", "loss"),
    "train/loss/joints": ("Training loss, joints", "loss"),
    "train/loss/scores": ("Training loss, scores", "loss"),
    "bones/dsc": ("Validation, bones", "DSC"),
    "erosions/dsc": ("Validation, erosions", "DSC"),
    "joints/recall_50": ("Validation, joint sites", "recall at IoU 0.5"),
    "scores/be_qwk": ("Validation, BE", "QWK"),
    "scores/jsn_qwk": ("Validation, JSN", "QWK"),
    "selection": ("Validation, selection of checkpoints", "score"),
}
"""The curves that are shown, by the key of metrics.jsonl or its end after ``validation/``."""


def heading(systems: Sequence[System], datasets: Sequence[str]) -> Table:
    """What was evaluated, a column a run."""
    runs = [run for system in systems for run in system.runs]
    properties = [_properties(run, datasets) for run in runs]
    rows = tuple(Row(name, tuple(Cell(text=of[name] or "unknown") for of in properties)) for name in properties[0])
    caption = "Cases without a known patient count as patients of their own."
    return Table("runs", "What was evaluated", caption, "Property", tuple(run.name for run in runs), rows)


def summary(several: Sequence[Evaluated]) -> Table:
    """The headline metrics of one data set, a column a system."""
    rows = []
    for name, title in HEADLINES.items():
        cells = tuple(of.estimate(name).cell() for of in several)
        if any(cell.n for cell in cells):
            rows.append(Row(title, cells, "strict"))
    return Table(
        layout.slug(several[0].dataset, "summary"),
        f"Summary: {layout.DATASET_TITLES.get(several[0].dataset, several[0].dataset)}",
        "With 95 % intervals over patients; n counts cases, of joint sites and scores the sites, of lesions "
        "the lesions. Higher is better but for MAE and RMSE, which are in points of the score.",
        "Metric",
        tuple(of.name for of in several),
        tuple(rows),
    )


def groups_section(several: Sequence[Evaluated]) -> Section | None:
    """Headline metrics of each centre, and of hands of patients with and without rheumatoid arthritis."""
    dataset = several[0].dataset
    traits = (("center", "centre", "By centre"), ("is_ra", "diagnosis", "With and without rheumatoid arthritis"))
    tables = [_groups_table(several, *trait) for trait in traits]
    blocks = tuple(table for table in tables if table)
    if not blocks:
        return None
    text = ("Differences between groups may come of their patients as much as of their radiographs.",)
    return Section(layout.slug(dataset, "groups"), "By centre and diagnosis", text, blocks)


def curves_section(systems: Sequence[System]) -> Section | None:
    """Learning curves of every run."""
    runs = [run for system in systems for run in system.runs]
    keys = list(dict.fromkeys(key for run in runs for row in run.curves for key in row))
    blocks: list[Chart] = []
    for wanted, (title, label) in _CURVES.items():
        for key in keys:
            training = wanted.startswith("train/")
            dataset = key.removeprefix("validation/").removesuffix(wanted).strip("/")
            if key != wanted if training else not _is_validation(key, wanted):
                continue
            series = {run.name: _curve(run, key) for run in runs}
            series = {name: curve for name, curve in series.items() if len(curve[0])}
            where = f", {layout.DATASET_TITLES.get(dataset, dataset)}" if dataset and not training else ""
            ends = "; ".join(f"{name} ends at {curve[1][-1]:.3f}" for name, curve in series.items())
            chart = charts.lines(series, "step", label, log=training)
            blocks.append(Chart(layout.slug("curve", key), title + where, "", chart, f"{title}{where}: {ends}."))
    if not blocks:
        return None
    text = ("As they were logged in the course of the training, on the network's own grid.",)
    return Section("curves", "Learning curves", text, tuple(blocks))


def seeds_section(evaluated: Sequence[Evaluated]) -> Section | None:
    """Mean and standard deviation over the seeds of systems that have several."""
    tables = []
    for of in evaluated:
        if len(of.cases) < 2:
            continue
        rows = []
        for name, title in HEADLINES.items():
            estimate, of_runs = of.estimate(name), of.metrics["strict"].get(name)
            if of_runs and estimate.n:
                each = tuple(Cell(metric.value, n=metric.n) for metric in of_runs)
                rows.append(Row(title, (Cell(estimate.value, sd=estimate.seed_sd, n=len(of.cases)), *each), "strict"))
        columns = ("Mean ± SD over seeds", *(run.name for run in of.system.runs))
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


def comparison_section(differences: Sequence[tuple[str, Difference]]) -> Section | None:
    """Paired differences, given with the data set that each is of."""
    if not differences:
        return None
    tables, text = [], []
    for dataset, of in differences:
        where = layout.DATASET_TITLES.get(dataset, dataset)
        if not of.cases:
            text.append(f"{of.a} and {of.b} share no case of {where}: they are not compared.")
            continue
        rows = [
            Row(HEADLINES[name], (_difference_cell(c), _p_cell(c.p_value)), "strict")
            for name, c in of.comparisons.items()
        ]
        tables.append(
            Table(
                layout.slug(dataset, "compare", str(len(tables) + 1)),
                f"{of.a} less {of.b}",
                f"On the {layout.counted(of.cases, 'case')} of {where} that both have, drawn by patient for both "
                "alike.",
                "Metric",
                ("Difference", "p-value"),
                tuple(rows),
            )
        )
    text.append(
        "An interval without 0 is a difference that another sample of patients would hardly turn round. P-values are "
        "two-sided, not corrected for the number of metrics, and never below 2 / (replicates + 1)."
    )
    return Section("comparison", "Runs compared", tuple(text), tuple(tables))


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


def _groups_table(several: Sequence[Evaluated], attribute: str, heading: str, title: str) -> Table | None:
    rows = []
    for of in several:
        values = of.cases[0].attributes[attribute]
        if len(set(values)) < 2:
            return None
        for value in sorted(set(values)):
            cells = _group_cells(of, values == value)
            rows.append(Row(f"{of.name}: {_group_name(attribute, value)}", cells, "strict"))
    columns = ("Bones, DSC", "Erosions, DSC of any", "BE, MAE", "BE, bias of totals", "JSN, MAE", "JSN, bias of totals")
    kept = [index for index in range(len(columns)) if any(row.cells[index].n for row in rows)]
    return Table(
        layout.slug(several[0].dataset, "by", attribute),
        title,
        "n counts cases, of MAE the sites. No intervals: look at the numbers of cases before comparing.",
        f"Run and {heading}",
        tuple(columns[index] for index in kept),
        tuple(Row(row.name, tuple(row.cells[index] for index in kept), row.mode) for row in rows),
    )


def _group_name(attribute: str, value: object) -> str:
    if attribute == "is_ra":
        return {1: "rheumatoid arthritis", 0: "none"}.get(int(value), "unknown")
    return str(value) or "unknown"


def _group_cells(of: Evaluated, which: np.ndarray) -> tuple[Cell, ...]:
    """Means over the seeds of what `_groups_table` shows, of some of the cases."""
    names = ("bones/dsc", "erosions/dsc", "be/mae", "be/total_bias", "jsn/mae", "jsn/total_bias")
    cells = []
    for name in names:
        of_runs = of.metrics["strict"].get(name, ())
        values = [metric.statistic({key: array[which] for key, array in metric.data.items()}) for metric in of_runs]
        cells.append(Cell(float(np.mean(values)), n=_behind(of, name, which)) if of_runs else Cell())
    return tuple(cells)


def _behind(of: Evaluated, name: str, which: np.ndarray) -> int:
    """How many cases, or sites of `mae`, are behind a measure."""
    data = {key: array[which] for key, array in of.metrics["strict"][name][0].data.items()}
    if "counts" in data:
        return int(data["counts"].sum())
    if "count" in data:
        return int(data["count"].sum())
    return int(np.isfinite(data["predicted"]).sum())


def _is_validation(key: str, wanted: str) -> bool:
    """Whether a key is of that metric, on the only data set or on one of several."""
    return key == f"validation/{wanted}" or (key.startswith("validation/") and key.endswith(f"/{wanted}"))


def _curve(run: Run, key: str) -> tuple[np.ndarray, np.ndarray]:
    points = [(row["step"], row[key]) for row in run.curves if isinstance(row.get(key), int | float)]
    x, y = np.array(points, float).reshape(-1, 2).T
    return x, y

"""What a report shows of bones: the papers' tables, means over groups of bones, failures, and error by bone."""

from collections.abc import Sequence

import numpy as np

from ramjax import anatomy
from ramjax.figures import charts, layout, published
from ramjax.figures.content import Cell, Chart, Folded, Row, Section, Table
from ramjax.figures.estimates import Evaluated
from ramjax.metrics.segmentation import mean_of_finite
from ramjax.tasks.bones.measuring import BONE_GROUPS, MEANS, PAIR_NAMES, group_name

_COLUMNS = ("bones/dsc", "bones/nsd", "pairs/dsc", "pairs/nsd", "bones/voe", "bones/msd")


def sections(several: Sequence[Evaluated]) -> list[Section]:
    """Returns the sections about bones in one data set; no section if no bone of it was measured."""
    several = [of for of in several if of.has("bones") and of.estimate("bones/dsc").n]
    if not several:
        return []
    dataset, about = several[0].dataset, several[0].cases[0].about
    beside = published.segmentation(dataset, about)
    charted = by_part(several, "bones", "dsc", anatomy.BONES)
    blocks = [
        _main_table(several, beside),
        _groups_table(several),
        _failures_table(several),
        charted,
        by_part(several, "pairs", "dsc", PAIR_NAMES),
        Folded("Each bone in numbers", tuple(_bones_table(of) for of in several)),
    ]
    text = (
        "Strict rows are means over bones, without soft tissue; compat rows are what the published evaluator gives, "
        "over 30 channels (14 bones of a wrist).",
        beside.sentence,
    )
    return [Section(layout.slug(dataset, "bones"), "Bones", text, tuple(block for block in blocks if block))]


def by_part(several: Sequence[Evaluated], group: str, metric: str, parts: Sequence[str]) -> Chart | None:
    """Each part's mean with its interval, worst of the first system first."""
    names = [f"{group}/{metric}_{part}" for part in parts]
    order = [
        index
        for index in np.argsort([several[0].estimate(name).value for name in names], kind="stable")
        if several[0].estimate(names[index]).n
    ]
    if not order:
        return None
    series = {
        of.name: np.array([[(e := of.estimate(names[index])).value, e.low, e.high] for index in order])
        for of in several
    }
    one = several[0].cases[0].get(group, metric)[:, order] if len(several) == 1 else None
    labels = [parts[index].replace("PisiformTriquetrum", "Pisiform+Triq.") for index in order]
    what = {"bones": "bone", "pairs": "overlap of two bones"}[group]
    spread = " Bars behind: the middle half and the middle 90 % of the cases." if one is not None else ""
    worst = ", ".join(labels[:3])
    return Chart(
        layout.slug(several[0].dataset, group, "by-part"),
        f"{metric.upper()} by {what}",
        f"Strict; mean over the cases that show it, with its 95 % interval, the worst first.{spread}",
        charts.dots(labels, series, f"{metric.upper()} (strict)", one),
        f"{metric.upper()} of each {what}, worst first: {worst}. The same numbers are in the tables.",
    )


def _main_table(several: Sequence[Evaluated], beside: published.Published) -> Table:
    about = several[0].cases[0].about
    rows = [
        Row(row.name, (*row.cells, Cell(parameters(of), digits=2)), row.mode)
        for of in several
        for row in layout.system_rows([of], _COLUMNS, sd=True)
    ]
    names = ("dsc", "nsd", "", "", "voe", "msd", "parameters")
    rows += layout.published_rows(beside, names, {"msd": 2, "parameters": 2})
    return Table(
        layout.slug(several[0].dataset, "bones"),
        "Bones",
        "Mean ± standard deviation over cases, 95 % interval of the mean, and the cases n behind it. "
        f"{layout.distances(about)} DSCO and NSDO are of the overlaps of 14 pairs of wrist bones. Higher is better but "
        "for VOE and MSD.",
        "Run",
        ("DSC", "NSD", "DSCO", "NSDO", "VOE", layout.distance_column(about), "Parameters (M)"),
        tuple(rows),
        (1, 1, 1, 1, -1, -1, 0),
    )


def _groups_table(several: Sequence[Evaluated]) -> Table:
    groups = {tuple(sorted(_shown(several[0], bones))): name for name, bones in BONE_GROUPS.items()}
    rows = [
        Row(
            f"{of.name}: {group}",
            tuple(of.estimate(group_name(metric, group)).cell(sd=True) for metric in MEANS),
            "strict",
            contest=group,
        )
        for of in several
        for group in groups.values()
        if of.estimate(group_name("dsc", group)).n
    ]
    return Table(
        layout.slug(several[0].dataset, "bone-groups"),
        "Means over groups of bones",
        "The mean over 30 channels takes in soft tissue, which is large and easy, and the sesamoids, which are small.",
        "Run and group",
        ("DSC", "NSD", "VOE", f"MSD ({several[0].cases[0].about['unit']})"),
        tuple(rows),
        (1, 1, -1, -1),
    )


def _failures_table(several: Sequence[Evaluated]) -> Table:
    names = ("bones/missed", "bones/invented")
    rows = layout.system_rows(several, names, modes=("strict",), digits=4)
    return Table(
        layout.slug(several[0].dataset, "bone-failures"),
        "Failures",
        "Share of the annotated bones of which nothing was found, and of the absent ones of which something was; n is "
        "how many there are. The published MSD leaves missed bones out, and so gets better by missing one.",
        "Run",
        ("Missed", "Invented"),
        tuple(rows),
        (-1, -1),
    )


def _bones_table(of: Evaluated) -> Table:
    rows = []
    for index, bone in enumerate(anatomy.BONES):
        values = {
            metric: [mean_of_finite(cases.get("bones", metric)[:, index]) for cases in of.cases] for metric in MEANS
        }
        if not values["dsc"][0][1]:
            continue
        cells = [
            Cell(float(np.mean([v for v, _ in runs])), n=round(np.mean([n for _, n in runs])))
            for runs in values.values()
        ]
        rows.append(Row(bone, (of.estimate(f"bones/dsc_{bone}").cell(), *cells[1:]), "strict"))
    return Table(
        layout.slug(of.dataset, "each-bone", of.key),
        f"Each bone: {of.name}",
        "Mean over the cases that show the bone.",
        "Bone",
        ("DSC", "NSD", "VOE", f"MSD ({of.cases[0].about['unit']})"),
        tuple(rows),
    )


def _shown(of: Evaluated, bones: Sequence[str]) -> list[str]:
    """Those of the bones that any case shows: of wrists, several groups are the same one."""
    dsc = of.cases[0].get("bones", "dsc")
    return [bone for bone in bones if np.isfinite(dsc[:, anatomy.BONE_INDEX[bone]]).any()]


def parameters(of: Evaluated) -> float:
    """Millions of parameters of the network; NaN where it is not known."""
    return float("nan") if of.parameters is None else of.parameters / 1e6

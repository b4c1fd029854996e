"""What a report shows of erosions: the published table in both variants, lesions, areas, and error by burden."""

from collections.abc import Sequence

import numpy as np

from ramjax.figures import charts, layout, published
from ramjax.figures.content import Chart, Row, Section, Table
from ramjax.figures.estimates import Evaluated
from ramjax.metrics import erosion
from ramjax.metrics.cases import MODES
from ramjax.tasks.erosions.measuring import BURDENS, pooled_name
from ramjax.tasks.masks import MASK_METRICS

_VARIANTS = {"labels": "3 labels", "svdh90": "SvdH-BE-90 only"}


def sections(several: Sequence[Evaluated]) -> list[Section]:
    """Returns the sections about erosions in one data set; no section if no erosion mask of it is known."""
    several = [of for of in several if of.has("erosions") and of.estimate("erosions/dsc_or_1").n]
    if not several:
        return []
    dataset = several[0].dataset
    beside = published.other(dataset, several[0].cases[0].about)
    blocks = [_main_table(several, beside), _lesions_table(several), _areas_table(several), _burden_table(several)]
    blocks += [chart for of in several for chart in _area_charts(of)]
    text = (
        "Which labels the published table means is not said, so both variants stand here: the mean over the three "
        "labels that an image has, and SvdH-BE-90 alone.",
        beside.sentence,
    )
    return [Section(layout.slug(dataset, "erosions"), "Erosions", text, tuple(block for block in blocks if block))]


def _main_table(several: Sequence[Evaluated], beside: published.Published) -> Table:
    about = several[0].cases[0].about
    rows = [
        Row(
            f"{of.name}: {title}",
            tuple(of.estimate(f"erosions/{m}_{v}", mode).cell(sd=True) for m in MASK_METRICS),
            mode,
            contest=title,
        )
        for of in several
        for v, title in _VARIANTS.items()
        for mode in MODES
    ]
    return Table(
        layout.slug(several[0].dataset, "erosions"),
        "Erosions",
        "Mean ± standard deviation over cases, 95 % interval of the mean, and the cases n behind it, which are not the "
        f"same for each metric in compat. {layout.distances(about)}",
        "Run and labels",
        ("DSC", "NSD", "VOE", layout.distance_column(about), "REC", "PREC"),
        (*rows, *layout.published_rows(beside, MASK_METRICS)),
        (1, 1, -1, -1, 1, 1),
    )


def _rows(several: Sequence[Evaluated], names: Sequence[str]) -> tuple[Row, ...]:
    titles = {"labels": "any lesion", "svdh90": "SvdH-BE-90"}
    return tuple(
        Row(
            f"{of.name}: {title}",
            tuple(of.estimate(pooled_name(name, variant)).cell() for name in names),
            "strict",
            contest=title,
        )
        for of in several
        for variant, title in titles.items()
    )


def _lesions_table(several: Sequence[Evaluated]) -> Table:
    names = (
        "lesion_rec_iou", "lesion_prec_iou", "lesion_f1_iou", "lesion_rec_distance", "lesion_prec_distance",
        "lesion_f1_distance", "false_lesions_a_hand_distance",
    )  # fmt: skip
    return Table(
        layout.slug(several[0].dataset, "lesions"),
        "Lesion by lesion",
        "A lesion is a connected piece, matched one to one with another at an IoU of 0.5 or with centres of mass at "
        "most 2 mm apart. Pooled over all hands; n is the number of lesions or hands that are counted.",
        "Run and labels",
        ("REC IoU", "PREC IoU", "F1 IoU", "REC 2 mm", "PREC 2 mm", "F1 2 mm", "False a hand"),
        _rows(several, names),
        (1, 1, 1, 1, 1, 1, -1),
    )


def _areas_table(several: Sequence[Evaluated]) -> Table:
    names = (
        "pixel_rec", "pixel_prec", "dsc_or_1", "image_sensitivity", "image_specificity", "false_area_mm2",
        "area_bias_mm2", "area_mae_mm2", "area_correlation",
    )  # fmt: skip
    return Table(
        layout.slug(several[0].dataset, "erosion-areas"),
        "Clean hands and areas",
        "Recall and precision of all pixels together; Dice over all hands, 1 where nothing is annotated nor found; "
        "whether a hand has any erosion; area found on hands that have none; error and correlation (Pearson) of a "
        "hand's area.",
        "Run and labels",
        (
            "REC pixels", "PREC pixels", "DSC or 1", "Sensitivity", "Specificity", "False area (mm²)",
            "Area bias (mm²)", "Area error (mm²)", "Area correlation",
        ),
        _rows(several, names),
        (1, 1, 1, 1, 1, -1, 0, -1, 1),
    )  # fmt: skip


def _burden_table(several: Sequence[Evaluated]) -> Table | None:
    metrics = ("dsc", "rec", "prec")
    rows = tuple(
        Row(
            f"{of.name}: {burden}",
            tuple(of.estimate(f"erosions/{metric}_{burden}").cell() for metric in metrics),
            "strict",
            contest=burden,
        )
        for of in several
        for burden in BURDENS
        if of.estimate(f"erosions/dsc_{burden}").n
    )
    if not rows:
        return None
    return Table(
        layout.slug(several[0].dataset, "erosion-burden"),
        "By burden",
        "Of any lesion: hands with erosions by their annotated area.",
        "Run and annotated area",
        ("DSC", "REC", "PREC"),
        rows,
        (1, 1, 1),
    )


def _area_charts(of: Evaluated) -> list[Chart]:
    any_lesion = erosion.PARTS.index("any")
    cases = of.cases[0]
    annotated, predicted = (cases.get("erosions", f"{who}_mm2")[:, any_lesion] for who in ("annotated", "predicted"))
    known = np.isfinite(annotated) & np.isfinite(predicted)
    if not known.any():
        return []
    dsc = cases.get("erosions", "dsc")[:, any_lesion]
    eroded = known & np.isfinite(dsc)
    made = [
        Chart(
            layout.slug(of.dataset, "erosion-area", of.key),
            f"Eroded area: {of.name}",
            "A dot a hand, on scales that are linear up to 1 mm² and logarithmic above; the line is agreement.",
            charts.scatter(
                annotated[known], predicted[known], "annotated (mm²)", "predicted (mm²)", log=True, diagonal=True
            ),
            f"Predicted over annotated eroded area of {layout.counted(int(known.sum()), 'hand')}.",
        )
    ]
    if eroded.any():
        made.append(
            Chart(
                layout.slug(of.dataset, "erosion-burden", of.key),
                f"Dice by burden: {of.name}",
                "A dot a hand that has erosions: Dice of any lesion over the annotated area.",
                charts.scatter(annotated[eroded], dsc[eroded], "annotated (mm²)", "DSC", log=True),
                f"Dice over annotated area of {layout.counted(int(eroded.sum()), 'hand')} with erosions.",
            )
        )
    return made

"""What a report shows of joint sites: how well their boxes are found."""

from collections.abc import Sequence

import numpy as np

from ramjax import anatomy
from ramjax.figures import layout
from ramjax.figures.content import Cell, Folded, Row, Section, Table
from ramjax.figures.estimates import Evaluated
from ramjax.tasks.joints.measuring import detections


def sections(several: Sequence[Evaluated]) -> list[Section]:
    """Returns the sections about joints in one data set; no section if no box of it is annotated."""
    several = [of for of in several if of.has("joints") and of.estimate("joints/iou").n]
    if not several:
        return []
    blocks = (_main_table(several), Folded("Each site in numbers", tuple(_sites_table(of) for of in several)))
    return [Section(layout.slug(several[0].dataset, "joints"), "Joint sites", (), blocks)]


def _main_table(several: Sequence[Evaluated]) -> Table:
    names = [f"joints/{name}" for name in ("recall_50", "recall_75", "iou", "center_error_mm")]
    rows = []
    for of in several:
        found = [detections(cases)["pooled"] for cases in of.cases]
        direct = ("center_error_mm_median", "recall_50", "precision_50", "ap", "ap_50", "false_finds")
        counts = ("n_mm", "n", "n", "n", "n", "n_absent")
        cells = [
            Cell(
                float(np.mean([metrics[name] for metrics in found])),
                n=round(np.mean([metrics[n] for metrics in found])),
            )
            for name, n in zip(direct, counts, strict=True)
        ]
        rows.append(Row(of.name, (*(of.estimate(name).cell() for name in names), *cells), "strict"))
    return Table(
        layout.slug(several[0].dataset, "joints"),
        "Joint sites",
        "All annotated sites together; n counts them. The first columns take every site for found, those marked "
        "'sure' only with a confidence of 0.5. AP is COCO's average precision, the mean over IoU 0.5 to 0.95, and at "
        "0.5. False finds are sites that are known to be absent but were found.",
        "Run",
        (
            "Recall IoU 0.5", "Recall IoU 0.75", "IoU", "Centre error (mm)", "Median (mm)", "Recall, sure",
            "Precision, sure", "AP", "AP 0.5", "False finds, sure",
        ),
        tuple(rows),
        (1, 1, 1, -1, -1, 1, 1, 1, 1, -1),
    )  # fmt: skip


def _sites_table(of: Evaluated) -> Table:
    found = [detections(cases) for cases in of.cases]
    rows = []
    for site in anatomy.SITE_NAMES:
        if not found[0][site]["n"]:
            continue
        names = (("recall_50", "n"), ("recall_75", "n"), ("iou", "n"), ("center_error_mm", "n_mm"), ("ap", "n"))
        cells = [
            Cell(float(np.mean([f[site][name] for f in found])), n=round(np.mean([f[site][n] for f in found])))
            for name, n in names
        ]
        rows.append(Row(site, tuple(cells), "strict"))
    return Table(
        layout.slug(of.dataset, "each-joint", of.key),
        f"Each site: {of.name}",
        "Recall is of sites found with a confidence of 0.5.",
        "Site",
        ("Recall IoU 0.5", "Recall IoU 0.75", "IoU", "Centre error (mm)", "AP"),
        tuple(rows),
    )

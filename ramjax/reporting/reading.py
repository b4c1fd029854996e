"""The section that tells how to read the others."""

from collections.abc import Sequence

from ramjax.figures.content import Cell, Row, Section, Table
from ramjax.metrics.erosion import LESION_DISTANCE_MM, LESION_IOU
from ramjax.reporting.estimates import SEED, Evaluated

_DEFINITIONS: dict[str, dict[str, str]] = {
    "bones": {
        "DSC": "Dice similarity 2 |P ∩ A| / (|P| + |A|) of predicted pixels P and annotated pixels A; 1 is perfect.",
        "VOE": "Volume overlap error, 1 less the intersection over union; 0 is perfect.",
        "NSD": "Normalised surface Dice: the share of both outlines that lies within the tolerance of the other.",
        "MSD": "Mean distance of both outlines to each other, the symmetric average surface distance.",
        "DSCO, NSDO": "DSC and NSD of the pixels that two bones share, mean over 14 pairs of the wrist.",
        "REC, PREC": "Recall, the share of annotated pixels found; precision, the share of found pixels annotated.",
    },
    "erosions": {
        "Lesion F1": f"2 matched / (predicted + annotated) lesions, matched at an IoU of {LESION_IOU:g} or with "
        f"centres of mass at most {LESION_DISTANCE_MM:g} mm apart.",
    },
    "joints": {
        "Recall at IoU 0.5": "The share of the annotated sites whose box shares half of their union.",
        "AP": "Average precision of COCO, sites as categories.",
    },
    "be": {
        "QWK": "Quadratic weighted kappa: agreement beyond chance, where a difference costs its square; 1 is perfect.",
        "MAE": "Mean absolute error, in points.",
        "ACC, BACC": "Share of scores that agree; mean recall of the scores, so that rare ones count alike.",
        "W1-ACC": "Share of scores at most 1 apart.",
        "P/N-ACC, -SEN, -SPC": "Accuracy, sensitivity and specificity of a score above 0.",
        "AUROC": "The chance that a site with a score above 0 ranks above one with 0.",
        "ECE, Brier": "Expected calibration error, 15 bins; mean squared distance of the probabilities to the truth.",
        "ICC(2,1)": "Intraclass correlation, absolute agreement of one rater with another; it sees bias.",
    },
}

_QUIRKS: dict[str, dict[str, tuple[str, str]]] = {
    "bones": {
        "Mean over bones": (
            "Over 29 bones; of wrists those annotated.",
            "Over 30 channels, soft tissue among them. A wrist of which a bone has no value is left out, but for MSD.",
        ),
        "Bone missed": ("DSC 0, NSD 0, MSD the image's diagonal.", "DSC 0, NSD 0; infinite MSD, which is left out."),
        "Bone invented": ("Counted as invented; costs precision.", "DSC free of charge, NSD 0, MSD left out."),
        "SD": ("Over cases, ddof 1.", "Over cases, ddof 1; it is not the SD over seeds."),
    },
    "erosions": {
        "Hands without lesions": (
            "In no mean of DSC, NSD, VOE, MSD and REC; false area and specificity are told apart.",
            "0 in REC and PREC, even when rightly nothing is found; not in DSC and VOE; 0 in NSD if something is "
            "found.",
        ),
    },
    "be": {
        "QWK": ("By value over the whole scale.", "By rank among the scores that occur."),
        "BACC": ("Mean over annotated scores.", "A score that was only predicted is one more with recall 0."),
        "DOR": ("0.5 added to each count where one is 0.", "Not defined there."),
        "Sensitivity without positives": ("Not defined.", "0."),
    },
}


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

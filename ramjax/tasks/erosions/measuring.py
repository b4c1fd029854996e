"""Erosions measured: labels on the radiograph's grid, counts on the canvas, and the metrics of both."""

from collections.abc import Mapping

import numpy as np

from ramjax.config import EvaluationConfig
from ramjax.data import regrid
from ramjax.data.grid import Grid
from ramjax.metrics import erosion, segmentation
from ramjax.metrics.cases import MODES, Cases, Mode, Values
from ramjax.metrics.metric import Data, Metric, Ranking, mean_metric
from ramjax.record import Record
from ramjax.tasks import masks
from ramjax.tasks.masks import MASK_METRICS, in_both_modes

PARTS = {"erosions": erosion.PARTS}
"""The lesion labels and ``any`` of them; with the metrics of `segmentation.segmentation_metrics` and
`erosion.measure_erosions`."""

BURDENS: dict[str, tuple[float, float]] = {
    "up to 5 mm²": (0, 5), "5 to 15 mm²": (5, 15), "15 to 50 mm²": (15, 50), "above 50 mm²": (50, np.inf),
}  # fmt: skip
"""Groups of hands with erosions by their annotated area; a group holds its upper border."""

_ANY = erosion.PARTS.index("any")

DEFINITIONS: dict[str, str] = {
    **masks.DEFINITIONS,
    "Lesion F1": f"2 matched / (predicted + annotated) lesions, matched at an IoU of {erosion.LESION_IOU:g} or with "
    f"centres of mass at most {erosion.LESION_DISTANCE_MM:g} mm apart.",
}
"""What the metrics mean, for the report."""

EVALUATORS: dict[str, tuple[str, str]] = {
    "Hands without lesions": (
        "In no mean of DSC, NSD, VOE, MSD and REC; false area and specificity are told apart.",
        "0 in REC and PREC, even when rightly nothing is found; not in DSC and VOE; 0 in NSD if something is found.",
    ),
}
"""What the strict and the published evaluator do with the same matter."""


def measure(record: Record, maps: Mapping[str, np.ndarray], grid: Grid, settings: EvaluationConfig) -> Values:
    """Of each lesion label, and of any lesion."""
    pred = regrid.erosion_labels(maps["erosions"], grid.to_canvas, grid.canvas_height, grid.shape)
    target = grid.labels(record.erosions)

    def of(tolerance: float, spacing: tuple[float, float]) -> dict[Mode, dict[str, np.ndarray]]:
        values = erosion.measure_erosions(
            pred, target, tolerance=tolerance, spacing=spacing, pixel_spacing_mm=grid.spacing_mm
        )
        return {mode: {name: value[row] for name, value in values.items()} for row, mode in enumerate(MODES)}

    values = in_both_modes(of, grid, settings)
    if not record.has_erosions:
        values = {name: np.full_like(value, np.nan) for name, value in values.items()}
    return {"erosions": values}


def canvas_values(observed: Mapping[str, np.ndarray]) -> Values:
    """Dice and areas of any lesion, from pixels counted on the canvas."""
    known, eroded = observed["known"], observed["annotated"] > 0
    dice = segmentation.dice(observed["intersection"], observed["predicted"], observed["annotated"])
    of_any = {
        "dsc": np.where(known & eroded, dice, np.nan),
        "annotated_px": np.where(known, observed["annotated"], np.nan),
        "predicted_px": np.where(known, observed["predicted"], np.nan),
        "predicted_mm2": np.where(known, observed["predicted"] * observed["pixel_spacing_mm"] ** 2, np.nan),
    }
    values = {}
    for name, value in of_any.items():
        values[name] = np.full((len(MODES), len(value), len(erosion.PARTS)), np.nan)
        values[name][:, :, _ANY] = value
    return {"erosions": values}


def metrics(cases: Cases, mode: Mode) -> dict[str, Metric]:
    """Means over images of any lesion and of both published variants, and what is pooled over images.

    ``erosions/dsc`` is of any lesion over the hands that have one. A variant's name stands behind its metrics, as in
    ``erosions/dsc_svdh90``; what is pooled of any lesion, as ``erosions/lesion_f1_distance``, needs none.
    """
    groups = {"": ["any"]}
    groups |= {
        f"_{name}": [erosion.PARTS[part] for part in averaged] for name, (averaged, _) in erosion.VARIANTS.items()
    }
    found = {
        f"erosions/{metric}{suffix}": mean_metric(cases.mean("erosions", metric, labels, mode))
        for suffix, labels in groups.items()
        for metric in MASK_METRICS
        if cases.has("erosions", metric)
    }
    for variant, (_, part) in erosion.VARIANTS.items() if mode == "strict" else ():
        data = {name: value[0, :, part] for name, value in cases.values["erosions"].items()}
        for name, statistic in erosion.POOLED.items():
            if _needed(name) <= data.keys():
                found[pooled_name(name, variant)] = Metric(data, statistic, _behind(name, data))
    return found


def pooled_name(metric: str, variant: str) -> str:
    """The name of a metric that is pooled over images: of any lesion unless it says otherwise."""
    return f"erosions/{metric}" if variant == "labels" else f"erosions/{metric}_{variant}"


def part_metrics(cases: Cases) -> dict[str, Metric]:
    """Any lesion, by how much of the hand is eroded."""
    if not cases.has("erosions", "annotated_mm2"):
        return {}
    area = cases.get("erosions", "annotated_mm2")[:, _ANY]
    found = {}
    for burden, (above, most) in BURDENS.items():
        here = (area > above) & (area <= most)
        for metric in ("dsc", "rec", "prec"):
            values = np.where(here, cases.get("erosions", metric)[:, _ANY], np.nan)
            found[f"erosions/{metric}_{burden}"] = mean_metric(values)
    return found


def rank(cases: Cases) -> Ranking:
    """Hands that have erosions, by the Dice of any."""
    return Ranking("strict Dice of any erosion on hands that have one", cases.get("erosions", "dsc")[:, _ANY])


def _needed(name: str) -> set[str]:
    """The values that a pooled statistic reads."""
    if name.startswith(("lesion_", "false_lesions")):
        return {"lesions_predicted", "lesions_annotated", "matched_iou", "matched_distance"}
    if name.startswith("pixel_"):
        return {"both_px", "annotated_px", "predicted_px"}
    if name.startswith("area_"):
        return {"predicted_mm2", "annotated_mm2"}
    return {
        "image_sensitivity": {"predicted_px", "annotated_px"},
        "image_specificity": {"predicted_px", "annotated_px"},
        "false_area_mm2": {"predicted_mm2", "annotated_px"},
        "dsc_or_1": {"dsc_or_1"},
    }[name]


def _behind(name: str, data: Data) -> int:
    """How many lesions or hands a pooled metric counts."""
    if name.startswith("lesion_"):
        matched = np.isfinite(data["matched_distance" if name.endswith("distance") else "matched_iou"])
        return int(data["lesions_predicted" if name.startswith("lesion_prec") else "lesions_annotated"][matched].sum())
    if name.startswith("false_lesions"):
        return int(np.isfinite(data["matched_distance" if name.endswith("distance") else "matched_iou"]).sum())
    if name == "image_specificity":
        return int((data["annotated_px"] == 0).sum())
    if name == "false_area_mm2":
        return int((np.isfinite(data["predicted_mm2"]) & (data["annotated_px"] == 0)).sum())
    if name == "image_sensitivity":
        return int((data["annotated_px"] > 0).sum())
    return int(np.isfinite(data["predicted_mm2" if name.startswith("area") else "predicted_px"]).sum())

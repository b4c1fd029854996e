"""Boxes of joint sites measured on the radiograph's grid and on the canvas, and the metrics of both."""

from collections.abc import Mapping

import numpy as np

from ramjax import anatomy
from ramjax.config import EvaluationConfig
from ramjax.data.grid import Grid
from ramjax.metrics import detection
from ramjax.metrics.cases import Cases, Mode, Values
from ramjax.metrics.metric import Data, Metric, Ranking, constant_metric
from ramjax.record import Record
from ramjax.tasks.masks import alike

PARTS = {"joints": anatomy.SITE_NAMES}
"""The sites: ``confidence``, ``present`` (1, 0, or NaN unknown), ``iou``, ``center_error`` in pixels of the grid,
``center_error_mm``, and the boxes ``predicted_ymin`` ... ``annotated_xmax`` in pixels of the grid."""

_BOX = ("ymin", "xmin", "ymax", "xmax")

DEFINITIONS: dict[str, str] = {
    "Recall at IoU 0.5": "The share of the annotated sites whose box shares half of their union.",
    "AP": "Average precision of COCO, sites as categories.",
}
"""What the metrics mean, for the report."""


def measure(record: Record, maps: Mapping[str, np.ndarray], grid: Grid, settings: EvaluationConfig) -> Values:
    """Of the sites that are annotated or known to be absent."""
    del settings
    annotated = np.full((anatomy.NUM_SITES, 4), np.nan)
    present = np.where(np.asarray(record.joints_known, bool) & record.has_joints, 0.0, np.nan)
    for joint in record.joints if record.has_joints else ():
        low, high = np.array(joint.bbox[:2]), np.array(joint.bbox[2:])
        if not ((low >= 0).all() and (low < high).all() and (high <= 1 + 1e-6).all()):
            raise ValueError(
                f"The box of {joint.site} in {grid.name} is {joint.bbox}; expected ymin < ymax and xmin < xmax as "
                "fractions within the image: mend the annotation."
            )
        site = anatomy.SITE_INDEX[joint.site]
        annotated[site], present[site] = np.multiply(joint.bbox, 2 * grid.shape), 1.0
    return {"joints": _values(grid.boxes(maps["boxes"]), maps["confidence"], annotated, present, grid.spacing_mm)}


def canvas_values(observed: Mapping[str, np.ndarray]) -> Values:
    """The same of n examples, in pixels of the canvas."""
    absent, present = observed["absent"], observed["present"]
    there = np.where(present, 1.0, np.where(absent, 0.0, np.nan))
    annotated = np.where(present[..., None], observed["annotated"], np.nan).astype(np.float64)
    spacing = np.asarray(observed["pixel_spacing_mm"], np.float64)[:, None]
    return {"joints": _values(observed["predicted"], observed["confidence"], annotated, there, (spacing, spacing))}


def metrics(cases: Cases, mode: Mode) -> dict[str, Metric]:
    """Recall, IoU and centres of all annotated sites, however confident the network is of them; and of those found
    with confidence, precision and how many are found that are not there (``false_finds``).
    """
    if mode == "compat":
        return {}
    there = cases.get("joints", "present") == 1
    iou = np.where(there, np.nan_to_num(cases.get("joints", "iou")), np.nan)
    reached = {f"recall_{percent}": np.where(there, iou >= percent / 100, np.nan) for percent in (50, 75)}
    error = np.where(there, cases.get("joints", "center_error_mm"), np.nan)
    found = {name: _mean_of_sites(of) for name, of in {**reached, "iou": iou, "center_error_mm": error}.items()}
    every, sure = detections(cases, min_confidence=0)["pooled"], detections(cases)["pooled"]
    for name in ("ap", "ap_50", "ap_75", "center_error_px"):
        found[name] = constant_metric(every[name], every["n"])
    found["center_error_mm_median"] = constant_metric(every["center_error_mm_median"], every["n_mm"])
    for name in ("precision_50", "precision_75"):
        found[name] = constant_metric(sure[name], sure["n"])
    found["false_finds"] = constant_metric(sure["false_finds"], sure["n_absent"])
    return {f"joints/{name}": metric for name, metric in found.items()}


def rank(cases: Cases) -> Ranking:
    """Cases by the IoU of their boxes."""
    return Ranking("mean IoU of the joint sites", cases.mean("joints", "iou", anatomy.SITE_NAMES))


def detections(cases: Cases, min_confidence: float = 0.5) -> dict[str, dict[str, float]]:
    """What `detection.detection_metrics` gives of the boxes, with the distances in mm that were measured case by case.

    A grid's pixels may be farther apart one way than the other, which one spacing cannot tell.
    """
    predicted, annotated = (
        np.stack([cases.get("joints", f"{who}_{side}") for side in _BOX], -1) for who in ("predicted", "annotated")
    )
    present, confidence = cases.get("joints", "present"), np.nan_to_num(cases.get("joints", "confidence"))
    found = detection.detection_metrics(
        predicted, confidence, annotated, present == 1, known=np.isfinite(present), min_confidence=min_confidence
    )
    error = np.where(present == 1, cases.get("joints", "center_error_mm"), np.nan)
    for name, metrics in found.items():
        of_sites = error if name == "pooled" else error[:, anatomy.SITE_INDEX[name]]
        finite = of_sites[np.isfinite(of_sites)]
        metrics["center_error_mm"] = float(finite.mean()) if finite.size else float("nan")
        metrics["center_error_mm_median"] = float(np.median(finite)) if finite.size else float("nan")
        metrics["n_mm"] = float(finite.size)
    return found


def _mean_of_sites(values: np.ndarray) -> Metric:
    """The mean over the finite values (N, 22) of all sites, added up in the order of `detection.detection_metrics`."""

    def statistic(data: Data) -> float:
        finite = data["values"][np.isfinite(data["values"])]
        return float(finite.mean()) if finite.size else float("nan")

    return Metric({"values": values}, statistic, int(np.isfinite(values).sum()))


def _values(
    predicted: np.ndarray, confidence: np.ndarray, annotated: np.ndarray, present: np.ndarray, spacing_mm: tuple
) -> dict[str, np.ndarray]:
    """The values of boxes (..., 22, 4); spacing is between rows and between columns, and may be of each example."""
    there = present == 1
    pixels = np.where(there, detection.center_distance(predicted, annotated), np.nan)
    factors = np.stack(np.broadcast_arrays(*spacing_mm, *spacing_mm), -1)
    mm = np.where(there, detection.center_distance(predicted * factors, annotated * factors), np.nan)
    values = {
        "confidence": confidence,
        "present": present,
        "iou": np.where(there, detection.box_iou(predicted, np.nan_to_num(annotated)), np.nan),
        "center_error": pixels,
        "center_error_mm": mm,
        **{f"predicted_{side}": predicted[..., k] for k, side in enumerate(_BOX)},
        **{f"annotated_{side}": annotated[..., k] for k, side in enumerate(_BOX)},
    }
    return {key: alike(value) for key, value in values.items()}

"""One hand: what was predicted of it, put on the grid of the measurement, against what is annotated."""

import dataclasses
import math
from collections.abc import Callable, Mapping

import cv2
import numpy as np

from ramjax import anatomy
from ramjax.config import EvaluationConfig
from ramjax.data import geometry, regrid
from ramjax.metrics import detection, erosion, scoring, segmentation, surface
from ramjax.metrics.cases import ATTRIBUTES, MODES, Case, Mode
from ramjax.record import Record

SQUARE = 512
"""Side in pixels of the grid that the wrist papers measure on: the radiograph stretched to a square (RAM-W600)."""

PUBLISHED_TOLERANCE = 2.0
"""Pixels within which the published evaluators count a boundary as near."""

_BOX = ("ymin", "xmin", "ymax", "xmax")


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What the network says of one radiograph.

    Attributes:
      maps: the network's predictions without the batch axis: ``bones`` and ``erosions`` probabilities over the whole
        canvas at any stride, ``boxes`` in canvas pixels, ``confidence``, and probabilities of ``be`` and ``jsn``;
        those of tasks not trained are absent.
      affine: float64 (2, 3), pixels of the radiograph to canvas pixels.
      canvas_height: in pixels.
    """

    maps: Mapping[str, np.ndarray]
    affine: np.ndarray
    canvas_height: int


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where a hand is measured.

    Attributes:
      affine: float64 (2, 3), pixels of the radiograph to pixels of the grid.
      shape: of the grid.
      spacing_mm: between rows and between columns; NaN unknown.
    """

    affine: np.ndarray
    shape: tuple[int, int]
    spacing_mm: tuple[float, float]


def grid_of(record: Record, kind: str) -> Grid:
    """The ``native`` grid of a record, or ``square512``: the whole of it stretched to `SQUARE` pixels a side."""
    height, width = record.image.shape
    mm = float(record.pixel_spacing_mm)
    if kind == "native":
        return Grid(geometry.scale(1, 1), (height, width), (mm, mm))
    return Grid(
        geometry.scale(SQUARE / width, SQUARE / height), (SQUARE, SQUARE), (mm * height / SQUARE, mm * width / SQUARE)
    )


def measure(record: Record, prediction: Prediction, settings: EvaluationConfig, picture: str = "") -> Case:
    """Measures everything that is predicted; what is not annotated is NaN.

    Args:
      record: as annotated.
      prediction: of the same radiograph.
      settings: the grid, and the tolerance of boundaries in strict mode; compat always takes the published 2 pixels.
      picture: name of the case's picture.

    Raises:
      ValueError: a prediction is not finite, or an annotated box lies outside the image; the message names the record.
    """
    name = f"{record.dataset} {record.id}".strip()
    maps = prediction.maps
    regrid.check_finite(maps, name)
    grid = grid_of(record, settings.grid)
    to_canvas = geometry.compose(prediction.affine, geometry.invert(grid.affine))
    values: dict[str, dict[str, np.ndarray]] = {}
    if "bones" in maps:
        pred = regrid.packed_masks(maps["bones"], to_canvas, prediction.canvas_height, grid.shape)
        target = _on_grid(np.ascontiguousarray(record.bones).view("<u4")[..., 0], grid)
        known = np.asarray(record.bones_known, bool) & record.has_bones
        values["bones"], values["pairs"] = _bones(pred, target, known, grid, settings)
    if "erosions" in maps:
        pred = regrid.erosion_labels(maps["erosions"], to_canvas, prediction.canvas_height, grid.shape)
        values["erosions"] = _erosions(pred, _on_grid(record.erosions, grid), record.has_erosions, grid, settings)
    if "confidence" in maps:
        boxes = geometry.apply_to_boxes(geometry.invert(to_canvas), maps["boxes"])
        values["joints"] = _joints(record, boxes, maps["confidence"], grid, name)
    for scale in anatomy.SCALES:
        if scale in maps:
            values[scale] = _scores(record, scale, maps[scale])
    spacing = math.sqrt(math.prod(grid.spacing_mm))
    known = {key: getattr(record, key) for key in ATTRIBUTES if key not in ("pixel_spacing_mm", "picture")}
    return Case({**known, "pixel_spacing_mm": spacing, "picture": picture}, values)


def _on_grid(labels: np.ndarray, grid: Grid) -> np.ndarray:
    """Annotated labels or words (H, W) on the grid, at the pixels nearest to the centres of the grid's.

    The published code takes pixels half a grid pixel up and left of these, for training and test alike; predictions
    that are put on the grid by its geometry would then seem shifted.
    """
    if labels.shape == grid.shape:
        return labels
    planes = np.ascontiguousarray(labels).view(np.uint8).reshape(*labels.shape, -1)
    resized = cv2.resize(planes, grid.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.ascontiguousarray(resized).view(labels.dtype).reshape(grid.shape)


def _bones(
    pred: np.ndarray, target: np.ndarray, known: np.ndarray, grid: Grid, settings: EvaluationConfig
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Of the channels, and of the pairs' overlaps, from packed words (H, W)."""
    pairs = segmentation.pair_indices(anatomy.OVERLAP_PAIRS, anatomy.BONES)
    parts = [1 << k for k in range(anatomy.NUM_BONES)] + [1 << a | 1 << b for a, b in pairs]
    all_known = np.concatenate([known, known[pairs].all(axis=1)])

    def of(tolerance: float, spacing: tuple[float, float]) -> dict[Mode, dict[str, np.ndarray]]:
        measured = surface.measure(pred, target, parts, tolerance=tolerance, spacing=spacing)
        return {mode: segmentation.from_measured(measured, mode, all_known) for mode in MODES}

    values = _both_modes(of, grid, settings)
    split = anatomy.NUM_BONES
    return {k: v[:, :split] for k, v in values.items()}, {k: v[:, split:] for k, v in values.items()}


def _erosions(
    pred: np.ndarray, target: np.ndarray, known: bool, grid: Grid, settings: EvaluationConfig
) -> dict[str, np.ndarray]:
    def of(tolerance: float, spacing: tuple[float, float]) -> dict[Mode, dict[str, np.ndarray]]:
        values = erosion.measure_erosions(
            pred, target, tolerance=tolerance, spacing=spacing, pixel_spacing_mm=grid.spacing_mm
        )
        return {mode: {name: value[row] for name, value in values.items()} for row, mode in enumerate(MODES)}

    values = _both_modes(of, grid, settings)
    return values if known else {name: np.full_like(value, np.nan) for name, value in values.items()}


def _both_modes(
    of: Callable[[float, tuple[float, float]], dict[Mode, dict[str, np.ndarray]]],
    grid: Grid,
    settings: EvaluationConfig,
) -> dict[str, np.ndarray]:
    """(2, parts) of each metric: strict as the settings have it, compat in pixels as published."""
    pixels = (1.0, 1.0)
    spacing_known = math.isfinite(sum(grid.spacing_mm))
    wanted = settings.tolerance, grid.spacing_mm if settings.unit == "mm" and spacing_known else pixels
    published = of(PUBLISHED_TOLERANCE, pixels)
    strict = (published if wanted == (PUBLISHED_TOLERANCE, pixels) else of(*wanted))["strict"]
    if settings.unit == "mm" and not spacing_known:
        strict = strict | {name: np.full_like(strict[name], np.nan) for name in ("nsd", "msd", "hd95")}
    return {name: np.stack([strict[name], published["compat"][name]]) for name in strict}


def _joints(record: Record, boxes: np.ndarray, confidence: np.ndarray, grid: Grid, name: str) -> dict[str, np.ndarray]:
    annotated = np.full((anatomy.NUM_SITES, 4), np.nan)
    present = np.where(np.asarray(record.joints_known, bool) & record.has_joints, 0.0, np.nan)
    for joint in record.joints if record.has_joints else ():
        low, high = np.array(joint.bbox[:2]), np.array(joint.bbox[2:])
        if not ((low >= 0).all() and (low < high).all() and (high <= 1 + 1e-6).all()):
            raise ValueError(
                f"The box of {joint.site} in {name} is {joint.bbox}; expected ymin < ymax and xmin < xmax as fractions "
                "within the image: mend the annotation."
            )
        site = anatomy.SITE_INDEX[joint.site]
        annotated[site], present[site] = np.multiply(joint.bbox, 2 * grid.shape), 1.0
    there = present == 1
    distance = {
        unit: np.where(there, detection.center_distance(boxes * (2 * factor), annotated * (2 * factor)), np.nan)
        for unit, factor in (("", (1.0, 1.0)), ("_mm", grid.spacing_mm))
    }
    values = {
        "confidence": confidence,
        "present": present,
        "iou": np.where(there, detection.box_iou(boxes, np.nan_to_num(annotated)), np.nan),
        **{f"center_error{unit}": value for unit, value in distance.items()},
        **{f"predicted_{side}": boxes[:, k] for k, side in enumerate(_BOX)},
        **{f"annotated_{side}": annotated[:, k] for k, side in enumerate(_BOX)},
    }
    return {key: _same_in_both(value) for key, value in values.items()}


def _scores(record: Record, scale: str, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    top, sites = anatomy.SCALES[scale]
    graded = np.isin(np.arange(anatomy.NUM_SITES), sites)
    annotated = np.full(anatomy.NUM_SITES, np.nan)
    for joint in record.joints if getattr(record, f"has_{scale}") else ():
        score = getattr(joint, scale)
        if score > top:
            raise ValueError(f"{record.dataset} {record.id} has {scale} {score} at {joint.site}; expected 0 to {top}.")
        if score >= 0:
            annotated[anatomy.SITE_INDEX[joint.site]] = score
    values = {
        "predicted": scoring.decode(probabilities),
        "annotated": annotated,
        **{f"p{score}": probabilities[:, score] for score in range(top + 1)},
    }
    return {key: _same_in_both(np.where(graded, value, np.nan)) for key, value in values.items()}


def _same_in_both(values: np.ndarray) -> np.ndarray:
    return np.stack([np.asarray(values, np.float64)] * 2)

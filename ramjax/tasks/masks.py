"""What the tasks with masks share: measuring in two modes, with one tolerance each, and areas for people."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ramjax.config import EvaluationConfig
from ramjax.data.grid import Grid
from ramjax.metrics.cases import PUBLISHED_TOLERANCE, Mode

MASK_METRICS: tuple[str, ...] = ("dsc", "nsd", "voe", "msd", "rec", "prec")
"""The metrics of masks that tables show."""

DEFINITIONS: dict[str, str] = {
    "DSC": "Dice similarity 2 |P ∩ A| / (|P| + |A|) of predicted pixels P and annotated pixels A; 1 is perfect.",
    "VOE": "Volume overlap error, 1 less the intersection over union; 0 is perfect.",
    "NSD": "Normalised surface Dice: the share of both outlines that lies within the tolerance of the other.",
    "MSD": "Mean distance of both outlines to each other, the symmetric average surface distance.",
    "REC, PREC": "Recall, the share of annotated pixels found; precision, the share of found pixels annotated.",
}
"""What they mean, for the report."""


def in_both_modes(
    measure: Callable[[float, tuple[float, float]], dict[Mode, dict[str, np.ndarray]]],
    grid: Grid,
    settings: EvaluationConfig,
) -> dict[str, np.ndarray]:
    """Measures masks as the settings ask for and as published; returns (2, parts) of each metric.

    Args:
      measure: ``measure(tolerance, spacing)`` returns the metrics in both modes, each (parts,).
      grid: of the masks.
      settings: tolerance and unit of the strict values; compat ones are in pixels, at the published tolerance.
    """
    pixels = (1.0, 1.0)
    spacing_known = math.isfinite(sum(grid.spacing_mm))
    wanted = settings.tolerance, grid.spacing_mm if settings.unit == "mm" and spacing_known else pixels
    published = measure(PUBLISHED_TOLERANCE, pixels)
    strict = (published if wanted == (PUBLISHED_TOLERANCE, pixels) else measure(*wanted))["strict"]
    if settings.unit == "mm" and not spacing_known:
        strict = strict | {name: np.full_like(strict[name], np.nan) for name in ("nsd", "msd", "hd95")}
    return {name: np.stack([strict[name], published["compat"][name]]) for name in strict}


def alike(values: np.ndarray) -> np.ndarray:
    """Values that are the same in both modes, float64 (2, ...)."""
    return np.stack([np.asarray(values, np.float64)] * 2)


def area(pixels: int, spacing_mm: float) -> dict[str, Any]:
    """The keys ``area_px`` and ``area_mm2`` of a report; the latter None where the spacing is not known."""
    return {"area_px": pixels, "area_mm2": round(pixels * spacing_mm**2, 3) if math.isfinite(spacing_mm) else None}

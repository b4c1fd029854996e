"""Agreement of masks: overlap, boundaries, areas; as the published evaluators compute it (compat), or strict."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ramjax import anatomy
from ramjax.metrics import surface
from ramjax.metrics.surface import Measured

METRICS: tuple[str, ...] = (
    "dsc", "iou", "voe", "nsd", "msd", "hd95", "ravd", "rec", "prec", "missed", "invented",
)  # fmt: skip

_EPSILON = 1e-8  # of the published pixel recall and precision


def segmentation_metrics(
    pred: np.ndarray,
    target: np.ndarray,
    *,
    mode: Literal["strict", "compat"] = "strict",
    known: np.ndarray | None = None,
    tolerance: float = 2.0,
    spacing: float | tuple[float, float] | None = None,
) -> dict[str, np.ndarray]:
    """Measures the planes of one image.

    With P and A the predicted and the annotated pixels, and distances between the boundary pixels of either mask and
    the nearest of the other (4-connected, the image's border included; see `surface.measure`):

    - ``dsc`` 2 |P & A| / (|P| + |A|) (Dice 1945), ``iou`` |P & A| / |P | A| (Jaccard 1901), ``voe`` 1 - iou;
    - ``nsd`` share of all boundary pixels within `tolerance` (Nikolov et al., arXiv 1809.04430, on pixels);
    - ``msd`` mean of all these distances, both directions pooled (the symmetric average surface distance);
    - ``hd95`` the greater of the two directions' 95th percentiles (Huttenlocher 1993, robust);
    - ``ravd`` ||P| - |A|| / |A|, ``rec`` |P & A| / |A|, ``prec`` |P & A| / |P|;
    - ``missed`` 1 where A is not empty and P is, ``invented`` 1 where P is not empty and A is, else 0.

    What empty masks give (- is NaN, "d" the image's diagonal):

    |               | mode   | dsc iou | voe | nsd | msd | hd95 | ravd | rec | prec | missed | invented |
    |---------------|--------|---------|-----|-----|-----|------|------|-----|------|--------|----------|
    | A and P empty | strict | -       | -   | -   | -   | -    | -    | -   | -    | -      | 0        |
    |               | compat | -       | -   | -   | -   | -    | 0    | 0   | 0    | -      | 0        |
    | A empty       | strict | -       | -   | -   | -   | -    | -    | -   | 0    | -      | 1        |
    |               | compat | -       | -   | 0   | inf | -    | 0    | 0   | 0    | -      | 1        |
    | P empty       | strict | 0       | 1   | 0   | d   | d    | 1    | 0   | -    | 1      | -        |
    |               | compat | 0       | 1   | 0   | inf | -    | 1    | 0   | 0    | 1      | -        |

    ``compat`` is what MONAI's Dice, MeanIoU, SurfaceDice, SurfaceDistance (symmetric) and HausdorffDistance give, and
    the published code for the rest, whose recall and precision add 1e-8 to the denominator. ``strict`` differs so:

    - One set of images for all metrics, those where the mask is annotated (compat: the false mask costs nothing in dsc,
      0 in nsd, and is dropped in msd); false masks are counted by ``invented`` and cost precision.
    - A missed mask has the image's diagonal for its distance (compat: infinite, and then left out of the mean, so that
      missing a bone improves it).
    - The area error of an absent mask is not defined (compat: 0, a reward for inventing one).
    - Recall is of annotated and precision of predicted masks (compat: 0 where there is nothing to find or nothing
      found, so that their means are capped by the share of images that have the mask).

    Args:
      pred, target: bool (H, W, K), K <= 57.
      mode: see above.
      known: bool (K,), the planes that are annotated here; the others give NaN throughout. None knows all.
      tolerance: of nsd, in pixels, or in mm with `spacing`.
      spacing: mm between pixels, or between (rows, columns); distances then are in mm. None leaves them in pixels.

    Returns:
      By metric float64 (K,), fractions except msd and hd95.

    Raises:
      ValueError: shapes differ, masks are not bool, the mode is unknown, tolerance or spacing is out of range.
    """
    _check_masks(pred, target)
    measured = surface.measure(
        surface.pack(pred),
        surface.pack(target),
        [1 << k for k in range(pred.shape[-1])],
        tolerance=check_tolerance(tolerance),
        spacing=check_spacing(spacing),
    )
    return from_measured(measured, mode, _check_known(known, pred.shape[-1]))


def overlap_metrics(
    pred: np.ndarray,
    target: np.ndarray,
    *,
    pairs: Sequence[tuple[str, str]] = anatomy.OVERLAP_PAIRS,
    names: Sequence[str] = anatomy.BONES,
    mode: Literal["strict", "compat"] = "strict",
    known: np.ndarray | None = None,
    tolerance: float = 2.0,
    spacing: float | tuple[float, float] | None = None,
) -> dict[str, np.ndarray]:
    """As `segmentation_metrics`, of the pixels that two planes share; the published DSCO and NSDO are dsc and nsd.

    Pairs are found by name, never by position (the published code relies on the order of category ids).

    Args:
      pairs: names of two planes each; a pair is known where both planes are.
      names: of the planes, (K,).

    Returns:
      By metric float64 (pairs,).

    Raises:
      ValueError: as `segmentation_metrics`; or a pair names a plane that is not there.
    """
    _check_masks(pred, target)
    if len(names) != pred.shape[-1]:
        raise ValueError(f"{len(names)} names are given for {pred.shape[-1]} planes; give each plane its own.")
    indices = pair_indices(pairs, names)
    measured = surface.measure(
        surface.pack(pred),
        surface.pack(target),
        [1 << a | 1 << b for a, b in indices],
        tolerance=check_tolerance(tolerance),
        spacing=check_spacing(spacing),
    )
    return from_measured(measured, mode, _check_known(known, pred.shape[-1])[indices].all(axis=1))


def from_measured(measured: Measured, mode: Literal["strict", "compat"], known: np.ndarray) -> dict[str, np.ndarray]:
    """The metrics of `segmentation_metrics` from counts and distances, NaN where not `known` (K,)."""
    if mode not in ("strict", "compat"):
        raise ValueError(f"mode is {mode!r}; use 'strict' or 'compat'.")
    strict = mode == "strict"
    both, found, there = (x.astype(np.float64) for x in (measured.intersection, measured.predicted, measured.annotated))
    annotated, predicted = there > 0, found > 0
    missed, invented = annotated & ~predicted, predicted & ~annotated
    overlap = _ratio(both, np.where(annotated, found + there - both, 0))
    within = _ratio(measured.near, measured.boundary)
    mean, hd95 = _ratio(measured.distance, measured.boundary), measured.hd95.copy()
    if strict:
        mean[missed] = hd95[missed] = measured.diagonal
        mean[invented] = within[invented] = np.nan
    else:
        mean[missed | invented] = np.inf
    metrics = {
        "dsc": _ratio(2 * both, np.where(annotated, found + there, 0)),
        "iou": overlap,
        "voe": 1 - overlap,
        "nsd": within,
        "msd": mean,
        "hd95": hd95,
        "ravd": _ratio(np.abs(found - there), there),
        "rec": _ratio(both, there) if strict else both / (there + _EPSILON),
        "prec": _ratio(both, found) if strict else both / (found + _EPSILON),
        "missed": np.where(annotated, missed, np.nan),
        "invented": np.where(annotated, np.nan, invented),
    }
    if not strict:
        metrics["ravd"][~annotated] = 0.0
    return {name: np.where(known, metrics[name], np.nan) for name in METRICS}


def dice(intersection: np.ndarray, predicted: np.ndarray, annotated: np.ndarray) -> np.ndarray:
    """Dice similarity 2 |P and A| / (|P| + |A|), float64, from pixel counts of any shape; NaN where both are empty.

    Source: Dice LR. Ecology 1945;26:297-302.
    """
    total = np.asarray(predicted, np.float64) + np.asarray(annotated, np.float64)
    return _ratio(2.0 * np.asarray(intersection, np.float64), total)


def mean_of_finite(values: np.ndarray, axis: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean over the finite values along `axis` (NaN where there is none) and how many there were."""
    finite = np.isfinite(values)
    count = finite.sum(axis)
    total = np.where(finite, values, 0.0).sum(axis)
    return _ratio(total, count), count


def pair_indices(pairs: Sequence[tuple[str, str]], names: Sequence[str]) -> np.ndarray:
    """The positions of the planes of each pair in `names`, int (pairs, 2); raises ValueError naming a missing one."""
    missing = [name for pair in pairs for name in pair if name not in names]
    if missing:
        raise ValueError(f"There is no plane {missing[0]!r}; the planes are {', '.join(names)}.")
    return np.array([[list(names).index(name) for name in pair] for pair in pairs], int).reshape(-1, 2)


def check_tolerance(tolerance: float) -> float:
    """The tolerance, if it is a finite number, 0 or above; raises ValueError otherwise."""
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"tolerance is {tolerance}; use a finite number of pixels or mm, 0 or above.")
    return float(tolerance)


def check_spacing(spacing: float | tuple[float, float] | None) -> tuple[float, float]:
    """(rows, columns) of a spacing as `segmentation_metrics` takes it; raises ValueError for one that is none."""
    pair = np.broadcast_to(1.0 if spacing is None else spacing, 2)
    if not (np.isfinite(pair).all() and (pair > 0).all()):
        raise ValueError(f"spacing is {spacing}; use the distance of pixels in mm, above 0, or None for pixels.")
    return float(pair[0]), float(pair[1])


def _check_masks(pred: np.ndarray, target: np.ndarray) -> None:
    if pred.shape != target.shape or pred.ndim != 3:
        raise ValueError(f"Masks must be of one shape (H, W, K); got {pred.shape} predicted, {target.shape} annotated.")
    for name, masks in (("predicted", pred), ("annotated", target)):
        if masks.dtype != bool:
            raise ValueError(f"The {name} masks are {masks.dtype}, not bool; compare logits with 0 first.")


def _check_known(known: np.ndarray | None, count: int) -> np.ndarray:
    known = np.ones(count, bool) if known is None else np.asarray(known, bool)
    if known.shape != (count,):
        raise ValueError(f"known has shape {known.shape}; expected one bool for each of the {count} planes.")
    return known


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient, float64, NaN where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(np.shape(denominator), np.nan), where=denominator > 0)

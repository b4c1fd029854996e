"""Agreement of erosion masks: pixels, lesions, areas, and false areas on hands without erosions."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import cv2
import numpy as np

from ramjax import anatomy
from ramjax.metrics import segmentation, surface
from ramjax.metrics.segmentation import mean_of_finite

LESION_IOU = 0.5
"""Lesions this alike are the same one: the usual criterion of detection (Everingham et al., Int J Comput Vis 2010)."""

LESION_DISTANCE_MM = 2.0
"""So are, by the lenient criterion, lesions whose centres of mass lie this near: a lesion of the fingers is 1 to 4 mm
wide, and a small shift leaves little of its overlap."""

PARTS: tuple[str, ...] = (*anatomy.EROSION_LABELS[1:], "any")
"""The three lesion labels, and all of them as one."""

VARIANTS: dict[str, tuple[tuple[int, ...], int]] = {"labels": ((0, 1, 2), 3), "svdh90": ((0,), 0)}
"""For each variant of the published table, the positions in `PARTS` that are averaged image by image, and the one whose
lesions and areas count: the three labels and any lesion, or SvdH-BE-90 alone."""


def erosion_metrics(
    preds: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    *,
    variant: Literal["labels", "svdh90"] = "labels",
    mode: Literal["strict", "compat"] = "strict",
    tolerance: float = 2.0,
    pixel_spacing_mm: Sequence[float] | None = None,
) -> dict[str, float]:
    """Measures the erosions of a split.

    ``dsc``, ``iou``, ``voe``, ``nsd``, ``msd``, ``hd95``, ``ravd``, ``rec`` and ``prec`` are those of
    `segmentation.segmentation_metrics`, the mean over the variant's labels of each image that have one, then over
    images, each with its number of images ``<metric>/n``. In ``compat`` an image without lesions counts 0 in rec and
    prec and not at all in dsc, as published; ``strict`` takes rec over images with lesions and prec over images with
    predictions. The others are those of `pooled`, the same in both modes.

    Args:
      preds, targets: uint8 (H, W) labels 0-3 a hand, which may differ in size between hands.
      variant: ``labels`` the three labels, lesions being of any; ``svdh90`` SvdH-BE-90 alone.
      mode: for the metrics named above.
      tolerance: of nsd, in pixels.
      pixel_spacing_mm: of each hand; None or NaN where unknown: no areas and no distances in mm.

    Raises:
      ValueError: not as many predicted as annotated hands, shapes that differ, labels above 3, an unknown variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant is {variant!r}; use {' or '.join(map(repr, VARIANTS))}.")
    if mode not in ("strict", "compat"):
        raise ValueError(f"mode is {mode!r}; use 'strict' or 'compat'.")
    spacings = [math.nan] * len(targets) if pixel_spacing_mm is None else list(pixel_spacing_mm)
    if not len(preds) == len(targets) == len(spacings):
        raise ValueError(
            f"{len(preds)} predicted, {len(targets)} annotated hands and {len(spacings)} spacings do not pair up."
        )
    hands = [
        measure_erosions(*hand, tolerance=tolerance, pixel_spacing_mm=mm)
        for *hand, mm in zip(preds, targets, spacings, strict=True)
    ]
    if not hands:
        raise ValueError("There are no hands to measure.")
    values = {name: np.stack([hand[name] for hand in hands], 1) for name in hands[0]}
    averaged, lesions = VARIANTS[variant]
    row = 0 if mode == "strict" else 1
    metrics = {}
    for name in segmentation.METRICS[:9]:
        of_images = mean_of_finite(values[name][row][:, list(averaged)], axis=1)[0]
        value, n = mean_of_finite(of_images)
        metrics[name], metrics[f"{name}/n"] = float(value), int(n)
    return metrics | pooled({name: value[0][:, lesions] for name, value in values.items()})


def measure_erosions(
    pred: np.ndarray,
    target: np.ndarray,
    *,
    tolerance: float = 2.0,
    spacing: tuple[float, float] = (1.0, 1.0),
    pixel_spacing_mm: float | tuple[float, float] = math.nan,
) -> dict[str, np.ndarray]:
    """Measures one hand.

    Args:
      pred, target: uint8 (H, W) labels 0-3.
      tolerance, spacing: of the boundaries, as in `surface.measure`.
      pixel_spacing_mm: of (rows, columns), for areas in mm^2 and lesions' distances; NaN unknown.

    Returns:
      By metric float64 (2, 4), strict and compat, of `PARTS`: those of `segmentation.segmentation_metrics`, and, the
      same in both modes, ``predicted_px``, ``annotated_px``, ``both_px`` (areas), ``predicted_mm2``,
      ``annotated_mm2``, ``dsc_or_1`` (Dice, 1 where both are empty), ``lesions_predicted``, ``lesions_annotated``
      (8-connected pieces), ``matched_iou`` and ``matched_distance`` (pairs of lesions, one to one, at `LESION_IOU` and
      `LESION_DISTANCE_MM`).
    """
    if pred.shape != target.shape or pred.ndim != 2:
        raise ValueError(f"Labels must be of one shape (H, W); got {pred.shape} predicted, {target.shape} annotated.")
    for name, labels in (("predicted", pred), ("annotated", target)):
        if labels.dtype != np.uint8 or labels.max(initial=0) >= anatomy.NUM_EROSION_LABELS:
            raise ValueError(
                f"The {name} labels are {labels.dtype} up to {labels.max(initial=0)}; expected uint8 of 0 to "
                f"{anatomy.NUM_EROSION_LABELS - 1}."
            )
    bits = np.array([0, 0b1001, 0b1010, 0b1100], np.uint8)
    masks = bits[pred], bits[target]
    measured = surface.measure(*masks, [1, 2, 4, 8], tolerance=tolerance, spacing=spacing)
    known = np.ones(len(PARTS), bool)
    modes = [segmentation.from_measured(measured, mode, known) for mode in ("strict", "compat")]
    values = {name: np.stack([mode[name] for mode in modes]) for name in segmentation.METRICS}
    mm = np.broadcast_to(np.asarray(pixel_spacing_mm, float), 2)
    dice = segmentation.dice(measured.intersection, measured.predicted, measured.annotated)
    lesions = [_match_lesions(masks[0] & bit > 0, masks[1] & bit > 0, mm) for bit in (1, 2, 4, 8)]
    of_lesions = ("lesions_predicted", "lesions_annotated", "matched_iou", "matched_distance")
    same = {
        "predicted_px": measured.predicted,
        "annotated_px": measured.annotated,
        "both_px": measured.intersection,
        "predicted_mm2": measured.predicted * mm.prod(),
        "annotated_mm2": measured.annotated * mm.prod(),
        "dsc_or_1": np.where(np.isnan(dice), 1.0, dice),
    } | dict(zip(of_lesions, np.array(lesions, float).T, strict=True))
    return values | {name: np.stack([np.asarray(value, np.float64)] * 2) for name, value in same.items()}


def pooled(values: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The metrics of a split that are not means over images.

    Args:
      values: of `measure_erosions` for one part, float64 (N,) each.

    Returns:
      ``pixel_rec``, ``pixel_prec`` of all pixels together; ``lesion_rec_iou``, ``lesion_prec_iou``, ``lesion_f1_iou``,
      ``false_lesions_a_hand_iou`` of all lesions together, and the same with ``_distance``; ``image_sensitivity`` and
      ``image_specificity``, shares of hands with erosions where any is predicted, and without where none is;
      ``false_area_mm2``, mean predicted area on hands without; ``dsc_or_1``, mean over all hands;
      ``area_bias_mm2``, ``area_mae_mm2`` and ``area_correlation`` (Pearson) of the hands' areas. NaN where nothing
      counts.
    """
    return {name: statistic(values) for name, statistic in POOLED.items()}


def _share(numerator: str, denominator: str):
    """The statistic sum / sum over the hands where both are known."""

    def statistic(values: Mapping[str, np.ndarray]) -> float:
        a, b = values[numerator], values[denominator]
        known = np.isfinite(a) & np.isfinite(b)
        total = b[known].sum()
        return float(a[known].sum() / total) if total > 0 else math.nan

    return statistic


def _lesion_f1(matched: str):
    def statistic(values: Mapping[str, np.ndarray]) -> float:
        known = np.isfinite(values[matched])
        total = (values["lesions_predicted"] + values["lesions_annotated"])[known].sum()
        return float(2 * values[matched][known].sum() / total) if total > 0 else math.nan

    return statistic


def _false_lesions(matched: str):
    return lambda values: _mean(values["lesions_predicted"] - values[matched])


def _mean(values: np.ndarray) -> float:
    return float(mean_of_finite(values)[0])


def _correlation(values: Mapping[str, np.ndarray]) -> float:
    """Pearson's; NaN for fewer than three hands or where one of both never varies."""
    a, b = values["predicted_mm2"], values["annotated_mm2"]
    known = np.isfinite(a) & np.isfinite(b)
    a, b = a[known], b[known]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


POOLED = {
    "pixel_rec": _share("both_px", "annotated_px"),
    "pixel_prec": _share("both_px", "predicted_px"),
    **{f"lesion_rec_{by}": _share(f"matched_{by}", "lesions_annotated") for by in ("iou", "distance")},
    **{f"lesion_prec_{by}": _share(f"matched_{by}", "lesions_predicted") for by in ("iou", "distance")},
    **{f"lesion_f1_{by}": _lesion_f1(f"matched_{by}") for by in ("iou", "distance")},
    **{f"false_lesions_a_hand_{by}": _false_lesions(f"matched_{by}") for by in ("iou", "distance")},
    "image_sensitivity": lambda values: _mean((values["predicted_px"] > 0)[values["annotated_px"] > 0]),
    "image_specificity": lambda values: _mean((values["predicted_px"] == 0)[values["annotated_px"] == 0]),
    "false_area_mm2": lambda values: _mean(values["predicted_mm2"][values["annotated_px"] == 0]),
    "dsc_or_1": lambda values: _mean(values["dsc_or_1"]),
    "area_bias_mm2": lambda values: _mean(values["predicted_mm2"] - values["annotated_mm2"]),
    "area_mae_mm2": lambda values: _mean(np.abs(values["predicted_mm2"] - values["annotated_mm2"])),
    "area_correlation": _correlation,
}
"""The statistics of `pooled` by name."""


def _match_lesions(pred: np.ndarray, target: np.ndarray, mm: np.ndarray) -> tuple[float, float, float, float]:
    """Numbers of predicted and annotated pieces, and of pairs by IoU and by distance (NaN without a spacing)."""
    count_p, pieces_p, stats_p, centers_p = cv2.connectedComponentsWithStats(pred.view(np.uint8), connectivity=8)
    count_a, pieces_a, stats_a, centers_a = cv2.connectedComponentsWithStats(target.view(np.uint8), connectivity=8)
    both = pred & target
    shared = np.zeros((count_p, count_a))
    np.add.at(shared, (pieces_p[both], pieces_a[both]), 1)
    areas = stats_p[:, None, cv2.CC_STAT_AREA] + stats_a[None, :, cv2.CC_STAT_AREA]
    iou = (shared / (areas - shared))[1:, 1:]
    apart = np.linalg.norm((centers_p[1:, None] - centers_a[None, 1:]) * mm[::-1], axis=-1)  # x is along columns
    by_distance = _pairs(apart <= LESION_DISTANCE_MM, -apart) if np.isfinite(mm).all() else math.nan
    return count_p - 1, count_a - 1, _pairs(iou >= LESION_IOU, iou), by_distance


def _pairs(eligible: np.ndarray, likeness: np.ndarray) -> float:
    """The greatest number of eligible pairs, each row and column in at most one; the most alike where it is open."""
    from scipy.optimize import linear_sum_assignment  # takes half a second to load, and prediction needs none of it

    if not eligible.any():
        return 0.0
    spread = np.ptp(likeness[eligible]) or 1.0
    gain = np.where(eligible, 1 + 1e-3 * (likeness - likeness[eligible].min()) / spread / eligible.size, 0)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return float(eligible[rows, columns].sum())

"""Agreement of boxes (ymin, xmin, ymax, xmax). Each site has at most one box, so boxes are matched by name."""

import numpy as np

from ramjax import anatomy

BORDER = 1.0
"""Pixels by which an annotated box may pass the image's border: releases round outwards."""

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
"""Of COCO's average precision. Source: Lin TY et al. Microsoft COCO. ECCV 2014, and its detection evaluation."""


def detection_metrics(
    pred_boxes: np.ndarray,
    confidence: np.ndarray,
    target_boxes: np.ndarray,
    present: np.ndarray,
    *,
    known: np.ndarray | None = None,
    spacing: np.ndarray | None = None,
    sizes: np.ndarray | None = None,
    min_confidence: float = 0.5,
) -> dict[str, dict[str, float]]:
    """Compares the box of each site with the annotated one. A site is found where its confidence reaches the least.

    - ``recall_50``, ``recall_75``: share of the present sites that are found with IoU of at least 0.5, 0.75.
    - ``precision_50``, ``precision_75``: share of the found sites, known ones, that are so.
    - ``ap``, ``ap_50``, ``ap_75``: COCO average precision with sites as categories, as pycocotools computes it, over
      all boxes however confident: mean over IoU 0.5 to 0.95, at 0.5, at 0.75. Pooled: mean over the sites that are
      present anywhere.
    - ``iou``: mean over the present sites, however confident; 0 where there is no box.
    - ``center_error_px``, ``center_error_mm`` and each ``_median``: distance of the centres over the present sites with
      a box, however confident.
    - ``false_finds``: share of the sites known to be absent that are found.
    - ``n``, ``n_mm``, ``n_absent``: sites behind recall and IoU, behind millimetres, behind false finds.

    With `min_confidence` 0 the recall is that of the joints task, which takes every site for found.

    Args:
      pred_boxes: float (N, 22, 4) by hand and site of `anatomy.SITES`, in pixels; NaN where there is no box.
      confidence: float (N, 22), 0 to 1; 0 where there is no box.
      target_boxes: float (N, 22, 4), read where present.
      present: bool (N, 22), annotated.
      known: bool (N, 22), present or known to be absent; where False a site does not count. None: all are known.
      spacing: float (N,), mm per pixel, NaN unknown.
      sizes: (N, 2), height and width of the images, to check the annotated boxes against.
      min_confidence: with which a site is found.

    Returns:
      Metrics by ``pooled``, then the names of the sites. A metric without data is NaN.

    Raises:
      ValueError: shapes that differ; annotated boxes that are NaN, inverted, empty or outside their image; predicted
        boxes that are NaN or inverted though confident; confidence outside 0 to 1; spacing that is not positive.
    """
    pred_boxes, target_boxes = np.asarray(pred_boxes, np.float64), np.asarray(target_boxes, np.float64)
    confidence, present = np.asarray(confidence, np.float64), np.asarray(present, bool)
    known = np.ones(present.shape, bool) if known is None else np.asarray(known, bool)
    spacing = np.full(len(present), np.nan) if spacing is None else np.asarray(spacing, np.float64)
    _check_shapes(pred_boxes, confidence, target_boxes, present, known, spacing, sizes)
    _check_targets(target_boxes, present, known, sizes)
    boxed = _check_predictions(pred_boxes, confidence, known)
    if (spacing <= 0).any():
        raise ValueError(f"spacing is {np.nanmin(spacing)}; expected mm per pixel above 0, or NaN where unknown.")

    both = present & boxed
    iou, distance = np.zeros(present.shape), np.full(present.shape, np.nan)
    iou[both] = box_iou(pred_boxes[both], target_boxes[both])
    distance[both] = center_distance(pred_boxes[both], target_boxes[both])
    boxed, found = boxed & known, boxed & known & (confidence >= min_confidence)
    absent = known & ~present
    precisions = [
        average_precision(confidence[boxed[:, i], i], iou[boxed[:, i], i], int(present[:, i].sum()))
        for i in range(anatomy.NUM_SITES)
    ]
    millimetres = distance * spacing[:, None]

    def of_sites(sites: list[int]) -> dict[str, float]:
        there, hit = present[:, sites], found[:, sites]
        metrics = {}
        for percent in (50, 75):
            right = there & hit & (iou[:, sites] >= percent / 100)
            metrics[f"recall_{percent}"] = _share(right[there])
            metrics[f"precision_{percent}"] = _share(right[hit])
        at_thresholds = np.array([precisions[i] for i in sites])
        at_thresholds = at_thresholds[~np.isnan(at_thresholds).any(1)]
        metrics |= {
            "ap": _share(at_thresholds),
            "ap_50": _share(at_thresholds[:, 0]),
            "ap_75": _share(at_thresholds[:, 5]),
            "iou": _share(iou[:, sites][there]),
        }
        for unit, errors in (("px", distance[:, sites]), ("mm", millimetres[:, sites])):
            errors = errors[~np.isnan(errors)]
            metrics[f"center_error_{unit}"] = _share(errors)
            metrics[f"center_error_{unit}_median"] = float(np.median(errors)) if errors.size else float("nan")
        return metrics | {
            "false_finds": _share(hit[absent[:, sites]]),
            "n": float(there.sum()),
            "n_mm": float((~np.isnan(millimetres[:, sites])).sum()),
            "n_absent": float(absent[:, sites].sum()),
        }

    everywhere = list(range(anatomy.NUM_SITES))
    return {"pooled": of_sites(everywhere)} | {anatomy.SITE_NAMES[i]: of_sites([i]) for i in everywhere}


def average_precision(confidence: np.ndarray, iou: np.ndarray, n_present: int) -> np.ndarray:
    """COCO's average precision of one site at each of `IOU_THRESHOLDS`.

    Precision, made monotonically decreasing in recall, is sampled at the 101 `RECALLS`. Boxes of equal confidence keep
    their order.

    Args:
      confidence: float (M,), of the images that have a box.
      iou: float (M,), with the annotated box; 0 where the site is absent.
      n_present: in how many images the site is present, with a box or without.

    Returns:
      float64 (10,), 0 to 1; NaN where the site is never present.
    """
    if not n_present:
        return np.full(len(IOU_THRESHOLDS), np.nan)
    order = np.argsort(-np.asarray(confidence, np.float64), kind="stable")
    right = np.asarray(iou)[order] >= IOU_THRESHOLDS[:, None]
    true = right.cumsum(1)
    precision = true / np.arange(1, right.shape[1] + 1)
    falling = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    falling = np.pad(falling, ((0, 0), (0, 1)))  # 0 at recalls that are never reached
    first = [np.searchsorted(recall, RECALLS, side="left") for recall in true / n_present]
    return np.take_along_axis(falling, np.array(first), 1).mean(1)


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of paired boxes (..., 4) -> (...); 0 where either is empty."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    intersection = np.clip(sides, 0, None).prod(-1)
    union = _area(a) + _area(b) - intersection
    return np.divide(intersection, union, out=np.zeros(union.shape), where=union > 0)


def center_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance of the centres of paired boxes (..., 4) -> (...), in the boxes' unit."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    difference = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    return np.sqrt((difference**2).sum(-1))


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(-1)


def _share(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _check_shapes(
    pred_boxes: np.ndarray,
    confidence: np.ndarray,
    target_boxes: np.ndarray,
    present: np.ndarray,
    known: np.ndarray,
    spacing: np.ndarray,
    sizes: np.ndarray | None,
) -> None:
    by_site = (len(present), anatomy.NUM_SITES)
    expected = {
        "pred_boxes": (pred_boxes, (*by_site, 4)),
        "confidence": (confidence, by_site),
        "target_boxes": (target_boxes, (*by_site, 4)),
        "present": (present, by_site),
        "known": (known, by_site),
        "spacing": (spacing, by_site[:1]),
    }
    if sizes is not None:
        expected["sizes"] = (np.asarray(sizes), (by_site[0], 2))
    for name, (values, shape) in expected.items():
        if values.shape != shape:
            raise ValueError(f"{name} has shape {values.shape}; expected {shape}, for {by_site[0]} hands.")


def _check_targets(boxes: np.ndarray, present: np.ndarray, known: np.ndarray, sizes: np.ndarray | None) -> None:
    _refuse(present & ~known, boxes, "is present but not known", "known must hold wherever present does")
    _refuse(present & ~np.isfinite(boxes).all(-1), boxes, "has no finite box though it is present", "clear present")
    empty = (boxes[..., 2:] <= boxes[..., :2]).any(-1)
    _refuse(present & empty, boxes, "has an annotated box without area", "expected ymin < ymax and xmin < xmax")
    if sizes is not None:
        limits = np.asarray(sizes, np.float64)[:, None] + BORDER
        outside = (boxes[..., :2] < -BORDER).any(-1) | (boxes[..., 2:] > limits).any(-1)
        _refuse(present & outside, boxes, "has an annotated box outside its image", "check whose pixels it is in")


def _check_predictions(boxes: np.ndarray, confidence: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Returns bool (N, 22), where there is a box."""
    wrong = known & ~((confidence >= 0) & (confidence <= 1))
    if wrong.any():
        raise ValueError(f"A confidence is {confidence[wrong][0]}; expected 0 to 1: look at the network's logits.")
    boxed = np.isfinite(boxes).all(-1)
    remedy = "expected numbers, or confidence 0 where there is no box"
    _refuse(known & ~boxed & (confidence > 0), boxes, "has confidence in a box that is NaN or infinite", remedy)
    inverted = (boxes[..., 2:] < boxes[..., :2]).any(-1)
    _refuse(
        known & boxed & inverted, boxes, "has a predicted box with inverted sides", "expected ymin, xmin, ymax, xmax"
    )
    return boxed


def _refuse(wrong: np.ndarray, boxes: np.ndarray, what: str, remedy: str) -> None:
    if wrong.any():
        hand, site = np.argwhere(wrong)[0]
        numbers = ", ".join(f"{value:g}" for value in boxes[hand, site])
        raise ValueError(f"{anatomy.SITE_NAMES[site]} of hand {hand} {what}, [{numbers}]; {remedy}.")

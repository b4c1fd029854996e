"""Agreement of boxes. A box is ymin, xmin, ymax, xmax; each site has at most one, so matching is by name."""

import numpy as np


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

"""Overlap of masks, from counts first."""

import numpy as np


def dice(intersection: np.ndarray, predicted: np.ndarray, annotated: np.ndarray) -> np.ndarray:
    """Dice similarity 2 |P and A| / (|P| + |A|), float64, from pixel counts of any shape; NaN where both are empty.

    Source: Dice LR. Ecology 1945;26:297-302.
    """
    total = np.asarray(predicted, np.float64) + np.asarray(annotated, np.float64)
    return np.divide(
        2.0 * np.asarray(intersection, np.float64), total, out=np.full(total.shape, np.nan), where=total > 0
    )


def mean_of_finite(values: np.ndarray, axis: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean over the finite values along `axis` (NaN where there is none) and how many there were."""
    finite = np.isfinite(values)
    count = finite.sum(axis)
    total = np.where(finite, values, 0.0).sum(axis)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0), count

"""Calibration: whether predicted probabilities of classes match observed frequencies."""

import dataclasses

import numpy as np

BINS = 15
"""Bins of confidence. Source: Guo C et al. On calibration of modern neural networks. ICML 2017 (arXiv 1706.04599)."""

SUM_TOLERANCE = 1e-3
"""How far from 1 probabilities may sum: networks that compute in half precision round to about this."""


@dataclasses.dataclass(frozen=True)
class Reliability:
    """The reliability diagram.

    Attributes:
      edges: float64 (B + 1,), borders of the bins from 0 to 1; a bin holds its upper border.
      confidence: float64 (B,), mean confidence in each bin; NaN in an empty one.
      accuracy: float64 (B,), share of each bin that is right; NaN in an empty one.
      count: int64 (B,).
    """

    edges: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray


def reliability(probabilities: np.ndarray, target: np.ndarray, bins: int = BINS) -> Reliability:
    """Bins the examples by confidence, the probability of the likeliest class; right where that class is annotated.

    Args:
      probabilities: float (n, C).
      target: integers (n,), 0..C - 1.
      bins: of equal width.

    Raises:
      ValueError: `probabilities` are not probabilities.
    """
    probabilities, target = check_probabilities(probabilities), np.asarray(target)
    edges = np.linspace(0, 1, bins + 1)
    confidence = probabilities.max(-1)
    right = probabilities.argmax(-1) == target
    which = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(which, minlength=bins)
    total_confidence = np.bincount(which, confidence, minlength=bins)
    total_right = np.bincount(which, right, minlength=bins)
    empty = np.full(bins, np.nan)
    return Reliability(
        edges,
        np.divide(total_confidence, count, out=empty.copy(), where=count > 0),
        np.divide(total_right, count, out=empty.copy(), where=count > 0),
        count.astype(np.int64),
    )


def expected_calibration_error(probabilities: np.ndarray, target: np.ndarray, bins: int = BINS) -> float:
    """Mean over the examples of |accuracy - confidence| of their bin, 0 to 1; NaN without examples.

    Arguments and errors are those of `reliability`. Source: Guo C et al. ICML 2017 (arXiv 1706.04599).
    """
    diagram = reliability(probabilities, target, bins)
    if not diagram.count.sum():
        return float("nan")
    filled = diagram.count > 0
    gap = np.abs(diagram.accuracy - diagram.confidence)[filled]
    return float((gap * diagram.count[filled]).sum() / diagram.count.sum())


def brier_score(probabilities: np.ndarray, target: np.ndarray) -> float:
    """Mean squared distance of the probabilities to the one-hot annotation, summed over classes: 0 (best) to 2.

    NaN without examples. Arguments and errors are those of `reliability`.
    Source: Brier GW. Mon Weather Rev 1950;78:1-3, the original form for any number of classes.
    """
    probabilities, target = check_probabilities(probabilities), np.asarray(target)
    if not len(target):
        return float("nan")
    return float(((probabilities - np.eye(probabilities.shape[-1])[target]) ** 2).sum(-1).mean())


def check_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Returns float64 (n, C); raises ValueError unless each row is finite, not negative and sums to 1."""
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.size and not np.isfinite(probabilities).all():
        raise ValueError(
            "Probabilities hold NaN or infinity; expected numbers from 0 to 1: look at the network's logits."
        )
    if probabilities.size and probabilities.min() < -SUM_TOLERANCE:
        raise ValueError(
            f"A probability is {probabilities.min():.3g}; expected 0 to 1: give probabilities, not logits."
        )
    sums = probabilities.sum(-1)
    if sums.size and np.abs(sums - 1).max() > SUM_TOLERANCE:
        worst = sums[np.abs(sums - 1).argmax()]
        raise ValueError(f"Probabilities of a site sum to {worst:.4g}; expected 1: give probabilities, not logits.")
    return probabilities

"""Agreement of ordinal scores."""

import numpy as np


def quadratic_weighted_kappa(predicted: np.ndarray, annotated: np.ndarray, num_classes: int) -> float:
    """Cohen's kappa with weights (i - j)^2 over the scale 0..num_classes - 1, by value.

    1 - sum(w O) / sum(w E) with O the joint counts and E those expected of independent raters with the same margins.
    NaN where there is no pair, or where both raters give one and the same score throughout.
    Source: Cohen J. Psychol Bull 1968;70:213-20.

    Raises:
      ValueError: for scores outside the scale or arrays of different shapes.
    """
    predicted, annotated = np.asarray(predicted).ravel(), np.asarray(annotated).ravel()
    if predicted.shape != annotated.shape:
        raise ValueError(f"Scores must pair up; got {predicted.shape} predicted and {annotated.shape} annotated.")
    for name, scores in (("predicted", predicted), ("annotated", annotated)):
        if scores.size and (scores.min() < 0 or scores.max() >= num_classes):
            raise ValueError(f"A {name} score lies outside 0..{num_classes - 1}: {scores.min()}..{scores.max()}.")
    if not predicted.size:
        return float("nan")
    observed = np.zeros((num_classes, num_classes))
    np.add.at(observed, (annotated, predicted), 1)
    expected = np.outer(observed.sum(1), observed.sum(0)) / predicted.size
    weights = np.subtract.outer(np.arange(num_classes), np.arange(num_classes)) ** 2
    disagreement = (weights * expected).sum()
    return float(1 - (weights * observed).sum() / disagreement) if disagreement > 0 else float("nan")


def decode(probabilities: np.ndarray) -> np.ndarray:
    """Class probabilities (..., c) to scores (...): the rounded expectation, which the quadratic weights favour."""
    return np.rint((probabilities * np.arange(probabilities.shape[-1])).sum(-1)).astype(int)

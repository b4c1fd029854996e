"""Agreement of ordinal scores, site by site: bone erosion (BE) 0-5 and joint space narrowing (JSN) 0-4."""

import dataclasses
from typing import Literal

import numpy as np

from ramjax import anatomy
from ramjax.metrics import calibration

UNKNOWN = -1
"""A score that is not known, not graded or not predicted."""


@dataclasses.dataclass(frozen=True)
class ScoreMetrics:
    """The metrics of the scores of a site, of a region or of all sites together.

    Attributes:
      metrics: by name, as `score_metrics` describes them.
      confusion: int64 (C, C), how often a score was annotated (row) and predicted (column).
    """

    metrics: dict[str, float]
    confusion: np.ndarray


def score_metrics(
    pred: np.ndarray,
    target: np.ndarray,
    *,
    scale: str = "be",
    mode: Literal["strict", "compat"] = "strict",
    probabilities: np.ndarray | None = None,
) -> dict[str, ScoreMetrics]:
    """Compares scores over all sites pooled, in each region and at each site.

    A site counts where both scores are known. ``compat`` gives what the published evaluators print for the same scores
    (scikit-learn's kappa, torchmetrics' averages); their table column QWK is ``qwk_rank``.

    - ``qwk``: quadratic weighted kappa by value over the whole scale, in both modes; NaN where all scores, predicted
      and annotated, are the same one.
    - ``qwk_rank``: compat only, the kappa by rank among the scores that occur: 0, 1 and 5 are one step apart each, and
      a site's scale changes with its scores. Strict has ``qwk`` alone.
    - ``mae``, ``acc``, ``within_1``: mean absolute error, share that agrees, share at most 1 apart.
    - ``bacc``: mean recall of the scores. Strict: of those annotated. Compat: a score that was only predicted is one
      more with recall 0.
    - ``f1_macro``: mean F1 of the scores. Strict: of those annotated, as a wrong prediction has already cost the score
      it belongs to. Compat: a score that was only predicted is one more with F1 0.
    - ``pn_acc``, ``sensitivity``, ``specificity``, ``pn_bacc`` (mean of the last two), ``pn_f1``: of score > 0 against
      0. Strict: NaN without what it is a share of, as hands without disease have no sensitivity. Compat: 0 there.
    - ``dor``: diagnostic odds ratio TP TN / (FP FN) of score > 0. Strict: where one count is 0, 0.5 is added to each,
      so that a rater without error has a value; NaN without positives or negatives. Compat: NaN where FP FN is 0.
    - ``auroc``: that a positive site ranks above a negative one, by the probability of score > 0, or by the predicted
      score without probabilities. Never published; the same in both modes.
    - ``ece``, ``brier``: of `calibration`; NaN without probabilities. Never published; the same in both modes.
    - ``n``, ``missed``: sites counted, and sites annotated without a prediction, which no other metric sees.

    Every score of the scale is known in both modes; the published evaluator stops at one that its training set lacks.

    Args:
      pred: integers (N, 22) by hand and site of `anatomy.SITES`, -1 where not predicted. Sites that the scale does not
        grade are ignored.
      target: integers (N, 22), -1 where unknown.
      scale: ``be`` or ``jsn``.
      mode: ``strict`` or ``compat``.
      probabilities: float (N, 22, C) of the scores 0..C - 1, for ``auroc``, ``ece`` and ``brier``; read where a site
        counts.

    Returns:
      `ScoreMetrics` by ``pooled``, then the regions ``MCP``, ``PIP`` and ``wrist``, then the names of the graded sites.
      All are there whatever the data; metrics without data are NaN.

    Raises:
      ValueError: shapes differ, scores are outside the scale, or probabilities are invalid.

    Sources: kappa, Cohen J. Psychol Bull 1968;70:213-20. Odds ratio, Glas AS et al. J Clin Epidemiol 2003;56:1129-35;
    the added 0.5, Haldane JBS. Ann Hum Genet 1956;20:309-11. AUROC, Hanley JA, McNeil BJ. Radiology 1982;143:29-36.
    """
    top, graded = scale_of(scale)
    pred, target = scores_of_sites("pred", pred, top), scores_of_sites("target", target, top)
    if pred.shape != target.shape:
        raise ValueError(f"Scores must pair up; got pred {pred.shape} and target {target.shape}.")
    known = (pred >= 0) & (target >= 0)
    if probabilities is not None:
        probabilities = np.asarray(probabilities, np.float64)
        if probabilities.shape != (*pred.shape, top + 1):
            raise ValueError(
                f"probabilities have shape {probabilities.shape}; expected {(*pred.shape, top + 1)}, one for each "
                f"score of the {scale} scale."
            )
    return {
        name: _of_sites(pred[:, sites], target[:, sites], known[:, sites], probabilities, list(sites), top + 1, mode)
        for name, sites in _groups(graded).items()
    }


def confusion_metrics(confusion: np.ndarray, mode: Literal["strict", "compat"] = "strict") -> dict[str, float]:
    """The metrics of `score_metrics` that follow from counts: all but ``auroc``, ``ece``, ``brier`` and ``missed``.

    With the sum of `confusion_matrices` over resampled hands it is a statistic that is quick to bootstrap.

    Args:
      confusion: counts (C, C), rows annotated, columns predicted.
      mode: ``strict`` or ``compat``.
    """
    if mode not in ("strict", "compat"):
        raise ValueError(f"mode is {mode!r}; expected strict or compat.")
    counts = np.asarray(confusion, np.float64)
    compat, n, classes = mode == "compat", counts.sum(), np.arange(len(counts))
    apart = np.abs(np.subtract.outer(classes, classes))
    annotated, predicted, agreed = counts.sum(1), counts.sum(0), np.diag(counts)
    averaged = (annotated + predicted > 0) if compat else annotated > 0
    recall = agreed[averaged] / np.maximum(annotated[averaged], 1)
    f1 = 2 * agreed[averaged] / (annotated + predicted)[averaged]
    metrics = {"qwk": _kappa(counts)}
    if compat:
        seen = annotated + predicted > 0
        metrics["qwk_rank"] = _kappa(counts[np.ix_(seen, seen)])
    return metrics | {
        "mae": _ratio((apart * counts).sum(), n),
        "acc": _ratio(agreed.sum(), n),
        "bacc": _ratio(recall.sum(), averaged.sum()),
        "within_1": _ratio(counts[apart <= 1].sum(), n),
        "f1_macro": _ratio(f1.sum(), averaged.sum()),
        **_binary_metrics(counts, compat),
        "n": float(n),
    }


def confusion_matrices(pred: np.ndarray, target: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts int64 (N, C, C), rows annotated and columns predicted, of integer scores (N, ...) where both are >= 0."""
    pred, target = np.asarray(pred), np.asarray(target)
    n = len(pred)
    pred, target = pred.reshape(n, -1), target.reshape(n, -1)
    cells = (np.arange(n)[:, None] * num_classes + target) * num_classes + pred
    counts = np.bincount(cells[(pred >= 0) & (target >= 0)], minlength=n * num_classes**2)
    return counts.reshape(n, num_classes, num_classes).astype(np.int64)


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
    return _kappa(confusion_matrices(predicted[None], annotated[None], num_classes)[0])


def decode(probabilities: np.ndarray) -> np.ndarray:
    """Class probabilities (..., c) to scores (...): the rounded expectation, which the quadratic weights favour."""
    return np.rint((probabilities * np.arange(probabilities.shape[-1])).sum(-1)).astype(int)


def scale_of(name: str) -> tuple[int, tuple[int, ...]]:
    """Returns the highest score of ``be`` or ``jsn`` and the sites it grades; raises ValueError for another name."""
    if name not in anatomy.SCALES:
        raise ValueError(f"scale is {name!r}; expected one of {', '.join(anatomy.SCALES)}.")
    return anatomy.SCALES[name]


def scores_of_sites(name: str, scores: np.ndarray, top: int) -> np.ndarray:
    """Returns integers (N, 22) as int64; raises ValueError for another shape or kind, or a score not in -1..`top`."""
    scores = np.asarray(scores)
    if scores.ndim != 2 or scores.shape[1] != anatomy.NUM_SITES:
        raise ValueError(f"{name} has shape {scores.shape}; expected (N, {anatomy.NUM_SITES}), by hand and site.")
    if scores.dtype.kind not in "iu":
        raise ValueError(f"{name} holds {scores.dtype}; expected integers, {UNKNOWN} where unknown.")
    if scores.size and (scores.min() < UNKNOWN or scores.max() > top):
        worst = scores.max() if scores.max() > top else scores.min()
        raise ValueError(f"{name} has a score of {worst}; expected 0..{top}, or {UNKNOWN} where unknown.")
    return scores.astype(np.int64)


def _groups(graded: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The sites of each row of the result."""
    regions = dict.fromkeys(site.region for site in anatomy.SITES)
    return {
        "pooled": graded,
        **{region: tuple(i for i in graded if anatomy.SITES[i].region == region) for region in regions},
        **{anatomy.SITE_NAMES[i]: (i,) for i in graded},
    }


def _of_sites(
    pred: np.ndarray,
    target: np.ndarray,
    known: np.ndarray,
    probabilities: np.ndarray | None,
    sites: list[int],
    num_classes: int,
    mode: Literal["strict", "compat"],
) -> ScoreMetrics:
    confusion = confusion_matrices(pred, target, num_classes).sum(0)
    metrics = confusion_metrics(confusion, mode)
    positive, rank = target[known] > 0, pred[known].astype(float)
    ece = brier = float("nan")
    if probabilities is not None:
        of_known = probabilities[:, sites][known]
        calibration.check_probabilities(of_known)
        rank = 1 - of_known[:, 0]
        ece = calibration.expected_calibration_error(of_known, target[known])
        brier = calibration.brier_score(of_known, target[known])
    metrics |= {"auroc": auroc(rank, positive), "ece": ece, "brier": brier}
    return ScoreMetrics(metrics | {"missed": float(((target >= 0) & (pred < 0)).sum())}, confusion)


def _binary_metrics(counts: np.ndarray, compat: bool) -> dict[str, float]:
    """Of score > 0 against 0."""
    tn, fp, fn, tp = counts[0, 0], counts[0, 1:].sum(), counts[1:, 0].sum(), counts[1:, 1:].sum()
    n = counts.sum()
    undefined = 0.0 if compat and n else float("nan")
    sensitivity, specificity = _ratio(tp, tp + fn, undefined), _ratio(tn, tn + fp, undefined)
    if not compat and tp + fn and tn + fp and min(tn, fp, fn, tp) == 0:
        dor = (tp + 0.5) * (tn + 0.5) / ((fp + 0.5) * (fn + 0.5))
    else:
        dor = _ratio(tp * tn, fp * fn)
    return {
        "pn_acc": _ratio(tp + tn, n),
        "pn_bacc": float((sensitivity + specificity) / 2),
        "pn_f1": _ratio(2 * tp, 2 * tp + fp + fn, undefined),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "dor": float(dor),
    }


def _kappa(counts: np.ndarray) -> float:
    """Quadratic weighted kappa of counts (C, C), rows and columns equally spaced."""
    if not counts.sum():
        return float("nan")
    expected = np.outer(counts.sum(1), counts.sum(0)) / counts.sum()
    weights = np.subtract.outer(np.arange(len(counts)), np.arange(len(counts))) ** 2
    return 1 - _ratio((weights * counts).sum(), (weights * expected).sum())


def auroc(rank: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: how often a positive ranks above a negative, ties counting half.

    NaN without positives, without negatives, or where a rank is NaN.
    """
    if np.isnan(rank).any():
        return float("nan")
    negatives = np.sort(rank[~positive])
    above = sum(np.searchsorted(negatives, rank[positive], side).sum() for side in ("left", "right")) / 2
    return _ratio(above, len(negatives) * positive.sum())


def _ratio(part: float, whole: float, undefined: float = float("nan")) -> float:
    return float(part / whole) if whole else undefined

"""Scores measured, on the radiograph as on the canvas, and their metrics: of all sites pooled, and of hands' totals."""

from collections.abc import Callable, Mapping

import numpy as np

from ramjax import anatomy
from ramjax.config import EvaluationConfig
from ramjax.data.grid import Grid
from ramjax.metrics import agreement, scoring, segmentation
from ramjax.metrics.cases import Cases, Mode, Values
from ramjax.metrics.metric import Metric, Ranking, constant_metric, mean_metric, pooled_metric
from ramjax.record import Record
from ramjax.tasks.masks import alike

PARTS = dict.fromkeys(anatomy.SCALES, anatomy.SITE_NAMES)
"""Of each scale the sites: ``predicted``, ``annotated`` (NaN unknown or not graded), and ``p0``, ``p1``, ... of its
scores."""

COUNTED: tuple[str, ...] = (
    "qwk", "mae", "acc", "bacc", "within_1", "pn_acc", "sensitivity", "specificity", "pn_bacc", "pn_f1", "dor",
)  # fmt: skip
"""The metrics of scores that follow from their counts."""

TOTALS: tuple[str, ...] = ("mae", "rmse", "bias", "limits_low", "limits_high", "pearson", "icc")
"""Of hands' totals, in points; see `agreement.TotalAgreement`."""

DEFINITIONS: dict[str, str] = {
    "QWK": "Quadratic weighted kappa: agreement beyond chance, where a difference costs its square; 1 is perfect.",
    "MAE": "Mean absolute error, in points.",
    "ACC, BACC": "Share of scores that agree; mean recall of the scores, so that rare ones count alike.",
    "W1-ACC": "Share of scores at most 1 apart.",
    "P/N-ACC, -SEN, -SPC": "Accuracy, sensitivity and specificity of a score above 0.",
    "AUROC": "The chance that a site with a score above 0 ranks above one with 0.",
    "ECE, Brier": "Expected calibration error, 15 bins; mean squared distance of the probabilities to the truth.",
    "ICC(2,1)": "Intraclass correlation, absolute agreement of one rater with another; it sees bias.",
}
"""What the metrics mean, for the report."""

EVALUATORS: dict[str, tuple[str, str]] = {
    "QWK": ("By value over the whole scale.", "By rank among the scores that occur."),
    "BACC": ("Mean over annotated scores.", "A score that was only predicted is one more with recall 0."),
    "DOR": ("0.5 added to each count where one is 0.", "Not defined there."),
    "Sensitivity without positives": ("Not defined.", "0."),
}
"""What the strict and the published evaluator do with the same matter."""


def measure(record: Record, maps: Mapping[str, np.ndarray], grid: Grid, settings: EvaluationConfig) -> Values:
    """Of each scale that is predicted."""
    del settings
    values = {}
    for scale, (top, _) in anatomy.SCALES.items():
        annotated = np.full(anatomy.NUM_SITES, np.nan)
        for joint in record.joints if getattr(record, f"has_{scale}") else ():
            score = getattr(joint, scale)
            if score > top:
                raise ValueError(f"{grid.name} has {scale} {score} at {joint.site}; expected 0 to {top}.")
            if score >= 0:
                annotated[anatomy.SITE_INDEX[joint.site]] = score
        values[scale] = _values(scale, maps[scale], annotated)
    return values


def canvas_values(observed: Mapping[str, np.ndarray]) -> Values:
    """The same of n examples."""
    return {
        scale: _values(
            scale, observed[f"{scale}_probabilities"], np.where(observed[scale] >= 0, observed[scale], np.nan)
        )
        for scale in anatomy.SCALES
    }


def metrics(cases: Cases, mode: Mode) -> dict[str, Metric]:
    """Of both scales, ``scores/be_qwk`` and so on, and of the sum of both, ``scores/total_mae`` and so on."""
    found: dict[str, Metric] = {}
    of_scales = []
    for scale, (top, sites) in anatomy.SCALES.items():
        if not cases.has(scale):
            continue
        predicted, annotated = scores(cases, scale)
        pooled = scoring.score_metrics(
            predicted, annotated, scale=scale, mode=mode, probabilities=probabilities(cases, scale)
        )["pooled"].metrics
        counts = scoring.confusion_matrices(predicted[:, sites], annotated[:, sites], top + 1)
        for name, value in pooled.items():
            if name in COUNTED or name == "qwk_rank":
                found[f"scores/{scale}_{name}"] = Metric({"counts": counts}, _of_counts(name, mode), int(pooled["n"]))
            elif name not in ("n", "missed"):
                found[f"scores/{scale}_{name}"] = constant_metric(value, pooled["n"])
        if mode == "strict":
            of_hands = totals(cases, scale)
            of_scales.append(of_hands)
            found |= _totals(f"scores/{scale}_total", of_hands.pred, of_hands.target)
    if of_scales:
        judged = ~np.isnan([of.pred for of in of_scales]).all(axis=0)
        sums = [
            np.where(judged, np.nansum([getattr(of, side) for of in of_scales], axis=0), np.nan)
            for side in ("pred", "target")
        ]
        found |= _totals("scores/total", *sums)
    return found


def part_metrics(cases: Cases) -> dict[str, Metric]:
    """The error of each site, and what is predicted where a score is annotated, ``scores/be_mae_at_3``."""
    found = {}
    for scale, (top, sites) in anatomy.SCALES.items():
        if not cases.has(scale):
            continue
        predicted, annotated = scores(cases, scale)
        off = error(cases, scale)
        for site in sites:
            found[f"scores/{scale}_mae_{anatomy.SITE_NAMES[site]}"] = mean_metric(off[:, site])
        for score in range(top + 1):
            here = annotated == score
            found[f"scores/{scale}_mae_at_{score}"] = pooled_metric(np.where(here, off, np.nan))
            shown = np.where(here & (predicted >= 0), predicted, np.nan)
            found[f"scores/{scale}_predicted_at_{score}"] = pooled_metric(shown)
    return found


def rank(cases: Cases) -> Ranking:
    """Cases by the error of their scores."""
    errors = np.concatenate([error(cases, scale) for scale in anatomy.SCALES if cases.has(scale)], 1)
    return Ranking("mean absolute error of the scores", segmentation.mean_of_finite(errors, axis=1)[0], better=-1)


def scores(cases: Cases, scale: str) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and annotated scores as int64 (N, 22), -1 unknown."""
    pair = (cases.get(scale, name) for name in ("predicted", "annotated"))
    predicted, annotated = (np.where(np.isfinite(values), values, scoring.UNKNOWN).astype(np.int64) for values in pair)
    return predicted, annotated


def error(cases: Cases, scale: str) -> np.ndarray:
    """Absolute difference of each score, float64 (N, 22), NaN where one of both is unknown."""
    predicted, annotated = scores(cases, scale)
    return np.where((predicted < 0) | (annotated < 0), np.nan, np.abs(predicted - annotated))


def probabilities(cases: Cases, scale: str) -> np.ndarray | None:
    """Of each score, float64 (N, 22, C); None where they were not kept."""
    names = [f"p{score}" for score in range(anatomy.SCALES[scale][0] + 1)]
    if not cases.has(scale, *names):
        return None
    return np.stack([cases.get(scale, name) for name in names], axis=-1)


def totals(cases: Cases, scale: str) -> agreement.Totals:
    """Of each hand, over the sites whose score is predicted and annotated."""
    of = cases.attributes
    return agreement.hand_totals(*scores(cases, scale), of["patient"], of["visit"], scale=scale)


def _values(scale: str, probabilities: np.ndarray, annotated: np.ndarray) -> dict[str, np.ndarray]:
    """Of probabilities (..., 22, C) and annotated scores (..., 22), NaN where unknown."""
    top, sites = anatomy.SCALES[scale]
    graded = np.isin(np.arange(anatomy.NUM_SITES), sites)
    values = {
        "predicted": scoring.decode(probabilities),
        "annotated": annotated,
        **{f"p{score}": probabilities[..., score] for score in range(top + 1)},
    }
    return {key: alike(np.where(graded, value, np.nan)) for key, value in values.items()}


def _of_counts(name: str, mode: Mode) -> Callable[[Mapping[str, np.ndarray]], float]:
    return lambda data: scoring.confusion_metrics(data["counts"].sum(0), mode)[name]


def _totals(name: str, predicted: np.ndarray, annotated: np.ndarray) -> dict[str, Metric]:
    data = {"predicted": predicted, "annotated": annotated}
    n = agreement.total_agreement(predicted, annotated).n
    return {f"{name}_{field}": Metric(data, _of_totals(field), int(n)) for field in TOTALS}


def _of_totals(name: str) -> Callable[[Mapping[str, np.ndarray]], float]:
    return lambda data: float(getattr(agreement.total_agreement(data["predicted"], data["annotated"]), name))

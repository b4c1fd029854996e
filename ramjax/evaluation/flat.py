"""The metrics of a test split as one flat dictionary, which eval_test.json keeps."""

import numpy as np

from ramjax import anatomy
from ramjax.evaluation import summary
from ramjax.metrics import agreement, scoring, segmentation
from ramjax.metrics.cases import Cases

_SCALES = tuple(anatomy.SCALES)


def flat(cases: Cases) -> dict[str, float]:
    """The metrics of one data set, ``<task>/<metric>`` with ``<task>/<metric>/n`` beside each.

    Strict ones as they are, those of compat mode with ``compat/`` before them. Parts stand at the end of the name, as
    in ``bones/dsc_Ulna`` and ``erosions/dsc_svdh90``; scores as in ``scores/be_qwk``.
    """
    metrics: dict[str, float] = {}
    for prefix, mode in (("", "strict"), ("compat/", "compat")):
        for name, metric in summary.metrics(cases, mode).items():
            if not name.startswith(("joints", *_SCALES)):
                metrics |= _entry(prefix + flat_name(name), metric.value, metric.n)
    if "bones" in cases.values:
        metrics |= _bones(cases)
    if "joints" in cases.values:
        metrics |= _joints(cases)
    if any(scale in cases.values for scale in _SCALES):
        metrics |= _scores(cases)
    return metrics


def flat_name(name: str) -> str:
    """``bones@30 channels/dsc`` as ``bones/dsc_30_channels``; lesions of any label need no mark."""
    task, _, metric = name.partition("/")
    task, _, part = task.partition("@")
    if not part or (part == "labels" and metric not in summary.MASK_METRICS):
        return f"{task}/{metric}"
    return f"{task}/{metric}_{part.replace(' ', '_')}"


def _entry(name: str, value: float, n: int) -> dict[str, float]:
    return {name: float(value), f"{name}/n": int(n)}


def _bones(cases: Cases) -> dict[str, float]:
    """Dice of each bone, and of the worst; sesamoids and soft tissue are not judged as such."""
    dice = cases.get("bones", "dsc")
    means, counts = segmentation.mean_of_finite(dice, axis=0)
    metrics = {}
    for bone, mean, n in zip(anatomy.BONES, means, counts, strict=True):
        metrics |= _entry(f"bones/dsc_{bone}", mean, n)
    judged = np.isfinite(means)
    judged[[anatomy.SESAMOID, anatomy.SOFT_TISSUE]] = False
    worst = np.argmin(np.where(judged, means, np.inf))
    there = bool(judged.any())
    return metrics | _entry("bones/dsc_worst_bone", means[worst] if there else np.nan, counts[worst] if there else 0)


def _joints(cases: Cases) -> dict[str, float]:
    """Recall, IoU and centres of all boxes; precision and false finds of those that are found with confidence."""
    every, sure = summary.detections(cases, min_confidence=0)["pooled"], summary.detections(cases)["pooled"]
    metrics = {}
    for name in ("recall_50", "recall_75", "iou", "ap", "ap_50", "ap_75", "center_error_px"):
        metrics |= _entry(f"joints/{name}", every[name], every["n"])
    for name in ("center_error_mm", "center_error_mm_median"):
        metrics |= _entry(f"joints/{name}", every[name], every["n_mm"])
    for name in ("precision_50", "precision_75"):
        metrics |= _entry(f"joints/{name}", sure[name], sure["n"])
    return metrics | _entry("joints/false_finds", sure["false_finds"], sure["n_absent"])


def _scores(cases: Cases) -> dict[str, float]:
    """Of all sites pooled in both modes, and of hands' totals."""
    metrics, totals = {}, []
    for scale in _SCALES:
        if scale not in cases.values:
            continue
        predicted, annotated = summary.scores(cases, scale)
        probabilities = summary.probabilities(cases, scale)
        for prefix, mode in (("", "strict"), ("compat/", "compat")):
            pooled = scoring.score_metrics(predicted, annotated, scale=scale, mode=mode, probabilities=probabilities)[
                "pooled"
            ].metrics
            for name, value in pooled.items():
                if name not in ("n", "missed"):
                    metrics |= _entry(f"{prefix}scores/{scale}_{name}", value, pooled["n"])
        of_hands = summary.totals(cases, scale)
        totals.append(of_hands)
        metrics |= _total(f"scores/{scale}_total", of_hands.pred, of_hands.target)
    judged = ~np.isnan([of.pred for of in totals]).all(axis=0)
    sums = [
        np.where(judged, np.nansum([getattr(of, side) for of in totals], axis=0), np.nan) for side in ("pred", "target")
    ]
    return metrics | _total("scores/total", *sums)


def _total(name: str, predicted: np.ndarray, annotated: np.ndarray) -> dict[str, float]:
    found = agreement.total_agreement(predicted, annotated)
    metrics = {}
    for field in ("mae", "rmse", "bias", "limits_low", "limits_high", "pearson", "icc"):
        metrics |= _entry(f"{name}_{field}", getattr(found, field), found.n)
    return metrics

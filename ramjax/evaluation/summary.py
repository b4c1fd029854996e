"""What an evaluation comes to: its named metrics, each with the data and the statistic behind it.

So that one idea serves everywhere, a metric is data with a leading axis of cases and a function of such data: its
value is the function of all cases, its interval comes from resampling them, and two runs are compared on the cases
they share.

A name is ``task/metric``, or ``task@part/metric`` for a bone, a group of bones, an erosion label, a site or a region.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ramjax import anatomy
from ramjax.metrics import agreement, detection, erosion, scoring, segmentation
from ramjax.metrics.cases import PARTS, Cases, Mode

Data = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric of a split.

    Attributes:
      data: arrays with a leading axis of cases, of all cases of the split (NaN where a case does not count).
      statistic: takes such data, of any choice of cases, and returns a float; NaN where nothing counts.
      n: how many cases, or sites where they are pooled, are behind it.
    """

    data: Data
    statistic: Callable[[Data], float]
    n: int

    @property
    def value(self) -> float:
        """The statistic of all cases."""
        return float(self.statistic(self.data))


MASK_METRICS: tuple[str, ...] = ("dsc", "nsd", "voe", "msd", "rec", "prec")
COUNTED: tuple[str, ...] = (
    "qwk", "mae", "acc", "bacc", "within_1", "pn_acc", "sensitivity", "specificity", "pn_bacc", "pn_f1", "dor",
)  # fmt: skip
"""The metrics of scores that follow from their counts."""

TOTALS: tuple[str, ...] = ("rmse", "mae", "bias", "icc", "pearson")

BONE_GROUPS: dict[str, tuple[str, ...]] = {
    "30 channels": anatomy.BONES,
    "29 bones": tuple(bone for bone in anatomy.BONES if bone != "SoftTissue"),
    "14 wrist bones": anatomy.WRIST_BONES,
    "phalanges": tuple(bone for bone in anatomy.BONES if bone[:2] in ("PP", "MP", "DP")),
}
"""Bones whose means stand apart: the published mean is over 30 channels, soft tissue and sesamoids among them."""


BURDENS: dict[str, tuple[float, float]] = {
    "up to 5 mm²": (0, 5), "5 to 15 mm²": (5, 15), "15 to 50 mm²": (15, 50), "above 50 mm²": (50, np.inf),
}  # fmt: skip
"""Groups of hands with erosions by their annotated area; a group holds its upper border."""


def metrics(cases: Cases, mode: Mode) -> dict[str, Metric]:
    """Every metric that the tables show of the cases of one data set; none of tasks that were not evaluated."""
    found: dict[str, Metric] = {}
    if "bones" in cases.values:
        found |= _bones(cases, mode)
    if "erosions" in cases.values:
        found |= _erosions(cases, mode)
    if "joints" in cases.values:
        found |= _joints(cases)
    for scale in anatomy.SCALES:
        if scale in cases.values:
            found |= _scores(cases, scale, mode)
    return found


def parts(cases: Cases) -> dict[str, Metric]:
    """What the charts show of single bones, sites and scores, strict."""
    found: dict[str, Metric] = {}
    for task, metric in (("bones", "dsc"), ("pairs", "dsc")):
        for part in PARTS[task] if task in cases.values else ():
            found[f"{task}@{part}/{metric}"] = mean_metric(mean_over_parts(cases, task, metric, "strict", [part]))
    if "erosions" in cases.values:
        any_lesion = PARTS["erosions"].index("any")
        area = cases.get("erosions", "annotated_mm2")[:, any_lesion]
        for burden, (above, most) in BURDENS.items():
            here = (area > above) & (area <= most)
            for metric in ("dsc", "rec", "prec"):
                values = np.where(here, cases.get("erosions", metric)[:, any_lesion], np.nan)
                found[f"erosions@{burden}/{metric}"] = mean_metric(values)
    for scale, (top, sites) in anatomy.SCALES.items():
        if scale not in cases.values:
            continue
        predicted, annotated = scores(cases, scale)
        off = error(cases, scale)
        for site in sites:
            found[f"{scale}@{anatomy.SITE_NAMES[site]}/mae"] = mean_metric(off[:, site])
        for score in range(top + 1):
            here = annotated == score
            found[f"{scale}@{score}/mae"] = pooled_metric(np.where(here, off, np.nan))
            found[f"{scale}@{score}/predicted"] = pooled_metric(np.where(here & (predicted >= 0), predicted, np.nan))
    return {name: metric for name, metric in found.items() if metric.n}


def mean_metric(values: np.ndarray) -> Metric:
    """The mean over the cases (N,) whose value is finite."""
    return pooled_metric(values[:, None])


def pooled_metric(values: np.ndarray) -> Metric:
    """The mean over all finite values (N, K), whatever case they are of."""
    finite = np.isfinite(values)
    data = {"sum": np.where(finite, values, 0.0).sum(1), "count": finite.sum(1)}
    return Metric(data, _pooled_mean, int(finite.sum()))


def spread(metric: Metric) -> float:
    """Standard deviation over the cases (ddof 1) of a mean over cases; NaN of any other metric."""
    if set(metric.data) != {"sum", "count"} or metric.data["count"].max(initial=0) > 1:
        return float("nan")
    values = metric.data["sum"][metric.data["count"] > 0]
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def mean_over_parts(cases: Cases, task: str, metric: str, mode: Mode, parts: Sequence[str]) -> np.ndarray:
    """The mean of each case over some of its parts, float64 (N,)."""
    values = cases.get(task, metric, mode)[:, [PARTS[task].index(part) for part in parts]]
    return segmentation.mean_of_finite(values, axis=1)[0]


def mean_over_bones(cases: Cases, metric: str, mode: Mode, bones: Sequence[str]) -> np.ndarray:
    """The mean of each case over some of its bones, float64 (N,).

    RAM-W600's evaluator (compat) leaves out a wrist of which one bone has no value, as one that is not shown; but of
    the distances it takes the finite ones.
    """
    wrists = all(name.partition("/")[0] == "ram_w600" for name in cases.attributes["dataset"])
    if mode == "compat" and wrists and metric != "msd":
        values = cases.get("bones", metric, mode)[:, [anatomy.BONE_INDEX[bone] for bone in anatomy.WRIST_BONES]]
        return np.where(np.isfinite(values).all(1), values.mean(1), np.nan)
    return mean_over_parts(cases, "bones", metric, mode, bones)


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
    if not all(name in cases.values[scale] for name in names):
        return None
    return np.stack([cases.get(scale, name) for name in names], axis=-1)


def totals(cases: Cases, scale: str) -> agreement.Totals:
    """Of each hand, over the sites whose score is predicted and annotated."""
    of = cases.attributes
    return agreement.hand_totals(*scores(cases, scale), of["patient"], of["visit"], scale=scale)


def detections(cases: Cases, min_confidence: float = 0.5) -> dict[str, dict[str, float]]:
    """What `detection.detection_metrics` gives of the boxes, with the distances in mm that were measured case by case.

    A grid's pixels may be farther apart one way than the other, which one spacing cannot tell.
    """
    sides = ("ymin", "xmin", "ymax", "xmax")
    predicted, annotated = (
        np.stack([cases.get("joints", f"{who}_{side}") for side in sides], -1) for who in ("predicted", "annotated")
    )
    present, confidence = cases.get("joints", "present"), np.nan_to_num(cases.get("joints", "confidence"))
    found = detection.detection_metrics(
        predicted, confidence, annotated, present == 1, known=np.isfinite(present), min_confidence=min_confidence
    )
    error = np.where(present == 1, cases.get("joints", "center_error_mm"), np.nan)
    for name, metrics in found.items():
        of_sites = error if name == "pooled" else error[:, anatomy.SITE_INDEX[name]]
        finite = of_sites[np.isfinite(of_sites)]
        metrics["center_error_mm"] = float(finite.mean()) if finite.size else float("nan")
        metrics["center_error_mm_median"] = float(np.median(finite)) if finite.size else float("nan")
        metrics["n_mm"] = float(finite.size)
    return found


def _bones(cases: Cases, mode: Mode) -> dict[str, Metric]:
    # What is judged by default: bones. The published mean is over all channels, or all of a wrist.
    groups = {"": BONE_GROUPS["29 bones" if mode == "strict" else "30 channels"]}
    if mode == "strict":
        groups |= {f"@{name}": bones for name, bones in BONE_GROUPS.items()}
    found = {
        f"bones{group}/{metric}": mean_metric(mean_over_bones(cases, metric, mode, bones))
        for group, bones in groups.items()
        for metric in MASK_METRICS[:4]
    }
    for failure in ("missed", "invented"):
        found[f"bones/{failure}"] = pooled_metric(cases.get("bones", failure, mode))
    if "pairs" in cases.values:
        for metric in ("dsc", "nsd"):
            values = mean_over_parts(cases, "pairs", metric, mode, PARTS["pairs"])
            found[f"pairs/{metric}"] = mean_metric(values)
    return found


def _erosions(cases: Cases, mode: Mode) -> dict[str, Metric]:
    """Means over images of any lesion and of both published variants, and what is pooled over images."""
    names = PARTS["erosions"]
    groups = {"": ["any"]}
    groups |= {f"@{variant}": [names[part] for part in averaged] for variant, (averaged, _) in erosion.VARIANTS.items()}
    found = {
        f"erosions{group}/{metric}": mean_metric(mean_over_parts(cases, "erosions", metric, mode, labels))
        for group, labels in groups.items()
        for metric in MASK_METRICS
    }
    for variant, (_, part) in erosion.VARIANTS.items() if mode == "strict" else ():
        data = {name: cases.get("erosions", name)[:, part] for name in cases.values["erosions"]}
        for name, statistic in erosion.POOLED.items():
            found[f"erosions@{variant}/{name}"] = Metric(data, statistic, _erosions_behind(name, data))
    return found


def _erosions_behind(name: str, data: Data) -> int:
    """How many lesions or hands a pooled metric of erosions counts."""
    if name.startswith("lesion_"):
        matched = np.isfinite(data["matched_distance" if name.endswith("distance") else "matched_iou"])
        return int(data["lesions_predicted" if name.startswith("lesion_prec") else "lesions_annotated"][matched].sum())
    if name.startswith("false_lesions"):
        return int(np.isfinite(data["matched_distance" if name.endswith("distance") else "matched_iou"]).sum())
    if name == "image_specificity":
        return int((data["annotated_px"] == 0).sum())
    if name == "false_area_mm2":
        return int((np.isfinite(data["predicted_mm2"]) & (data["annotated_px"] == 0)).sum())
    if name == "image_sensitivity":
        return int((data["annotated_px"] > 0).sum())
    return int(np.isfinite(data["predicted_mm2" if name.startswith("area") else "predicted_px"]).sum())


def _joints(cases: Cases) -> dict[str, Metric]:
    """Of the annotated sites, however confident the network is of them."""
    there = cases.get("joints", "present") == 1
    iou = np.where(there, np.nan_to_num(cases.get("joints", "iou")), np.nan)
    reached = {f"recall_{percent}": np.where(there, iou >= percent / 100, np.nan) for percent in (50, 75)}
    error = np.where(there, cases.get("joints", "center_error_mm"), np.nan)
    values = {**reached, "iou": iou, "center_error_mm": error}
    return {f"joints/{name}": pooled_metric(of) for name, of in values.items()}


def _scores(cases: Cases, scale: str, mode: Mode) -> dict[str, Metric]:
    predicted, annotated = scores(cases, scale)
    top, sites = anatomy.SCALES[scale]
    counts = scoring.confusion_matrices(predicted[:, sites], annotated[:, sites], top + 1)
    found = {
        f"{scale}/{name}": Metric({"counts": counts}, _of_counts(name, mode), int(counts.sum())) for name in COUNTED
    }
    of_hands = totals(cases, scale)
    data = {"predicted": of_hands.pred, "annotated": of_hands.target}
    for name in TOTALS:
        found[f"{scale}/total_{name}"] = Metric(data, _of_totals(name), int(np.isfinite(of_hands.pred).sum()))
    return found


def _pooled_mean(data: Data) -> float:
    count = data["count"].sum()
    return float(data["sum"].sum() / count) if count else float("nan")


def _of_counts(name: str, mode: Mode):
    key = "qwk_rank" if name == "qwk" and mode == "compat" else name

    def statistic(data: Data) -> float:
        return scoring.confusion_metrics(data["counts"].sum(0), mode)[key]

    return statistic


def _of_totals(name: str):
    def statistic(data: Mapping[str, np.ndarray]) -> float:
        return float(getattr(agreement.total_agreement(data["predicted"], data["annotated"]), name))

    return statistic

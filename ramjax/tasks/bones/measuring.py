"""Bones measured: masks on the radiograph's grid, counts on the canvas, and the metrics of both."""

from collections.abc import Mapping

import numpy as np

from ramjax import anatomy
from ramjax.config import EvaluationConfig
from ramjax.data import regrid
from ramjax.data.grid import Grid
from ramjax.metrics import segmentation, surface
from ramjax.metrics.cases import MODES, Cases, Mode, Values
from ramjax.metrics.metric import Data, Metric, Ranking, mean_metric, pooled_metric
from ramjax.record import Record
from ramjax.tasks import masks
from ramjax.tasks.masks import alike, in_both_modes

PAIR_NAMES: tuple[str, ...] = tuple(f"{one} & {other}" for one, other in anatomy.OVERLAP_PAIRS)

PARTS = {"bones": anatomy.BONES, "pairs": PAIR_NAMES}
"""The channels, and the pairs whose overlap is measured like a mask; metrics of `segmentation.segmentation_metrics`."""

BONE_GROUPS: dict[str, tuple[str, ...]] = {
    "30 channels": anatomy.BONES,
    "29 bones": tuple(bone for bone in anatomy.BONES if bone != "SoftTissue"),
    "14 wrist bones": anatomy.WRIST_BONES,
    "phalanges": tuple(bone for bone in anatomy.BONES if bone[:2] in ("PP", "MP", "DP")),
}
"""Bones whose means stand apart: the published mean is over 30 channels, soft tissue and sesamoids among them."""

MEANS = ("dsc", "nsd", "voe", "msd")
"""The metrics whose means over bones are taken."""

DEFINITIONS: dict[str, str] = {
    **masks.DEFINITIONS,
    "DSCO, NSDO": "DSC and NSD of the pixels that two bones share, mean over 14 pairs of the wrist.",
}
"""What the metrics mean, for the report."""

EVALUATORS: dict[str, tuple[str, str]] = {
    "Mean over bones": (
        "Over 29 bones; of wrists those annotated.",
        "Over 30 channels, soft tissue among them. A wrist of which a bone has no value is left out, but for MSD.",
    ),
    "Bone missed": ("DSC 0, NSD 0, MSD the image's diagonal.", "DSC 0, NSD 0; infinite MSD, which is left out."),
    "Bone invented": ("Counted as invented; costs precision.", "DSC free of charge, NSD 0, MSD left out."),
    "SD": ("Over cases, ddof 1.", "Over cases, ddof 1; it is not the SD over seeds."),
}
"""What the strict and the published evaluator do with the same matter."""


def measure(record: Record, maps: Mapping[str, np.ndarray], grid: Grid, settings: EvaluationConfig) -> Values:
    """Of the channels, and of the pairs' overlaps."""
    pred = regrid.packed_masks(maps["bones"], grid.to_canvas, grid.canvas_height, grid.shape)
    target = grid.labels(np.ascontiguousarray(record.bones).view("<u4")[..., 0])
    known = np.asarray(record.bones_known, bool) & record.has_bones
    pairs = segmentation.pair_indices(anatomy.OVERLAP_PAIRS, anatomy.BONES)
    parts = [1 << k for k in range(anatomy.NUM_BONES)] + [1 << a | 1 << b for a, b in pairs]
    all_known = np.concatenate([known, known[pairs].all(axis=1)])

    def of(tolerance: float, spacing: tuple[float, float]) -> dict[Mode, dict[str, np.ndarray]]:
        measured = surface.measure(pred, target, parts, tolerance=tolerance, spacing=spacing)
        return {mode: segmentation.from_measured(measured, mode, all_known) for mode in MODES}

    values = in_both_modes(of, grid, settings)
    split = anatomy.NUM_BONES
    return {
        "bones": {name: value[:, :split] for name, value in values.items()},
        "pairs": {name: value[:, split:] for name, value in values.items()},
    }


def canvas_values(observed: Mapping[str, np.ndarray]) -> Values:
    """Dice of the known bones that an image shows, from pixels counted on the canvas."""
    dice = segmentation.dice(observed["intersection"], observed["predicted"], observed["annotated"])
    return {"bones": {"dsc": alike(np.where(observed["known"] & (observed["annotated"] > 0), dice, np.nan))}}


def metrics(cases: Cases, mode: Mode) -> dict[str, Metric]:
    """Means over bones of each image, then over images.

    ``bones/dsc`` is over the annotated bones that an image shows, without SoftTissue, which is a channel but no bone;
    in compat it is over all 30 channels. Means over other groups have the group's name behind them, as in
    ``bones/dsc_30_channels``, single bones theirs. Sesamoids and soft tissue are not judged as the worst bone.
    """
    groups = {"": BONE_GROUPS["29 bones" if mode == "strict" else "30 channels"]}
    if mode == "strict":
        groups |= BONE_GROUPS
    found = {
        group_name(metric, group): mean_metric(mean_over_bones(cases, metric, mode, bones))
        for group, bones in groups.items()
        for metric in MEANS
        if cases.has("bones", metric)
    }
    for failure in ("missed", "invented"):
        if cases.has("bones", failure):
            found[f"bones/{failure}"] = pooled_metric(cases.get("bones", failure, mode))
    for metric in ("dsc", "nsd"):
        if cases.has("pairs", metric):
            found[f"pairs/{metric}"] = mean_metric(cases.mean("pairs", metric, PAIR_NAMES, mode))
    if mode == "strict":
        dice = cases.get("bones", "dsc")
        found |= {f"bones/dsc_{bone}": _mean_of_bone(dice[:, k]) for k, bone in enumerate(anatomy.BONES)}
        found["bones/dsc_worst_bone"] = _worst_bone(dice)
    return found


def group_name(metric: str, group: str) -> str:
    """The name of a metric of one of `BONE_GROUPS`; of the bones that are judged by default where it is ''."""
    return f"bones/{metric}_{group.replace(' ', '_')}" if group else f"bones/{metric}"


def part_metrics(cases: Cases) -> dict[str, Metric]:
    """Dice of each overlap."""
    if not cases.has("pairs", "dsc"):
        return {}
    dice = cases.get("pairs", "dsc")
    return {f"pairs/dsc_{pair}": mean_metric(dice[:, k]) for k, pair in enumerate(PAIR_NAMES)}


def rank(cases: Cases) -> Ranking:
    """Cases by their Dice."""
    return Ranking("mean strict Dice of the bones", cases.mean("bones", "dsc", BONE_GROUPS["29 bones"]))


def mean_over_bones(cases: Cases, metric: str, mode: Mode, bones: tuple[str, ...]) -> np.ndarray:
    """The mean of each case over some of its bones, float64 (N,).

    RAM-W600's evaluator (compat) leaves out a wrist of which one bone has no value, as one that is not shown; but of
    the distances it takes the finite ones.
    """
    wrists = all(name.partition("/")[0] == "ram_w600" for name in cases.attributes["dataset"])
    if mode == "compat" and wrists and metric != "msd":
        values = cases.of_parts("bones", metric, anatomy.WRIST_BONES, mode)
        return np.where(np.isfinite(values).all(1), values.mean(1), np.nan)
    return cases.mean("bones", metric, bones, mode)


def _mean_of_bone(dice: np.ndarray) -> Metric:
    """The mean over the cases (N,) that show a bone."""
    return Metric({"dice": dice}, lambda data: float(_means(data["dice"])[0]), int(np.isfinite(dice).sum()))


def _worst_bone(dice: np.ndarray) -> Metric:
    """The lowest of the bones' means over the cases (N, 30)."""
    judged = np.ones(anatomy.NUM_BONES, bool)
    judged[[anatomy.SESAMOID, anatomy.SOFT_TISSUE]] = False

    def statistic(data: Data) -> float:
        means, _ = _means(data["dice"])
        return float(np.nanmin(means)) if np.isfinite(means).any() else float("nan")

    means, counts = _means(dice[:, judged])
    n = int(counts[np.nanargmin(means)]) if np.isfinite(means).any() else 0
    return Metric({"dice": dice[:, judged]}, statistic, n)


def _means(dice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean over the finite values of the cases (N, ...), and how many there are.

    They are added up case by case, however they lie in memory: the Dice of the worst bone then equals that of the bone
    to the last digit.
    """
    finite = np.isfinite(dice)
    count = finite.sum(0)
    total = np.add.accumulate(np.where(finite, dice, 0.0), axis=0)[-1]
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0), count

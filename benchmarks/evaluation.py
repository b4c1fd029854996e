"""Measures evaluating the masks of a hand beside the MONAI-based way of published evaluators, in one run.

    python -m benchmarks.evaluation [--hands=64] [--repeats=7] [--json]

One synthetic hand of native size on a grid of 1700 x 1300, its 30 planes and a prediction of them with the usual
mistakes: moved, too large or too small, rough, with false islands, some missed. Measured are all metrics of the planes
and of the 14 overlaps:

- ours: `segmentation_metrics` and `overlap_metrics`, strict, of bool (H, W, 30) arrays in memory;
- MONAI, where it is installed: Dice, mean IoU, surface Dice at 2 pixels, symmetric surface distance and the 95th
  percentile of the Hausdorff distance, of float32 (1, 30, H, W) tensors and of the 14 overlaps. Published evaluators
  leave out the last, and of overlaps print the first and the third only: `monai_seconds_per_hand_published`.

The two take turns, each in a process of its own on the same core, with one thread; medians of --repeats turns. Memory
is the most that was resident in the process, interpreter and masks included; of MONAI with its first hand only, as it
grows with each. Where compat values do not agree with MONAI's to 1e-6 the exit code is 1 (the percentile to 1e-3: MONAI
rounds its place among the distances to float32).

- all cores: --hands hands by one process a core, from the first result to the last.

With --json the last line is one JSON object: `seconds_per_hand`, `rss_gb`, `ratio` (MONAI's seconds by ours),
`ratio_published`, `monai_seconds_per_hand`, `monai_seconds_per_hand_published`, `monai_rss_gb`, `max_difference` and
`max_difference_hd95` (null without MONAI), `hands_per_second_all_cores`, `rss_gb_all_cores` (its processes together),
`cores`.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import importlib.util
import itertools
import json
import multiprocessing
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from ramjax import anatomy
from ramjax.metrics.segmentation import overlap_metrics, pair_indices, segmentation_metrics

# What only the parent or only MONAI's process needs is imported there, so that it does not count as our memory.

SHAPE = (1700, 1300)
TOLERANCE = 2.0
METRICS = ("dsc", "iou", "nsd", "msd", "hd95")
"""What MONAI measures."""

PUBLISHED = {"planes": ("dsc", "iou", "nsd", "msd"), "overlaps": ("dsc", "nsd")}
"""What published evaluators have it measure."""

AGREEMENT = {"max_difference": 1e-6, "max_difference_hd95": 1e-3}
"""How far compat values may be from MONAI's, in units of the value where that is above 1."""

_OF_MONAI = (
    "ratio", "ratio_published", "monai_seconds_per_hand", "monai_seconds_per_hand_published", "monai_rss_gb",
    *AGREEMENT,
)  # fmt: skip

Values = Mapping[str, Mapping[str, np.ndarray]]
"""Of ``planes`` (30,) and ``overlaps`` (14,), by metric."""


def make_truth(shape: tuple[int, int] = SHAPE, scale: float = 1.0) -> np.ndarray:
    """The planes of a synthetic hand in the middle of the grid, bool (H, W, 30)."""
    from ramjax import phantom
    from ramjax.record import unpack_bones

    config = phantom.PhantomConfig(patients=1, scale=scale)
    planes = unpack_bones(phantom.render(config, phantom.cases(config)[1]).record.bones)
    room = [have - need for have, need in zip(shape, planes.shape, strict=False)]
    return np.pad(planes, [(r // 2, r - r // 2) for r in room] + [(0, 0)])


def imagine(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A prediction with the usual mistakes: every plane up to 3 pixels off and up to 2 too large or too small, its edge
    rough, a third with false islands anywhere, a tenth missed.

    Args:
      truth: bool (H, W, K).

    Returns:
      Bool (H, W, K).
    """
    height, width, count = truth.shape
    pred = np.zeros_like(truth)
    missed = rng.choice(count, count // 10, replace=False)
    islands = set(rng.choice(count, count // 3, replace=False))
    for k in set(range(count)) - set(missed):
        offset = np.float32([[1, 0, rng.integers(-3, 4)], [0, 1, rng.integers(-3, 4)]])
        plane = cv2.warpAffine(truth[..., k].astype(np.uint8), offset, (width, height), flags=cv2.INTER_NEAREST)
        if grown := int(rng.integers(-2, 3)):
            disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(grown) + 1,) * 2)
            plane = (cv2.dilate if grown > 0 else cv2.erode)(plane, disc)
        edge = cv2.morphologyEx(plane, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        plane ^= edge & (rng.random(plane.shape) < 0.05)
        if k in islands:
            for _ in range(3):
                center = int(rng.integers(width)), int(rng.integers(height))
                cv2.circle(plane, center, int(rng.integers(2, 9)), 1, cv2.FILLED)
        pred[..., k] = plane
    return pred


def measure(
    hands: int, repeats: int, *, monai: bool, shape: tuple[int, int] = SHAPE, scale: float = 1.0
) -> dict[str, float | None]:
    """Returns all numbers of the module's docstring; those of MONAI are None without it."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        truth = make_truth(shape, scale)
        for name, planes in {"truth": truth, "pred": imagine(truth, np.random.default_rng(0))}.items():
            np.save(pathlib.Path(folder) / f"{name}.npy", planes)
        ways = {"ours": _time_ours, "monai": _time_monai} if monai else {"ours": _time_ours}
        calls = {way: stack.enter_context(_apart()) for way in ways}
        for way, function in ways.items():
            calls[way](function, folder)  # reads the masks and warms up
        peak_of_monai = calls["monai"](_peak_gb) if monai else None
        turns = [{way: calls[way](function, folder) for way, function in ways.items()} for _ in range(repeats)]
        seconds = statistics.median(turn["ours"] for turn in turns)
        numbers = {"seconds_per_hand": seconds, "rss_gb": calls["ours"](_peak_gb), **dict.fromkeys(_OF_MONAI)}
        if monai:
            numbers["monai_rss_gb"] = peak_of_monai
            numbers["monai_seconds_per_hand"] = statistics.median(_total(turn["monai"]) for turn in turns)
            numbers["monai_seconds_per_hand_published"] = statistics.median(
                _total({of: {name: turn["monai"][of][name] for name in names} for of, names in PUBLISHED.items()})
                for turn in turns
            )
            numbers["ratio"] = numbers["monai_seconds_per_hand"] / seconds
            numbers["ratio_published"] = numbers["monai_seconds_per_hand_published"] / seconds
            values = calls["ours"](_ours, folder, "compat"), calls["monai"](_values_of_monai, folder)
            numbers["max_difference"] = max_difference(*values, METRICS[:-1])
            numbers["max_difference_hd95"] = max_difference(*values, METRICS[-1:])
        stack.close()
        return {**numbers, **_all_cores(folder, hands)}


def max_difference(ours: Values, theirs: Values, names: Sequence[str]) -> float:
    """The largest difference in any of the named metrics, in units of the value where that is above 1; infinite where
    values are NaN or infinite and the others are not the same."""
    worst = 0.0
    for of, name in itertools.product(theirs, names):
        got, expected = ours[of][name], theirs[of][name]
        finite = np.isfinite(got) & np.isfinite(expected)
        if not np.array_equal(got[~finite], expected[~finite], equal_nan=True):
            return float("inf")
        apart = np.abs(got[finite] - expected[finite]) / np.maximum(1, np.abs(expected[finite]))
        worst = max(worst, float(apart.max(initial=0)))
    return worst


def _ours(folder: str, mode: str) -> Values:
    pred, truth = _masks(folder)
    return {
        "planes": segmentation_metrics(pred, truth, mode=mode, tolerance=TOLERANCE),
        "overlaps": overlap_metrics(pred, truth, mode=mode, tolerance=TOLERANCE),
    }


def _time_ours(folder: str) -> float:
    _masks(folder)
    began = time.perf_counter()
    _ours(folder, "strict")
    return time.perf_counter() - began


@functools.cache
def _masks(folder: str) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.load(pathlib.Path(folder) / f"{name}.npy") for name in ("pred", "truth"))


def _time_monai(folder: str) -> dict[str, dict[str, float]]:
    """Seconds of planes and overlaps by metric; making the overlaps counts as the first metric's."""
    seconds = {}
    for of in PUBLISHED:
        seconds[of] = {}
        began = time.perf_counter()
        pair = _tensors_of(of, folder)
        for name in METRICS:
            _metric_of_monai(name, pair[0].shape[1])(*pair)
            ended = time.perf_counter()
            seconds[of][name], began = ended - began, ended
    return seconds


def _values_of_monai(folder: str) -> Values:
    return {
        of: {name: _metric_of_monai(name, pair[0].shape[1])(*pair).numpy()[0].astype(float) for name in METRICS}
        for of in PUBLISHED
        for pair in [_tensors_of(of, folder)]
    }


def _metric_of_monai(name: str, count: int) -> Callable:
    """As published evaluators make them; golden values of the tests are made likewise."""
    from monai import metrics

    return {
        "dsc": lambda: metrics.DiceMetric(include_background=True, ignore_empty=True),
        "iou": lambda: metrics.MeanIoU(include_background=True, ignore_empty=True),
        "nsd": lambda: metrics.SurfaceDiceMetric([TOLERANCE] * count, include_background=True),
        "msd": lambda: metrics.SurfaceDistanceMetric(include_background=True, symmetric=True),
        "hd95": lambda: metrics.HausdorffDistanceMetric(include_background=True, percentile=95),
    }[name]()


def _tensors_of(of: str, folder: str) -> tuple[Any, Any]:
    """Prediction and truth, float32 (1, K, H, W)."""
    planes = _tensors(folder)
    if of == "planes":
        return planes
    one, other = pair_indices(anatomy.OVERLAP_PAIRS, anatomy.BONES).T.tolist()
    return tuple(tensor[:, one].mul_(tensor[:, other]) for tensor in planes)


@functools.cache
def _tensors(folder: str) -> tuple[Any, Any]:
    import warnings

    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")  # MONAI's, of masks that are empty
    return tuple(
        torch.from_numpy(np.load(pathlib.Path(folder) / f"{name}.npy")).movedim(-1, 0)[None].contiguous().float()
        for name in ("pred", "truth")
    )


def _all_cores(folder: str, hands: int) -> dict[str, float]:
    from ramjax.data import parallel

    ended, peaks = [], {}
    for pid, peak in parallel.in_order(_Hand(folder), [None] * hands):
        ended.append(time.perf_counter())
        peaks[pid] = max(peak, peaks.get(pid, 0.0))
    return {
        "hands_per_second_all_cores": (hands - 1) / (ended[-1] - ended[0]),
        "rss_gb_all_cores": sum(peaks.values()),
        "cores": len(os.sched_getaffinity(0)),
    }


@dataclasses.dataclass(frozen=True)
class _Hand:
    """Evaluates a hand and tells whose process did, and its memory."""

    folder: str

    def __call__(self, _: None) -> tuple[int, float]:
        _ours(self.folder, "strict")
        return os.getpid(), _peak_gb()


@contextlib.contextmanager
def _apart():
    """Gives a function that calls others in one fresh process, which stays on one core with one thread."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context, _start, (max(os.sched_getaffinity(0)),)) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


def _start(core: int) -> None:
    cv2.setNumThreads(1)
    os.sched_setaffinity(0, {core})


def _peak_gb() -> float:
    """The most memory that was resident in this process. (ru_maxrss of a spawned process includes its parent's.)"""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e9


def _total(seconds: Mapping[str, Mapping[str, float]]) -> float:
    return sum(sum(by_metric.values()) for by_metric in seconds.values())


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""
    from absl import flags

    from ramjax import command_line

    values = flags.FlagValues()
    flags.DEFINE_integer("hands", 64, "Hands of the split.", 32, flag_values=values)
    flags.DEFINE_integer("repeats", 7, "Turns, of which the median counts.", 1, flag_values=values)
    flags.DEFINE_bool("json", False, "End with one line of JSON.", flag_values=values)
    if command_line.wants_help(argv):
        print(command_line.help_text(__doc__, values))
        return 0
    try:
        values(argv)
    except flags.Error as error:
        print(f"Usage error: {error}", file=sys.stderr)
        return 2
    monai = importlib.util.find_spec("monai") is not None
    numbers = measure(values.hands, values.repeats, monai=monai)
    width = max(map(len, numbers))
    print("\n".join(f"{name:{width}}  {value:>10.4g}" for name, value in numbers.items() if value is not None))
    if not monai:
        print("MONAI is not installed, so nothing is compared with it: pip install '.[parity]' in the project's root.")
    if values.json:
        print(json.dumps(numbers))
    apart = [name for name, most in AGREEMENT.items() if monai and not numbers[name] <= most]
    for name in apart:
        print(f"Compat values do not agree with MONAI's: {name} is {numbers[name]:.2g}.", file=sys.stderr)
    return 1 if apart else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))

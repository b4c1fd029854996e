"""Measures how many synthetic hands are rendered in a second.

    python -m benchmarks.render [--hands=24] [--repeats=3] [--json]

At native resolution and at that of the data set ram_phantom/small, in one process and in one a core. Each measurement
has fresh processes, which render a hand before the clock starts; the medians of the repeats are printed. With --json
the last line is one JSON object: `hands_per_second_native` and `hands_per_second_small` on all cores, the same with
`_one_core`, and `cores`.
"""

import functools
import multiprocessing
import multiprocessing.synchronize
import os
import statistics
import sys
import time

import cv2
from absl import flags

from benchmarks import common
from ramjax import phantom
from tfds_builders.ram_phantom.ram_phantom_dataset_builder import Builder

SCALES = {
    "native": 1.0,
    "small": next(config.hands.scale for config in Builder.BUILDER_CONFIGS if config.name == "small"),
}

_PATIENCE = 300.0
"""Seconds within which worker processes start, or the measurement fails."""


def hands_per_second(scale: float, processes: int, hands: int, repeats: int) -> float:
    """Returns the median rate of `repeats` measurements, each of `hands` hands in fresh processes."""
    return statistics.median(_rate(scale, processes, hands) for _ in range(repeats))


def measure(scales: dict[str, float], hands: int, repeats: int) -> dict[str, float]:
    """Returns the rates at each named scale on all cores and, with `_one_core`, on one; and `cores`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    rates = {"cores": cores}
    for name, scale in scales.items():
        rates[f"hands_per_second_{name}_one_core"] = round(hands_per_second(scale, 1, hands, repeats), 2)
        rates[f"hands_per_second_{name}"] = round(hands_per_second(scale, cores, hands, repeats), 2)
    return rates


def _rate(scale: float, processes: int, hands: int) -> float:
    config = phantom.PhantomConfig(patients=hands // 2 + 1, scale=scale)
    warm_up, *cases = phantom.cases(config)[: hands + 1]
    context = multiprocessing.get_context("spawn")
    warm = context.Barrier(processes + 1)
    with context.Pool(processes, _start, (config, warm_up, warm)) as pool:
        warm.wait(_PATIENCE)
        start = time.perf_counter()
        for _ in pool.imap_unordered(functools.partial(_render, config), cases):
            pass
        return len(cases) / (time.perf_counter() - start)


def _start(config: phantom.PhantomConfig, case: phantom.Case, warm: multiprocessing.synchronize.Barrier) -> None:
    cv2.setNumThreads(1)
    phantom.render(config, case)
    warm.wait(_PATIENCE)


def _render(config: phantom.PhantomConfig, case: phantom.Case) -> None:
    phantom.render(config, case)


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""

    def define(values):
        flags.DEFINE_integer("hands", 24, "Hands in one measurement.", 1, flag_values=values)
        flags.DEFINE_integer("repeats", 3, "Measurements, of which the median counts.", 1, flag_values=values)

    def run(values):
        return measure(SCALES, values.hands, values.repeats)

    def show(rates):
        lines = [f"{'Hands a second':<16}{'one core':>10}{str(rates['cores']) + ' cores':>10}"]
        for name, scale in SCALES.items():
            one, all_ = rates[f"hands_per_second_{name}_one_core"], rates[f"hands_per_second_{name}"]
            lines.append(f"{f'{name} ({scale:g})':<16}{one:>10.2f}{all_:>10.2f}")
        return "\n".join(lines)

    return common.run(argv, __doc__, define, run, show)


if __name__ == "__main__":
    sys.exit(main(sys.argv))

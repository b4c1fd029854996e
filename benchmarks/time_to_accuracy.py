"""Measures how long a training takes to be as good as asked, from the start of its process.

    python -m benchmarks.time_to_accuracy [--config=experiments/multitask.py:accelerator+quick] [--data_dir=data]
                                          [--steps=1000] [--validations=5] [--json]

One real run of `ramjax.main` with timers about its parts (`benchmarks.timed_main`), with nothing compiled before and no
test at its end, validated --validations times at even distances; then a second start on the programs that the first one
compiled, which is stopped after its first step. The data set is prepared in --data_dir first and does not count.

A level of `LEVELS` is reached at the first validation that measures at least that.

With --json the last line is one JSON object: `first_step_seconds_cold`, `first_step_seconds_warm`,
`compile_seconds_cold` (of the former), `steps_per_second`, `hands_per_second` (both of the median step),
`data_wait_share` (median of the log), `validation_seconds` (median), `seconds_until` and `steps_until` (by metric; null
where it was not reached), `reached` (the best value by metric), `levels`, `steps`, and the machine.
"""

import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from benchmarks import common, training
from ramjax import command_line
from ramjax.config import Config
from ramjax.data import pipeline

LEVELS = {
    "canvas/bones/dsc": 0.93,
    "canvas/erosions/dsc": 0.80,
    "canvas/scores/be_qwk": 0.85,
    "canvas/scores/jsn_qwk": 0.80,
}
"""What one H200 reached with the accelerator preset in 1,076 steps, rounded down."""


def measure(config: Config, experiment: str, steps: int, validations: int) -> dict[str, Any]:
    """Returns all numbers of the module's docstring; `experiment` is the --config that `config` is from."""
    if len(config.data.datasets) != 1:
        raise ValueError(f"data.datasets is {config.data.datasets}; the levels are those of one data set, name one.")
    for split in (config.data.train_split, config.data.validation_split, config.data.test_split):
        pipeline.open_sources(config.data, split)
    with training.runs(experiment, config.data.data_dir, steps, validations) as run:
        timeline, rows = run.whole("whole", "cache", "--mode=train")
        warm = run.start("warm", "cache")
    first = timeline.of("first_step")[0][1]
    costs = training.unit_costs(timeline)
    waits = [row["train/data_wait_share"] for row in rows if "train/data_wait_share" in row]
    return {
        "first_step_seconds_cold": first,
        "first_step_seconds_warm": warm.of("first_step")[0][1],
        "compile_seconds_cold": timeline.seconds("compile", until=first),
        "steps_per_second": 1 / costs["step_seconds"],
        "hands_per_second": config.data.batch_size / costs["step_seconds"],
        "data_wait_share": statistics.median(waits[1:] or waits),
        "validation_seconds": costs["validation_seconds"],
        **until(rows, [ended for _, ended in timeline.of("evaluate")]),
        "steps": steps,
        **common.machine(),
    }


def until(rows: Sequence[Mapping[str, float]], ended: Sequence[float]) -> dict[str, Any]:
    """When each level was reached.

    Args:
      rows: of metrics.jsonl, in order.
      ended: when the validations ended, in seconds.
    """
    validated = [row for row in rows if any(name.startswith("validation/") for name in row)]
    seconds: dict[str, float | None] = dict.fromkeys(LEVELS)
    steps: dict[str, int | None] = dict.fromkeys(LEVELS)
    best: dict[str, float | None] = dict.fromkeys(LEVELS)
    for row, time in zip(validated, ended, strict=True):
        for name, level in LEVELS.items():
            value = row.get(f"validation/{name}")
            if value is None:
                continue
            best[name] = value if best[name] is None else max(best[name], value)
            if seconds[name] is None and value >= level:
                seconds[name], steps[name] = time, row["step"]
    return {"seconds_until": seconds, "steps_until": steps, "reached": best, "levels": LEVELS}


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""

    def define(values):
        default = "experiments/multitask.py:accelerator+quick"
        command_line.define_path("config", default, "Experiment file, with a preset.", flag_values=values)
        command_line.define_path("data_dir", "data", "Folder of prepared data sets.", flag_values=values)
        flags.DEFINE_integer("steps", 1000, "Of the run.", 2, flag_values=values)
        flags.DEFINE_integer("validations", 5, "In the run.", 1, flag_values=values)

    def run(values):
        config = training.load(values.config, values.data_dir)
        return measure(config, values.config, values.steps, values.validations)

    return common.run(argv, __doc__, define, run)


if __name__ == "__main__":
    sys.exit(main(sys.argv))

"""Measures what the quickstart spends its time on, from the start of its process.

    python -m benchmarks.training [--config=experiments/multitask.py] [--data_dir=data] [--steps=60] [--repeats=5]
                                  [--json]

Real runs of `ramjax.main`, with timers about its parts (`benchmarks.timed_main`), each in a process of its own. The
data set is prepared in --data_dir first and does not count.

- start: from the start of the process to the results of the first step, with a cold compilation cache (an empty folder)
  and with a warm one (that of a run before); medians of --repeats starts of each, stopped after the first step.
- run: --steps steps with three validations and checkpoints at even distances and the test at the end, on the warm
  cache. The step's time is the median between the metrics of two steps, checkpoints and validations taken out.
- shares of the whole quickstart: what its config asks for (its steps, validations, checkpoints, one test) at the costs
  that were measured, from a warm start. A checkpoint costs what it holds up the loop and, as it is written in the
  background, what the steps after it take longer than the median (as many as there are, ten at most).

With --json the last line is one JSON object: `first_step_seconds_cold`, `first_step_seconds_warm`,
`compile_seconds_cold`, `compile_seconds_warm` (of these), `steps_per_second`, `examples_per_second`, `data_wait_share`
(median of the log), `validation_seconds` (median), `validation_seconds_first`, `test_seconds`,
`checkpoint_seconds_blocked` and `checkpoint_seconds_slowed` (one save of the latest, and what went with it of the
best), `checkpoint_seconds_latest` and `checkpoint_seconds_best` (of those blocked, the calls that save; the rest is
waiting for what is written in the background), `checkpoints` (measured), `checkpoint_share`, `evaluation_share`,
`validation_share`, `start_share` and `quickstart_seconds`, and the machine.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags
from tqdm import tqdm

from benchmarks import common
from ramjax import command_line
from ramjax import config as config_lib
from ramjax.config import Config
from ramjax.data import pipeline

VALIDATIONS = 3
"""Of the measured run, and as many checkpoints."""

AFTER = 10
"""Steps after a checkpoint that may be slowed by its being written, at most."""

PATIENCE = 1800.0
"""Seconds within which a run takes its first step, or the measurement fails."""

CHECKPOINTS = ("save_latest", "save_best", "wait")
REQUEUE = 75
"""Exit code of a run that was told to stop."""


@dataclasses.dataclass(frozen=True)
class Timeline:
    """When the parts of a run began and ended, in seconds after its process started."""

    events: tuple[tuple[str, float, float], ...]

    def of(self, *names: str) -> list[tuple[float, float]]:
        """The spans of the events of these names, in order, those that overlap joined."""
        spans: list[tuple[float, float]] = []
        for began, ended in sorted((began, ended) for name, began, ended in self.events if name in names):
            if spans and began <= spans[-1][1]:
                spans[-1] = (spans[-1][0], max(ended, spans[-1][1]))
            else:
                spans.append((began, ended))
        return spans

    def seconds(self, *names: str, since: float = 0.0, until: float = float("inf")) -> float:
        """How long these events took together between two times."""
        return sum(max(min(ended, until) - max(began, since), 0.0) for began, ended in self.of(*names))


def measure(config: Config, experiment: str, steps: int, repeats: int) -> dict[str, Any]:
    """Returns all numbers of the module's docstring; `experiment` is the --config that `config` is from."""
    for split in (config.data.train_split, config.data.validation_split, config.data.test_split):
        pipeline.open_sources(config.data, split)
    with runs(experiment, config.data.data_dir, steps, VALIDATIONS) as run:
        turns = functools.partial(tqdm, range(repeats), unit="start", leave=False, disable=None)
        cold = [run.start(f"cold{i}", f"cache{i}") for i in turns(desc="nothing compiled")]
        warm = [run.start(f"warm{i}", "cache0") for i in turns(desc="compiled before")]
        timeline, rows = run.whole("whole", "cache0")
    starts = {}
    for name, timelines in (("cold", cold), ("warm", warm)):
        firsts = [of_start.of("first_step")[0][1] for of_start in timelines]
        compiling = [of.seconds("compile", until=first) for of, first in zip(timelines, firsts, strict=True)]
        starts[f"first_step_seconds_{name}"] = statistics.median(firsts)
        starts[f"compile_seconds_{name}"] = statistics.median(compiling)
    costs = unit_costs(timeline)
    waits = [row["train/data_wait_share"] for row in rows if "train/data_wait_share" in row]
    return {
        **starts,
        "steps_per_second": 1 / costs["step_seconds"],
        "examples_per_second": config.data.batch_size / costs["step_seconds"],
        "data_wait_share": statistics.median(waits[1:] or waits),
        **{name: value for name, value in costs.items() if name != "step_seconds"},
        **shares(config, starts["first_step_seconds_warm"], costs),
        **common.machine(),
    }


def unit_costs(timeline: Timeline) -> dict[str, Any]:
    """Seconds of a step, a validation, the test and a checkpoint, from a whole run; and how many `checkpoints`.

    Those of the test are None where there was none.
    """
    ended = [end for _, end in timeline.of("step")]
    saves = [end for _, end in timeline.of("save_latest")]
    steps = [
        later - earlier - timeline.seconds("evaluate", *CHECKPOINTS, since=earlier, until=later)
        for earlier, later in itertools.pairwise(ended)
    ]
    usual = statistics.median(steps)
    slowed = 0.0
    for save, following in itertools.pairwise([*saves, float("inf")]):
        after = [
            seconds - usual for seconds, end in zip(steps, ended[1:], strict=True) if save < end and end < following
        ]
        slowed += sum(after[:AFTER])
    validations = [end - began for began, end in timeline.of("evaluate")]
    tested = timeline.of("test")
    began = tested[0][0] if tested else float("inf")
    return {
        "step_seconds": usual,
        "validation_seconds": statistics.median(validations[1:] or validations),
        "validation_seconds_first": validations[0],
        "test_seconds": tested[0][1] - began if tested else None,
        "checkpoint_seconds_blocked": timeline.seconds(*CHECKPOINTS, until=began) / len(saves),
        "checkpoint_seconds_latest": timeline.seconds("save_latest", until=began) / len(saves),
        "checkpoint_seconds_best": timeline.seconds("save_best", until=began) / len(saves),
        "checkpoint_seconds_slowed": slowed / len(saves),
        "checkpoints": len(saves),
    }


def shares(config: Config, start: float, costs: dict[str, float]) -> dict[str, float]:
    """What the config's own schedule takes at these costs, and the shares of it."""
    train = config.train
    validations, saves = -(-train.steps // train.eval_every), -(-train.steps // train.checkpoint_every)
    saving = saves * (costs["checkpoint_seconds_blocked"] + costs["checkpoint_seconds_slowed"])
    validating = costs["validation_seconds_first"] + (validations - 1) * costs["validation_seconds"]
    whole = start + (train.steps - 1) * costs["step_seconds"] + saving + validating + costs["test_seconds"]
    return {
        "checkpoint_share": saving / whole,
        "evaluation_share": (validating + costs["test_seconds"]) / whole,
        "validation_share": validating / whole,
        "start_share": start / whole,
        "quickstart_seconds": whole,
    }


@contextlib.contextmanager
def runs(experiment: str, data_dir: str, steps: int, validations: int) -> Iterator["Runs"]:
    """The runs of a measurement, in a folder that goes when they are done; see `Runs`."""
    with tempfile.TemporaryDirectory() as folder:
        yield Runs(pathlib.Path(folder), experiment, data_dir, steps, validations)


@dataclasses.dataclass(frozen=True)
class Runs:
    """The runs of one measurement: all of the same config, for a compiled program to serve all of them.

    Attributes:
      folder: of the runs, their events and the compiled programs.
      experiment: the --config.
      data_dir: of prepared data sets.
      steps, validations: of each run; there are as many checkpoints as validations.
    """

    folder: pathlib.Path
    experiment: str
    data_dir: str
    steps: int
    validations: int

    def start(self, name: str, cache: str) -> Timeline:
        """A run that is told to stop when its first step is done."""
        process, began = self._open(name, cache)
        try:
            while process.poll() is None and time.time() - began < PATIENCE:
                if any(event == "first_step" for event, *_ in self._events(name)):
                    process.send_signal(signal.SIGTERM)
                    break
                time.sleep(0.05)
            _check(process, REQUEUE)
        finally:
            process.kill()
        return self._timeline(name, began)

    def whole(self, name: str, cache: str, *words: str) -> tuple[Timeline, list[dict[str, Any]]]:
        """A run to its end, and its metrics as they came; `words` are more flags of `ramjax.main`."""
        process, began = self._open(name, cache, *words)
        _check(process, 0)
        lines = (self.folder / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return self._timeline(name, began), [json.loads(line) for line in lines]

    def _open(self, name: str, cache: str, *words: str) -> tuple[subprocess.Popen, float]:
        every = max(self.steps // self.validations, 1)
        command = [
            sys.executable, "-m", "benchmarks.timed_main", str(self.folder / f"{name}.jsonl"),
            f"--config={self.experiment}", f"--workdir={self.folder / name}", f"--config.data.data_dir={self.data_dir}",
            f"--config.train.steps={self.steps}", f"--config.train.eval_every={every}",
            f"--config.train.checkpoint_every={every}", f"--config.train.log_every={max(every // 2, 1)}", *words,
        ]  # fmt: skip
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(self.folder / cache)}
        began = time.time()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
        )
        return process, began

    def _events(self, name: str) -> Sequence[tuple[str, float, float]]:
        path = self.folder / f"{name}.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]  # one may be half written

    def _timeline(self, name: str, start: float) -> Timeline:
        return Timeline(tuple((event, began - start, ended - start) for event, began, ended in self._events(name)))


def _check(process: subprocess.Popen, code: int) -> None:
    """Waits for a run; raises ValueError where it did not end as it should."""
    _, errors = process.communicate()
    if process.returncode != code:
        last = (errors.strip().splitlines() or ["it said nothing"])[-1]
        raise ValueError(f"A run ended with {process.returncode} instead of {code}: {last}")


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""

    def define(values):
        command_line.define_path("config", "experiments/multitask.py", "Experiment file.", flag_values=values)
        command_line.define_path("data_dir", "data", "Folder of prepared data sets.", flag_values=values)
        flags.DEFINE_integer("steps", 60, "Steps of the measured run.", 2 * VALIDATIONS, flag_values=values)
        flags.DEFINE_integer("repeats", 5, "Starts with either cache.", 1, flag_values=values)

    def run(values):
        config = load(values.config, values.data_dir)
        return measure(config, values.config, values.steps, values.repeats)

    return common.run(argv, __doc__, define, run)


def load(experiment: str, data_dir: str) -> Config:
    """The config of a --config, on the data sets of `data_dir`."""
    values = flags.FlagValues()
    argv = ["training", f"--config={experiment}", f"--config.data.data_dir={data_dir}"]
    common.define_config(values, argv)
    values(argv)
    return config_lib.from_config_dict(values.config)


if __name__ == "__main__":
    sys.exit(main(sys.argv))

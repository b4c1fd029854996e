"""Checks and measures this code on the present GPU or TPU: tests and benchmarks, one JSON, one table.

    python -m benchmarks.accelerator_check [--output=accelerator_check] [--data_dir=data] [--budget=900] [--small]
                                           [--stages=tests,training,utilisation,step,compiled] [--dry_run]

| stage | what it runs |
|---|---|
| tests | pytest: the tests marked `accelerator` |
| training | `benchmarks.time_to_accuracy` of experiments/multitask.py:accelerator+quick; makes hands that are missing |
| utilisation | `benchmarks.utilisation` of experiments/multitask.py:accelerator |
| step | `benchmarks.step` beside PyTorch, eager, bfloat16, channels last; without PyTorch where it is not installed |
| compiled | the same beside `torch.compile`, which takes long; left out without PyTorch |

Each stage is a process of its own with a limit of time, and all of them together have --budget seconds. One that fails
or takes too long is named, and the others go on. The folder --output gets STAGE.log with what each stage printed,
check.json with all numbers, and check.md with the table, which is printed too. --small runs every stage with the debug
experiment and tiny shapes, on a CPU as well, to try the check itself: its numbers mean nothing, and it says so.

Exit codes: 0 every stage passed, 1 a stage failed (each is named), 2 wrong usage.
"""

import contextlib
import dataclasses
import importlib.util
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags

from benchmarks.time_to_accuracy import LEVELS
from ramjax import command_line, files

SMALL_DEBUG = (
    "--config.tasks=('bones',)", "--config.model.widths=(8,8)", "--config.model.blocks=(0,0)",
    "--config.model.decoder_width=8", "--config.data.canvas.height=32", "--config.data.canvas.width=32",
)  # fmt: skip

GRACE_SECONDS = 5.0
"""Between the signals that ask a stage to stop and that kill it."""

Row = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of the check.

    Attributes:
      name: of it, its log and its place in the JSON.
      command: that it runs, at the repository's root.
      limit: seconds.
      rows: of the table, from the JSON of its last line.
      needs: a module without which it is left out; '' none.
    """

    name: str
    command: tuple[str, ...]
    limit: float
    rows: Callable[[Mapping[str, Any]], list[Row]]
    needs: str = ""


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of a stage.

    Attributes:
      status: ``passed``, ``failed``, ``too long`` or ``left out``.
      seconds: that it took.
      numbers: of its last line; None where it had none.
      said: its last words where it failed, or why it was left out.
    """

    status: str
    seconds: float = 0.0
    numbers: dict[str, Any] | None = None
    said: str = ""


def stages(small: bool, data_dir: str) -> list[Stage]:
    """All stages, in order."""
    python = sys.executable
    experiment = "experiments/debug.py" if small else "experiments/multitask.py:accelerator"
    quick = experiment if small else f"{experiment}+quick"

    def module(name: str, *words: str) -> tuple[str, ...]:
        return (python, "-m", f"benchmarks.{name}", *words, "--json")

    tests = (python, "-m", "pytest", "-q", "-rs", "tests/accelerator")
    tests += ("-m", "not slow", "-k", "a_difference_would_be_seen") if small else ("-m", "accelerator")
    training = f"--config={quick}", f"--data_dir={data_dir}", *(("--steps=6", "--validations=2") if small else ())
    sizes = ("--side=32", "--batch=2", "--repetitions=1") if small else ()
    limits = [600.0] * 5 if small else [240.0, 400.0, 240.0, 150.0, 180.0]  # a CPU may be slow
    utilisation = (f"--config={experiment}", *((*SMALL_DEBUG, "--repeats=1", "--largest=256") if small else ()))
    return [
        Stage("tests", tests, limits[0], _tests_rows),
        Stage("training", module("time_to_accuracy", *training), limits[1], _training_rows),
        Stage("utilisation", module("utilisation", *utilisation), limits[2], _utilisation_rows),
        Stage("step", module("step", *sizes, *(() if small else ("--pytorch=channels_last",))), limits[3], _step_rows),
        Stage("compiled", module("step", *sizes, "--pytorch=compiled"), limits[4], _step_rows, needs="torch"),
    ]


def run(stage: Stage, log: pathlib.Path, limit: float) -> Result:
    """Runs a stage for so many seconds at most; its output goes to `log`."""
    if stage.needs and importlib.util.find_spec(stage.needs) is None:
        return Result("left out", said=f"{stage.needs} is not installed")
    if limit <= 0:
        return Result("left out", said="there was no time left")
    began, late = time.monotonic(), False
    with log.open("wb") as out:
        # A group of its own, for its data workers to end with it.
        process = subprocess.Popen(
            stage.command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=environment(),
            start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            _end(process)
    lines = log.read_text(errors="replace").strip().splitlines()
    numbers = _numbers(stage.name, lines)
    said = lines[-1][:300] if lines else "it said nothing"
    seconds = time.monotonic() - began
    if late:
        return Result("too long", seconds, numbers, f"it had not ended after {limit:.0f} s")
    if numbers is not None and stage.name == "tests" and not numbers.get("passed"):
        return Result("failed", seconds, numbers, "no test ran: JAX has no GPU or TPU that it can use")
    if process.returncode or numbers is None:
        return Result("failed", seconds, numbers, said)
    return Result("passed", seconds, numbers)


def environment() -> dict[str, str]:
    """Of the stages: JAX finds the accelerator itself, and the tests' settings for a CPU do not hold."""
    return {"JAX_PLATFORMS": "", "XLA_FLAGS": "", "PYTHONUNBUFFERED": "1"} | os.environ


def check(todo: Sequence[Stage], output: pathlib.Path, budget: float, small: bool) -> dict[str, Result]:
    """Runs all stages within `budget` seconds; writes check.json and check.md after each, so that none is lost."""
    output.mkdir(parents=True, exist_ok=True)
    began, results = time.monotonic(), {}
    for stage in todo:
        left = budget - (time.monotonic() - began)
        print(f"{stage.name}: {shlex.join(stage.command)}", flush=True)
        results[stage.name] = run(stage, output / f"{stage.name}.log", min(stage.limit, left))
        result = results[stage.name]
        print(f"{stage.name}: {result.status}, {result.seconds:.0f} s {result.said}".rstrip(), flush=True)
        whole = {
            "small": small,
            "seconds": time.monotonic() - began,
            "device": device_of(results),
            "stages": {name: dataclasses.asdict(result) for name, result in results.items()},
        }
        files.write_json(output / "check.json", whole)
        files.write_text(output / "check.md", table(todo, results, small))
    return results


def table(todo: Sequence[Stage], results: Mapping[str, Result], small: bool) -> str:
    """The results in Markdown."""
    about = " (tiny shapes, to try the check: the numbers mean nothing)" if small else ""
    lines = [f"| {device_of(results) or 'unknown device'}{about} | |", "|---|---|"]
    for stage in todo:
        result = results.get(stage.name)
        if result is None:
            continue
        said = f": {result.said}" if result.said else ""
        lines.append(f"| **{stage.name}** | {_cell(f'{result.status}{said}, {result.seconds:.0f} s')} |")
        if result.numbers:
            lines += [f"| {_cell(name)} | {_cell(value)} |" for name, value in stage.rows(result.numbers)]
    return "\n".join(lines) + "\n"


def device_of(results: Mapping[str, Result]) -> str | None:
    """The device that the stages tell, None where none does."""
    told = [result.numbers["device"] for result in results.values() if result.numbers and "device" in result.numbers]
    return told[0] if told else None


def _end(process: subprocess.Popen) -> None:
    """Ends a stage that runs still, and the processes that it left behind."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    with contextlib.suppress(ProcessLookupError):  # where all of them have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _numbers(name: str, lines: Sequence[str]) -> dict[str, Any] | None:
    """What a stage measured: the JSON of its last line, or pytest's counts; None without."""
    for line in reversed(lines):
        if name == "tests":
            counts = {
                word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|errors?)\b", line)
            }
            if counts:
                return counts
        elif line.startswith("{"):
            try:
                return json.loads(line)
            except ValueError:  # half a line of a stage that was ended
                continue
    return None


def _tests_rows(numbers: Mapping[str, Any]) -> list[Row]:
    return [("tests", ", ".join(f"{count} {word}" for word, count in numbers.items()))]


def _training_rows(numbers: Mapping[str, Any]) -> list[Row]:
    rows = [
        ("hands a second", f"{numbers['hands_per_second']:.0f}"),
        ("share of a step that waits for data", f"{numbers['data_wait_share']:.1%}"),
        (
            "start of the process to the first step, nothing compiled / compiled before",
            f"{numbers['first_step_seconds_cold']:.1f} s / {numbers['first_step_seconds_warm']:.1f} s",
        ),
        ("a validation", f"{numbers['validation_seconds']:.1f} s"),
    ]
    for name, level in LEVELS.items():
        seconds, best = numbers["seconds_until"][name], numbers["reached"][name]
        reached = "not measured" if best is None else f"not reached in {numbers['steps']} steps, best {best:.3f}"
        if seconds is not None:
            reached = f"{seconds:.0f} s, step {numbers['steps_until'][name]}"
        rows.append((f"until `{name.removeprefix('canvas/')}` >= {level:.2f}", reached))
    return rows


def _utilisation_rows(numbers: Mapping[str, Any]) -> list[Row]:
    return [
        (
            f"{what}, {numbers[f'{key}_batch']} hands, {numbers['dtype']}",
            f"{numbers[f'{key}_seconds'] * 1e3:.1f} ms, {numbers[f'{key}_gflops_per_second'] / 1e3:.1f} TFLOP/s, "
            f"{numbers[f'{key}_utilisation']:.1%} of the peak",
        )
        for key, what in (("train", "training step"), ("inference", "inference"))
    ]


def _step_rows(numbers: Mapping[str, Any]) -> list[Row]:
    rows = []
    for key, what in (("train", "training step"), ("inference", "inference")):
        rows.append((f"{what} of the network of `benchmarks.step`", f"{numbers[f'{key}_seconds'] * 1e3:.1f} ms"))
        for way in ("contiguous", "channels_last", "compiled"):
            seconds = numbers[f"pytorch_{key}_seconds_{way}"]
            if seconds is not None:
                ratio = numbers[f"{key}_seconds"] / seconds
                rows.append((f"the same in PyTorch, {way}", f"{seconds * 1e3:.1f} ms; ours takes {ratio:.2f} of it"))
    return rows


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""
    values = flags.FlagValues()
    command_line.define_path("output", "accelerator_check", "Folder for the results.", flag_values=values)
    command_line.define_path("data_dir", "data", "Folder of prepared data sets.", flag_values=values)
    flags.DEFINE_float("budget", 900.0, "Seconds for all stages.", 1.0, flag_values=values)
    flags.DEFINE_bool("small", False, "Tiny shapes, to try the check itself.", flag_values=values)
    flags.DEFINE_list("stages", None, "Those to run; all if not given.", flag_values=values)
    flags.DEFINE_bool("dry_run", False, "Print what would be run.", flag_values=values)
    if command_line.wants_help(argv):
        print(command_line.help_text(__doc__, values))
        return 0
    try:
        extra = values(argv)[1:]
        todo = stages(values.small, values.data_dir)
        names = [stage.name for stage in todo]
        unknown = [*extra, *(set(values.stages or ()) - set(names))]
        if unknown:
            raise flags.Error(f"{unknown[0]!r} is unknown; --stages names any of {', '.join(names)}.")
    except flags.Error as error:
        print(f"Usage error: {error}", file=sys.stderr)
        return 2
    todo = [stage for stage in todo if values.stages is None or stage.name in values.stages]
    if values.dry_run:
        for stage in todo:
            print(f"{stage.name} (at most {stage.limit:.0f} s): {shlex.join(stage.command)}")
        return 0
    output = pathlib.Path(values.output)
    try:
        results = check(todo, output, values.budget, values.small)
    except OSError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print("\n" + (output / "check.md").read_text())
    print(f"All numbers: {output / 'check.json'}; what each stage printed: {output}/STAGE.log")
    wrong = [name for name, result in results.items() if result.status in ("failed", "too long")]
    for name in wrong:
        print(f"Stage {name}: {results[name].status}, {results[name].said}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))

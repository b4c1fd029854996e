"""Answers several questions of experiments/ablations by small runs on one machine: minutes on a GPU, hours on a CPU.

    python -m benchmarks.ablations [--output=sweeps/small] [--budget=auto|cpu|accelerator] [--limit=SECONDS]
                                   [--pack=FOLDER] [--jobs=0] [--seeds=3] [--steps=300] [--questions=NAME,NAME]
                                   [--data_dir=data] [--small] [--dry_run]
    python -m ramjax.report --sweep=sweeps/small

The questions are `QUESTIONS`, or some of them; the joint run is the baseline of all, and is made once for each seed. It
measures the affinity of the tasks, too. All runs are experiments/multitask.py on synthetic hands for --steps steps with
the settings of --budget: "accelerator" has a canvas of 256 x 192 pixels and batches of 16 that the device makes, "cpu"
a canvas of 192 x 128 pixels, batches of 4 and a small network; "auto" is what suits the machine. They are budgets for
comparing arms, not for good networks.

It is a sweep (`ramjax.sweep`) with --jobs runs at a time, which share the GPU where there is one; 0 is one a core, 12
at most, on a GPU and one on a CPU. The first seed of every arm comes first. Its program is compiled, and kept in
--output for the other seeds. After --limit seconds, data and all, nothing more is started, and runs that have not ended
are stopped and named; the command then ends within half a minute, and goes on with them when it is started again. There
is no limit without it.

--pack writes what the report needs of the runs that are done to zip files of at most 15 MB, to be unpacked elsewhere
into one folder. --small goes through all of it with two arms of two seeds of the debug experiment, on a CPU too; its
numbers mean nothing.

Exit codes: 0 all runs are done, 1 some are not (each is named), 2 wrong usage.
"""

import dataclasses
import json
import logging
import math
import os
import pathlib
import sys
import time
import zipfile
from collections.abc import Sequence

from absl import flags

from ramjax import command_line
from ramjax.data import pipeline
from ramjax.logs import logging_to
from ramjax.runs import questions
from ramjax.sweep import local, locks, plan, table

log = logging.getLogger("benchmarks.ablations")

QUESTIONS = ("joint_or_single", "encoder", "ordinal_head", "balancing")
"""Of experiments/ablations."""

ARMS = {
    "encoder": ("residual", "resnet18", "mit_b0"),
    "ordinal_head": ("thresholds", "corn", "softmax"),
    "balancing": ("fixed", "uncertainty", "dwa", "pcgrad"),
}
"""Those of a question that are run; all where it is not named."""

BUDGETS = {
    "accelerator": (
        "data.canvas.height=256", "data.canvas.width=192", "data.batch_size=16", "data.eval_batch_size=32",
        "data.cache=device", "data.workers=0",
    ),
    "cpu": (
        "data.canvas.height=192", "data.canvas.width=128", "model.widths=(16,32,64,96)", "model.blocks=(1,1,1,1)",
        "data.eval_batch_size=8",
    ),
}  # fmt: skip
"""Settings of all runs by machine, and `OF_ALL`."""

OF_ALL = ("optimizer.ema_decay=0.98", "tracking.writers=()", "train.log_every=20", "train.keep_checkpoints=1")

MOST_JOBS = 12

PACKED = ("config.json", "eval_test.json", "cases.parquet", "metrics.jsonl", "parameters.txt", "versions.json")
"""Of each run."""

PART_BYTES = 15e6


def make_runs(
    output: pathlib.Path, names: Sequence[str], seeds: int, steps: int, data_dir: str, budget: str, small: bool = False
) -> list[plan.Run]:
    """The runs that answer the questions of these names by a budget's name, the first seed of every arm first."""
    names = QUESTIONS[:1] if small else names
    configs = [f"experiments/ablations/{name}.py{':debug' if small else ''}" for name in names]
    keys = [f"data.data_dir={data_dir}"]
    if not small:
        keys += [*BUDGETS[budget], *OF_ALL]
        keys += [f"train.{name}={steps}" for name in ("steps", "eval_every", "checkpoint_every")]
    fixed = [f"--config.{key}" for key in keys]
    runs = plan.make_runs(configs, output, grid=[f"seed={','.join(map(str, range(seeds)))}"], fixed=fixed)
    wanted = ARMS | ({"joint_or_single": ("joint", "bones")} if small else {})
    runs = [run for run in runs if all(arm in wanted.get(name, (arm,)) for name, arm in _arms(run).items())]
    questions.save(_asked(configs, runs), output)
    plan.save(runs, output)
    return runs


def _has_gpu() -> bool:
    return local.devices_for(2, share=True)[0] is not None


def _arms(run: plan.Run) -> dict[str, str]:
    return {name: arm for name, arm in run.settings.items() if name in QUESTIONS}


def _asked(configs: Sequence[str], runs: Sequence[plan.Run]) -> list[questions.Question]:
    """The questions with the arms that are run."""
    asked = plan.find_questions(configs, runs)
    return [dataclasses.replace(of, arms={arm: names for arm, names in of.arms.items() if names}) for of in asked]


def pack(runs: Sequence[plan.Run], output: pathlib.Path, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes what the report needs of the runs that are done, and every log, to sweep-1.zip and so on, and names them.

    Each is whole in itself and has at most `PART_BYTES`, unless a single file has more.
    """
    done = [run for run in runs if run.state == "done"]
    paths = [output / name for name in ("sweep.json", questions.FILE, "results.md", "results.csv", "seconds.json")]
    paths += [run.workdir / name for run in done for name in PACKED]
    paths += sorted((output / "logs").glob("*.txt"))
    parts: list[list[pathlib.Path]] = [[]]
    for path in filter(pathlib.Path.exists, paths):
        if parts[-1] and sum(of.stat().st_size for of in [*parts[-1], path]) > PART_BYTES:
            parts.append([])
        parts[-1].append(path)
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"sweep-{number}.zip" for number in range(1, len(parts) + 1)]
    for path, part in zip(written, parts, strict=True):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for of in part:
                file.write(of, of.relative_to(output))
    megabytes = sum(path.stat().st_size for path in written) / 1e6
    log.info("%d runs are in %s, %.1f MB together.", len(done), ", ".join(map(str, written)), megabytes)
    return written


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""
    values = flags.FlagValues()
    command_line.define_path("output", "sweeps/small", "Folder of the sweep.", flag_values=values)
    command_line.define_path("pack", None, "Folder for zip files of what the report needs.", flag_values=values)
    command_line.define_path("data_dir", "data", "Folder of prepared data sets.", flag_values=values)
    flags.DEFINE_list("questions", list(QUESTIONS), "Those to answer.", flag_values=values)
    flags.DEFINE_enum("budget", "auto", ["auto", *BUDGETS], "Settings of all runs.", flag_values=values)
    flags.DEFINE_float("limit", None, "Seconds for everything; no limit without it.", 1.0, flag_values=values)
    flags.DEFINE_integer("jobs", 0, "Runs at a time; 0: as many as suit the machine.", 0, 64, flag_values=values)
    flags.DEFINE_integer("seeds", 3, "Seeds of each arm.", 1, 100, flag_values=values)
    flags.DEFINE_integer("steps", 300, "Steps of each run.", 1, flag_values=values)
    flags.DEFINE_bool("small", False, "Two arms of the debug experiment.", flag_values=values)
    flags.DEFINE_bool("dry_run", False, "Print what would be run.", flag_values=values)
    if command_line.wants_help(argv):
        print(command_line.help_text(__doc__, values))
        return 0
    try:
        if extra := values(argv)[1:]:
            raise flags.Error(f"{extra[0]!r} is unknown.")
        if unknown := set(values.questions) - set(QUESTIONS):
            raise flags.Error(f"--questions={sorted(unknown)[0]} is unknown; name any of {', '.join(QUESTIONS)}.")
    except flags.Error as error:
        print(f"Usage error: {error}", file=sys.stderr)
        return 2
    began, output = time.monotonic(), pathlib.Path(values.output).resolve()
    budget = values.budget if values.budget != "auto" else ("accelerator" if _has_gpu() else "cpu")
    with logging_to(None), locks.one_sweep(output):
        seeds = 2 if values.small else values.seeds
        runs = make_runs(output, values.questions, seeds, values.steps, values.data_dir, budget, values.small)
        if values.dry_run:
            print("\n".join(f"{run.name}: {run.state}" for run in runs))
            return 0
        return _work(values, runs, output, began)


def _work(values: flags.FlagValues, runs: Sequence[plan.Run], output: pathlib.Path, began: float) -> int:
    data = runs[0].config.data
    for split in (data.train_split, data.validation_split, data.test_split):
        pipeline.open_sources(data, split)  # rendered and decoded once, before the runs would wait for each other
    seconds = {"data": time.monotonic() - began}
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(output / "compiled"))
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # of this process, too
    jobs = values.jobs or (min(os.cpu_count() or 1, MOST_JOBS) if _has_gpu() else 1)
    log.info("%d runs, %d at a time; the data took %.0f s.", len(runs), jobs, seconds["data"])
    waiting = [run for run in runs if run.state != "done"]
    left = math.inf if values.limit is None else values.limit - (time.monotonic() - began)
    outcomes = local.run_all(waiting, output, jobs, local.devices_for(jobs, share=True), limit=left)
    seconds["runs"] = time.monotonic() - began - seconds["data"]
    print(table.write(runs, output))
    (output / "seconds.json").write_text(json.dumps(seconds | {"jobs": jobs}))
    if values.pack is not None:
        pack(runs, output, pathlib.Path(values.pack))
    missing = [run for run in runs if run.state != "done"]
    log.info("%d of %d runs are done after %.0f s.", len(runs) - len(missing), len(runs), time.monotonic() - began)
    for run in missing:
        outcome = outcomes.get(run.name)
        said = f"{outcome.result} {outcome.reason}".strip() if outcome else "not started"
        print(f"{run.name}: {said}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))

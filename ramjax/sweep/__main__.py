"""Runs many experiments that differ in some keys of their config, and puts their results in one table.

    python launch/sweep.py --config=experiments/multitask.py --output=sweeps/lr \\
        --grid optimizer.learning_rate=1e-3,3e-3 --grid seed=0,1,2 --config.train.steps=500

Each --grid is an axis, and all combinations are run. --list=FILE gives one set a line (KEY=VALUE KEY=VALUE ...), and
--folds=5 divides the training split by patients and tests on each fifth; all three multiply. --config.KEY=VALUE holds
for every run. Everything is checked before a run starts. Each run has its own folder in --output, named by its
settings. A run that is done is skipped, one that was interrupted continues, and one that fails does not stop the
others.
--name names the runs for people, in the table, the report and the trackers, with values of the config in braces:
--name='{model.decoder_width} wide'. A line of --list can have its own: name='No mirror' data.augment.mirror=0.

  --run=local   here, --jobs at a time, a GPU for each where there are GPUs; then the table
  --run=slurm   as one job array, through launch/slurm.sbatch; --collect makes the table later
  --run=print   prints the commands of the runs that are not done, one a line

The table is results.csv (a row a run) and results.md (means and standard deviations over seeds and folds, too).

Exit codes: 0 all done, submitted or printed; 1 some failed, or the error that the last line names; 2 wrong usage; 75
told to stop (SIGTERM, Ctrl-C): start the same command again; 130 interrupted before anything was started.

Research use only, not a medical device.
"""

import collections
import logging
import pathlib
import shlex
import sys
from collections.abc import Sequence

from absl import flags

from ramjax import command_line
from ramjax.devices.preemption import REQUEUE_EXIT_CODE
from ramjax.errors import RunError, explain, sentence
from ramjax.logs import logging_to
from ramjax.sweep import local, plan, slurm, table
from ramjax.sweep.plan import Run

log = logging.getLogger("ramjax.sweep")


def main(argv: Sequence[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""
    try:
        values, fixed = parse(argv)
        if values is None:
            return 0
        quiet = values.dry_run or values.run == "print"  # what is printed then is for other programs, too
        with logging_to(None, first=not quiet):
            return _collect(values) if values.collect else _sweep(values, fixed)
    except (ValueError, flags.Error) as error:
        print(f"Usage error: {sentence(error)} See python launch/sweep.py --help.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; nothing was started.", file=sys.stderr)
        return 130
    except (OSError, RunError) as error:
        print(f"Error: {explain(error)}", file=sys.stderr)
        return 1


def parse(argv: Sequence[str]) -> tuple[flags.FlagValues | None, list[str]]:
    """Parses the command line into flags and the ``--config.`` flags of every run; None where it asked for help."""
    values = flags.FlagValues()
    define = {"flag_values": values}
    flags.DEFINE_string("config", None, "Experiment file, with a preset or not.", **define)
    flags.DEFINE_string("output", None, "Folder of the sweep.", **define)
    flags.DEFINE_multi_string("grid", [], "KEY=VALUE,VALUE,... of one axis; may be repeated.", **define)
    flags.DEFINE_string("list", None, "File with KEY=VALUE KEY=VALUE ... of one set a line.", **define)
    flags.DEFINE_string("name", "", "Name of each run, with keys of the config in braces.", **define)
    flags.DEFINE_integer("folds", 0, "Folds of a cross-validation, 2 or more; 0 for none.", 0, **define)
    flags.DEFINE_enum("run", "local", ["local", "slurm", "print"], "Where to run.", **define)
    flags.DEFINE_integer("jobs", 0, "Runs at a time; 0: one locally, as many as fit on Slurm.", 0, **define)
    flags.DEFINE_string("slurm", "", "More options of sbatch, such as '--partition=gpu --time=4:00:00'.", **define)
    flags.DEFINE_bool("collect", False, "Only make the table of the sweep in --output.", **define)
    flags.DEFINE_bool("dry_run", False, "Only show what would be run; --dry-run is the same.", **define)
    if command_line.wants_help([*argv]):
        print(command_line.help_text(__doc__, values))
        return None, []
    fixed = [word for word in argv if word.startswith("--config.")]
    extra = values(["--dry_run" if word == "--dry-run" else word for word in argv if word not in fixed])[1:]
    if extra:
        raise flags.Error(f"{extra[0]!r} is not a flag; flags start with --.")
    if values.output is None:
        raise flags.Error("--output=FOLDER is missing, such as --output=sweeps/learning_rate.")
    if values.config is None and not values.collect:
        raise flags.Error("--config=FILE is missing, such as --config=experiments/multitask.py.")
    return values, fixed


def _collect(values: flags.FlagValues) -> int:
    output = _output(values)
    print(table.write(plan.load(output), output))
    return 0


def _sweep(values: flags.FlagValues, fixed: Sequence[str]) -> int:
    output = _output(values)
    lines = _lines(values.list)
    runs = plan.make_runs(
        values.config, output, grid=values.grid, lines=lines, folds=values.folds, fixed=fixed, label=values.name
    )
    waiting = [run for run in runs if run.state != "done"]
    if values.dry_run:
        _show(runs, values, output)
        return 0
    plan.save(runs, output)
    if values.run == "print":
        for run in waiting:
            print(_command(run))
        return 0
    if values.run == "slurm":
        if waiting:
            log.info("%s", slurm.submit(waiting, output, values.jobs, values.slurm))
        log.info("%d runs are done. The table: python launch/sweep.py --collect --output=%s",
                 len(runs) - len(waiting), output)  # fmt: skip
        return 0
    jobs = values.jobs or 1
    log.info("%d runs, %d of them done; logs are in %s.", len(runs), len(runs) - len(waiting), output / "logs")
    outcomes = local.run_all(waiting, output, jobs, local.devices_for(jobs))
    print(table.write(runs, output))
    return _conclude(runs, waiting, outcomes)


def _lines(path: str | None) -> list[str]:
    """The lines of --list."""
    try:
        return pathlib.Path(path).read_text(encoding="utf-8").splitlines() if path else []
    except OSError as error:
        raise ValueError(f"--list={path} cannot be read: {(error.strerror or 'unknown').lower()}.") from error


def _show(runs: Sequence[Run], values: flags.FlagValues, output: pathlib.Path) -> None:
    """What --dry-run prints: each run's state and command, and what would be submitted."""
    for run in runs:
        print(f"# {run.name}: {run.state}")
        if run.state != "done":
            print(f"+ {_command(run)}")
    waiting = [run for run in runs if run.state != "done"]
    if values.run == "slurm" and waiting:
        print(f"+ {shlex.join(slurm.command(waiting, slurm.next_lines(output), values.jobs, values.slurm))}")


def _conclude(runs: Sequence[Run], waiting: Sequence[Run], outcomes: dict[str, local.Outcome]) -> int:
    """Logs the outcome of the runs, the failed ones last, and returns the exit code."""
    count = collections.Counter(outcome.result for outcome in outcomes.values())
    done = len(runs) - len(waiting) + count["done"]
    log.info("Of %d runs %d are done and %d failed.", len(runs), done, count["failed"])
    for name, outcome in outcomes.items():
        if outcome.result == "failed":
            log.error("%s failed: %s", name, outcome.reason)
    if count["stopped"] or len(outcomes) < len(waiting):
        print("Stopped; start the same command again to continue.", file=sys.stderr)
        return REQUEUE_EXIT_CODE
    return 1 if count["failed"] else 0


def _command(run: Run) -> str:
    return shlex.join(["python", "-m", "ramjax.main", *run.flags])


def _output(values: flags.FlagValues) -> pathlib.Path:
    return pathlib.Path(values.output).expanduser()


if __name__ == "__main__":
    sys.exit(main(sys.argv))

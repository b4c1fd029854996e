"""Runs many experiments that differ in some keys of their config, and puts their results in one table.

    python launch/sweep.py --config=experiments/multitask.py --output=sweeps/lr \\
        --grid optimizer.learning_rate=1e-3,3e-3 --grid seed=0,1,2 --config.train.steps=500

Each --grid is an axis, and all combinations are run. --list=FILE gives one set a line (KEY=VALUE KEY=VALUE ...), and
--folds=5 divides the training split by patients and tests on each fifth; all three multiply. --config.KEY=VALUE holds
for every run. Everything is checked before a run starts. Each run has its own folder in --output, named by its
settings. A run that is done is skipped, one that was interrupted continues, and one that fails does not stop the
others. Only one sweep at a time works in a folder; the runs of one that was killed are waited for.

A file of experiments/ablations is a question: each of its arms is run. Several of them may be named, and arms that they
share are run once. python -m ramjax.report --sweep=FOLDER shows the answers.

--name names the runs for people, in the table, the report and the trackers, with values of the config in braces:
--name='{model.decoder_width} wide'. A line of --list can have its own: name='No mirror' data.augment.mirror=0.

  --run=local   here, --jobs at a time, a GPU for each where there are GPUs, or with --share_gpus several runs on each;
                after --limit seconds the runs save and stop; then the table
  --run=slurm   as one job array, through launch/slurm.sbatch; --collect makes the table later
  --run=print   prints the commands of the runs that are not done, one a line

The table is results.csv (a row a run) and results.md (means and standard deviations over seeds and folds, too).

Exit codes: 0 all done, submitted or printed; 1 some failed, or the error that the last line names; 2 wrong usage; 75
told to stop (SIGTERM, Ctrl-C): start the same command again; 130 interrupted before anything was started.

Research use only, not a medical device.
"""

import logging
import math
import pathlib
import sys
import traceback
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from absl import flags

from ramjax import command_line
from ramjax.errors import explain, sentence
from ramjax.logs import logging_to

if TYPE_CHECKING:
    from ramjax.sweep.run import Ended

log = logging.getLogger("ramjax.sweep")


def main(argv: Sequence[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""
    fixed = [word for word in argv if word.startswith("--config.")]
    words = ["--dry_run" if word == "--dry-run" else word for word in argv if word not in fixed]
    try:
        values = command_line.parse(__doc__, define, words, check=check)
    except flags.Error as error:
        return _wrong_usage(error)
    if values is None:
        return 0
    quiet = values.dry_run or values.run == "print"  # what is printed then is for other programs, too
    try:
        with logging_to(None, first=not quiet):
            return act(values, fixed)
    except KeyboardInterrupt:
        print("Interrupted; nothing was started.", file=sys.stderr)
        return 130
    except Exception as error:
        if values.debug:
            traceback.print_exc()
        if isinstance(error, ValueError):
            return _wrong_usage(error)
        print(f"Error: {explain(error)}", file=sys.stderr)
        return 1


def define(values: flags.FlagValues) -> None:
    define = {"flag_values": values}
    about = "Experiment file, with a preset or not; may be repeated for ablations."
    command_line.define_path("config", None, about, several=True, **define)
    command_line.define_path("output", None, "Folder of the sweep.", **define)
    flags.DEFINE_multi_string("grid", [], "KEY=VALUE,VALUE,... of one axis; may be repeated.", **define)
    command_line.define_path("list", None, "File with KEY=VALUE KEY=VALUE ... of one set a line.", **define)
    flags.DEFINE_string("name", "", "Name of each run, with keys of the config in braces.", **define)
    flags.DEFINE_integer("folds", 0, "Folds of a cross-validation, 2 or more; 0 for none.", 0, **define)
    flags.DEFINE_enum("run", "local", ["local", "slurm", "print"], "Where to run.", **define)
    flags.DEFINE_integer("jobs", 0, "Runs at a time; 0: one locally, as many as fit on Slurm.", 0, 1024, **define)
    flags.DEFINE_bool("share_gpus", False, "Locally: more jobs than GPUs, which then share them.", **define)
    flags.DEFINE_float("limit", 0.0, "Locally: seconds after which runs save and stop; 0: none.", 0.0, **define)
    flags.DEFINE_string("slurm", "", "More options of sbatch, such as '--partition=gpu --time=4:00:00'.", **define)
    flags.DEFINE_bool("collect", False, "Only make the table of the sweep in --output.", **define)
    flags.DEFINE_bool("dry_run", False, "Only show what would be run; --dry-run is the same.", **define)


def check(values: flags.FlagValues) -> None:
    command_line.needs(values, "output", *([] if values.collect else ["config"]))


def act(values: flags.FlagValues, fixed: Sequence[str]) -> int:
    """Does what the flags say, with the ``--config.`` flags of every run, and returns the exit code."""
    from ramjax.runs import questions
    from ramjax.sweep import (  # these bring JAX, which takes seconds: a wrong flag should be told at once
        locks,
        plan,
        run,
    )

    output = pathlib.Path(values.output)
    if values.collect:
        print(run.collect(output))
        return 0
    lines = run.read_lines(values.list)
    runs = plan.make_runs(
        values.config, output, grid=values.grid, lines=lines, folds=values.folds, fixed=fixed, label=values.name
    )
    if values.dry_run:
        _print_lines(run.states(runs))
        if values.run == "slurm":
            _print_lines(run.submission(runs, output, values.jobs, values.slurm))
        return 0
    with locks.one_sweep(output):
        plan.save(runs, output)
        questions.save(plan.find_questions(values.config, runs), output)
        if values.run == "print":
            _print_lines(map(run.command, run.not_done(runs)))
        elif values.run == "slurm":
            run.submit(runs, output, values.jobs, values.slurm)
        else:
            limit = values.limit or math.inf
            return _tell(run.run_here(runs, output, values.jobs or 1, values.share_gpus, limit), len(runs))
    return 0


def _tell(ended: "Ended", of: int) -> int:
    """Prints the table and how the `of` runs ended, the failed ones last, and returns the exit code."""
    from ramjax.devices.preemption import REQUEUE_EXIT_CODE

    print(ended.table)
    log.info("Of %d runs %d are done and %d failed.", of, ended.done, len(ended.failed))
    for name, reason in ended.failed.items():
        log.error("%s failed: %s", name, reason)
    if ended.stopped:
        print("Stopped; start the same command again to continue.", file=sys.stderr)
        return REQUEUE_EXIT_CODE
    return 1 if ended.failed else 0


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _wrong_usage(error: Exception) -> int:
    print(f"Usage error: {sentence(error)} See python launch/sweep.py --help.", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv))

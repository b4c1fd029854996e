"""Trains and evaluates a network of one experiment.

    python -m ramjax.main --config=experiments/multitask.py --workdir=runs/multitask

Starting the same command again goes on where an interrupted run stopped. Any key of the config can be set on the
command line: --config.train.steps=100. A run goes on with the config it began with; only data.data_dir, data.workers,
data.prefetch, mesh.data, train.log_every and train.keep_checkpoints may change, as on another machine, and
evaluation.*, to test otherwise. With --mode=eval, --config may be left out: the run directory knows it; to set one of
those keys, state --config too. The test leaves eval_test.json, cases.parquet and pictures, which ramjax.report shows.

Exit codes: 0 done, 1 an error that the last line names, 2 wrong usage, 75 told to stop (SIGTERM, Ctrl-C) with
everything saved: a scheduler may start the same command again; 130 stopped at once by a second Ctrl-C.
"""

import logging
import pathlib
import sys

from absl import flags
from ml_collections import config_flags

from ramjax import command_line
from ramjax import config as config_lib
from ramjax.logs import logging_to
from ramjax.training.preemption import REQUEUE_EXIT_CODE, Preempted, Preemption

log = logging.getLogger("ramjax.main")


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""
    try:
        values = parse(argv)
    except Exception as error:  # a config file is Python and may fail in any way
        print(f"Usage error: {command_line.sentence(error)} See python -m ramjax.main --help.", file=sys.stderr)
        return 2
    if values is None:
        return 0
    try:
        if values.distributed:
            import jax

            jax.distributed.initialize()  # before the handlers of signals, for it brings its own
        with Preemption() as preemption:
            _run(values, preemption)
    except Preempted:
        print("Stopped; start the same command again to go on.", file=sys.stderr)
        return REQUEUE_EXIT_CODE
    except KeyboardInterrupt:
        print("Stopped at once; the same command goes on from the last checkpoint.", file=sys.stderr)
        return 130
    except Exception as error:
        logging.disable()  # what the threads of other packages say in their last breath would bury the sentence
        print(f"Error: {command_line.explain(error)}", file=sys.stderr)
        if values.debug:
            raise
        return 1
    return 0


def parse(argv: list[str]) -> flags.FlagValues | None:
    """Parses the command line into flags of its own, no global ones; None when it asked for help, which is printed."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file(
        "config", None, "Experiment file, such as experiments/multitask.py, or one with a preset: FILE:accelerator.",
        flag_values=values, lock_config=True, sys_argv=argv,
    )  # fmt: skip
    flags.DEFINE_string("workdir", None, "Run directory: made, or gone on with.", flag_values=values)
    modes = ["train", "eval", "train_and_eval"]
    flags.DEFINE_enum("mode", "train_and_eval", modes, "What to do.", flag_values=values)
    flags.DEFINE_bool("distributed", False, "Join the other processes of a multi-host run first.", flag_values=values)
    flags.DEFINE_bool("debug", False, "Show the traceback of an error.", flag_values=values)
    if command_line.wants_help(argv):
        print(command_line.help_text(__doc__, values))
        return None
    extra = values(argv)[1:]
    if extra:
        raise flags.Error(f"{extra[0]!r} is not a flag; flags start with --.")
    if values.workdir is None:
        raise flags.Error("--workdir=FOLDER is missing.")
    if values.config is None and values.mode != "eval":
        raise flags.Error("--config=FILE is missing, such as --config=experiments/multitask.py.")
    if values.config is not None:
        values.config.to_dict()  # a file that could not be loaded says so when it is first used
    return values


def _run(values: flags.FlagValues, preemption: Preemption) -> None:
    import jax  # after the flags: a wrong one should not take seconds to say

    from ramjax.training import loop, run_dir

    command_line.keep_compiled_programs()
    workdir = pathlib.Path(values.workdir).expanduser()
    if values.config is None:
        config = run_dir.load_config(workdir)
    else:
        config = config_lib.from_config_dict(values.config)
        if values.mode == "eval":
            run_dir.load_config(workdir)
        run_dir.prepare(workdir, config)
    with logging_to(workdir / "log.txt", first=jax.process_index() == 0):
        try:
            loop.run(config, workdir, values.mode, preemption)
        except Exception:
            log.debug("Ended by an error.", exc_info=True)
            raise


if __name__ == "__main__":
    sys.exit(main(sys.argv))

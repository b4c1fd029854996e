"""Trains and evaluates a network of one experiment.

    python -m ramjax.main --config=experiments/multitask.py --workdir=runs/multitask

Starting the same command again goes on where an interrupted run stopped. Any key of the config can be set on the
command line: --config.train.steps=100. With --mode=eval, --config may be left out: the run directory knows it.

Exit codes: 0 done, 1 an error that the last line names, 2 wrong usage, 75 told to stop (SIGTERM, Ctrl-C) with
everything saved: a scheduler may start the same command again.
"""

import logging
import os
import pathlib
import re
import sys

from absl import flags
from ml_collections import config_flags

from ramjax import config as config_lib
from ramjax.training.errors import RunError, is_disk_full
from ramjax.training.preemption import REQUEUE_EXIT_CODE, Preempted, Preemption

log = logging.getLogger("ramjax.main")


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""
    try:
        values = parse(argv)
    except Exception as error:  # a config file is Python and may fail in any way
        print(f"Usage error: {_sentence(error)} See python -m ramjax.main --help.", file=sys.stderr)
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
    except Exception as error:
        logging.disable()  # what the threads of other packages say in their last breath would bury the sentence
        print(f"Error: {_explain(error)}", file=sys.stderr)
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
    if {"--help", "-help", "-h", "--helpfull", "--helpshort"} & set(argv[1:]):
        print(f"{__doc__}\nFlags:\n{values.main_module_help() or values.get_help()}")
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

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(pathlib.Path("~/.cache/ramjax/jax").expanduser()))
    workdir = pathlib.Path(values.workdir).expanduser()
    if values.config is None:
        config = run_dir.load_config(workdir)
    else:
        config = config_lib.from_config_dict(values.config)
        if values.mode == "eval":
            run_dir.load_config(workdir)
        run_dir.prepare(workdir, config)
    with run_dir.logging_to(workdir / "log.txt"):
        try:
            loop.run(config, workdir, values.mode, preemption)
        except Exception:
            log.debug("Ended by an error.", exc_info=True)
            raise


def _explain(error: Exception) -> str:
    if isinstance(error, config_lib.ConfigError | RunError):
        return str(error)
    if is_disk_full(error):
        return "The disk is full; make room and start the same command again."
    if isinstance(error, PermissionError):
        return f"{error.filename} cannot be written or read: permission denied; name another --workdir."
    return f"{type(error).__name__}: {_sentence(error)} --debug shows where."


def _sentence(error: BaseException) -> str:
    """The error's message on one line, with a full stop."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if "Traceback (most recent call last)" in text:  # ml_collections quotes the traceback of a config file
        text = text.strip().splitlines()[-1]
    if known := re.search(r'Did you mean "(.*?)" instead of "(.*?)"', text):
        text = f"unknown config key {known[2]!r}, did you mean {known[1]!r}?"
    text = " ".join(text.split()) or type(error).__name__
    return text if text.endswith((".", "?", "!")) else f"{text}."


if __name__ == "__main__":
    sys.exit(main(sys.argv))

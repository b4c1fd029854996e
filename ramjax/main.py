"""Trains and evaluates a network of one experiment.

    python -m ramjax.main --config=experiments/multitask.py --workdir=runs/multitask

The same command again continues an interrupted run where it stopped. Any key of the config can be set on the command
line: --config.train.steps=100.

A run continues with the config that it began with. Only keys that say where and how fast it runs may change:
data.data_dir, data.cache*, data.workers, data.prefetch, mesh.*, model.remat, train.accumulation_steps, train.log_every,
train.keep_checkpoints, train.deterministic, profile.* and tracking.*; and evaluation.*, to test in another way. With
--mode=eval, --config may be left out, because the run directory knows it; these keys can be set all the same. The test
leaves eval_test.json, cases.parquet and pictures, which ramjax.report shows.

A run of several processes is this command in each of them: with --distributed on a cluster that JAX knows (Slurm, Open
MPI, Cloud TPU, GKE), else with --coordinator, --process_index and --process_count. launch/local.sh --processes=N does
this on one machine. The processes share one --workdir. When one is told to stop, all stop; when one is lost, the others
end with exit code 1.

Exit codes: 0 done, 1 an error that the last line names, 2 wrong usage, 75 told to stop (SIGTERM, Ctrl-C), and
everything is saved: a scheduler may start the same command again; 130 stopped at once by a second Ctrl-C.
"""

import logging
import os
import pathlib
import re
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from ramjax import command_line
from ramjax import config as config_lib
from ramjax.errors import RunError, explain, sentence
from ramjax.experiment import define_experiment, define_settings
from ramjax.logs import logging_to
from ramjax.runs import stored_config

if TYPE_CHECKING:
    from ramjax.devices.preemption import Preemption

log = logging.getLogger("ramjax.main")


def main(argv: Sequence[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""
    try:
        values = parse(argv)
    except RunError as error:  # of the run whose config is needed
        print(f"Error: {explain(error)}", file=sys.stderr)
        return 1
    except Exception as error:  # not flags.Error alone, see `parse`
        print(f"Usage error: {sentence(error)} See python -m ramjax.main --help.", file=sys.stderr)
        return 2
    if values is None:
        return 0
    try:
        command_line.check_memory()
    except RunError as error:
        print(f"Error: {explain(error)}", file=sys.stderr)
        return 1
    # After the flags, for these bring JAX, which takes seconds: a wrong flag should be told at once.
    from ramjax.devices import hosts
    from ramjax.devices.preemption import REQUEUE_EXIT_CODE, Preempted, Preemption

    # Exceptions that nobody can catch: when a write fails, Orbax's other ones print a traceback each in their threads.
    sys.unraisablehook = _log_unraisable
    several = values.distributed or values.coordinator is not None
    code, lost = 0, False
    try:
        if several:
            # Before the handlers of signals, for it brings its own.
            hosts.join(values.coordinator, values.process_index, values.process_count)
        with Preemption() as preemption:
            _run(values, preemption)
    except Preempted:
        print("Stopped; start the same command again to continue.", file=sys.stderr)
        code = REQUEUE_EXIT_CODE
    except KeyboardInterrupt:
        print("Stopped at once; the same command continues from the last checkpoint.", file=sys.stderr)
        code = 130
    except Exception as error:
        logging.disable()  # what the threads of other packages say in their last breath would bury the sentence
        lost = several and hosts.is_lost(error)
        message = hosts.lost_message() if lost else explain(error)
        if values.debug:
            traceback.print_exc()
        print(f"Error: {message}", file=sys.stderr)
        code = 1
    if several:
        hosts.leave(code, lost)
    return code


def parse(argv: Sequence[str]) -> flags.FlagValues | None:
    """As `command_line.parse`. The config file is Python and may raise any other error, too."""
    argv = command_line.with_path("config", argv)
    return command_line.parse(__doc__, lambda values: define(values, argv), argv, check=check)


def define(values: flags.FlagValues, argv: Sequence[str]) -> None:
    """Defines the flags, those of the keys of the config that `argv` names among them."""
    run = _evaluated_run(argv)
    if run is None:
        define_experiment(values, argv)
    else:
        define_settings(values, argv, stored_config.load(run, quiet=True))
    command_line.define_path("workdir", None, "Run directory; made if absent, continued if not.", flag_values=values)
    modes = ["train", "eval", "train_and_eval"]
    flags.DEFINE_enum("mode", "train_and_eval", modes, "What to do.", flag_values=values)
    flags.DEFINE_bool("distributed", False, "Join the other processes, as the cluster names them.", flag_values=values)
    flags.DEFINE_string("coordinator", None, "HOST:PORT where process 0 meets the others.", flag_values=values)
    flags.DEFINE_integer("process_index", None, "Which process this is, from 0.", 0, flag_values=values)
    flags.DEFINE_integer("process_count", None, "How many processes there are.", 1, flag_values=values)


def _evaluated_run(argv: Sequence[str]) -> str | None:
    """The run directory, where a command line evaluates a run with other settings and leaves its config to the run.

    Raises:
      flags.Error: it sets keys of a config that it does not name, and trains.
    """
    words = [word.replace("--", "-", 1) for word in argv[1:]]
    given = {}
    for word, following in zip(words, [*words, ""][1:], strict=True):
        name, equals, value = word.partition("=")
        given[name] = value if equals else following
    key = next((name for name in given if name.startswith("-config.")), None)
    if key is None or "-config" in given or command_line.wants_help(argv):
        return None
    if given.get("-mode") != "eval":
        raise flags.Error(f"--config is missing; name the experiment of which -{key} sets a key.")
    if not given.get("-workdir"):
        raise flags.Error("--workdir is missing.")
    return os.path.expanduser(given["-workdir"])


def check(values: flags.FlagValues) -> None:
    command_line.needs(values, "workdir", *([] if values.mode == "eval" else ["config"]))
    _check_processes(values)
    if values.config is not None:
        values.config.to_dict()  # a file that could not be loaded says so when it is first used


def _log_unraisable(what: "sys.UnraisableHookArgs") -> None:
    log.debug("Unraisable: %s", what.err_msg, exc_info=(what.exc_type, what.exc_value, what.exc_traceback))


def _check_processes(values: flags.FlagValues) -> None:
    """Raises flags.Error unless the flags that say which process this is are whole and agree."""
    place = {name: values[name].value for name in ("coordinator", "process_index", "process_count")}
    given = [name for name, value in place.items() if value is not None]
    if given and values.distributed:
        raise flags.Error(f"--distributed finds out what --{given[0]} says; give one of the two.")
    if given and len(given) < len(place):
        missing = next(name for name in place if name not in given)
        raise flags.Error(f"--{given[0]} is given and --{missing} is missing; give --{', --'.join(place)} together.")
    if given and values.process_index >= values.process_count:
        raise flags.Error(
            f"--process_index={values.process_index} is none of --process_count={values.process_count}; they are "
            f"numbered from 0."
        )
    if given and not re.fullmatch(r".+:\d+", values.coordinator):
        raise flags.Error(f"--coordinator={values.coordinator} is not HOST:PORT, such as 10.0.0.1:1234.")


def _run(values: flags.FlagValues, preemption: "Preemption") -> None:
    import jax  # after the flags, as in `main`

    from ramjax.devices import hosts
    from ramjax.runs import run_dir
    from ramjax.training import epochs, loop

    command_line.set_up_jax()
    workdir = pathlib.Path(values.workdir)
    first, begun = jax.process_index() == 0, (workdir / "config.json").exists()
    with logging_to(workdir / "log.txt" if begun else None, first=first):  # it notes what an old config.json lacks
        config = run_dir.load_config(workdir) if values.config is None else config_lib.from_config_dict(values.config)
        if values.mode != "eval":
            command_line.check_memory(config)
        hosts.agree(config, values.mode, workdir)
        if values.config is not None:
            if values.mode == "eval":
                run_dir.load_config(workdir)
            else:
                config = epochs.in_steps(config)
            run_dir.prepare(workdir, config)
    with logging_to(workdir / "log.txt", first=first):
        try:
            hosts.log_devices()
            loop.run(config, workdir, values.mode, preemption)
        except Exception:
            log.debug("Ended by an error.", exc_info=True)
            raise


if __name__ == "__main__":
    sys.exit(main(sys.argv))

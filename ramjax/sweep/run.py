"""What is done with the planned runs of a sweep: shown, printed, submitted, or run here and put in a table."""

import collections
import dataclasses
import logging
import math
import pathlib
import shlex
from collections.abc import Mapping, Sequence

from ramjax.sweep import local, plan, slurm, table
from ramjax.sweep.plan import Run

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Ended:
    """How the runs of a sweep ended on this machine.

    Attributes:
      table: of all runs, in Markdown.
      done: how many are done, those that were done before included.
      failed: the last line of the log of each run that failed, by its name.
      stopped: whether the sweep was told to stop before all runs had ended.
    """

    table: str
    done: int
    failed: Mapping[str, str]
    stopped: bool


def read_lines(path: str | None) -> list[str]:
    """The lines of the file that --list names; none without one.

    Raises:
      ValueError: the file cannot be read.
    """
    try:
        return pathlib.Path(path).read_text(encoding="utf-8").splitlines() if path else []
    except OSError as error:
        raise ValueError(f"--list={path} cannot be read: {(error.strerror or 'unknown').lower()}.") from error


def collect(output: pathlib.Path) -> str:
    """Writes the table of the sweep in a folder, and returns it in Markdown.

    Raises:
      ValueError: there is no sweep, or a file of it is damaged.
      RunError: a newer version planned it.
    """
    return table.write(plan.load(output), output)


def command(run: Run) -> str:
    """The shell command of a run."""
    return shlex.join(["python", "-m", "ramjax.main", *run.flags])


def states(runs: Sequence[Run]) -> list[str]:
    """The state of each run as a comment, and below it the command of one that is not done."""
    lines = []
    for run in runs:
        lines.append(f"# {run.name}: {run.state}")
        lines += [] if run.state == "done" else [f"+ {command(run)}"]
    return lines


def submission(runs: Sequence[Run], output: pathlib.Path, jobs: int, options: str) -> list[str]:
    """The command by which `submit` would submit the runs, as a line; no line where all are done."""
    waiting = not_done(runs)
    return [f"+ {shlex.join(slurm.command(waiting, slurm.next_lines(output), jobs, options))}"] if waiting else []


def submit(runs: Sequence[Run], output: pathlib.Path, jobs: int, options: str) -> None:
    """Submits the runs that are not done to Slurm as one job array.

    Args:
      runs: of the sweep.
      output: folder of the sweep.
      jobs: how many at a time; 0 for as many as fit.
      options: more options of sbatch.

    Raises:
      ValueError: there is no Slurm here, or it does not take the array.
    """
    waiting = not_done(runs)
    if waiting:
        log.info("%s", slurm.submit(waiting, output, jobs, options))
    log.info("%d runs are done. The table: python launch/sweep.py --collect --output=%s",
             len(runs) - len(waiting), shlex.quote(str(output)))  # fmt: skip


def run_here(
    runs: Sequence[Run], output: pathlib.Path, jobs: int, share: bool = False, limit: float = math.inf
) -> Ended:
    """Runs those that are not done on this machine, `jobs` at a time, and writes the table of all.

    Args:
      runs, output: of the sweep.
      jobs: how many at a time.
      share: whether several may share a GPU.
      limit: seconds; see `local.run_all`.

    Raises:
      ValueError: there are GPUs, but fewer than jobs.
    """
    waiting = not_done(runs)
    done = len(runs) - len(waiting)
    log.info("%d runs, %d of them done; logs are in %s.", len(runs), done, output / "logs")
    outcomes = local.run_all(waiting, output, jobs, local.devices_for(jobs, share=share), limit=limit)
    count = collections.Counter(outcome.result for outcome in outcomes.values())
    return Ended(
        table=table.write(runs, output),
        done=done + count["done"],
        failed={name: outcome.reason for name, outcome in outcomes.items() if outcome.result == "failed"},
        stopped=count["stopped"] > 0 or len(outcomes) < len(waiting),
    )


def not_done(runs: Sequence[Run]) -> list[Run]:
    """Those that have not begun, or have begun and are not done."""
    return [run for run in runs if run.state != "done"]

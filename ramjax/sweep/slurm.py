"""Submits a sweep as one job array: task i runs line i of a file."""

import pathlib
import shlex
import subprocess
from collections.abc import Sequence

from ramjax import files
from ramjax.sweep.local import ROOT
from ramjax.sweep.plan import Run


def command(runs: Sequence[Run], lines: pathlib.Path, jobs: int, options: str) -> list[str]:
    """The sbatch command: `jobs` tasks at a time (0: as many as fit), with more `options` of sbatch."""
    at_once = f"%{jobs}" if jobs else ""
    array = f"--array=1-{len(runs)}{at_once}"
    return ["sbatch", array, *shlex.split(options), "launch/slurm.sbatch", f"--lines={lines}"]


def next_lines(output: pathlib.Path) -> pathlib.Path:
    """The file of lines that is next in the sweep's folder."""
    return output / f"lines-{len(list(output.glob('lines-*.txt'))) + 1}.txt"


def submit(runs: Sequence[Run], output: pathlib.Path, jobs: int, options: str) -> str:
    """Writes the lines and submits the array; returns what sbatch says.

    The lines are written to a new file each time, because waiting tasks of an earlier array still need theirs.

    Raises:
      ValueError: there is no Slurm here, or it does not take the array.
    """
    lines = next_lines(output)
    files.write_text(lines, "".join(f"{shlex.join(run.flags)}\n" for run in runs))
    try:
        done = subprocess.run(command(runs, lines, jobs, options), cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        lines.unlink()
        raise ValueError("There is no sbatch on this machine; start the sweep where jobs are submitted.") from None
    if done.returncode:
        lines.unlink()
        raise ValueError(f"sbatch does not take the sweep: {' '.join(done.stderr.split())}")
    return done.stdout.strip()

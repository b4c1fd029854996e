"""Who works in the folder of a sweep: one sweep at a time, and the runs that it started, even after it was killed.

A lock is a file that a process has locked (flock). It is free again when the last process that holds it has ended, be
it by a kill, so none is ever stale. A run inherits its lock from the sweep that starts it and keeps it as long as it
lives.
"""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator
from typing import TextIO

from ramjax.errors import RunError


@contextlib.contextmanager
def one_sweep(output: pathlib.Path) -> Iterator[None]:
    """Keeps a second sweep out of the folder, which is made; raises RunError where one is there."""
    output.mkdir(parents=True, exist_ok=True)
    file = take(output / ".lock")
    if file is None:
        raise RunError(
            f"Another sweep is running in {output}{_who(holder(output / '.lock'))}; wait for it, or name another "
            "--output."
        )
    with file:
        note(file, os.getpid())
        yield


def take(path: pathlib.Path) -> TextIO | None:
    """Locks a file for as long as it is open, here or in a process that inherits it; None where another one has it."""
    file = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def is_free(path: pathlib.Path) -> bool:
    """Whether no process has the lock."""
    file = take(path) if path.exists() else None
    if file is None:
        return not path.exists()
    file.close()
    return True


def note(file: TextIO, process: int) -> None:
    """Writes into a lock which process has it."""
    file.truncate(0)
    file.write(f"{process}\n")
    file.flush()


def holder(path: pathlib.Path) -> int | None:
    """The process that noted itself in a lock; None where it has not come to that."""
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text(encoding="utf-8"))
    return None


def _who(process: int | None) -> str:
    return "" if process is None else f" (process {process})"

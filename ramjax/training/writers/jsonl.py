"""``metrics.jsonl``: one JSON object a line. It is the record of a run; everything else can be made from it again.

The last value of a row is a checksum of the others, ``"crc32": "0a1b2c3d"``; rows of older versions have none.
"""

import contextlib
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from ramjax import files

NAME = "metrics.jsonl"
DAMAGED = "metrics.jsonl.damaged"
"""Where damaged lines of `NAME` are kept."""

log = logging.getLogger(__name__)


class JsonLines:
    """Appends rows ``{"step": 10, "train/loss": 0.5, ...}`` to the run's metrics.

    Rows after `start_step` are dropped, as is half a row that a kill left behind: the run repeats those steps. Damaged
    lines are moved to `DAMAGED` with a warning, and cost no other row.

    Args:
      folder: the run directory.
      start_step: the step that the run goes on from.
      writing: False in all processes but the first, which only read.
    """

    def __init__(self, folder: pathlib.Path, start_step: int, writing: bool):
        path = folder / NAME
        rows, damaged = files.split_json_lines(path)
        self.rows: list[dict[str, Any]] = [row for row in rows if row["step"] <= start_step]
        self._file: TextIO | None = None
        if writing:
            if damaged:
                _set_aside(folder / DAMAGED, damaged)
                log.warning("%s; set aside in %s.", files.describe_damaged(path, damaged), folder / DAMAGED)
            files.write_text(path, "".join(map(files.json_line, self.rows)))
            self._file = path.open("a", encoding="utf-8")

    def value(self, step: int, key: str) -> float | None:
        """What was written of `step` before the run went on; None where that is nothing, or no number."""
        return next((row[key] for row in self.rows if row["step"] == step and key in row), None)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Appends a row; numbers that are not finite become null. Raises OSError naming the file."""
        if self._file is None:
            return
        try:
            self._file.write(files.json_line({"step": step, **metrics}))
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._file.name) from error

    def close(self) -> None:
        if self._file is not None:
            # All is written by now, or `write` has raised: closing tries again what it could not write.
            with contextlib.suppress(OSError):
                self._file.close()


def _set_aside(path: pathlib.Path, damaged: Sequence[files.DamagedLine]) -> None:
    """Adds damaged lines, as they are, to those that were set aside before."""
    before = path.read_bytes() if path.exists() else b""
    files.write_bytes(path, before + b"".join(line.content + b"\n" for line in damaged))

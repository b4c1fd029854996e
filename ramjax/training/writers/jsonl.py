"""``metrics.jsonl``: one JSON object a line. It is the record of a run; everything else can be made from it again."""

import contextlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any, TextIO

from ramjax import files

NAME = "metrics.jsonl"


class JsonLines:
    """Appends rows ``{"step": 10, "train/loss": 0.5, ...}`` to the run's metrics.

    Rows after `start_step` are dropped, as is half a row that a kill left behind: the run repeats those steps.

    Args:
      folder: the run directory.
      start_step: the step that the run goes on from.
      writing: False in all processes but the first, which only read.
    """

    def __init__(self, folder: pathlib.Path, start_step: int, writing: bool):
        path = folder / NAME
        self.rows: list[dict[str, Any]] = [row for row in files.read_json_lines(path) if row["step"] <= start_step]
        self._file: TextIO | None = None
        if writing:
            files.write_text(path, "".join(json.dumps(row) + "\n" for row in self.rows))
            self._file = path.open("a", encoding="utf-8")

    def value(self, step: int, key: str) -> float | None:
        """What was written of `step` before the run went on; None where that is nothing, or no number."""
        return next((row[key] for row in self.rows if row["step"] == step and key in row), None)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Appends a row; numbers that are not finite become null. Raises OSError naming the file."""
        if self._file is None:
            return
        try:
            self._file.write(json.dumps({"step": step, **files.finite_or_none(dict(metrics))}) + "\n")
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._file.name) from error

    def close(self) -> None:
        if self._file is not None:
            # All is written by now, or `write` has raised: closing tries again what it could not write.
            with contextlib.suppress(OSError):
                self._file.close()

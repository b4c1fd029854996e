"""Metrics as they come: ``metrics.jsonl``, one JSON object a line, and TensorBoard events, from process 0 only."""

import json
import math
import pathlib
from collections.abc import Mapping

import jax
import tensorboardX

from ramjax import files


class Writer:
    """Appends to a run's metrics.

    A row is ``{"step": 10, "train/loss": 0.5, ...}``. A run that goes on from `start_step` drops the rows after it, and
    those half written: they are made again.

    Args:
      folder: the run directory.
      start_step: the step that the run goes on from.
    """

    def __init__(self, folder: str | pathlib.Path, start_step: int):
        path = pathlib.Path(folder) / "metrics.jsonl"
        self._rows = [row for row in files.read_json_lines(path) if row["step"] <= start_step]
        self._file = self._events = None
        if jax.process_index() == 0:
            files.write_text(path, "".join(json.dumps(row) + "\n" for row in self._rows))
            self._file = path.open("a", encoding="utf-8")
            # Explicit purging makes TensorBoard forget the steps that are done again.
            self._events = tensorboardX.SummaryWriter(str(path.parent / "tensorboard"), purge_step=start_step + 1)

    def has(self, step: int, prefix: str) -> bool:
        """Whether a row of `step` with keys that start with `prefix` was there when the run went on."""
        return any(row["step"] == step and any(key.startswith(prefix) for key in row) for row in self._rows)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Writes a row; numbers that are not finite become null in the file and a gap in TensorBoard."""
        if self._file is None:
            return
        self._file.write(json.dumps({"step": step, **files.finite_or_none(dict(metrics))}) + "\n")
        self._file.flush()
        for key, value in metrics.items():
            if math.isfinite(value):
                self._events.add_scalar(key, value, step)
        self._events.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._events.close()

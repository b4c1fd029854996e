"""Metrics as they come: ``metrics.jsonl``, one JSON object a line, and TensorBoard events, from process 0 only."""

import contextlib
import json
import math
import pathlib
import time
from collections.abc import Mapping

import jax
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

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
            # Not tensorboardX's SummaryWriter: its thread and queue hang the run when the disk is full.
            events = path.parent / "tensorboard"
            events.mkdir(exist_ok=True)
            self._events = EventsWriter(str(events / "events"))
            # The start of a session makes TensorBoard forget the steps that are done again.
            session = SessionLog(status=SessionLog.START)
            self._events.write_event(Event(wall_time=time.time(), step=start_step + 1, session_log=session))

    def value(self, step: int, key: str) -> float | None:
        """What was written of `step` before the run went on; None where that is nothing, or no number."""
        return next((row[key] for row in self._rows if row["step"] == step and key in row), None)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Writes a row; numbers that are not finite become null in the file and a gap in TensorBoard.

        Raises:
          OSError: it cannot be written; it names the file.
        """
        if self._file is None:
            return
        try:
            self._file.write(json.dumps({"step": step, **files.finite_or_none(dict(metrics))}) + "\n")
            self._file.flush()
            for key, value in metrics.items():
                if math.isfinite(value):
                    self._events.write_event(Event(wall_time=time.time(), step=step, summary=scalar(key, value)))
            self._events.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._file.name) from error

    def close(self) -> None:
        if self._file is not None:
            # All is written by now, or `write` has raised: closing tries again what it could not write.
            for file in (self._file, self._events):
                with contextlib.suppress(OSError):
                    file.close()

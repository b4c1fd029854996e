"""TensorBoard: event files in the run directory, written without TensorFlow."""

import contextlib
import io
import pathlib
import time
from collections.abc import Mapping
from typing import Any

from PIL import Image
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import hparams, scalar

from ramjax.config import by_path
from ramjax.training.writers.tracker import finite

TEST = ".test"
"""Ends the name of the event file of a test, which the next test replaces."""


class TensorBoard:
    """Writes event files; see `Tracker`. Raises OSError, naming the folder, where the disk does not take them.

    Args:
      folder: of the event files; made if absent.
      start_step: the step that a training goes on from; None where there is only a test to write.
    """

    id = ""

    def __init__(self, folder: pathlib.Path, start_step: int | None):
        self._folder, self._step = folder, start_step or 0
        self._training: EventsWriter | None = None
        self._tested: EventsWriter | None = None
        folder.mkdir(exist_ok=True)
        if start_step is not None:
            # Not tensorboardX's SummaryWriter: its thread and queue hang the run when the disk is full.
            self._training = EventsWriter(str(folder / "events"))
            # The start of a session makes TensorBoard forget the steps that are done again.
            session = SessionLog(status=SessionLog.START)
            self._add(self._training, start_step + 1, session_log=session)

    def hyperparameters(self, config: Mapping[str, Any]) -> None:
        """The settings by dotted key, for the tab HPARAMS."""
        if self._training is None:
            return
        plain = {
            key: value if isinstance(value, int | float | str) else ", ".join(map(str, value or ()))
            for key, value in by_path(config).items()
        }
        *started, _ = hparams(plain, {"validation/selection": 0.0})
        self._add_all(self._training, self._step, started)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        if self._training is not None:
            self._add_all(self._training, step, [scalar(name, value) for name, value in finite(metrics).items()])

    def test(self, step: int, metrics: Mapping[str, float]) -> None:
        self._add_all(self._test_file(), step, [scalar(name, value) for name, value in finite(metrics).items()])

    def pictures(self, step: int, pictures: Mapping[str, pathlib.Path]) -> None:
        self._add_all(self._test_file(), step, [_image(name, path) for name, path in pictures.items()])

    def close(self, failed: bool) -> None:
        for file in (self._training, self._tested):
            if file is not None:
                # All is written by now, or an error was raised: closing tries again what could not be written.
                with contextlib.suppress(OSError):
                    file.close()

    def _test_file(self) -> EventsWriter:
        if self._tested is None:
            for old in self._folder.glob(f"*{TEST}"):
                old.unlink()
            self._tested = EventsWriter(str(self._folder / "events"), TEST)
        return self._tested

    def _add_all(self, file: EventsWriter, step: int, summaries: list[Summary]) -> None:
        for summary in summaries:
            self._add(file, step, summary=summary)
        try:
            file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._folder)) from error

    def _add(self, file: EventsWriter, step: int, **what: Any) -> None:
        try:
            file.write_event(Event(wall_time=time.time(), step=step, **what))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._folder)) from error


def _image(name: str, path: pathlib.Path) -> Summary:
    """The picture as a PNG, in RGB."""
    content = io.BytesIO()
    with Image.open(path) as picture:
        picture.convert("RGB").save(content, "PNG")
        size = dict(width=picture.width, height=picture.height)
    image = Summary.Image(**size, colorspace=3, encoded_image_string=content.getvalue())
    return Summary(value=[Summary.Value(tag=name, image=image)])

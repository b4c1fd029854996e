"""Feeds a tracker on a remote machine from a thread: if it fails or is slow, training does not wait."""

import logging
import pathlib
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ramjax import files
from ramjax.training.writers.tracker import Tracker

RETRY_SECONDS = 30.0
"""After a failure; twice as long after each further one, up to `LONGEST_RETRY_SECONDS`."""

LONGEST_RETRY_SECONDS = 600.0

TRIES = 3
"""Of what may be left out: hyperparameters, test metrics and pictures. Rows are tried until they are taken."""

CLOSE_SECONDS = 30.0
"""How long the end of a run waits for what the tracker has not taken yet."""

log = logging.getLogger(__name__)


class Follower:
    """Passes everything on to a tracker, in order; see `Tracker`.

    A file in the run directory keeps the tracker's id of the run and the last step that it took of each kind of metric
    (``train``, ``validation``). So a resumed run continues there, no step is written twice, and
    what the tracker missed is sent from metrics.jsonl the next time.

    A tracker that fails does not end the run: one warning is logged, and it is tried again later.

    Args:
      title: of the tracker, for people.
      connect: makes the tracker of the id of a run, '' for a new run; called in the thread.
      path: of the file.
      rows: of metrics.jsonl, up to the step that the run goes on from, of which it takes those that it lacks.
    """

    id = ""

    def __init__(
        self, title: str, connect: Callable[[str], Tracker], path: pathlib.Path, rows: Sequence[Mapping[str, Any]]
    ):
        self._title, self._connect, self._path = title, connect, path
        self._tracker: Tracker | None = None
        self._written: dict[str, int] = {}
        self._jobs: queue.Queue[tuple[Callable[[Tracker], None], bool] | None] = queue.Queue()
        self._ending, self._warned, self._gave_up, self._failed = threading.Event(), False, False, False
        for row in rows:
            self.write(row["step"], {key: value for key, value in row.items() if key != "step"})
        self._thread = threading.Thread(target=self._follow, name=f"{title} writer", daemon=True)
        self._thread.start()

    def hyperparameters(self, config: Mapping[str, Any]) -> None:
        self._jobs.put((lambda tracker: tracker.hyperparameters(config), False))

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        metrics = dict(metrics)
        self._jobs.put((lambda tracker: self._write(tracker, step, metrics), True))

    def test(self, step: int, metrics: Mapping[str, float]) -> None:
        self._jobs.put((lambda tracker: tracker.test(step, metrics), False))

    def pictures(self, step: int, pictures: Mapping[str, pathlib.Path]) -> None:
        self._jobs.put((lambda tracker: tracker.pictures(step, pictures), False))

    def close(self, failed: bool) -> None:
        self._failed = failed
        self._jobs.put(None)
        self._ending.set()
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive() or self._gave_up:
            log.warning(
                "%s has not taken all of the run; metrics.jsonl has it, and --mode=eval sends the rest.", self._title
            )

    def _follow(self) -> None:
        """The thread: one job after the other, then the end of the session."""
        while (job := self._jobs.get()) is not None and self._finish(*job):
            pass
        if self._tracker is not None:
            self._try(lambda tracker: tracker.close(self._failed))

    def _finish(self, do: Callable[[Tracker], None], needed: bool) -> bool:
        """Tries until it is done or left out; False where the run ends first."""
        tries, pause = 0, RETRY_SECONDS
        while not self._try(do):
            tries += 1
            if tries == TRIES and not needed and self._tracker is not None:
                self._gave_up = True
                return True
            if self._ending.is_set():
                self._gave_up = True
                return False
            self._ending.wait(pause)
            pause = min(2 * pause, LONGEST_RETRY_SECONDS)
        return True

    def _try(self, do: Callable[[Tracker], None]) -> bool:
        try:
            if self._tracker is None:
                self._tracker = self._begin()
            do(self._tracker)
        except Exception as error:  # whatever the package, its server or the network may think of
            level = logging.DEBUG if self._warned else logging.WARNING
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            log.log(level, "%s does not take the run's metrics (%s); the run goes on.", self._title, reason)
            log.debug("%s failed.", self._title, exc_info=True)
            self._warned = True
            return False
        return True

    def _begin(self) -> Tracker:
        known = self._load()
        tracker = self._connect(known["id"])
        self._written = known["written"] if tracker.id == known["id"] else {}
        self._save(tracker)
        return tracker

    def _write(self, tracker: Tracker, step: int, metrics: Mapping[str, float]) -> None:
        new = {key: value for key, value in metrics.items() if step > self._written.get(_kind(key), -1)}
        if not new:
            return
        tracker.write(step, new)
        self._written |= {_kind(key): step for key in new}
        self._save(tracker)

    def _load(self) -> dict[str, Any]:
        try:
            known = files.parse_json(self._path.read_bytes())
            return {"id": str(known["id"]), "written": dict(known["written"])}
        except FileNotFoundError:
            return {"id": "", "written": {}}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self._path} is damaged; delete it to begin a new run there") from error

    def _save(self, tracker: Tracker) -> None:
        files.write_json(self._path, {"id": tracker.id, "written": self._written})


def _kind(name: str) -> str:
    """``train`` of ``train/loss``."""
    return name.partition("/")[0]

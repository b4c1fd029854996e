"""The progress of training: a bar on a terminal, lines elsewhere; the log file has the same lines in both cases."""

import concurrent.futures
import datetime
import logging
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import jax
from tqdm import tqdm

T = TypeVar("T")
log = logging.getLogger(__name__)


class Progress:
    """Shows the steps of a run and measures them.

    Args:
      start, steps: the step the run goes on from, and the last.
      batch_size: examples a step, over all processes.
      quiet: show nothing on the console (processes but the first).
    """

    def __init__(self, start: int, steps: int, batch_size: int, quiet: bool = False):
        self._steps, self._batch_size = steps, batch_size
        self._on_terminal = sys.stderr.isatty() and not quiet
        self._bar = tqdm(total=steps, initial=start, desc="training", unit="step", disable=not self._on_terminal)
        self._waited = self._paused = 0.0
        self._began, self._began_at = time.perf_counter(), start
        self._watcher = concurrent.futures.ThreadPoolExecutor(1)
        self._idle_since: concurrent.futures.Future[float] | None = None

    def watch(self, outputs: Any) -> None:
        """Notes when the devices are done with a step, which is when its `outputs` (not to be donated) are ready."""
        self._idle_since = self._watcher.submit(_when_ready, outputs)

    def timed(self, batches: Iterable[T]) -> Iterator[T]:
        """Passes `batches` on and counts the time spent waiting for them with nothing to do for the devices."""
        iterator = iter(batches)
        while True:
            began = time.perf_counter()
            batch = next(iterator, None)
            ended = time.perf_counter()
            if batch is None:
                return
            if self._idle_since is None:  # no step yet
                self._waited += ended - began
            elif self._idle_since.done():
                self._waited += max(0.0, ended - max(began, self._idle_since.result()))
            yield batch

    def pause(self, seconds: float) -> None:
        """Leaves out of the speed the `seconds` that evaluating or saving took."""
        self._paused += seconds

    def advance(self) -> None:
        self._bar.update()

    def report(self, step: int, metrics: Mapping[str, float]) -> dict[str, float]:
        """Shows the metrics of `step` with speed and time left; returns ``examples_per_second`` and ``data_wait_share``
        since the last report."""
        seconds = max(time.perf_counter() - self._began - self._paused, 1e-9)
        done = max(step - self._began_at, 1)
        speed = {
            "examples_per_second": done * self._batch_size / seconds,
            "data_wait_share": min(self._waited / seconds, 1),
        }
        left = datetime.timedelta(seconds=round((self._steps - step) * seconds / done))
        tasks = " ".join(f"{key.removeprefix('loss/')} {value:.4g}" for key, value in metrics.items() if "/" in key)
        pace = f"{speed['examples_per_second']:.1f} examples/s, {speed['data_wait_share']:.0%} waiting for data"
        self._bar.set_postfix_str(f"loss {metrics['loss']:.4g}, {pace}")
        line = f"step {step}/{self._steps}: loss {metrics['loss']:.4g} ({tasks}), {pace}, {left} left"
        log.log(logging.DEBUG if self._on_terminal else logging.INFO, line)
        self._began, self._began_at, self._waited, self._paused = time.perf_counter(), step, 0.0, 0.0
        return speed

    def close(self) -> None:
        self._bar.close()
        self._watcher.shutdown(wait=False)


def _when_ready(outputs: Any) -> float:
    jax.block_until_ready(outputs)
    return time.perf_counter()

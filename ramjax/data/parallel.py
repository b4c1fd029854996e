"""Applies a function to many items on all cores and returns the results in order."""

import collections
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import TypeVar

import cv2

T = TypeVar("T")
R = TypeVar("R")

_FEW = 32
"""Fewer items than this are done sooner than worker processes start."""

_AHEAD = 4
"""Items a worker process that are being done or waiting to be taken at a time; bounds the memory."""


def in_order(function: Callable[[T], R], items: Iterable[T], total: int | None = None) -> Iterator[R]:
    """Yields ``function(item)`` for each item in order, by one process for each core; an exception is raised here.

    The function and the items are pickled, a few items ahead of the results. `total` is the number of items, for
    `items` without a length. The processes end with the caller, even when it is killed.
    """
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if (len(items) if total is None else total) < _FEW or workers == 1:
        yield from map(function, items)
        return
    # Spawned, not forked: the caller may hold threads and accelerators, which do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(workers, context, initializer=start_worker) as pool:
        pending = collections.deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= _AHEAD * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def start_worker() -> None:
    """Prepares a worker process: it leaves Ctrl-C to its parent, and ends with the parent even when that is killed."""
    cv2.setNumThreads(1)  # The processes are the parallelism.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)

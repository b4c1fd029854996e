"""Applies a function to many items on all cores and returns the results in order."""

import collections
import contextlib
import ctypes
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent import futures
from typing import Any, TypeVar

import cv2

from ramjax.errors import RunError, UserError

T = TypeVar("T")
R = TypeVar("R")

_FEW = 32
"""Fewer items than this are done sooner than worker processes start."""

_AHEAD = 4
"""Items a worker that are being done or waiting to be taken at a time; bounds the memory."""

_IDLE = -1
"""In place of the number of an item: the process is at none."""

_OTHERS_ENDED = (0, -signal.SIGTERM)
"""Exit codes of the processes that end because another one died."""


def in_order(
    function: Callable[[T], R], items: Iterable[T], total: int | None = None, name: Callable[[T], object] | None = None
) -> Iterator[R]:
    """Yields ``function(item)`` for each item in order, by one process for each core; an exception is raised here.

    The function and the items are pickled, a few items ahead of the results. The processes end with the caller, even
    when it is killed.

    Args:
      function: see above.
      items: see above.
      total: the number of items, for `items` without a length.
      name: what messages call an item, such as the file that it is read from; by default its number.

    Raises:
      RunError: a process died, of damaged native code or for want of memory; the message names its item.
    """
    workers = _cores()
    if (len(items) if total is None else total) < _FEW or workers == 1:
        for number, item in enumerate(items):
            with _noting(_called(number, item, name)):
                result = function(item)
            yield result
        return
    # Spawned, not forked: the caller may hold threads and accelerators, which do not survive a fork.
    context = multiprocessing.get_context("spawn")
    at = context.Array(ctypes.c_longlong, [0, _IDLE] * workers)  # of each process, its id and the number of its item
    children: dict[int, Any] = {}
    pending: collections.deque[tuple[futures.Future, str]] = collections.deque()
    called: dict[int, str] = {}
    try:
        with futures.ProcessPoolExecutor(workers, context, initializer=_start, initargs=(at,)) as pool:
            try:
                for number, item in enumerate(items):
                    called[number] = _called(number, item, name)
                    pending.append((pool.submit(_act, function, number, item), called[number]))
                    children |= {child.pid: child for child in multiprocessing.active_children()}
                    if len(pending) >= _AHEAD * workers:
                        yield _result(*pending.popleft())
                while pending:
                    yield _result(*pending.popleft())
            finally:
                for future, _ in pending:
                    future.cancel()
    except futures.BrokenExecutor as error:  # out here all processes have ended, and their exit codes are known
        ends = {pid: child.exitcode for pid, child in children.items()}
        raise RunError(_obituary(dict(zip(at[0::2], at[1::2], strict=True)), ends, called)) from error


def in_order_by_threads(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """As `in_order`, by one thread for each core: for a function that spends its time in OpenCV or reading files."""
    workers = _cores()
    pending: collections.deque[futures.Future] = collections.deque()
    with futures.ThreadPoolExecutor(workers) as pool:
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


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def start_worker() -> None:
    """Prepares a worker process: it leaves Ctrl-C to its parent, and ends with the parent even when that is killed."""
    cv2.setNumThreads(1)  # The processes are the parallelism.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _start(at: Any) -> None:
    """As `start_worker`; takes a free place in `at` (see `in_order`)."""
    global _at, _place
    start_worker()
    with at.get_lock():
        _at, _place = at.get_obj(), 2 * at[0::2].index(0)
        _at[_place] = os.getpid()


def _act(function: Callable[[T], R], number: int, item: T) -> R:
    _at[_place + 1] = number
    result = function(item)
    _at[_place + 1] = _IDLE
    return result


def _called(number: int, item: Any, name: Callable[[Any], object] | None) -> str:
    return f"item {number + 1}" if name is None else str(name(item))


def _result(future: "futures.Future[R]", called: str) -> R:
    with _noting(called):
        return future.result()


@contextlib.contextmanager
def _noting(called: str) -> Iterator[None]:
    """Notes the item in an exception whose message is not made for people, and so names no file."""
    try:
        yield
    except (UserError, futures.BrokenExecutor):
        raise
    except Exception as error:
        error.add_note(f"at {called}")
        raise


def _obituary(at: Mapping[int, int], ends: Mapping[int, int | None], called: Mapping[int, str]) -> str:
    """What is said of a process that died.

    Args:
      at: the number of the item that each process was at, by process id.
      ends: the exit codes of processes.
      called: what items are called, by number.
    """
    died = {pid: code for pid, code in ends.items() if pid in at and code not in (None, *_OTHERS_ENDED)}
    suspects = [called[at[pid]] for pid in died or at if at[pid] in called]
    code = next(iter(died.values()), None)
    how = "" if code is None else f" (signal {-code})" if code < 0 else f" (exit code {code})"
    remedy = "if it is damaged, fetch it again or take it out; then start the same command again"
    if code == -signal.SIGKILL:
        remedy = f"likely memory ran out: close other programs, or use a machine with more; {remedy}"
    which = f"The process that worked on {' or '.join(suspects)}" if suspects else "A process that was at no item"
    return f"{which} died{how}; {remedy}."

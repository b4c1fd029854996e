"""Stopping when told to: SIGTERM (a scheduler takes the machine back) and SIGINT (Ctrl-C)."""

import contextlib
import functools
import logging
import os
import signal
import types
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

REQUEUE_EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: the same command continues


log = logging.getLogger(__name__)


class Preempted(BaseException):
    """The run was told to stop. Like KeyboardInterrupt it is no `Exception`, so nobody handles it as a failure."""


class Preemption:
    """Turns signals into `Preempted`: at once, or at the next `check` inside `deferred`. Use as a context manager.

    A second Ctrl-C inside `deferred` raises KeyboardInterrupt at once, and no further save begins.
    """

    def __init__(self):
        self._process = os.getpid()
        self._deferring = False
        self._requested = False
        self._previous: dict[int, object] = {}
        self._asked: jax.Array | None = None

    def __enter__(self) -> "Preemption":
        self._previous = {number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """A context in which signals wait for the next `check`, so that there is time to save."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False

    @contextlib.contextmanager
    def excused(self) -> Iterator[None]:
        """A context in which an exception after a signal becomes `Preempted`.

        A scheduler often signals all processes of a job. That ends the data workers, too, and without them the main
        process fails; such a failure is part of the stop.
        """
        try:
            yield
        except Exception:
            if not self._requested:
                raise
            log.debug("Failed after a signal.", exc_info=True)
            raise Preempted from None

    def check(self) -> None:
        """Raises `Preempted` if any process of the run was told to stop; every process must call it equally often.

        In a run of several processes, each call starts the question and reads the answer to the one before. So all of
        them stop one call later, and no step waits for communication.
        """
        requested = self._requested
        if jax.process_count() > 1:
            # JAX's own sync point needs its preemption service; a flag gathered each time works on every cluster.
            before, self._asked = self._asked, _any_process(requested)
            requested = before is not None and bool(before)
        if requested:
            raise Preempted

    def _handle(self, number: int, _: types.FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked data worker: its parent ends it, by SIGTERM
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        again, self._requested = self._requested, True
        if not self._deferring:
            raise Preempted
        if again and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not again:  # os.write: print is not safe in a signal handler
            with contextlib.suppress(OSError):  # whoever read it may be gone by the same signal
                os.write(2, f"\n{signal.Signals(number).name}: saving and stopping; Ctrl-C stops at once.\n".encode())


def _any_process(flag: bool) -> jax.Array:
    """Whether `flag` is true on any process, as a bool array () that is still to be computed."""
    split, any_of = _compiled_any()
    return any_of(jax.make_array_from_process_local_data(split, np.full(jax.local_device_count(), flag)))


@functools.cache
def _compiled_any() -> tuple[NamedSharding, Callable[[jax.Array], jax.Array]]:
    mesh = jax.make_mesh((jax.device_count(),), ("process",), axis_types=(AxisType.Auto,))
    split, whole = (NamedSharding(mesh, spec) for spec in (PartitionSpec("process"), PartitionSpec()))
    return split, jax.jit(jnp.any, out_shardings=whole)

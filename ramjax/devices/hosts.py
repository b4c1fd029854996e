"""The processes of a run on several hosts: they join, check that they agree, and say so when one is lost.

When a process loses another one, JAX ends it by abort(), from a thread of its own and after a page of log. On CPUs, the
communication between the two fails before that. In both cases the last line of the process is one sentence, and its
exit code is 1.
"""

import ctypes
import json
import logging
import os
import pathlib
import signal
import sys
import threading
from typing import Any

import jax

from ramjax import config as config_lib
from ramjax.devices import sharding
from ramjax.errors import RunError

JOIN_SECONDS = 300
"""How long a process waits for the others to start: on a cluster they may have to fetch their software first."""

HEARTBEAT_SECONDS = 40
"""Without a sign of life for so long, a process counts as lost; a closed connection says it at once."""

LEAVE_SECONDS = 10
"""How long a process that ends early waits for the others to end likewise, so that each can say why."""

OWN_KEYS = ("data.data_dir", "data.cache_dir", "data.workers", "data.prefetch")
"""The keys of the config in which the processes may differ: where a host keeps the data, and how fast it reads them."""

_LOST = ("gloo", "nccl", "coordination service", "coordinationservice", "heartbeat", "barrier")

log = logging.getLogger(__name__)

_name = ""  # of this process, once it has joined the others
_ending_with: int | None = None  # its exit code, once it has said its last line


def join(coordinator: str | None = None, process_index: int | None = None, process_count: int | None = None) -> None:
    """Joins the other processes of the run. Call it before anything asks JAX for devices, and call `leave` at the end.

    Args:
      coordinator: HOST:PORT at which process 0 listens. None gets it, the index and the count from the cluster: Slurm,
        Open MPI, Cloud TPU or GKE.
      process_index, process_count: 0-based number of this process, and how many there are.

    Raises:
      RunError: there is no such cluster, or the other processes did not join in time.
    """
    global _name
    named = {}
    if coordinator is not None:
        named = {"coordinator_address": coordinator, "num_processes": process_count, "process_id": process_index}
        named["cluster_detection_method"] = "deactivate"
    _end_in_words_when_aborted()
    try:
        jax.distributed.initialize(
            **named, initialization_timeout=JOIN_SECONDS, heartbeat_timeout_seconds=HEARTBEAT_SECONDS
        )
    except ValueError as error:
        raise RunError(
            f"--distributed found no cluster that says where the other processes are ({error}); name it by "
            "--coordinator=HOST:PORT --process_index=I --process_count=N."
        ) from error
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunError(f"The other processes of the run could not be joined: {reason}") from error
    _name = f"Process {jax.process_index()} of {jax.process_count()}"


def agree(config: config_lib.Config, mode: str, workdir: pathlib.Path) -> None:
    """Checks that all processes have the same config and devices, before any of them writes; all must call it.

    Raises:
      RunError: they differ; every process raises the same message.
    """
    if jax.process_count() == 1:
        return
    mine: dict[str, Any] = {"--mode": mode, "--workdir": str(workdir.absolute()), "devices": jax.local_device_count()}
    for path, value in jax.tree.leaves_with_path(config_lib.to_dict(config)):
        mine[jax.tree_util.keystr(path, simple=True, separator=".")] = value
    mine = {key: value for key, value in mine.items() if key not in OWN_KEYS}
    first, *others = [json.loads(content) for content in sharding.gather_bytes(json.dumps(mine).encode())]
    for index, other in enumerate(others, 1):
        for key in [*first, *other]:
            if first.get(key) != other.get(key):
                what = "has other devices" if key == "devices" else "was given another config"
                raise RunError(
                    f"Process {index} {what} than process 0: {key} is {other.get(key)!r} there and {first.get(key)!r} "
                    f"in process 0; start all {len(others) + 1} processes with the same."
                )


def log_devices() -> None:
    """Says which process this is and what devices there are."""
    log.info(
        "Process %d of %d: %d of %d device(s), %s.",
        jax.process_index(),
        jax.process_count(),
        jax.local_device_count(),
        jax.device_count(),
        jax.devices()[0].device_kind,
    )


def is_lost(error: BaseException | None) -> bool:
    """Whether `error`, or its cause, is that another process is gone."""
    while error is not None:
        if isinstance(error, ValueError | RuntimeError) and any(word in str(error).lower() for word in _LOST):
            return bool(_name)
        error = error.__cause__ or error.__context__
    return False


def lost_message() -> str:
    """What a process says when it has lost another one."""
    if not _name:
        return f"The other processes did not all join within {JOIN_SECONDS} s; see what they said, and start all again."
    return (
        f"{_name} lost another one, whose own last line says why; the same command continues from the last checkpoint."
    )


def leave(code: int, lost: bool = False) -> None:
    """Leaves the run after this process has printed its last line; returns when all have left, or ends the process.

    Args:
      code: the exit code. With 0 it waits for the others; with another, for `LEAVE_SECONDS` at most.
      lost: another process is gone, so that there is nothing to wait for.
    """
    global _ending_with
    _ending_with = code
    if code:
        sys.stdout.flush()
        sys.stderr.flush()
        # No end in peace: what still waits for the others in some thread would keep this process.
        timer = threading.Timer(0 if lost else LEAVE_SECONDS, os._exit, (code,))
        timer.daemon = True
        timer.start()
    try:
        jax.distributed.shutdown()
    except RuntimeError:  # not all came to the end
        if not code:
            print(f"Error: {lost_message()}", file=sys.stderr, flush=True)
            code = 1
    if code:
        os._exit(code)


def _end_in_words_when_aborted() -> None:
    """Makes a SIGABRT end this process with a sentence and an exit code.

    Python runs its signal handlers between two instructions of a program, and an abort never returns to the program. So
    this handler is called from C, by the thread that aborts.
    """
    process = os.getpid()

    def handle(_: int) -> None:
        if os.getpid() != process:  # a forked data worker: its abort is its own
            return
        if not _ending_with:
            os.write(2, f"\nError: {lost_message()}\n".encode())
        os._exit(_ending_with or 1)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(handle)
    _end_in_words_when_aborted.handler = handler  # C keeps no reference
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    libc.signal(signal.SIGABRT, ctypes.cast(handler, ctypes.c_void_p))

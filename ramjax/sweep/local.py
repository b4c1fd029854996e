"""Runs a sweep's commands on this machine, several at once, and stops them cleanly when told to."""

import collections
import contextlib
import dataclasses
import itertools
import logging
import math
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from ramjax.devices.preemption import REQUEUE_EXIT_CODE
from ramjax.sweep import locks
from ramjax.sweep.plan import Run

log = logging.getLogger(__name__)

ROOT = pathlib.Path(__file__).parents[2]

_COMMAND = (sys.executable, "-m", "ramjax.main")

GRACE_SECONDS = 15.0
"""Between the signals that ask a run to save and stop and that kill it, when the time is up."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended: ``done``, ``failed`` or ``stopped``; `reason` is the last line of a failed one's log."""

    result: str
    reason: str = ""


def run_all(
    runs: Sequence[Run],
    output: pathlib.Path,
    jobs: int,
    devices: Sequence[str | None],
    command: Sequence[str] = _COMMAND,
    limit: float = math.inf,
) -> dict[str, Outcome]:
    """Runs `runs` in order, `jobs` at a time, and returns the outcome of each run that was started, by name.

    What a run prints is added to logs/NAME.txt in `output`. A run that fails does not stop the others. SIGTERM or
    Ctrl-C is passed on to the runs, which save, and nothing more is started; a second Ctrl-C stops them at once.

    A run that a killed sweep has left behind is still at work; it is waited for like the others, and started again
    where it then is not done.

    Args:
      runs: to run.
      output: folder of the sweep.
      jobs: how many at a time.
      devices: value of CUDA_VISIBLE_DEVICES for each of the `jobs`, None to leave it; jobs that have the same share it.
      command: in front of each run's flags.
      limit: seconds after which the runs are told to save and stop, and nothing more is started; those that have not
        stopped `GRACE_SECONDS` later are killed.
    """
    end, gpus = time.monotonic() + limit, [device for device in devices[:jobs] if device is not None]
    shared = len(set(gpus)) < len(gpus)
    logs = output / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    waiting, free = collections.deque(runs), collections.deque(devices[:jobs])
    running: dict[str, _Running] = {}
    outcomes: dict[str, Outcome] = {}
    with _Signals() as signals:
        passed_on, killed = 0, False
        while running or (waiting and not signals.count):
            while waiting and free and not signals.count:
                run, device = waiting.popleft(), free.popleft()
                running[run.name] = _start(run, logs / f"{run.name}.txt", device, shared, command)
                log.info(running[run.name].said, run.name, len(runs) - len(waiting), len(runs))
            if time.monotonic() > end and not signals.count:
                log.warning(
                    "The time is up: %d runs are told to stop, %d were not started.", len(running), len(waiting)
                )
                signals.count = 1
            if time.monotonic() > end + GRACE_SECONDS and not killed:
                killed = True
                for of in running.values():
                    of.send(signal.SIGKILL)
            for _ in range(passed_on, signals.count):
                passed_on += 1
                for of in running.values():
                    of.send(signal.SIGTERM if passed_on == 1 else signal.SIGINT)
            for name, of in list(running.items()):
                if not of.has_ended():
                    continue
                free.append(of.device)
                del running[name]
                outcome = of.outcome(bool(signals.count))
                if outcome is None:
                    waiting.appendleft(of.run)
                    continue
                outcomes[name] = outcome
                _tell(name, outcome, time.monotonic() - of.start)
            time.sleep(0.05)
    return outcomes


def devices_for(jobs: int, environment: Mapping[str, str] = os.environ, share: bool = False) -> list[str | None]:
    """The GPU of each of several jobs, as a value of CUDA_VISIBLE_DEVICES; a single job, or one without GPUs, sees all.

    With `share` there may be more jobs than GPUs: they then take turns on them.

    Raises:
      ValueError: there are GPUs, but fewer than jobs.
    """
    if jobs == 1:
        return [None]
    if "CUDA_VISIBLE_DEVICES" in environment:
        gpus = [gpu for gpu in environment["CUDA_VISIBLE_DEVICES"].split(",") if gpu]
    elif shutil.which("nvidia-smi"):
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
        gpus = re.findall(r"^GPU (\d+):", listed.stdout, re.MULTILINE)
    else:
        gpus = []
    if share and gpus:
        return list(itertools.islice(itertools.cycle(gpus), jobs))
    if gpus and len(gpus) < jobs:
        raise ValueError(
            f"--jobs={jobs} needs as many GPUs, of which there are {len(gpus)}; use --jobs={len(gpus)}, or "
            "--share_gpus for small runs."
        )
    return list(gpus[:jobs]) or [None] * jobs


@dataclasses.dataclass(frozen=True)
class _Running:
    """A run that was started here."""

    run: Run
    process: subprocess.Popen
    log: pathlib.Path
    device: str | None
    start: float
    said = "%s started, %d of %d."

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def outcome(self, stopping: bool) -> Outcome:
        code = self.process.returncode
        # Before a run listens for signals, they end it; 130 is its answer to a second Ctrl-C.
        if code == REQUEUE_EXIT_CODE or (stopping and code in (-signal.SIGTERM, -signal.SIGINT, -signal.SIGKILL, 130)):
            return Outcome("stopped")
        if code == 0:
            return Outcome("done")
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        ended = f"ended by signal {-code}; " if code < 0 else ""
        return Outcome("failed", f"{ended}{lines[-1] if lines else 'it printed nothing'}")


@dataclasses.dataclass(frozen=True)
class _Left:
    """A run that a sweep started which was killed: no child of this process, so its exit code is not known."""

    run: Run
    lock: pathlib.Path
    device: str | None
    start: float
    said = "%s is still running, left by a sweep that was killed; waiting for it, %d of %d."

    def has_ended(self) -> bool:
        return locks.is_free(self.lock)

    def send(self, number: int) -> None:
        process = locks.holder(self.lock)
        if process is not None and not self.has_ended():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def outcome(self, stopping: bool) -> Outcome | None:
        """None where it has to be started again."""
        if self.run.state == "done":
            return Outcome("done")
        return Outcome("stopped") if stopping else None


class _Signals:
    """Counts SIGTERM and SIGINT, which then do not end the process. Use as a context manager."""

    def __init__(self):
        self.count = 0
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "_Signals":
        self._previous = {number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, *_) -> None:
        self.count += 1
        if self.count == 1:  # os.write: print is not safe in a signal handler
            os.write(2, b"\nThe runs are saving and stopping; Ctrl-C stops them at once.\n")


def _start(run: Run, path: pathlib.Path, device: str | None, shared: bool, command: Sequence[str]) -> _Running | _Left:
    """Starts the run in its own session, unless it is still running.

    A Ctrl-C of the terminal does not reach it there, but is passed on, once. Where a GPU is shared, JAX takes the
    memory that it needs in place of three quarters of it all.
    """
    lock = path.with_suffix(".lock")
    held = locks.take(lock)
    if held is None:
        return _Left(run, lock, device, time.monotonic())
    environment = ({"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} if shared else {}) | os.environ
    environment |= {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
    with held, path.open("ab") as file:
        process = subprocess.Popen(
            [*command, *run.flags], cwd=ROOT, env=environment, start_new_session=True, pass_fds=[held.fileno()],
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
        locks.note(held, process.pid)
    return _Running(run, process, path, device, time.monotonic())


def _tell(name: str, outcome: Outcome, seconds: float) -> None:
    if outcome.result == "failed":
        log.warning("%s failed after %.1f min: %s", name, seconds / 60, outcome.reason)
    else:
        log.info("%s %s after %.1f min.", name, outcome.result, seconds / 60)

"""Runs `ramjax.main` and notes when its parts began and ended; what runs is not changed.

    python -m benchmarks.timed_main EVENTS.jsonl --config=experiments/multitask.py --workdir=runs/timed

Each line of EVENTS.jsonl is ``[name, began, ended]`` in seconds of `time.time`: ``first_step`` (the first step's
results are there), ``step`` (the loop has a step's metrics), ``save_latest``, ``save_best`` and ``wait`` (the loop is
held up by checkpoints), ``evaluate`` (one validation), ``test`` (the whole test of the best checkpoint) and ``compile``
(tracing, lowering and compiling a program, or fetching it compiled). The loop waits for the results of the first step,
which it would not do otherwise.
"""

import functools
import json
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from ramjax.evaluation import validation


def main(argv: list[str]) -> int:
    """Runs the command line `argv`: program name, file of the events, and what `ramjax.main` is given."""
    from ramjax import main as command

    with open(argv[1], "a", buffering=1, encoding="utf-8") as file:
        _watch(file)
        return command.main([argv[0], *argv[2:]])


def _watch(file: TextIO) -> None:
    import jax

    from ramjax.runs.checkpoints import Checkpoints
    from ramjax.training import loop
    from ramjax.training.progress import Progress

    def note(name: str, began: float) -> None:
        file.write(json.dumps([name, began, time.time()]) + "\n")

    def timed(owner: Any, attribute: str, name: str) -> None:
        setattr(owner, attribute, _timed(getattr(owner, attribute), name, note))

    for attribute in ("save_latest", "save_best", "wait"):
        timed(Checkpoints, attribute, attribute)
    timed(validation, "evaluate", "evaluate")
    timed(loop, "test", "test")
    timed(Progress, "advance", "step")

    watch, seen = Progress.watch, []

    def watch_first(progress: Progress, outputs: Any) -> None:
        if not seen:
            began = time.time()
            seen.append(jax.block_until_ready(outputs))
            note("first_step", began)
        watch(progress, outputs)

    Progress.watch = watch_first

    def compiled(event: str, seconds: float, **_: Any) -> None:
        if event.startswith("/jax/core/compile/"):
            note("compile", time.time() - seconds)

    jax.monitoring.register_event_duration_secs_listener(compiled)


def _timed(function: Callable, name: str, note: Callable[[str, float], None]) -> Callable:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        began = time.time()
        try:
            return function(*args, **kwargs)
        finally:
            note(name, began)

    return wrapped


if __name__ == "__main__":
    sys.exit(main(sys.argv))

"""`ramjax.main` with the job of `tiny_job`, lingering at one moment, for tests that end it there from outside.

    python -m tests.faults.tiny_main MOMENT MARKER FLAGS of ramjax.main

When the run comes to MOMENT, it makes the file MARKER and stays there for `LINGER` seconds; it never comes to "never".
"""

import os
import pathlib
import sys
import time

import jax
import pytest

from ramjax import main
from ramjax.data import pipeline
from ramjax.evaluation import testing
from ramjax.steps import train as train_steps
from tests.training import tiny_job

LINGER = 1.5
MOMENTS = ("compile", "batch", "step", "validation", "item", "write", "best", "test", "never")
STEP = 5
"""The step in which the moment "step" is, and before which "batch" is: after a checkpoint and before another."""

SECOND = 6
"""The moment "item" is when one of the parts of this step's checkpoint, the second, is written and not all of them."""

BEST = 12
"""The moment "best" is when this step's state is written as the best; it is saved as the latest before."""


class Moment:
    """Lingers the first time it is called."""

    def __init__(self, marker: pathlib.Path):
        self._marker, self._passed = marker, False

    def __call__(self) -> None:
        if not self._passed:
            self._passed = True
            self._marker.touch()
            time.sleep(LINGER)


def install(moment: str, linger: Moment) -> None:
    """Has `linger` called when the run comes to `moment`, of `MOMENTS`."""
    patch = pytest.MonkeyPatch()
    tiny_job.install(patch)

    def at(here: str) -> None:
        if here == moment:
            linger()

    def make_train_step(config, *rest):
        train_step = tiny_job.make_train_step(config, *rest)

        def lingering(state, batch, *rest):
            at("compile")  # traced once, when the step is compiled
            jax.debug.callback(lambda number: at("step") if number == STEP else None, state.step)
            return train_step(state, batch, *rest)

        return lingering

    def make_train_batches(*args, start_step, **kwargs):
        batches = tiny_job.make_train_batches(*args, start_step=start_step, **kwargs)
        for number, batch in enumerate(batches, start_step):
            if number == STEP:
                at("batch")
            yield batch

    def make_eval_batches(*args, **kwargs):
        for batch in tiny_job.make_eval_batches(*args, **kwargs):
            at("validation")
            yield batch

    def evaluate_source(*args, check, **kwargs):
        def lingering():
            at("test")
            check()

        return tiny_job.evaluate_source(*args, check=lingering, **kwargs)

    patch.setattr(train_steps, "make_train_step", make_train_step)
    patch.setattr(pipeline, "make_train_batches", make_train_batches)
    patch.setattr(pipeline, "make_eval_batches", make_eval_batches)
    patch.setattr(testing, "evaluate_source", evaluate_source)
    for name in ("rename", "replace"):
        plain = getattr(os, name)

        def renaming(source, target, *args, plain=plain, **kwargs):
            kind, folder, name = pathlib.Path(target).parts[-3:]
            if kind == "latest" and folder.startswith(f"{SECOND}."):
                at("item")
            # All of a checkpoint is written, and it is not yet named one.
            if folder == "latest":
                at("write")
            if (folder, name) == ("best", str(BEST)):
                at("best")
            return plain(source, target, *args, **kwargs)

        patch.setattr(os, name, renaming)


if __name__ == "__main__":
    moment, marker, *flags = sys.argv[1:]
    if moment not in MOMENTS:
        sys.exit(f"{moment} is none of {MOMENTS}.")
    install(moment, Moment(pathlib.Path(marker)))
    sys.exit(main.main([sys.argv[0], *flags]))

"""A trained network, ready to predict."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from ramjax.config import Config
from ramjax.devices import compilation, sharding
from ramjax.errors import RunError
from ramjax.printable import printable
from ramjax.runs import run_dir
from ramjax.steps.predict import make_predict_step
from ramjax.steps.state import TrainState, restore_best
from ramjax.tasks import TASKS, Task, make_tasks, needs_boxes

PredictFn = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Image float32 (b, h, w, 1) in 0..1 to the predictions of the tasks, each (b, ...)."""


@dataclasses.dataclass(frozen=True)
class TrainedNetwork:
    """A trained network and where it comes from.

    Attributes:
      config: of the run.
      tasks: that it was trained on, in the order in which their heads run.
      name: of the run's folder.
      step: optimiser steps that the parameters have seen.
      state: of the training, with the parameters averaged over its steps.
      predict: the network as a function of images.
    """

    config: Config
    tasks: tuple[Task, ...]
    name: str
    step: int
    state: TrainState
    predict: PredictFn


def load(workdir: str | pathlib.Path) -> TrainedNetwork:
    """Loads the checkpoint of a run that was best on validation, or the latest, on one device.

    Raises:
      RunError: `workdir` is not a run, has no whole checkpoint, or has only tasks that need boxes and none that finds
        them.
    """
    workdir = pathlib.Path(workdir).expanduser()
    config = run_dir.load_config(workdir)
    tasks = make_tasks(config)
    if all(needs_boxes(task, tasks) for task in tasks) and not any(task.finds_boxes for task in tasks):
        finder = next(task.name for task in TASKS if task.finds_boxes)
        raise RunError(
            f"{workdir} has only {' and '.join(task.name for task in tasks)} and cannot find joints; predict with a "
            f"run whose tasks include {finder}."
        )
    mesh = sharding.make_mesh(sharding.on_one_device(config))
    state, _ = restore_best(workdir, config, mesh)
    predict = functools.partial(compilation.jit(make_predict_step(config)), state)
    return TrainedNetwork(config, tasks, printable(workdir.resolve().name), int(state.step), state, predict)

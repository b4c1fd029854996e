"""A trained network, ready to predict."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ramjax.config import Config
from ramjax.devices import compilation, sharding
from ramjax.errors import RunError
from ramjax.printable import printable
from ramjax.runs import run_dir, weights
from ramjax.steps.predict import make_predict_step
from ramjax.steps.state import TrainState, init_state, restore_best
from ramjax.tasks import TASKS, Task, make_tasks, needs_boxes
from ramjax.trees import by_name

PredictFn = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Image float32 (b, h, w, 1) in 0..1 to the predictions of the tasks, each (b, ...)."""


@dataclasses.dataclass(frozen=True)
class TrainedNetwork:
    """A trained network and where it comes from.

    Attributes:
      config: of the run.
      tasks: that it was trained on, in the order in which their heads run.
      name: of the run's folder, or of the file.
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


def load(workdir: str | pathlib.Path = weights.DEFAULT) -> TrainedNetwork:
    """Loads a trained network on one device.

    Args:
      workdir: a run, whose checkpoint that was best on validation is taken, or else the latest; a file of weights
        (`export`); or ``default``, the network that ships with ramjax.

    Raises:
      RunError: `workdir` is none of these, has no whole checkpoint, or has only tasks that need boxes and none that
        finds them.
    """
    config, state = restore(workdir)
    tasks = make_tasks(config)
    if all(needs_boxes(task, tasks) for task in tasks) and not any(task.finds_boxes for task in tasks):
        finder = next(task.name for task in TASKS if task.finds_boxes)
        raise RunError(
            f"{workdir} has only {' and '.join(task.name for task in tasks)} and cannot find joints; predict with a "
            f"run whose tasks include {finder}."
        )
    file = weights.path_of(workdir)
    name = file.stem if file else pathlib.Path(workdir).expanduser().resolve().name
    jitted = compilation.jit(make_predict_step(config), deterministic=config.train.deterministic)
    predict = functools.partial(jitted, state)
    return TrainedNetwork(config, tasks, printable(name), int(state.step), state, predict)


def restore(workdir: str | pathlib.Path, mesh: Mesh | None = None) -> tuple[Config, TrainState]:
    """The config and the averages of a trained network, whatever its tasks.

    Args:
      workdir: as `load` takes it.
      mesh: a run is restored to its devices, whole on each; None stands for one device. A file, to the default one.

    Raises:
      RunError: `workdir` is no trained network, or has no whole checkpoint.
    """
    file = weights.path_of(workdir)
    if file:
        held = weights.read(file)
        return held.config, _state_of(held, file)
    folder = pathlib.Path(workdir).expanduser()
    config = run_dir.load_config(folder)
    state, _ = restore_best(folder, config, mesh or sharding.make_mesh(sharding.on_one_device(config)))
    return config, state


def export(network: TrainedNetwork, path: str | pathlib.Path, about: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Writes the averaged parameters to a file of weights, in half precision: see `ramjax.runs.weights`.

    Args:
      network: that was loaded.
      path: of the file; its name ends in .safetensors.
      about: what people should know of the network, plain values.

    Raises:
      ValueError: the name ends otherwise, or a parameter is not finite in half precision.
      OSError: the file cannot be written.
    """
    if pathlib.Path(path).suffix != weights.SUFFIX:
        raise ValueError(f"{path} is written as safetensors; let its name end in {weights.SUFFIX}.")
    tensors = {name: np.asarray(leaf) for name, leaf in _named(network.state)}
    weights.write(pathlib.Path(path).expanduser(), weights.Weights(network.config, network.step, tensors, about))


def _named(state: TrainState) -> list[tuple[str, Any]]:
    """What a file of weights holds of a state, by name."""
    kept = {"params": state.ema_params, "variables": state.ema_variables}
    return list(by_name(kept).items())


def _state_of(held: weights.Weights, path: pathlib.Path) -> TrainState:
    """The averages as `restore_best` returns them.

    Raises:
      RunError: a tensor is missing, unknown or of another shape.
    """
    shapes = jax.eval_shape(functools.partial(init_state, held.config))
    expected = dict(_named(shapes))
    for name in sorted(expected.keys() | held.tensors.keys()):
        here, there = (str(of[name].shape) if name in of else "missing" for of in (expected, held.tensors))
        if here != there:
            here = "not a part of the network" if here == "missing" else f"{here} in the network"
            raise RunError(f"{path} does not fit its config: {name} is {there} there and {here}; get the file again.")
    leaves = [jnp.asarray(held.tensors[name], leaf.dtype) for name, leaf in _named(shapes)]
    structure = jax.tree.structure({"params": shapes.ema_params, "variables": shapes.ema_variables})
    kept = jax.tree.unflatten(structure, leaves)
    return TrainState(
        step=jnp.asarray(held.step, jnp.int32),
        params={},
        opt_state={},
        ema_params=kept["params"],
        ema_variables=kept["variables"],
    )

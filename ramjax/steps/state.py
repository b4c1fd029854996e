"""The training state: made, described, restored, and the network applied with its parameters."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from ramjax.config import Config
from ramjax.devices import sharding
from ramjax.errors import RunError
from ramjax.models.network import MultiTaskNetwork
from ramjax.runs.checkpoints import Checkpoints
from ramjax.steps.optimizer import make_optimizer
from ramjax.tasks import heads_of, make_tasks


@flax.struct.dataclass
class TrainState:
    """All that training changes.

    Attributes:
      step: int32, optimiser steps taken.
      params: float32 parameters.
      opt_state: of the optimiser.
      ema_params: exponential moving average of `params`, used in evaluation.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    ema_params: Any


def init_state(config: Config) -> TrainState:
    """Returns the state before the first step, a function of the config alone; jit it with the shardings you want."""
    tasks = make_tasks(config)
    model = MultiTaskNetwork(config.model, heads_of(tasks), rngs=nnx.Rngs(config.seed))
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    optimizer = make_optimizer(config.optimizer, config.train.steps, [task.name for task in tasks])
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        ema_params=jax.tree.map(jnp.copy, params),
    )


def abstract_state(config: Config, mesh: Mesh) -> TrainState:
    """The training state as ShapeDtypeStructs, placed as it is trained: what a checkpoint is restored into."""
    shapes = jax.eval_shape(functools.partial(init_state, config))
    return _placed(shapes, sharding.state_shardings(config.mesh, mesh, shapes))


def restore_best(workdir: str | pathlib.Path, config: Config, mesh: Mesh) -> tuple[TrainState, str]:
    """The state of the checkpoint that was best on validation, and what it is in words; changes nothing in `workdir`.

    It is whole on every device of `mesh`, so that each can take images of its own.

    Raises:
      RunError: there is no whole checkpoint, or it holds another network.
    """
    with Checkpoints(pathlib.Path(workdir) / "checkpoints", read_only=True) as checkpoints:
        shapes = jax.eval_shape(functools.partial(init_state, config))
        state = checkpoints.restore_best(_placed(shapes, jax.tree.map(lambda _: sharding.replicated(mesh), shapes)))
        if state is None:
            raise RunError(f"{workdir} has no checkpoint; train first, with python -m ramjax.main.")
        return state, "the best on validation" if int(state.step) == checkpoints.best_step else "the latest"


def _placed(shapes: TrainState, shardings: TrainState) -> TrainState:
    return jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where), shapes, shardings
    )


def make_apply(config: Config) -> Callable[..., dict[str, dict[str, jax.Array]]]:
    """Returns ``apply(params, image, boxes=None, heads=None) -> outputs``: the network as a pure function."""

    def network():
        return MultiTaskNetwork(config.model, heads_of(make_tasks(config)), rngs=nnx.Rngs(0))

    def apply(params, image, boxes=None, heads=None):
        graphdef, state = nnx.split(nnx.eval_shape(network), nnx.Param)
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(graphdef, state)(image, boxes, heads)

    return apply

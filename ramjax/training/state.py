"""The trained state of a run, for whoever evaluates it or predicts with it."""

import functools
import pathlib

import jax
from jax.sharding import Mesh

from ramjax.config import Config
from ramjax.training import sharding, step
from ramjax.training.checkpoints import Checkpoints
from ramjax.training.errors import RunError


def abstract_state(config: Config, mesh: Mesh) -> step.TrainState:
    """The training state as ShapeDtypeStructs, placed as it is trained: what a checkpoint is restored into."""
    shapes = jax.eval_shape(functools.partial(step.init_state, config))
    return _placed(shapes, sharding.state_shardings(config.mesh, mesh, shapes))


def restore_best(workdir: str | pathlib.Path, config: Config, mesh: Mesh) -> tuple[step.TrainState, str]:
    """The state of the checkpoint that was best on validation, and what it is in words; changes nothing in `workdir`.

    It is whole on every device of `mesh`, so that each can take images of its own.

    Raises:
      RunError: there is no whole checkpoint, or it holds another network.
    """
    with Checkpoints(pathlib.Path(workdir) / "checkpoints", read_only=True) as checkpoints:
        shapes = jax.eval_shape(functools.partial(step.init_state, config))
        state = checkpoints.restore_best(_placed(shapes, jax.tree.map(lambda _: sharding.replicated(mesh), shapes)))
        if state is None:
            raise RunError(f"{workdir} has no checkpoint; train first, with python -m ramjax.main.")
        return state, "the best on validation" if int(state.step) == checkpoints.best_step else "the latest"


def _placed(shapes: step.TrainState, shardings: step.TrainState) -> step.TrainState:
    return jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where), shapes, shardings
    )

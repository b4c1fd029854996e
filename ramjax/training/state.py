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
    """The training state as ShapeDtypeStructs, replicated over `mesh`: what a checkpoint is restored into."""
    replicated = sharding.replicated(mesh)
    shapes = jax.eval_shape(functools.partial(step.init_state, config))
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=replicated), shapes)


def restore_best(workdir: str | pathlib.Path, config: Config, mesh: Mesh) -> tuple[step.TrainState, str]:
    """The state of the checkpoint that was best on validation, and what it is in words; changes nothing in `workdir`.

    Raises:
      RunError: there is no whole checkpoint, or it holds another network.
    """
    checkpoints = Checkpoints(pathlib.Path(workdir) / "checkpoints", read_only=True)
    try:
        state = checkpoints.restore_best(abstract_state(config, mesh))
        if state is None:
            raise RunError(f"{workdir} has no checkpoint; train first, with python -m ramjax.main.")
        return state, "the best on validation" if int(state.step) == checkpoints.best_step else "the latest"
    finally:
        checkpoints.close()

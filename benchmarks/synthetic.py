"""Steps ready to be run and measured: a state of random numbers, a batch of one synthetic hand, compiled functions."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from ramjax import phantom
from ramjax.config import Config
from ramjax.data.canvas import to_canvas
from ramjax.devices import compilation, sharding
from ramjax.steps.state import TrainState, abstract_state, init_state
from ramjax.steps.train import make_train_step
from ramjax.tasks import labels_of, make_tasks

SCALE = 0.25
"""Of the synthetic hand: it is resampled to the canvas, whose size alone decides what a step costs."""


@dataclasses.dataclass(frozen=True)
class TrainStep:
    """A training step and what it is called with.

    Attributes:
      compiled: as `ramjax.training.loop` compiles it.
      state: given away at the first call.
      batch: on the devices of the mesh.
    """

    compiled: jax.stages.Compiled
    state: TrainState
    batch: dict[str, jax.Array]


def train_step(config: Config) -> TrainStep:
    """Compiles the training step of a config on the mesh it asks for."""
    mesh = sharding.make_mesh(config)
    batch = sharding.place_batch(make_batch(config, config.data.batch_size), mesh)
    state = random_state(config, mesh)
    where = jax.tree.map(lambda leaf: leaf.sharding, state)
    function = make_train_step(config)
    placed = where, sharding.replicated(mesh)
    jitted = compilation.jit(function, donate_argnums=0, out_shardings=placed)
    return TrainStep(jitted.lower(state, batch).compile(), state, batch)


def caller(ready: TrainStep) -> Callable[[], Any]:
    """A function that takes one training step after the other and returns when it is done."""
    held = [ready.state]

    def call():
        held[0], metrics = ready.compiled(held[0], ready.batch)
        jax.block_until_ready(metrics)

    return call


def random_state(config: Config, mesh: Mesh | None = None) -> TrainState:
    """A training state of small random numbers: it costs what a trained one does, and no compilation.

    It is placed on `mesh` as it is trained; without one it is whole on the default device.
    """
    rng = np.random.default_rng(0)
    shapes = abstract_state(config, mesh) if mesh else jax.eval_shape(functools.partial(init_state, config))

    def fill(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        floating = np.issubdtype(leaf.dtype, np.floating)
        values = rng.random(leaf.shape, np.float32) * 0.05 if floating else np.zeros(leaf.shape)
        return jax.device_put(values.astype(leaf.dtype), leaf.sharding)

    return jax.tree.map(fill, shapes)


def make_batch(config: Config, size: int) -> dict[str, np.ndarray]:
    """One synthetic hand, all of whose labels are known, on the config's canvas, `size` times."""
    of_phantom = phantom.PhantomConfig(patients=1, scale=SCALE)
    record = phantom.render(of_phantom, phantom.cases(of_phantom)[0]).record
    canvas = dataclasses.replace(config.data.canvas, sizing="fit")
    example = to_canvas(record, canvas, labels=labels_of(make_tasks(config))) | {"dataset": np.int32(0)}
    return {name: np.stack([value] * size) for name, value in example.items()}

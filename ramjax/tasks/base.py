"""What a task is."""

import dataclasses
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from ramjax.config import ModelConfig

Batch = dict[str, Any]
"""The arrays of `ramjax.data.pipeline`, leading axis b."""


@dataclasses.dataclass(frozen=True)
class Term:
    """A loss as a sum and the number of things summed, so that steps, devices and partial labels add up exactly."""

    total: Float[Array, ""]
    count: Float[Array, ""]

    def mean(self) -> Float[Array, ""]:
        """The mean, 0 where nothing was counted."""
        return self.total / jnp.where(self.count > 0, self.count, 1)  # a count of weights may be below 1


class Task(Protocol):
    """One task: head, loss, predictions and metrics. `Features` in, numbers out."""

    name: str
    weight: float
    selected_by: tuple[str, ...]
    """The metrics, at most 1 and higher for better, whose mean tells which checkpoint is the best."""

    def head(self, model: ModelConfig, *, rngs: nnx.Rngs) -> nnx.Module:
        """Returns the module that turns `Features` into a dict of raw outputs."""

    def loss(self, outputs: dict[str, Array], batch: Batch) -> list[Term]:
        """Returns the terms whose means add up to the task's loss; unknown labels count as nothing."""

    def predict(self, outputs: dict[str, Array]) -> dict[str, Array]:
        """Returns the predictions of the batch, each (b, ...), under names no other task uses."""

    def counts(self, outputs: dict[str, Array], batch: Batch) -> dict[str, Array]:
        """Returns what `summarize` needs of each example, each (b, ...)."""

    def summarize(self, counts: dict[str, np.ndarray]) -> dict[str, float]:
        """Returns the metrics of a whole split from the concatenated `counts`, and ``<metric>/n`` beside each."""

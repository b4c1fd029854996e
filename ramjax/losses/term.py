"""A part of a loss, as a sum and a count."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float


@dataclasses.dataclass(frozen=True)
class Term:
    """A part of a loss: a sum and a count, so that steps, devices and partial labels add up exactly.

    Attributes:
      total: float32 scalar, the sum over everything that has a label.
      count: float32 scalar, the number of things (or the weight) that were summed. It must depend on the labels alone,
        never on the predictions: before a batch is processed in parts, `loss` is called with outputs that are all zero,
        to get the counts of the whole batch. A loss that is normalised by something predicted, such as a focal loss,
        divides in `total`.
    """

    total: Float[Array, ""]
    count: Float[Array, ""]

    def mean(self) -> Float[Array, ""]:
        """The mean, 0 where nothing was counted."""
        return self.total / jnp.where(self.count > 0, self.count, 1)  # a count of weights may be below 1

    def times(self, weight: float) -> "Term":
        """The term with that weight on its total."""
        return Term(weight * self.total, self.count)

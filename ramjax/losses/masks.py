"""Predicted masks and what they should be: what every loss of `ramjax.losses` is given."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

OFF = -1e9
"""A logit whose probability is 0 and has no gradient."""


@dataclasses.dataclass(frozen=True)
class Masks:
    """Predicted masks and what they should be.

    Pixels may be on a grid, (b, h, w, c), or in blocks, as a `ramjax.tasks.dense.DenseHead` has them; losses that look
    at neighbours want a grid.

    Attributes:
      logits: (b, h, w, *blocks, c) float32.
      target: (b, h, w, *blocks, c) float32, the share of the pixel that the mask covers, 0 to 1.
      inside: (b, h, w, *blocks), where there is an image.
      known: (b, c), which masks are annotated.
      exclusive: the masks are labels of which each pixel has one: its logits are of a softmax, the first is the
        background, and of an image all are known or none.
      positive_weight: of a pixel of a mask in the losses that are means over pixels; one of the background has 1.
    """

    logits: Float[Array, "b h w *blocks c"]
    target: Float[Array, "b h w *blocks c"]
    inside: Bool[Array, "b h w *blocks"]
    known: Bool[Array, "b c"]
    exclusive: bool = False
    positive_weight: float = 1.0

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes of the pixels."""
        return tuple(range(1, self.logits.ndim - 1))

    @property
    def seen(self) -> Bool[Array, "b h w *blocks c"]:
        """Which pixels of which masks count."""
        return self.inside[..., None] & jnp.expand_dims(self.known, self.axes)

    @property
    def labelled(self) -> Bool[Array, "b h w *blocks"]:
        """Which pixels count of masks that exclude each other."""
        return self.inside & jnp.expand_dims(self.known[:, 0], self.axes)

    @property
    def seen_logits(self) -> Float[Array, "b h w *blocks c"]:
        """The logits, `OFF` where nothing is seen."""
        return jnp.where(self.seen, self.logits, OFF)

    @property
    def seen_target(self) -> Float[Array, "b h w *blocks c"]:
        """The target, 0 where nothing is seen."""
        return jnp.where(self.seen, self.target, 0)

    @property
    def probability(self) -> Float[Array, "b h w *blocks c"]:
        """Of each mask by itself, 0 where nothing is seen. Not of exclusive ones, see `one_by_one`."""
        return jax.nn.sigmoid(self.seen_logits)

    @property
    def pixel_weight(self) -> Float[Array, "b h w *blocks c"]:
        """The weight of each pixel in a mean over pixels."""
        return self.seen * (1 + (self.positive_weight - 1) * self.target)

    def one_by_one(self) -> "Masks":
        """Masks each for itself: of labels that exclude each other, each but the background against all others."""
        if not self.exclusive:
            return self
        return dataclasses.replace(
            self,
            logits=one_against_rest(self.logits)[..., 1:],
            target=self.target[..., 1:],
            known=self.known[:, 1:],
            exclusive=False,
        )


def one_against_rest(logits: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
    """The logits of each label against all others together: their sigmoid is the softmax of `logits`."""
    itself = jnp.where(jnp.eye(logits.shape[-1], dtype=bool), -jnp.inf, 0.0)
    return logits - jax.nn.logsumexp(logits[..., None, :] + itself, axis=-1)

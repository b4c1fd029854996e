"""Centreline Dice (Shit et al., arXiv 2003.07311), for thin masks whose parts are to stay connected."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ramjax.config import MaskTaskConfig
from ramjax.losses.masks import Masks
from ramjax.losses.term import Term

ITERATIONS = 10
"""Pixels of the grid that a mask may be thick from its centreline to its outline; what is thicker has none."""

SMOOTH = 1.0
"""Pixels added to numerator and denominator of both shares, so that an empty mask has them."""


def cldice(masks: Masks, config: MaskTaskConfig) -> Term:
    """1 less the harmonic mean of two shares: of the predicted centreline in the target, of the target's in the mask.

    Summed over the masks that are known.
    """
    del config
    probability, target = masks.probability, masks.seen_target
    precision = _share(soft_skeleton(probability), target)
    recall = _share(soft_skeleton(target), probability)
    losses = 1 - 2 * precision * recall / (precision + recall)
    return Term((losses * masks.known).sum(), masks.known.sum(dtype=jnp.float32))


def soft_skeleton(x: Float[Array, "b h w c"], iterations: int = ITERATIONS) -> Float[Array, "b h w c"]:
    """The soft skeleton of masks of values 0 to 1: at each erosion, what an opening takes away.

    The backward pass computes each erosion again from its two maps.
    """

    @jax.checkpoint
    def thin(carried, _):
        x, skeleton = carried
        smaller = erode(x)
        ridge = jax.nn.relu(x - dilate(smaller))
        return (smaller, skeleton + jax.nn.relu(ridge - skeleton * ridge)), None

    return jax.lax.scan(thin, (x, jnp.zeros_like(x)), length=iterations + 1)[0][1]


def erode(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """The least of each pixel and its four neighbours."""
    return jnp.minimum(_of_three(jnp.minimum, x, 1, jnp.inf), _of_three(jnp.minimum, x, 2, jnp.inf))


def dilate(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """The largest of each pixel and its eight neighbours."""
    return _of_three(jnp.maximum, _of_three(jnp.maximum, x, 1, -jnp.inf), 2, -jnp.inf)


def _of_three(choose, x: Array, axis: int, beyond: float) -> Array:
    """Each pixel and its two neighbours along an axis; `beyond` the border is what is never chosen."""
    size = x.shape[axis]
    border = jnp.full_like(jax.lax.slice_in_dim(x, 0, 1, axis=axis), beyond)
    before = jnp.concatenate([border, jax.lax.slice_in_dim(x, 0, size - 1, axis=axis)], axis)
    after = jnp.concatenate([jax.lax.slice_in_dim(x, 1, size, axis=axis), border], axis)
    return choose(choose(before, x), after)


def _share(part: Float[Array, "b h w c"], whole: Float[Array, "b h w c"]) -> Float[Array, "b c"]:
    return ((part * whole).sum((1, 2)) + SMOOTH) / (part.sum((1, 2)) + SMOOTH)

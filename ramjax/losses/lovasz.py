"""The Lovász extension of the Jaccard loss (Berman, Rannen Triki and Blaschko, arXiv 1705.08790).

Errors of pixels are sorted, the largest first, and each weighs as much as the Jaccard loss rises when its pixel is
wrong, too. Summed over the masks that are known; of an empty mask it is the largest error. Targets are rounded.

It sorts the pixels of each mask twice, once there and once back, which takes neither a gather nor a scatter.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ramjax.config import MaskTaskConfig
from ramjax.losses.masks import Masks
from ramjax.losses.term import Term


def lovasz(masks: Masks, config: MaskTaskConfig) -> Term:
    """Of the errors of the probabilities: Lovász-softmax, or its sigmoid form for masks that overlap."""
    del config
    return _of_errors(jnp.abs(masks.probability - _rounded(masks)), masks)


def lovasz_hinge(masks: Masks, config: MaskTaskConfig) -> Term:
    """Of the hinge errors of the logits, 1 - logit where the mask is and 1 + logit where it is not."""
    del config
    return _of_errors(jax.nn.relu(1 - masks.logits * (2 * _rounded(masks) - 1)), masks)


def _rounded(masks: Masks) -> Float[Array, "b h w *blocks c"]:
    return (masks.seen_target >= 0.5).astype(jnp.float32)


def _of_errors(errors: Float[Array, "b h w *blocks c"], masks: Masks) -> Term:
    """Errors are 0 or above; those that are not seen come last and weigh nothing."""
    errors, target, seen = (x.reshape(len(x), -1, x.shape[-1]) for x in (errors, _rounded(masks), masks.seen))
    errors = jnp.where(seen, errors, 0)
    weights = jaccard_weights(jnp.where(seen, errors, -1), target)
    return Term(((errors * weights).sum(1) * masks.known).sum(), masks.known.sum(dtype=jnp.float32))


def jaccard_weights(errors: Float[Array, "b n c"], target: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
    """How much the Jaccard loss rises by each pixel, if pixels are wrong from the largest error on.

    It has no gradient: that of the Lovász extension is the weights themselves.
    """
    errors = jax.lax.stop_gradient(errors)
    places = jax.lax.broadcasted_iota(jnp.int32, errors.shape, 1)
    _, found, places = jax.lax.sort((-errors, target, places), dimension=1, num_keys=1)
    area = target.sum(1, keepdims=True)
    intersection = area - jnp.cumsum(found, 1)
    union = area + jnp.cumsum(1 - found, 1)
    jaccard = 1 - intersection / union
    rises = jnp.diff(jaccard, axis=1, prepend=0.0)
    return jax.lax.sort((places, rises), dimension=1, num_keys=1)[1]

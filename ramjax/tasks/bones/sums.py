"""The sums over pixels that the loss of bones is made of, in one pass over the logits, and their gradient in another.

The logits are the largest array of the network: 30 for each pixel of the canvas. Automatic differentiation would keep
several more arrays of that size, in float32, for the backward pass. Here it keeps the logits, in the network's dtype,
and the labels, 32 bits a pixel, and computes the rest again.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt32

from ramjax import anatomy
from ramjax.models.linear_call import linear_call

Sums = tuple[Float[Array, "b c"], Float[Array, "b c"], Float[Array, "b c"]]


@jax.custom_jvp
def pixel_sums(
    logits: Float[Array, "b h w *blocks c"], words: UInt32[Array, "b h w *blocks"], inside: Bool[Array, "b h w *blocks"]
) -> Sums:
    """Sums of each image and channel over the pixels that are inside, float32 (b, 30).

    Differentiable in forward and reverse mode.

    Args:
      logits: any float dtype.
      words: targets, bit k of channel k; 0 outside.
      inside: where there is an image.

    Returns:
      The sums of the binary cross entropy, of the probability where the target is 1, and of the squared probability.
    """
    z, target, weight = _planes(logits, words, inside)
    probability = jax.nn.sigmoid(z) * weight
    cross_entropy = (jax.nn.softplus(z) - z * target) * weight
    return _sum(cross_entropy, probability * target, jnp.square(probability))


@pixel_sums.defjvp
def _differentiate(primals, tangents):
    return pixel_sums(*primals), linear_call(_tangent, _transpose, primals, tangents[0])


def _tangent(kept, of_logits):
    moved = _flat(of_logits).astype(jnp.float32)
    return _sum(*(slope * moved for slope in _slopes(*kept)))


def _transpose(kept, grads):
    """The transpose of `_tangent`: the gradient of the logits, in one pass, in their dtype."""
    blocks = math.prod(kept[1].shape[3:])
    kept = kept[0], *jax.lax.optimization_barrier(kept[1:])
    grads = (jnp.tile(grad, blocks)[:, None, None] for grad in grads)
    moved = sum(slope * grad for slope, grad in zip(_slopes(*kept), grads, strict=True))
    return moved.astype(kept[0].dtype).reshape(kept[0].shape)


def _slopes(logits, words, inside):
    """The derivative of each term of the sums with respect to its logit."""
    z, target, weight = _planes(logits, words, inside)
    probability = jax.nn.sigmoid(z)
    spread = probability * (1 - probability) * weight
    return (probability - target) * weight, spread * target, 2 * spread * probability


def _planes(logits, words, inside):
    """Logits, targets and weights, float32 (b, h, w, blocks c)."""
    targets = _flat(unpack(words)).astype(jnp.float32)
    weights = jnp.broadcast_to(inside[..., None], logits.shape).astype(jnp.float32)
    return _flat(logits).astype(jnp.float32), targets, _flat(weights)


def _flat(x):
    return x.reshape(*x.shape[:3], -1)


def _sum(*terms: Float[Array, "b h w d"]) -> tuple[Float[Array, "b c"], ...]:
    """Sums over pixels and blocks. `ramjax.models.sums` would take a CPU twice the time: no exponentials at once."""
    return tuple(term.sum((1, 2)).reshape(term.shape[0], -1, anatomy.NUM_BONES).sum(1) for term in terms)


def areas(words: UInt32[Array, "b h w"]) -> Float[Array, "b c"]:
    """How many pixels each channel has, float32 (b, 30).

    Behind a barrier: XLA would otherwise unpack the words once, in the order that suits these sums, write that to
    memory, and transpose it for `pixel_sums`.
    """
    words = jax.lax.optimization_barrier(words)
    return unpack(words).sum((1, 2), dtype=jnp.float32)


def unpack(words: Array) -> Array:
    """Unpacks uint32 words into bool planes, (..., 30): bit k is channel k."""
    return ((words[..., None] >> jnp.arange(anatomy.NUM_BONES, dtype=jnp.uint32)) & 1).astype(bool)

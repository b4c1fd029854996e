"""Group normalisation (Wu and He, arXiv 1803.08494) with as few passes over the activations as possible.

Moments are computed for each channel and then averaged over its group. This avoids the grouped reshape of the
activations, which XLA's CPU backend turns into slow strided loops. The backward pass is written by hand: it keeps only
the activations and needs two sums for each channel and one pass; automatic differentiation would also keep the centred
activations.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ramjax.models.linear_call import linear_call

SPAN = 16
"""Pixels of a row that are summed at once, at most: few enough to stay in a core's nearest cache."""


@functools.partial(jax.custom_jvp, nondiff_argnums=(3, 4))
def group_norm(
    x: Float[Array, "b h w c"], scale: Float[Array, " c"], bias: Float[Array, " c"], groups: int, epsilon: float
) -> Float[Array, "b h w c"]:
    """Normalises each example and group of channels to mean 0 and variance 1, then scales and shifts each channel.

    Differentiable in forward and reverse mode.

    Args:
      x: activations of any float dtype, which is the result's too.
      scale, bias: float32.
      groups: of c / groups neighbouring channels.
      epsilon: added to the variance.
    """
    return _forward(x, scale, bias, groups, epsilon)[0]


@group_norm.defjvp
def _differentiate(groups, epsilon, primals, tangents):
    y, kept = _forward(*primals, groups, epsilon)
    return y, linear_call(functools.partial(_tangent, groups), functools.partial(_backward, groups), kept, tangents)


def _forward(x, scale, bias, groups, epsilon):
    wide, pixels = x.astype(jnp.float32), x.shape[1] * x.shape[2]
    total, of_squares = _sums(wide, jnp.square(wide))
    mean = _share(total, groups) / pixels
    variance = jnp.maximum(_share(of_squares, groups) / pixels - jnp.square(mean), 0)
    inverse = jax.lax.rsqrt(variance + epsilon)
    y = (wide - mean[:, None, None]) * (inverse * scale)[:, None, None] + bias
    return y.astype(x.dtype), (x, scale, mean, inverse)


def _tangent(groups, kept, tangents):
    (x, scale, mean, inverse), (of_x, of_scale, of_bias) = kept, tangents
    moved, centred, pixels = of_x.astype(jnp.float32), x.astype(jnp.float32) - mean[:, None, None], x[0, ..., 0].size
    total, of_centred = _sums(moved, moved * centred)
    of_mean = _share(total, groups) / pixels
    of_inverse = -(inverse**3) * _share(of_centred, groups) / pixels
    of_normal = (moved - of_mean[:, None, None]) * inverse[:, None, None] + centred * of_inverse[:, None, None]
    of_y = of_normal * scale + centred * (inverse * of_scale)[:, None, None] + of_bias
    return of_y.astype(x.dtype)


def _backward(groups, kept, grad):
    """The transpose of `_tangent`."""
    x, scale, mean, inverse = kept
    grad, centred = grad.astype(jnp.float32), x.astype(jnp.float32) - mean[:, None, None]
    of_bias, of_centred = _sums(grad, grad * centred)
    of_scale = of_centred * inverse
    # What the mean and the spread of a group pass on to each of its pixels.
    pixels = x.shape[1] * x.shape[2]
    through_mean = inverse * _share(of_bias * scale, groups) / pixels
    through_spread = jnp.square(inverse) * _share(of_scale * scale, groups) / pixels
    direct = grad * (inverse * scale)[:, None, None]
    of_x = direct - centred * through_spread[:, None, None] - through_mean[:, None, None]
    return of_x.astype(x.dtype), of_scale.sum(0), of_bias.sum(0)


@jax.custom_jvp
def _sums(
    one: Float[Array, "b h w c"], other: Float[Array, "b h w c"]
) -> tuple[Float[Array, "b c"], Float[Array, "b c"]]:
    """The sums of both over the pixels, float32."""
    return jax.lax.platform_dependent(one, other, cpu=_sums_by_spans, default=_plain_sums)


@_sums.defjvp
def _differentiate_sums(primals, tangents):
    return _sums(*primals), _plain_sums(*tangents)


def _plain_sums(one, other):
    return one.sum((1, 2)), other.sum((1, 2))


def _sums_by_spans(one, other):
    """Sums short spans of a row first, of both at once: XLA's CPU backend then computes what is summed on the way.

    For sums over more it would write that to memory before, and read it again.
    """
    b, h, w, c = one.shape
    side = max(size for size in range(1, SPAN + 1) if w % size == 0)
    spans, zero = (b, h, w // side, side, c), np.float32(0)

    def add(totals, terms):
        return totals[0] + terms[0], totals[1] + terms[1]

    of_spans = jax.lax.reduce((one.reshape(spans), other.reshape(spans)), (zero, zero), add, (3,))
    return of_spans[0].sum((1, 2)), of_spans[1].sum((1, 2))


def _share(moments: Float[Array, "b c"], groups: int) -> Float[Array, "b c"]:
    """Gives every channel the mean of its group."""
    b, c = moments.shape
    grouped = moments.reshape(b, groups, c // groups).mean(-1, keepdims=True)
    return jnp.broadcast_to(grouped, (b, groups, c // groups)).reshape(b, c)

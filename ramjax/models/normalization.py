"""Group normalisation (Wu and He, arXiv 1803.08494), and the ReLU after it, with few passes over the activations.

Moments are computed for each channel and then averaged over its group. This avoids the grouped reshape of the
activations, which XLA's CPU backend turns into slow strided loops. The backward pass is written by hand: it keeps only
the activations, sums what it needs of each channel in one pass, and computes the gradient in another. Automatic
differentiation would also keep the centred activations, and write the ReLU's gradient before it reads it twice.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ramjax.models.linear_call import linear_call
from ramjax.models.sums import channel_sums


def group_norm(
    x: Float[Array, "b h w c"],
    scale: Float[Array, " c"],
    bias: Float[Array, " c"],
    groups: int,
    epsilon: float,
    *,
    shortcut: Float[Array, "b h w c"] | None = None,
    relu: bool = False,
) -> Float[Array, "b h w c"]:
    """Normalises each example and group of channels to mean 0 and variance 1, then scales and shifts each channel.

    Differentiable in forward and reverse mode.

    Args:
      x: activations of any float dtype, which is the result's too.
      scale, bias: float32.
      groups: of c / groups neighbouring channels.
      epsilon: added to the variance.
      shortcut: added to the result, of its dtype.
      relu: whether negative values of the sum are set to 0.
    """
    return _normalise(x, scale, bias, shortcut, groups, epsilon, relu)


@functools.partial(jax.custom_jvp, nondiff_argnums=(4, 5, 6))
def _normalise(x, scale, bias, shortcut, groups, epsilon, relu):
    return _forward(x, scale, bias, shortcut, groups, epsilon, relu)[0]


@_normalise.defjvp
def _differentiate(groups, epsilon, relu, primals, tangents):
    y, kept = _forward(*primals, groups, epsilon, relu)
    return y, linear_call(
        functools.partial(_tangent, groups, relu), functools.partial(_backward, groups, relu), kept, tangents
    )


def _forward(x, scale, bias, shortcut, groups, epsilon, relu):
    """Returns the result and what its derivative needs: the result itself only where a shortcut is part of it."""
    wide, pixels = x.astype(jnp.float32), x.shape[1] * x.shape[2]
    total, of_squares = channel_sums(wide, jnp.square(wide))
    mean = _share(total, groups) / pixels
    variance = jnp.maximum(_share(of_squares, groups) / pixels - jnp.square(mean), 0)
    inverse = jax.lax.rsqrt(variance + epsilon)
    y = _scaled(wide - mean[:, None, None], scale, bias, inverse)
    if shortcut is not None:
        y += shortcut.astype(jnp.float32)
    y = (jnp.maximum(y, 0) if relu else y).astype(x.dtype)
    return y, (x, scale, bias, mean, inverse, y if shortcut is not None else None)


def _scaled(centred, scale, bias, inverse):
    return centred * (inverse * scale)[:, None, None] + bias


def _tangent(groups, relu, kept, tangents):
    (x, scale, bias, mean, inverse, y), (of_x, of_scale, of_bias, of_shortcut) = kept, tangents
    moved, centred, pixels = of_x.astype(jnp.float32), x.astype(jnp.float32) - mean[:, None, None], x[0, ..., 0].size
    total, of_centred = channel_sums(moved, moved * centred)
    of_mean = _share(total, groups) / pixels
    of_inverse = -(inverse**3) * _share(of_centred, groups) / pixels
    of_normal = (moved - of_mean[:, None, None]) * inverse[:, None, None] + centred * of_inverse[:, None, None]
    of_y = of_normal * scale + centred * (inverse * of_scale)[:, None, None] + of_bias
    if y is None:
        y = _scaled(centred, scale, bias, inverse)
    else:
        of_y += of_shortcut.astype(jnp.float32)
    return (jnp.where(y > 0, of_y, 0) if relu else of_y).astype(x.dtype)


def _backward(groups, relu, kept, grad):
    """The transpose of `_tangent`: a pass for the sums, and one that reads its arrays from memory again.

    Without the barrier, XLA would write the ReLU's gradient, which both passes need, and take some sums twice.
    """
    x, scale, bias, mean, inverse, y = kept
    if relu and y is not None:  # written once, for the shortcut needs it as well
        grad = jnp.where(y > 0, grad, 0)

    def read(x, grad):
        centred, grad = x.astype(jnp.float32) - mean[:, None, None], grad.astype(jnp.float32)
        if relu and y is None:
            grad = jnp.where(_scaled(centred, scale, bias, inverse) > 0, grad, 0)
        return centred, grad

    centred, moved = read(x, grad)
    sums = channel_sums(moved, moved * centred)
    x, (of_bias, of_centred) = jax.lax.optimization_barrier((x, sums))
    centred, moved = read(x, grad)
    of_scale = of_centred * inverse
    # What the mean and the spread of a group pass on to each of its pixels.
    pixels = x.shape[1] * x.shape[2]
    through_mean = inverse * _share(of_bias * scale, groups) / pixels
    through_spread = jnp.square(inverse) * _share(of_scale * scale, groups) / pixels
    direct = moved * (inverse * scale)[:, None, None]
    of_x = (direct - centred * through_spread[:, None, None] - through_mean[:, None, None]).astype(x.dtype)
    return of_x, of_scale.sum(0), of_bias.sum(0), None if y is None else grad


def _share(moments: Float[Array, "b c"], groups: int) -> Float[Array, "b c"]:
    """Gives every channel the mean of its group."""
    b, c = moments.shape
    grouped = moments.reshape(b, groups, c // groups).mean(-1, keepdims=True)
    return jnp.broadcast_to(grouped, (b, groups, c // groups)).reshape(b, c)

"""Convolution, in forms and with gradients that a CPU computes fast.

XLA's CPU backend runs a convolution at the machine's speed if its dimensions are in canonical order (examples, rows,
columns, channels), its input is not dilated and its channels are not in groups. Automatic differentiation produces
other orders. XLA reorders them, but not within a loop, where such a gradient takes a hundred times as long. So on a CPU
the gradients of input and kernel are computed in canonical form, and grouped convolutions in forms without groups.
Other devices use their own forms and gradients.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from ramjax.models.linear_call import linear_call

_Pair = tuple[int, int]

BLOCK = 64
"""Input channels that a CPU convolves at once where they are in groups, at most, unless one group has more."""


def conv_general_dilated(
    x: Float[Array, "b h w i"],
    kernel: Float[Array, "k k j o"],
    window_strides: Sequence[int],
    padding: str | Sequence[_Pair],
    feature_group_count: int = 1,
    **settings,
) -> Float[Array, "b h2 w2 o"]:
    """`jax.lax.conv_general_dilated` as `flax.nnx.Conv` calls it, for undilated 2-D kernels.

    Args:
      x: activations.
      kernel: of the activations' dtype.
      window_strides: of both axes.
      padding: ``SAME``, ``VALID``, or pixels before and after each axis.
      feature_group_count: groups of i / groups input and o / groups output channels, each convolved by itself; j is
        i / groups.
      **settings: dilations that are all 1, and whatever nnx.Conv leaves at its default.

    Raises:
      ValueError: a setting changes what is computed.
    """
    for name in ("lhs_dilation", "rhs_dilation"):
        value = settings.get(name, 1)
        if any(size != 1 for size in (value if isinstance(value, Sequence) else (value,))):
            raise ValueError(f"{name} is {value}; this convolution knows 1 alone, use jax.lax.conv_general_dilated.")
    if not isinstance(padding, str):
        x, padding = jnp.pad(x, ((0, 0), *padding, (0, 0))), "VALID"
    if feature_group_count == 1:
        return convolve(x, kernel, tuple(window_strides), padding)
    return convolve_groups(x, kernel, tuple(window_strides), padding, feature_group_count)


def convolve_groups(
    x: Float[Array, "b h w i"], kernel: Float[Array, "k k j o"], strides: _Pair, padding: str, groups: int
) -> Float[Array, "b h2 w2 o"]:
    """Convolves each group of channels by itself.

    XLA's CPU backend is slow at this. It takes five times as long for a depthwise convolution and its gradients as for
    the sum over the kernel's taps, and more than twenty times as long for other groups as for blocks of several groups,
    each convolved by a kernel with zeros between its groups (`benchmarks/convolution.py`).
    """
    settings = {"strides": strides, "padding": padding}
    if kernel.shape[2] == 1 and kernel.shape[3] == groups:
        by_hand = functools.partial(_sum_taps, **settings)
    else:
        by_hand = functools.partial(_in_blocks, groups=groups, **settings)
    by_xla = functools.partial(_canonical, feature_group_count=groups, **settings)
    return lax.platform_dependent(x, kernel, cpu=by_hand, default=by_xla)


def _sum_taps(x, kernel, strides, padding):
    """A depthwise convolution as a sum of shifted images, each times the weights of its tap; float32 sums."""
    size, (down, across) = kernel.shape[:2], strides
    pads = lax.padtype_to_pads(x.shape[1:3], size, strides, padding)
    padded = jnp.pad(x, ((0, 0), *pads, (0, 0))).astype(jnp.float32)
    rows, columns = (
        (side - taps) // stride for side, taps, stride in zip(padded.shape[1:3], size, strides, strict=True)
    )  # from the first of the result to the last
    terms = [
        padded[:, top : top + rows * down + 1 : down, left : left + columns * across + 1 : across]
        * kernel[top, left, 0].astype(jnp.float32)
        for top, left in np.ndindex(*size)
    ]
    return sum(terms[1:], terms[0]).astype(x.dtype)


def _in_blocks(x, kernel, strides, padding, groups):
    """Groups of channels that make up at most `BLOCK` together, by a kernel with zeros between the groups."""
    most = max(1, BLOCK // kernel.shape[2])
    together = max(number for number in range(1, groups + 1) if groups % number == 0 and number <= most)
    count = groups // together
    parts = zip(jnp.split(x, count, -1), jnp.split(kernel, count, -1), strict=True)
    return jnp.concatenate([convolve(x, _spread(kernel, together), strides, padding) for x, kernel in parts], -1)


def _spread(kernel: Float[Array, "k k j o"], groups: int) -> Float[Array, "k k i o"]:
    """The kernel over all channels that does what this one does to each group."""
    rows, columns, inputs, outputs = kernel.shape
    own = jnp.eye(groups, dtype=kernel.dtype)[:, None, :, None]
    return (kernel.reshape(rows, columns, 1, inputs, groups, -1) * own).reshape(rows, columns, -1, outputs)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def convolve(
    x: Float[Array, "b h w i"], kernel: Float[Array, "k k i o"], strides: _Pair, padding: str
) -> Float[Array, "b h2 w2 o"]:
    """Convolves activations by a kernel of the same dtype; differentiable in forward and reverse mode."""
    return _canonical(x, kernel, strides, padding)


def input_gradient(
    kernel: Float[Array, "k k i o"], grad: Float[Array, "b h2 w2 o"], sides: _Pair, strides: _Pair, padding: str
) -> Float[Array, "b h w i"]:
    """The gradient of a convolution's input as a convolution of stride 1.

    For a strided convolution, each cell of stride x stride pixels counts as one pixel with more channels. Its gradient
    is computed in this form and then laid out as pixels.

    Args:
      kernel: of the convolution.
      grad: gradient of its output.
      sides: height and width of the input.
      strides, padding: of the convolution.
    """
    (rows, columns, i, o), (down, across) = kernel.shape, strides
    starts = [low for low, _ in lax.padtype_to_pads(sides, (rows, columns), strides, padding)]
    taps = [-(-rows // down), -(-columns // across)]  # cells that the kernel reaches
    cells = [-(-(side + start) // stride) for side, start, stride in zip(sides, starts, strides, strict=True)]
    whole = jnp.pad(kernel, ((0, taps[0] * down - rows), (0, taps[1] * across - columns), (0, 0), (0, 0)))
    of_cells = whole.reshape(taps[0], down, taps[1], across, i, o)[::-1, :, ::-1].transpose(0, 2, 5, 1, 3, 4)
    pads = [(tap - 1, cell - size) for tap, cell, size in zip(taps, cells, grad.shape[1:3], strict=True)]
    of_x = _canonical(grad, of_cells.reshape(*taps, o, down * across * i), (1, 1), pads)
    of_x = of_x.reshape(-1, *cells, down, across, i).transpose(0, 1, 3, 2, 4, 5)
    of_x = of_x.reshape(-1, cells[0] * down, cells[1] * across, i)
    return of_x[:, starts[0] : starts[0] + sides[0], starts[1] : starts[1] + sides[1]]


def kernel_gradient(
    x: Float[Array, "b h w i"], grad: Float[Array, "b h2 w2 o"], size: _Pair, strides: _Pair, padding: str
) -> Float[Array, "k k i o"]:
    """The gradient of a convolution's kernel: the input convolved by the output's gradient, examples as channels.

    Args:
      x: the convolution's input.
      grad: gradient of its output.
      size: of the kernel.
      strides, padding: of the convolution.
    """
    pads = []
    starts = lax.padtype_to_pads(x.shape[1:3], size, strides, padding)
    for (low, _), taps, stride, side, reached in zip(starts, size, strides, x.shape[1:3], grad.shape[1:3], strict=True):
        pads.append((low, taps + (reached - 1) * stride - low - side))
    of_kernel = _canonical(
        _computed(x).transpose(3, 1, 2, 0), grad.transpose(1, 2, 0, 3), (1, 1), pads, rhs_dilation=strides
    )
    return of_kernel.transpose(1, 2, 0, 3)


def _computed(x: Float[Array, "b h w i"]) -> Float[Array, "b h w i"]:
    """The same array, but XLA must compute it at this point: it does not see through this product with the identity.

    Otherwise XLA would compute the activations again, in the order in which they are read next; such a transposition is
    ten times as slow.
    """
    i = x.shape[-1]
    return jnp.dot(x.reshape(-1, i), jnp.eye(i, dtype=x.dtype), precision=lax.Precision.HIGHEST).reshape(x.shape)


def _canonical(x, kernel, strides, padding, **settings):
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=numbers, **settings)


def _tangent(strides, padding, primals, tangents):
    (x, kernel), (of_x, of_kernel) = primals, tangents
    settings = {"strides": strides, "padding": padding}
    terms = []
    if not isinstance(of_x, SymbolicZero):
        by_hand = functools.partial(input_gradient, sides=x.shape[1:3], **settings)
        terms.append(_term(lambda kernel, x: _canonical(x, kernel, **settings), by_hand, kernel, of_x))
    if not isinstance(of_kernel, SymbolicZero):
        by_hand = functools.partial(kernel_gradient, size=kernel.shape[:2], **settings)
        terms.append(_term(lambda x, kernel: _canonical(x, kernel, **settings), by_hand, x, of_kernel))
    return convolve(x, kernel, strides, padding), sum(terms[1:], terms[0])


convolve.defjvp(_tangent, symbolic_zeros=True)


def _term(function, by_hand, other, tangent):
    """``function(other, tangent)``, linear in both, with the transpose `by_hand` on a CPU and XLA's elsewhere."""
    given = jax.typeof(tangent)

    def by_xla(other, grad):
        return jax.linear_transpose(functools.partial(function, other), given)(grad)[0]

    def transpose(other, grad):
        return lax.platform_dependent(other, grad, cpu=by_hand, default=by_xla)

    return linear_call(function, transpose, other, tangent)

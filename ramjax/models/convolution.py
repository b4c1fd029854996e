"""Convolution, with gradients in the form that a CPU computes fast.

XLA's CPU backend runs a convolution at the machine's speed if its dimensions are in canonical order (examples, rows,
columns, channels) and its input is not dilated. Automatic differentiation asks for other orders; XLA reorders them, but
not within a loop, where such a gradient takes a hundred times as long. So a CPU is given the gradients of input and
kernel in canonical form. Other devices have gradients of their own, and keep them.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_Pair = tuple[int, int]


def conv_general_dilated(
    x: Float[Array, "b h w i"],
    kernel: Float[Array, "k k i o"],
    window_strides: Sequence[int],
    padding: str,
    **settings,
) -> Float[Array, "b h2 w2 o"]:
    """`jax.lax.conv_general_dilated` as `flax.nnx.Conv` calls it, for undilated, ungrouped 2-D kernels.

    Args:
      x: activations.
      kernel: of the activations' dtype.
      window_strides: of both axes.
      padding: ``SAME`` or ``VALID``.
      **settings: dilations and groups that are all 1, and whatever nnx.Conv leaves at its default.

    Raises:
      ValueError: a setting changes what is computed.
    """
    for name in ("lhs_dilation", "rhs_dilation", "feature_group_count"):
        value = settings.get(name, 1)
        if any(size != 1 for size in (value if isinstance(value, Sequence) else (value,))):
            raise ValueError(f"{name} is {value}; this convolution knows 1 alone, use jax.lax.conv_general_dilated.")
    return convolve(x, kernel, tuple(window_strides), padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(
    x: Float[Array, "b h w i"], kernel: Float[Array, "k k i o"], strides: _Pair, padding: str
) -> Float[Array, "b h2 w2 o"]:
    """Convolves activations by a kernel of the same dtype; differentiable in reverse."""
    return _canonical(x, kernel, strides, padding)


def input_gradient(
    kernel: Float[Array, "k k i o"], grad: Float[Array, "b h2 w2 o"], sides: _Pair, strides: _Pair, padding: str
) -> Float[Array, "b h w i"]:
    """The gradient of a convolution's input as a convolution of stride 1.

    A strided convolution treats each cell of stride x stride pixels as channels of one: so are their gradients
    computed, and then laid out as pixels.

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
    """The same, but XLA computes it before it goes on: a product by the identity, which it does not look through.

    Else it computes the activations anew, in whatever order their reader asks for; a transposition ten times as slow.
    """
    i = x.shape[-1]
    return jnp.dot(x.reshape(-1, i), jnp.eye(i, dtype=x.dtype), precision=lax.Precision.HIGHEST).reshape(x.shape)


def _canonical(x, kernel, strides, padding, **settings):
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=numbers, **settings)


def _forward(x, kernel, strides, padding):
    return convolve(x, kernel, strides, padding), (x, kernel)


def _backward(strides, padding, kept, grad):
    def by_xla(x, kernel, grad):
        return jax.vjp(lambda x, kernel: _canonical(x, kernel, strides, padding), x, kernel)[1](grad)

    def by_hand(x, kernel, grad):
        of_x = input_gradient(kernel, grad, x.shape[1:3], strides, padding)
        return of_x, kernel_gradient(x, grad, kernel.shape[:2], strides, padding)

    return lax.platform_dependent(*kept, grad, cpu=by_hand, default=by_xla)


convolve.defvjp(_forward, _backward)

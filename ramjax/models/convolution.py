"""Convolution, with a gradient of its kernel that a CPU computes fast.

XLA takes the gradient of a kernel as a convolution of the input by the output's gradient: by a kernel as large as the
image, which its CPU backend runs at a tenth of the speed of the forward convolution. The same sums are products of
matrices, which it runs two to six times faster where there are many channels or large images. Elsewhere, and on other
devices, XLA's way stays.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_NHWC = ("NHWC", "HWIO", "NHWC")

_MANY = 64
"""Input channels from which products won on every image; with half as many, on those of `_LARGE` pixels."""

_LARGE = 2**15


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
    x: Float[Array, "b h w i"], kernel: Float[Array, "k k i o"], strides: tuple[int, int], padding: str
) -> Float[Array, "b h2 w2 o"]:
    """Convolves activations by a kernel of the same dtype; differentiable in reverse."""
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=_NHWC)


def kernel_gradient(
    x: Float[Array, "b h w i"],
    grad: Float[Array, "b h2 w2 o"],
    size: tuple[int, int],
    strides: tuple[int, int],
    padding: str,
) -> Float[Array, "k k i o"]:
    """The gradient of a convolution's kernel by products that contract examples, rows and columns.

    The input is laid out once for each column of the kernel, which takes fewer copies than im2col, and multiplied by
    the output's gradient, moved by the row, once for each row. A strided convolution sees every stride-th pixel, so
    that these are brought together first. Sums are float32. No product takes batch, rows or columns apart: devices that
    share them add up their parts.

    Args:
      x: the convolution's input.
      grad: gradient of its output.
      size: of the kernel.
      strides, padding: of the convolution.
    """
    (rows, columns), (b, h, w, i), (_, _, w2, o), (down, across) = size, x.shape, grad.shape, strides
    (top, _), (left, _) = lax.padtype_to_pads((h, w), size, strides, padding)
    height, width = -(-h // down), -(-w // across)
    whole = jnp.pad(x, ((0, 0), (0, height * down - h), (0, width * across - w), (0, 0)))
    # Channels first, as products want it.
    planes = whole.reshape(b, height, down, width, across, i).transpose(2, 4, 5, 0, 1, 3)

    def laid_out(of_rows):
        moved = [_moved(planes[of_rows, (c - left) % across], 3, -((c - left) // across), w2) for c in range(columns)]
        return jnp.concatenate(moved)

    wide = [laid_out(of_rows) for of_rows in range(down)]
    products = [
        _contract(wide[(row - top) % down], _moved(grad, 1, (row - top) // down, height)) for row in range(rows)
    ]
    return jnp.stack(products).reshape(rows, columns, i, o).astype(x.dtype)


def _moved(x: Array, axis: int, by: int, size: int) -> Array:
    """`x`, with zeros around it, from -`by` along the axis on, `size` long."""
    pads = [(by, size - x.shape[axis] - by, 0) if axis == at else (0, 0, 0) for at in range(x.ndim)]
    return lax.pad(x, jnp.zeros((), x.dtype), pads)


def _contract(x: Float[Array, "i b h w"], grad: Float[Array, "b h w o"]) -> Float[Array, "i o"]:
    axes = (((1, 2, 3), (0, 1, 2)), ((), ()))
    return lax.dot_general(x, grad, axes, preferred_element_type=jnp.float32)


def _forward(x, kernel, strides, padding):
    return convolve(x, kernel, strides, padding), (x, kernel)


def _backward(strides, padding, kept, grad):
    x, kernel = kept
    plain = functools.partial(
        lax.conv_general_dilated, window_strides=strides, padding=padding, dimension_numbers=_NHWC
    )
    (of_x,) = jax.vjp(lambda x: plain(x, kernel), x)[1](grad)

    def by_convolution(x, grad):
        return jax.vjp(lambda kernel: plain(x, kernel), kernel)[1](grad)[0]

    def by_product(x, grad):
        return kernel_gradient(x, grad, kernel.shape[:2], strides, padding)

    _, h, w, i = x.shape
    if i >= _MANY or (2 * i >= _MANY and h * w >= _LARGE):
        return of_x, lax.platform_dependent(x, grad, cpu=by_product, default=by_convolution)
    return of_x, by_convolution(x, grad)


convolve.defvjp(_forward, _backward)

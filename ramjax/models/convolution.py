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

    Where the stride is 1, the input is laid out once for each column of the kernel and multiplied by the output's
    gradient once for each row; with strides, im2col has few enough pixels to copy. Sums are float32. No product takes
    batch, rows or columns apart, so that devices which share them add up their parts.

    Args:
      x: the convolution's input.
      grad: gradient of its output.
      size: of the kernel.
      strides, padding: of the convolution.
    """
    (rows, columns), (_, h, w, i), (_, h2, w2, o) = size, x.shape, grad.shape
    (top, bottom), (left, right) = lax.padtype_to_pads((h, w), size, strides, padding)
    x = x.transpose(3, 0, 1, 2)  # products want it so, and it is smaller before it is laid out
    if strides == (1, 1):
        wide = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (left, right)))
        tall = jnp.pad(grad, ((0, 0), (rows - 1 - top, rows - 1 - bottom), (0, 0), (0, 0)))
        laid_out = jnp.concatenate([wide[..., column : column + w2] for column in range(columns)])
        products = [_contract(laid_out, tall[:, row : row + h]) for row in reversed(range(rows))]
    else:
        (down, across), padded = strides, jnp.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
        patches = [
            padded[:, :, row : row + down * (h2 - 1) + 1 : down, column : column + across * (w2 - 1) + 1 : across]
            for row in range(rows)
            for column in range(columns)
        ]
        products = [_contract(jnp.concatenate(patches), grad)]
    return jnp.stack(products).reshape(rows, columns, i, o).astype(x.dtype)


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

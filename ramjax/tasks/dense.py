"""What the two dense tasks share: a sub-pixel head and targets on its grid."""

import functools

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from ramjax.models import layers
from ramjax.tasks.base import Features


class DenseHead(nnx.Module):
    """Dense features to logits at half their stride (at their stride where that is 1), by sub-pixel upsampling.

    `bias` holds one initial logit a channel.
    """

    def __init__(self, in_features: int, stride: int, bias: tuple[float, ...], *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.block = 2 if stride > 1 else 1
        self.mix = layers.ConvNorm(in_features, in_features, 3, dtype=dtype, rngs=rngs)
        self.logits = layers.Pointwise(
            in_features,
            len(bias) * self.block**2,
            dtype=dtype,
            bias_init=lambda key, shape, dtype: jnp.tile(jnp.asarray(bias, dtype), self.block**2),
            rngs=rngs,
        )

    def __call__(self, features: Features) -> dict[str, Array]:
        return {"logits": layers.depth_to_space(self.logits(self.mix(features.dense[0])), self.block).astype(jnp.float32)}


def blocks(canvas: Array, height: int, width: int) -> list[Array]:
    """Splits canvas maps (b, H, W) into the cells of a (height, width) grid: one (b, height, width) map a pixel of the cell."""
    rows, columns = canvas.shape[1] // height, canvas.shape[2] // width
    return [canvas[:, i::rows, j::columns] for i in range(rows) for j in range(columns)]


def inside_grid(padding: Bool[Array, "b h w"], height: int, width: int) -> Bool[Array, "b height width"]:
    """True where no pixel of the cell is padding."""
    return ~functools.reduce(jnp.logical_or, blocks(padding, height, width))


def upsampled_logits(
    logits: Float[Array, "b h w c"], padding: Bool[Array, "b height width"]
) -> Float[Array, "b height width c"]:
    """The logits on the canvas grid, by bilinear interpolation."""
    return layers.upsample(logits, *padding.shape[1:])

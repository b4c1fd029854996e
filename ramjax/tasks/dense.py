"""What the two dense tasks share: a sub-pixel head and targets on its grid."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from ramjax.models import layers
from ramjax.tasks.base import Features


class DenseHead(nnx.Module):
    """Dense features to logits at half their stride (at their stride where that is 1), by sub-pixel upsampling."""

    def __init__(self, in_features: int, channels: int, stride: int, bias: float, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.block = 2 if stride > 1 else 1
        self.mix = layers.ConvNorm(in_features, in_features, 3, dtype=dtype, rngs=rngs)
        self.logits = nnx.Conv(
            in_features,
            channels * self.block**2,
            (1, 1),
            dtype=dtype,
            bias_init=nnx.initializers.constant(bias),
            rngs=rngs,
        )

    def __call__(self, features: Features) -> dict[str, Array]:
        return {"logits": layers.depth_to_space(self.logits(self.mix(features.dense)), self.block).astype(jnp.float32)}


def block_mean(planes: Float[Array, "b h w c"], height: int, width: int) -> Float[Array, "b height width c"]:
    """Averages canvas planes over the blocks that make up the (height, width) grid: the share of a cell that is covered."""
    b, h, w, c = planes.shape
    return planes.reshape(b, height, h // height, width, w // width, c).mean((2, 4))


def upsampled_logits(logits: Float[Array, "b h w c"], padding: Bool[Array, "b height width"]) -> Float[Array, "b height width c"]:
    """The logits on the canvas grid, by bilinear interpolation."""
    return layers.upsample(logits, *padding.shape[1:])

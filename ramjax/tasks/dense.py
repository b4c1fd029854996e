"""What the two dense tasks share: a sub-pixel head and targets on its grid."""

import functools

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from ramjax.config import ModelConfig
from ramjax.models import layers
from ramjax.models.features import Features, dense_level, dense_width


class DenseHead(nnx.Module):
    """Dense features to logits at half their stride (at their stride where that is 1), by sub-pixel upsampling.

    Two levels are added: the finest one locates edges, and the next one, with more channels and a wider view, tells to
    which bone they belong. `bias` holds one initial logit a channel; `blocks` is how many residual blocks there are on
    the finest level.
    """

    def __init__(self, model: ModelConfig, bias: tuple[float, ...], *, rngs: nnx.Rngs, blocks: int = 0):
        dtype = jnp.dtype(model.dtype)
        self.remat = model.remat
        self.block, self.level = min(model.stem_stride, 2), dense_level(1, model)
        self.mix = layers.ConvNorm(model.decoder_width, model.decoder_width, 3, dtype=dtype, rngs=rngs)
        self.blocks = layers.residual_blocks(blocks, model.decoder_width, dtype=dtype, rngs=rngs)
        self.fine = layers.Pointwise(
            model.decoder_width,
            len(bias) * self.block**2,
            dtype=dtype,
            bias_init=lambda key, shape, dtype: jnp.tile(jnp.asarray(bias, dtype), self.block**2),
            rngs=rngs,
        )
        self.coarse = layers.Pointwise(
            dense_width(self.level, model),
            len(bias) * (self.block * 2**self.level) ** 2,
            use_bias=False,
            dtype=dtype,
            rngs=rngs,
        )

    def __call__(self, features: Features) -> dict[str, Array]:
        """Returns ``logits``, float32 (b, h, w, channels)."""
        x = layers.apply_all([self.mix, *self.blocks], features.dense[0], self.remat)
        fine = layers.depth_to_space(self.fine(x), self.block)
        coarse = layers.depth_to_space(self.coarse(features.dense[self.level]), self.block * 2**self.level)
        return {"logits": (fine + coarse).astype(jnp.float32)}


def blocks(canvas: Array, height: int, width: int) -> list[Array]:
    """Splits maps (b, H, W) into the cells of a (height, width) grid: one map a pixel of the cell."""
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

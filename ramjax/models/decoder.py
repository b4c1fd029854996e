"""Decoders: pyramid -> dense features at the stride of its finest level."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ramjax.models import layers


class UNetDecoder(nnx.Module):
    """A U-shaped decoder (Ronneberger et al., arXiv 1505.04597) that adds rather than concatenates.

    Coarse features are projected to the finer level's width before they are enlarged, which is where the cost of an
    upsampling lies.
    """

    def __init__(self, widths: tuple[int, ...], out_features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        outs = (out_features, *widths[1:-1])
        self.project = nnx.List(
            [layers.conv(i, o, 1, dtype=dtype, rngs=rngs) for i, o in zip((*outs[1:], widths[-1]), outs, strict=True)]
        )
        self.skip = nnx.List([layers.conv(i, o, 1, dtype=dtype, rngs=rngs) for i, o in zip(widths, outs)])
        self.norm = nnx.List([layers.GroupNorm(o, rngs=rngs) for o in outs])
        self.blocks = nnx.List([layers.ResidualBlock(o, dtype=dtype, rngs=rngs) for o in outs])

    def __call__(self, pyramid: list[Float[Array, "b _ _ _"]]) -> Float[Array, "b h w c"]:
        x = pyramid[-1]
        for level in reversed(range(len(self.blocks))):
            skip = self.skip[level](pyramid[level])
            coarse = layers.upsample(self.project[level](x), *skip.shape[1:3])
            x = self.blocks[level](jax.nn.relu(self.norm[level](skip + coarse)))
        return x

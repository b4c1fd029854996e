"""Encoders: image -> pyramid of features, finest level first."""

import itertools

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ramjax.models import layers


class ResidualEncoder(nnx.Module):
    """A residual network with a strided stem.

    The stem moves `stem_stride` x `stem_stride` pixels into the channels, so that no pixel is lost, and mixes them by a
    3x3 convolution; each further level halves the resolution by a strided convolution.
    """

    def __init__(
        self, stem_stride: int, widths: tuple[int, ...], blocks: tuple[int, ...], *, dtype: jnp.dtype, rngs: nnx.Rngs
    ):
        self.stem_stride = stem_stride
        self.dtype = dtype
        self.stem = layers.ConvNorm(stem_stride**2, widths[0], 3, dtype=dtype, rngs=rngs)
        self.down = nnx.List(
            [layers.ConvNorm(i, o, 3, stride=2, dtype=dtype, rngs=rngs) for i, o in itertools.pairwise(widths)]
        )
        self.levels = nnx.List(
            [layers.residual_blocks(n, w, dtype=dtype, rngs=rngs) for n, w in zip(blocks, widths, strict=True)]
        )

    def __call__(self, image: Float[Array, "b h w 1"]) -> list[Float[Array, "b _ _ _"]]:
        """Returns the pyramid; level i has stride ``stem_stride * 2**i`` and ``widths[i]`` channels."""
        x = self.stem(layers.space_to_depth(image.astype(self.dtype), self.stem_stride))
        pyramid = [layers.apply_all(self.levels[0], x)]
        for down, blocks in zip(self.down, self.levels[1:], strict=True):
            pyramid.append(layers.apply_all(blocks, down(pyramid[-1])))
        return pyramid

"""The encoder of the main job: a residual network that sees the image and its local contrast."""

import itertools
import math

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ramjax.models import layers

CELL = 16
"""Canvas pixels a side over which local contrast is measured, at most; a metacarpal's shaft is about as wide."""

FLOOR = 0.05
"""Grey values (0-1) that count as no contrast: noise is not blown up."""


class ResidualEncoder(nnx.Module):
    """A residual network with a strided stem.

    It sees the image and its local contrast. The stem moves `stem_stride` x `stem_stride` pixels into the channels, so
    that no pixel is lost, and mixes them by a 3x3 convolution. Each further level halves the resolution by a strided
    convolution.
    """

    def __init__(
        self,
        stem_stride: int,
        widths: tuple[int, ...],
        blocks: tuple[int, ...],
        *,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        remat: str = "none",
    ):
        self.stem_stride = stem_stride
        self.dtype, self.remat = dtype, remat
        self.stem = layers.ConvNorm(2 * stem_stride**2, widths[0], 3, dtype=dtype, rngs=rngs)
        self.down = nnx.List(
            [layers.ConvNorm(i, o, 3, stride=2, dtype=dtype, rngs=rngs) for i, o in itertools.pairwise(widths)]
        )
        self.levels = nnx.List(
            [layers.residual_blocks(n, w, dtype=dtype, rngs=rngs) for n, w in zip(blocks, widths, strict=True)]
        )

    def __call__(self, image: Float[Array, "b h w 1"]) -> list[Float[Array, "b _ _ _"]]:
        """Returns the pyramid; level i has stride ``stem_stride * 2**i`` and ``widths[i]`` channels."""
        x = jnp.concatenate([image, local_contrast(image)], -1).astype(self.dtype)
        pyramid = [
            layers.apply_all([self.stem, *self.levels[0]], layers.space_to_depth(x, self.stem_stride), self.remat)
        ]
        for down, blocks in zip(self.down, self.levels[1:], strict=True):
            pyramid.append(layers.apply_all([down, *blocks], pyramid[-1], self.remat))
        return pyramid


def local_contrast(image: Float[Array, "b h w 1"]) -> Float[Array, "b h w 1"]:
    """The image less the mean about each pixel, over the standard deviation there.

    An erosion is darker than its surroundings whatever the exposure.

    Both moments are taken in square cells of at most `CELL` pixels and interpolated.
    """
    b, h, w, _ = image.shape
    cell = math.gcd(math.gcd(h, w), CELL)

    def moment(x):
        cells = x.reshape(b, h // cell, cell, w // cell, cell, 1).mean((2, 4))
        return layers.upsample(cells, h, w)

    mean = moment(image)
    spread = jnp.sqrt(jnp.maximum(moment(jnp.square(image)) - jnp.square(mean), 0))
    return (image - mean) / (spread + FLOOR)

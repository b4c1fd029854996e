"""An encoder with all that a network may hold beside parameters: a test's, and an example of how one is written."""

import itertools

import jax
import jax.numpy as jnp
from flax import nnx

from ramjax.models import layers

ENCODER = "tests.models.stochastic.StochasticEncoder"
"""As `model.encoder` names it."""

RATE = 0.3
"""Of dropout and of drop path."""


class Calls(nnx.Variable):
    """How often a module was called in training, a variable of our own."""


class Block(nnx.Module):
    """A depthwise convolution on a residual branch with batch normalisation, dropout and drop path."""

    def __init__(self, features, *, dtype, rngs):
        self.conv = layers.conv(features, features, 3, groups=features, dtype=dtype, rngs=rngs)
        self.norm = nnx.BatchNorm(features, momentum=0.5, dtype=dtype, rngs=rngs)
        self.mix = layers.Pointwise(features, features, use_bias=False, dtype=dtype, rngs=rngs)
        self.dropout = nnx.Dropout(RATE, rngs=rngs)
        self.drop_path = nnx.Dropout(RATE, broadcast_dims=(1, 2, 3), rngs=rngs)
        self.calls = Calls(jnp.zeros((), jnp.int32))
        self.deterministic = False

    def __call__(self, x):
        if not self.deterministic:
            self.calls[...] += 1
        return x + self.drop_path(self.dropout(self.mix(jax.nn.relu(self.norm(self.conv(x))))))


class StochasticEncoder(nnx.Module):
    """As `ramjax.models.encoders.residual.ResidualEncoder`, of such blocks."""

    def __init__(self, stem_stride, widths, blocks, *, dtype, rngs, remat="none"):
        self.stem_stride, self.dtype, self.remat = stem_stride, dtype, remat
        ins = (stem_stride**2, *widths)
        strides = (1, *[2] * (len(widths) - 1))
        self.down = nnx.List(
            [
                layers.conv(i, o, 3, stride=stride, dtype=dtype, rngs=rngs)
                for (i, o), stride in zip(itertools.pairwise(ins), strides, strict=True)
            ]
        )
        self.levels = nnx.List(
            [
                nnx.List([Block(width, dtype=dtype, rngs=rngs) for _ in range(count)])
                for count, width in zip(blocks, widths, strict=True)
            ]
        )

    def __call__(self, image):
        x, pyramid = layers.space_to_depth(image.astype(self.dtype), self.stem_stride), []
        for down, blocks in zip(self.down, self.levels, strict=True):
            x = layers.apply_all([down, *blocks], x, self.remat)
            pyramid.append(x)
        return pyramid

"""The encoders of U-Net (Ronneberger et al., arXiv 1505.04597) and of nnU-Net with residual blocks (Isensee et al.,
arXiv 2404.09556), from full resolution down.

nnU-Net plans depth and width by the size of the images: `RESIDUAL` is what its residual planner makes of patches of 225
to 448 pixels a side; from 449 to 896 it adds an eighth level of 512 channels. U-Net's convolutions are padded here, and
normalised in groups, as batches are small.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ramjax.models import layers

PLAIN = (64, 128, 256, 512, 1024)
"""Channels of U-Net's levels."""

RESIDUAL = ((32, 64, 128, 256, 512, 512, 512), (1, 3, 4, 6, 6, 6, 6))
"""Channels and residual blocks of the levels of nnU-Net's plan."""

FILES = (
    (r"^encoder/", ""),
    (r"^stem/convs/0/conv/", "stem/"),
    (r"^stem/convs/0/norm/", "stem_norm/"),
    (r"^stages/(\d)/blocks/(\d)/", r"levels/\1/\2/"),
    (r"/conv(\d)/conv/", r"/conv\1/"),
    (r"/conv(\d)/norm/", r"/norm\1/"),
    (r"/skip/\d/conv/", "/project/"),
    (r"/skip/\d/norm/", "/project_norm/"),
)
"""From the names of nnU-Net's residual network."""

UNUSED = (r"^decoder\b", r"all_modules")
"""The latter is a second name of layers."""

SLOPE = 0.01
"""Of nnU-Net's leaky ReLU below 0."""


class UNetEncoder(nnx.Module):
    """Two convolutions a level, and the largest of each 2x2 pixels between levels; its pyramid has strides 1 to 16.

    Args:
      widths: channels of the levels.
      channels: of the image.
      dtype, remat, rngs: see `ramjax.models.encoders`.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        channels: int,
        *,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        remat: str = "none",
        **_,
    ):
        self.remat = remat
        ins = (channels, *widths)
        self.levels = nnx.List(
            [layers.DoubleConvolution(ins[level], outs, dtype=dtype, rngs=rngs) for level, outs in enumerate(widths)]
        )

    def __call__(self, image: Float[Array, "b h w c"]) -> list[Float[Array, "b _ _ _"]]:
        pyramid: list[Array] = []
        for level in self.levels:
            x = nnx.max_pool(pyramid[-1], (2, 2), (2, 2)) if pyramid else image
            pyramid.append(layers.apply_all([level], x, self.remat))
        return pyramid


class Residual(nnx.Module):
    """Two 3x3 convolutions with instance normalisation and a shortcut, which pools and projects as need be."""

    def __init__(self, ins: int, outs: int, stride: int, drop_path: float, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.stride = stride
        self.conv1 = layers.conv(ins, outs, 3, stride=stride, symmetric=True, bias=True, dtype=dtype, rngs=rngs)
        self.norm1 = layers.InstanceNorm(outs, dtype=dtype, rngs=rngs)
        self.conv2 = layers.conv(outs, outs, 3, bias=True, dtype=dtype, rngs=rngs)
        self.norm2 = layers.InstanceNorm(outs, dtype=dtype, rngs=rngs)
        self.drop_path = layers.drop_path(drop_path, rngs)
        if ins != outs:
            self.project = layers.conv(ins, outs, 1, dtype=dtype, rngs=rngs)
            self.project_norm = layers.InstanceNorm(outs, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        y = jax.nn.leaky_relu(self.norm1(layers.kept(self.conv1(x))), SLOPE)
        y = self.drop_path(self.norm2(layers.kept(self.conv2(y))))
        if self.stride > 1:
            x = nnx.avg_pool(x, (self.stride, self.stride), (self.stride, self.stride))
        if hasattr(self, "project"):
            x = self.project_norm(self.project(x))
        return jax.nn.leaky_relu(y + x, SLOPE)


class ResidualUNetEncoder(nnx.Module):
    """A stem and levels of residual blocks; its pyramid has strides 1, 2, 4 and so on.

    Args:
      plan: channels and residual blocks of the levels, such as `RESIDUAL`.
      channels: of the image.
      drop_path, dtype, remat, rngs: see `ramjax.models.encoders`.
    """

    def __init__(
        self,
        plan: tuple[tuple[int, ...], tuple[int, ...]],
        channels: int,
        *,
        drop_path: float,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        remat: str = "none",
        **_,
    ):
        self.remat, (widths, counts) = remat, plan
        self.stem = layers.conv(channels, widths[0], 3, bias=True, dtype=dtype, rngs=rngs)
        self.stem_norm = layers.InstanceNorm(widths[0], dtype=dtype, rngs=rngs)
        ins, levels = widths[0], []
        for level, rates in enumerate(layers.split_rates(drop_path, counts)):
            blocks = []
            for number, rate in enumerate(rates):
                stride = 2 if level and not number else 1
                blocks.append(Residual(ins, widths[level], stride, rate, dtype=dtype, rngs=rngs))
                ins = widths[level]
            levels.append(nnx.List(blocks))
        self.levels = nnx.List(levels)

    def __call__(self, image: Float[Array, "b h w c"]) -> list[Float[Array, "b _ _ _"]]:
        x, pyramid = jax.nn.leaky_relu(self.stem_norm(self.stem(image)), SLOPE), []
        for blocks in self.levels:
            x = layers.apply_all(blocks, x, self.remat)
            pyramid.append(x)
        return pyramid

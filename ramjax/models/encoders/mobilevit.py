"""MobileViT (Mehta and Rastegari, arXiv 2110.02178)."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ramjax.models import layers
from ramjax.models.attention import TransformerBlock

EXPANSION = 4
"""Channels within an inverted bottleneck, as a multiple of those that enter it."""

PATCH = 2
"""Side of the patches; pixels at the same place of their patches attend to each other."""

HEADS, RATIO, EPSILON = 4, 2, 1e-5
"""Of the transformers: heads, channels of the perceptron as a multiple, and that of the layer normalisations."""

TIMM = ((r"/attn/", "/"),)


@dataclasses.dataclass(frozen=True)
class Stage:
    """Inverted bottlenecks, and a transformer.

    Attributes:
      width: channels of the result.
      count: of the bottlenecks.
      stride: of the first one.
      tokens: channels of the transformer's tokens; 0 for no transformer.
      depth: its blocks.
    """

    width: int
    count: int
    stride: int
    tokens: int = 0
    depth: int = 0


SMALL = (Stage(32, 1, 1), Stage(64, 3, 2), Stage(96, 1, 2, 144, 2), Stage(128, 1, 2, 192, 4), Stage(160, 1, 2, 240, 3))
"""MobileViT-S."""

STEM, FINAL = 16, 640
"""Channels of its stem, and of its last convolution."""


class ConvNormAct(nnx.Module):
    """Convolution, batch normalisation, and SiLU if `act`."""

    def __init__(
        self,
        ins: int,
        outs: int,
        kernel: int,
        *,
        batch_norm: str,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        stride: int = 1,
        groups: int = 1,
        act: bool = True,
    ):
        self.act = act
        self.conv = layers.conv(ins, outs, kernel, stride=stride, groups=groups, symmetric=True, dtype=dtype, rngs=rngs)
        self.bn = layers.batch_norm(outs, batch_norm, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        x = self.bn(layers.kept(self.conv(x)))
        return jax.nn.silu(x) if self.act else x


class Bottleneck(nnx.Module):
    """A depthwise convolution between two 1x1 ones, with a shortcut where its result has the shape of what enters."""

    def __init__(
        self, ins: int, outs: int, stride: int, drop_path: float, *, batch_norm: str, dtype: jnp.dtype, rngs: nnx.Rngs
    ):
        convolution = functools.partial(ConvNormAct, batch_norm=batch_norm, dtype=dtype, rngs=rngs)
        self.shortcut, middle = stride == 1 and ins == outs, EXPANSION * ins
        self.conv1_1x1 = convolution(ins, middle, 1)
        self.conv2_kxk = convolution(middle, middle, 3, stride=stride, groups=middle)
        self.conv3_1x1 = convolution(middle, outs, 1, act=False)
        self.drop_path = layers.drop_path(drop_path, rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        y = self.conv3_1x1(self.conv2_kxk(self.conv1_1x1(x)))
        return x + self.drop_path(y) if self.shortcut else y


class MobileViTBlock(nnx.Module):
    """A transformer over the whole image between convolutions, and a convolution of its result and what entered."""

    def __init__(
        self, width: int, tokens: int, depth: int, *, batch_norm: str, dtype: jnp.dtype, rngs: nnx.Rngs, remat: str
    ):
        self.remat = remat
        convolution = functools.partial(ConvNormAct, batch_norm=batch_norm, dtype=dtype, rngs=rngs)
        self.conv_kxk = convolution(width, width, 3)
        self.conv_1x1 = layers.conv(width, tokens, 1, dtype=dtype, rngs=rngs)
        self.transformer = nnx.List(
            [
                TransformerBlock(
                    tokens, HEADS, RATIO * tokens, activation=jax.nn.silu, epsilon=EPSILON, dtype=dtype, rngs=rngs
                )
                for _ in range(depth)
            ]
        )
        self.norm = layers.layer_norm(tokens, EPSILON, dtype=dtype, rngs=rngs)
        self.conv_proj = convolution(tokens, width, 1)
        self.conv_fusion = convolution(2 * width, width, 3)

    def __call__(self, image: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        x = self.conv_1x1(self.conv_kxk(image))
        b, h, w, c = x.shape
        rows, columns = -(-h // PATCH), -(-w // PATCH)
        x = _resized(x, rows * PATCH, columns * PATCH)
        tokens = x.reshape(b, rows, PATCH, columns, PATCH, c).transpose(0, 2, 4, 1, 3, 5).reshape(-1, rows * columns, c)
        tokens = self.norm(layers.apply_all(self.transformer, tokens, self.remat))
        x = tokens.reshape(b, PATCH, PATCH, rows, columns, c).transpose(0, 3, 1, 4, 2, 5)
        x = _resized(x.reshape(b, rows * PATCH, columns * PATCH, c), h, w)
        return self.conv_fusion(jnp.concatenate([image, self.conv_proj(x)], -1))


class MobileViT(nnx.Module):
    """Stem, stages and a last convolution; its pyramid has strides 2 to 32.

    Args:
      stages: such as `SMALL`.
      channels: of the image.
      batch_norm, drop_path, dtype, remat, rngs: see `ramjax.models.encoders`; the bottlenecks are dropped.
    """

    def __init__(
        self,
        stages: tuple[Stage, ...],
        channels: int,
        *,
        batch_norm: str,
        drop_path: float,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        remat: str = "none",
    ):
        self.remat = remat
        options = {"batch_norm": batch_norm, "dtype": dtype, "rngs": rngs}
        self.stem = ConvNormAct(channels, STEM, 3, stride=2, **options)
        ins, made = STEM, []
        for stage, rates in zip(stages, layers.split_rates(drop_path, [stage.count for stage in stages]), strict=True):
            blocks = []
            for number, rate in enumerate(rates):
                blocks.append(Bottleneck(ins, stage.width, 1 if number else stage.stride, rate, **options))
                ins = stage.width
            if stage.tokens:
                blocks.append(MobileViTBlock(stage.width, stage.tokens, stage.depth, remat=remat, **options))
            made.append(nnx.List(blocks))
        self.stages = nnx.List(made)
        self.final_conv = ConvNormAct(ins, FINAL, 1, **options)

    def __call__(self, image: Float[Array, "b h w c"]) -> list[Float[Array, "b _ _ _"]]:
        x, pyramid = self.stem(image), []
        for blocks in self.stages:
            for block in blocks:
                x = block(x) if isinstance(block, MobileViTBlock) else layers.apply_all([block], x, self.remat)
            pyramid.append(x)
        return [*pyramid[:-1], self.final_conv(pyramid[-1])]


def _resized(x: Float[Array, "b h w c"], height: int, width: int) -> Float[Array, "b height width c"]:
    """Bilinear interpolation, where the shape differs."""
    if x.shape[1:3] == (height, width):
        return x
    return jax.image.resize(x, (x.shape[0], height, width, x.shape[3]), "bilinear", antialias=False)

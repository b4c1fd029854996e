"""EfficientNetV2 (Tan and Le, arXiv 2104.00298), with the padding and the epsilon of its authors' weights."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ramjax.models import layers

EPSILON = 1e-3
"""Of the batch normalisations."""

SQUEEZE = 0.25
"""Channels of the squeeze, as a share of those that enter the block."""

TIMM = ()

UNUSED = (r"^classifier\b", r"^conv_head\b", r"^bn2\b")
"""timm's parameters after the last block."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """Blocks of one kind.

    Attributes:
      kind: ``plain``, a convolution; ``fused``, a 3x3 convolution that widens and a 1x1 one; ``inverted``, a depthwise
        convolution, with squeeze and excitation, between two 1x1 ones.
      expansion: channels within a block, as a multiple of those that enter it.
      width: channels of the result.
      count: of blocks.
      stride: of the first one.
    """

    kind: str
    expansion: int
    width: int
    count: int
    stride: int


SMALL = (
    Stage("plain", 1, 24, 2, 1),
    Stage("fused", 4, 48, 4, 2),
    Stage("fused", 4, 64, 4, 2),
    Stage("inverted", 4, 128, 6, 2),
    Stage("inverted", 6, 160, 9, 1),
    Stage("inverted", 6, 256, 15, 2),
)
"""EfficientNetV2-S."""


class Excitation(nnx.Module):
    """Squeeze and excitation (Hu et al., arXiv 1709.01507): scales the channels by what they are on average."""

    def __init__(self, width: int, squeezed: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.conv_reduce = layers.Pointwise(width, squeezed, dtype=dtype, rngs=rngs)
        self.conv_expand = layers.Pointwise(squeezed, width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        squeezed = jax.nn.silu(self.conv_reduce(x.mean((1, 2), keepdims=True)))
        return x * jax.nn.sigmoid(self.conv_expand(squeezed))


class Block(nnx.Module):
    """A block of a stage, with a shortcut where its result has the shape of what enters."""

    def __init__(
        self,
        kind: str,
        ins: int,
        expansion: int,
        outs: int,
        stride: int,
        drop_path: float,
        *,
        batch_norm: str,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.kind, self.shortcut, middle = kind, stride == 1 and ins == outs, ins * expansion

        def norm(features):
            return layers.batch_norm(features, batch_norm, epsilon=EPSILON, dtype=dtype, rngs=rngs)

        if kind == "plain":
            self.conv = layers.conv(ins, outs, 3, stride=stride, dtype=dtype, rngs=rngs)
            self.bn1 = norm(outs)
        elif kind == "fused":
            self.conv_exp = layers.conv(ins, middle, 3, stride=stride, dtype=dtype, rngs=rngs)
            self.bn1, self.bn2 = norm(middle), norm(outs)
            self.conv_pwl = layers.conv(middle, outs, 1, dtype=dtype, rngs=rngs)
        else:
            self.conv_pw = layers.conv(ins, middle, 1, dtype=dtype, rngs=rngs)
            self.conv_dw = layers.conv(middle, middle, 3, stride=stride, groups=middle, dtype=dtype, rngs=rngs)
            self.se = Excitation(middle, int(ins * SQUEEZE), dtype=dtype, rngs=rngs)
            self.conv_pwl = layers.conv(middle, outs, 1, dtype=dtype, rngs=rngs)
            self.bn1, self.bn2, self.bn3 = norm(middle), norm(middle), norm(outs)
        self.drop_path = layers.drop_path(drop_path, rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        if self.kind == "plain":
            y = jax.nn.silu(self.bn1(layers.kept(self.conv(x))))
        elif self.kind == "fused":
            y = jax.nn.silu(self.bn1(layers.kept(self.conv_exp(x))))
            y = self.bn2(layers.kept(self.conv_pwl(y)))
        else:
            y = jax.nn.silu(self.bn1(layers.kept(self.conv_pw(x))))
            y = self.se(jax.nn.silu(self.bn2(layers.kept(self.conv_dw(y)))))
            y = self.bn3(layers.kept(self.conv_pwl(y)))
        return x + self.drop_path(y) if self.shortcut else y


class EfficientNetV2(nnx.Module):
    """Stem and stages; its pyramid has strides 2 to 32, each level the last stage of that stride.

    Args:
      stages: such as `SMALL`.
      channels: of the image.
      batch_norm, drop_path, dtype, remat, rngs: see `ramjax.models.encoders`.
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
        ins = stages[0].width
        self.conv_stem = layers.conv(channels, ins, 3, stride=2, dtype=dtype, rngs=rngs)
        self.bn1 = layers.batch_norm(ins, batch_norm, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        made = []
        for stage, rates in zip(stages, layers.split_rates(drop_path, [stage.count for stage in stages]), strict=True):
            blocks = []
            for number, rate in enumerate(rates):
                stride = 1 if number else stage.stride
                blocks.append(Block(stage.kind, ins, stage.expansion, stage.width, stride, rate, **options))
                ins = stage.width
            made.append(nnx.List(blocks))
        self.blocks = nnx.List(made)
        following = [stage.stride for stage in stages[1:]] + [2]
        self.shown = tuple(stride == 2 for stride in following)  # stages whose result is a level

    def __call__(self, image: Float[Array, "b h w c"]) -> list[Float[Array, "b _ _ _"]]:
        x, pyramid = jax.nn.silu(self.bn1(self.conv_stem(image))), []
        for blocks, shown in zip(self.blocks, self.shown, strict=True):
            x = layers.apply_all(blocks, x, self.remat)
            if shown:
                pyramid.append(x)
        return pyramid

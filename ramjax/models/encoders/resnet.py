"""ResNet (He et al., arXiv 1512.03385), with the stride of a bottleneck in its 3x3 convolution, as everybody's weights
have it ("ResNet V1.5")."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ramjax.models import layers

TIMM = (
    (r"downsample/0", "project"),
    (r"downsample/1", "project_norm"),
)
"""torchvision has the same names."""


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(
        self, ins: int, width: int, stride: int, drop_path: float, *, batch_norm: str, dtype: jnp.dtype, rngs: nnx.Rngs
    ):
        self.conv1 = layers.conv(ins, width, 3, stride=stride, symmetric=True, dtype=dtype, rngs=rngs)
        self.bn1 = layers.batch_norm(width, batch_norm, dtype=dtype, rngs=rngs)
        self.conv2 = layers.conv(width, width, 3, dtype=dtype, rngs=rngs)
        self.bn2 = layers.batch_norm(width, batch_norm, dtype=dtype, rngs=rngs)
        self.drop_path = layers.drop_path(drop_path, rngs)
        if stride > 1 or ins != width:
            self.project = layers.conv(ins, width, 1, stride=stride, dtype=dtype, rngs=rngs)
            self.project_norm = layers.batch_norm(width, batch_norm, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        y = jax.nn.relu(self.bn1(layers.kept(self.conv1(x))))
        y = self.drop_path(self.bn2(layers.kept(self.conv2(y))))
        return jax.nn.relu(y + (self.project_norm(layers.kept(self.project(x))) if hasattr(self, "project") else x))


class Bottleneck(nnx.Module):
    """A 3x3 convolution between two 1x1 convolutions, and a shortcut."""

    expansion = 4

    def __init__(
        self, ins: int, width: int, stride: int, drop_path: float, *, batch_norm: str, dtype: jnp.dtype, rngs: nnx.Rngs
    ):
        outs = width * self.expansion
        self.conv1 = layers.conv(ins, width, 1, dtype=dtype, rngs=rngs)
        self.bn1 = layers.batch_norm(width, batch_norm, dtype=dtype, rngs=rngs)
        self.conv2 = layers.conv(width, width, 3, stride=stride, symmetric=True, dtype=dtype, rngs=rngs)
        self.bn2 = layers.batch_norm(width, batch_norm, dtype=dtype, rngs=rngs)
        self.conv3 = layers.conv(width, outs, 1, dtype=dtype, rngs=rngs)
        self.bn3 = layers.batch_norm(outs, batch_norm, dtype=dtype, rngs=rngs)
        self.drop_path = layers.drop_path(drop_path, rngs)
        if stride > 1 or ins != outs:
            self.project = layers.conv(ins, outs, 1, stride=stride, dtype=dtype, rngs=rngs)
            self.project_norm = layers.batch_norm(outs, batch_norm, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        y = jax.nn.relu(self.bn1(layers.kept(self.conv1(x))))
        y = jax.nn.relu(self.bn2(layers.kept(self.conv2(y))))
        y = self.drop_path(self.bn3(layers.kept(self.conv3(y))))
        return jax.nn.relu(y + (self.project_norm(layers.kept(self.project(x))) if hasattr(self, "project") else x))


class ResNet(nnx.Module):
    """Stem, and four stages of blocks; its pyramid has strides 2 to 32.

    Args:
      block: `BasicBlock` or `Bottleneck`.
      counts: blocks of each stage.
      channels: of the image.
      batch_norm, drop_path, dtype, remat, rngs: see `ramjax.models.encoders`.
    """

    def __init__(
        self,
        block: type,
        counts: tuple[int, ...],
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
        self.conv1 = layers.conv(channels, 64, 7, stride=2, symmetric=True, dtype=dtype, rngs=rngs)
        self.bn1 = layers.batch_norm(64, batch_norm, dtype=dtype, rngs=rngs)
        ins, stages = 64, []
        for stage, rates in enumerate(layers.split_rates(drop_path, counts)):
            width, blocks = 64 * 2**stage, []
            for number, rate in enumerate(rates):
                blocks.append(block(ins, width, 2 if stage and not number else 1, rate, **options))
                ins = width * block.expansion
            stages.append(nnx.List(blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def __call__(self, image: Float[Array, "b h w c"]) -> list[Float[Array, "b _ _ _"]]:
        x = jax.nn.relu(self.bn1(self.conv1(image)))
        pyramid = [x]
        x = nnx.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for blocks in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layers.apply_all(blocks, x, self.remat)
            pyramid.append(x)
        return pyramid

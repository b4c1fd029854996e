"""DenseNet (Huang et al., arXiv 1608.06993): each layer sees the results of all layers before it in its block."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ramjax.models import layers

TIMM = ()
"""torchvision has the same names."""

BOTTLENECK = 4
"""Channels of a layer's 1x1 convolution, as a multiple of those that it adds."""


class DenseLayer(nnx.Module):
    """Adds `growth` channels to those it is given."""

    def __init__(self, ins: int, growth: int, drop_path: float, *, batch_norm: str, dtype: jnp.dtype, rngs: nnx.Rngs):
        middle = BOTTLENECK * growth
        self.norm1 = layers.batch_norm(ins, batch_norm, dtype=dtype, rngs=rngs)
        self.conv1 = layers.conv(ins, middle, 1, dtype=dtype, rngs=rngs)
        self.norm2 = layers.batch_norm(middle, batch_norm, dtype=dtype, rngs=rngs)
        self.conv2 = layers.conv(middle, growth, 3, dtype=dtype, rngs=rngs)
        self.drop_path = layers.drop_path(drop_path, rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        y = self.conv1(jax.nn.relu(self.norm1(x)))
        y = self.conv2(jax.nn.relu(self.norm2(layers.kept(y))))
        return jnp.concatenate([x, self.drop_path(layers.kept(y))], -1)


class Transition(nnx.Module):
    """Halves channels and resolution."""

    def __init__(self, ins: int, *, batch_norm: str, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.norm = layers.batch_norm(ins, batch_norm, dtype=dtype, rngs=rngs)
        self.conv = layers.conv(ins, ins // 2, 1, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        return nnx.avg_pool(self.conv(jax.nn.relu(self.norm(x))), (2, 2), (2, 2))


class DenseNet(nnx.Module):
    """Stem, and four dense blocks with transitions between them; its pyramid has strides 2 to 32.

    Args:
      growth: channels that a layer adds.
      counts: layers of each block.
      channels: of the image.
      batch_norm, drop_path, dtype, remat, rngs: see `ramjax.models.encoders`.
    """

    def __init__(
        self,
        growth: int,
        counts: tuple[int, ...],
        channels: int,
        *,
        batch_norm: str,
        drop_path: float,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        remat: str = "none",
    ):
        self.remat, self.counts = remat, counts
        options = {"batch_norm": batch_norm, "dtype": dtype, "rngs": rngs}
        width = 2 * growth
        parts = {"conv0": layers.conv(channels, width, 7, stride=2, symmetric=True, dtype=dtype, rngs=rngs)}
        parts["norm0"] = layers.batch_norm(width, batch_norm, dtype=dtype, rngs=rngs)
        for number, rates in enumerate(layers.split_rates(drop_path, counts), 1):
            block = {}
            for layer, rate in enumerate(rates, 1):
                block[f"denselayer{layer}"] = DenseLayer(width, growth, rate, **options)
                width += growth
            parts[f"denseblock{number}"] = nnx.Dict(block)
            if number < len(counts):
                parts[f"transition{number}"] = Transition(width, **options)
                width //= 2
        parts["norm5"] = layers.batch_norm(width, batch_norm, dtype=dtype, rngs=rngs)
        self.features = nnx.Dict(parts)

    def __call__(self, image: Float[Array, "b h w c"]) -> list[Float[Array, "b _ _ _"]]:
        parts = self.features
        x = jax.nn.relu(parts["norm0"](parts["conv0"](image)))
        pyramid = [x]
        x = nnx.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for number, count in enumerate(self.counts, 1):
            block = parts[f"denseblock{number}"]
            x = layers.apply_all([block[f"denselayer{layer}"] for layer in range(1, count + 1)], x, self.remat)
            if number < len(self.counts):
                pyramid.append(x)
                x = parts[f"transition{number}"](x)
        return [*pyramid, jax.nn.relu(parts["norm5"](x))]

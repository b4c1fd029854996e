"""ConvNeXt V2 (Woo et al., arXiv 2301.00808): depthwise 7x7 convolutions and global response normalisation."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ramjax.models import initializers, layers

EPSILON = 1e-6
"""Of the layer normalisations and the response normalisation."""

TIMM = (
    (r"stages/(\d)/downsample/0", r"stages/\1/down_norm"),
    (r"stages/(\d)/downsample/1", r"stages/\1/down"),
    (r"^stem/0", "stem"),
    (r"^stem/1", "stem_norm"),
    (r"/mlp/", "/"),
)


class ResponseNorm(nnx.Module):
    """Global response normalisation: a channel's length over the image, relative to that of all channels, scales it."""

    def __init__(self, features: int):
        self.scale = nnx.Param(initializers.zeros(None, (features,)))
        self.bias = nnx.Param(initializers.zeros(None, (features,)))

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        lengths = jnp.sqrt(jnp.square(x.astype(jnp.float32)).sum((1, 2), keepdims=True))
        response = lengths / (lengths.mean(-1, keepdims=True) + EPSILON)
        return x + (x * (self.scale[...] * response) + self.bias[...]).astype(x.dtype)


class Block(nnx.Module):
    """A depthwise convolution, a perceptron of four times the width, and a shortcut."""

    def __init__(self, width: int, drop_path: float, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.conv_dw = layers.conv(width, width, 7, groups=width, bias=True, dtype=dtype, rngs=rngs)
        self.norm = layers.layer_norm(width, EPSILON, dtype=dtype, rngs=rngs)
        self.fc1 = layers.Pointwise(width, 4 * width, dtype=dtype, rngs=rngs)
        self.grn = ResponseNorm(4 * width)
        self.fc2 = layers.Pointwise(4 * width, width, dtype=dtype, rngs=rngs)
        self.drop_path = layers.drop_path(drop_path, rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        y = self.fc1(self.norm(self.conv_dw(x)))
        return x + self.drop_path(self.fc2(self.grn(jax.nn.gelu(y, approximate=False))))


class Stage(nnx.Module):
    """Blocks; all stages but the first halve the resolution before."""

    def __init__(self, ins: int, width: int, drop_paths: list[float], *, dtype: jnp.dtype, rngs: nnx.Rngs, remat: str):
        self.remat = remat
        if ins != width:
            self.down_norm = layers.layer_norm(ins, EPSILON, dtype=dtype, rngs=rngs)
            self.down = layers.conv(ins, width, 2, stride=2, bias=True, dtype=dtype, rngs=rngs)
        self.blocks = nnx.List([Block(width, rate, dtype=dtype, rngs=rngs) for rate in drop_paths])

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        if hasattr(self, "down"):
            x = self.down(self.down_norm(x))
        return layers.apply_all(self.blocks, x, self.remat)


class ConvNeXtV2(nnx.Module):
    """A stem of 4x4 patches and four stages; its pyramid has strides 4 to 32.

    Args:
      width: of the first stage, which doubles from stage to stage.
      counts: blocks of each stage.
      channels: of the image.
      drop_path, dtype, remat, rngs: see `ramjax.models.encoders`.
    """

    def __init__(
        self,
        width: int,
        counts: tuple[int, ...],
        channels: int,
        *,
        drop_path: float,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        remat: str = "none",
        **_,
    ):
        self.stem = layers.conv(channels, width, 4, stride=4, bias=True, dtype=dtype, rngs=rngs)
        self.stem_norm = layers.layer_norm(width, EPSILON, dtype=dtype, rngs=rngs)
        widths = [width * 2**stage for stage in range(len(counts))]
        rates = layers.split_rates(drop_path, counts)
        self.stages = nnx.List(
            [
                Stage(widths[max(stage - 1, 0)], widths[stage], rates[stage], dtype=dtype, rngs=rngs, remat=remat)
                for stage in range(len(counts))
            ]
        )

    def __call__(self, image: Float[Array, "b h w c"]) -> list[Float[Array, "b _ _ _"]]:
        x, pyramid = self.stem_norm(self.stem(image)), []
        for stage in self.stages:
            x = stage(x)
            pyramid.append(x)
        return pyramid

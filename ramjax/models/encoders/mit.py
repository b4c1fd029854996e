"""The Mix Transformer of SegFormer (Xie et al., arXiv 2105.15203)."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ramjax.models import layers
from ramjax.models.attention import attend

HEADS, REDUCTIONS = (1, 2, 5, 8), (8, 4, 2, 1)
"""Of the four stages: heads of the attention, and by how much a side of the keys and values is reduced."""

PATCHES, STRIDES = (7, 3, 3, 3), (4, 2, 2, 2)
"""Of the four stages: kernel and stride of the overlapping patches."""

RATIO = 4
"""Channels within the perceptron, as a multiple of those that enter."""

EPSILON = 1e-6

TRANSFORMERS = (
    (r"^segformer/", ""),
    (r"^encoder/", ""),
    (r"patch_embeddings/(\d)/proj", r"stages/\1/embed"),
    (r"patch_embeddings/(\d)/layer_norm", r"stages/\1/embed_norm"),
    (r"^block/(\d)/(\d+)/", r"stages/\1/blocks/\2/"),
    (r"^layer_norm/(\d)", r"stages/\1/norm"),
    (r"attention/self/sr", "attention/reduce"),
    (r"attention/self/layer_norm", "attention/reduce_norm"),
    (r"attention/self/", "attention/"),
    (r"attention/output/dense", "attention/output"),
    (r"mlp/dwconv/dwconv", "mlp/dwconv"),
)
"""From the names of Hugging Face's transformers, as in its ``nvidia/mit-b0``."""

UNUSED = (r"^classifier\b", r"^decode_head\b")


class Attention(nnx.Module):
    """Attention whose keys and values are of an image that a strided convolution has reduced."""

    def __init__(self, width: int, heads: int, reduction: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.heads = heads
        self.query, self.key, self.value, self.output = (
            layers.Linear(width, width, dtype=dtype, rngs=rngs) for _ in range(4)
        )
        if reduction > 1:
            self.reduce = layers.conv(width, width, reduction, stride=reduction, bias=True, dtype=dtype, rngs=rngs)
            self.reduce_norm = layers.layer_norm(width, EPSILON, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        reduced = self.reduce_norm(self.reduce(x)) if hasattr(self, "reduce") else x
        tokens, keyed = (image.reshape(image.shape[0], -1, image.shape[-1]) for image in (x, reduced))
        attended = attend(self.query(tokens), self.key(keyed), self.value(keyed), self.heads)
        return self.output(attended).reshape(x.shape)


class MixPerceptron(nnx.Module):
    """A perceptron with a depthwise convolution in it, which tells positions apart."""

    def __init__(self, width: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        hidden = RATIO * width
        self.dense1 = layers.Pointwise(width, hidden, dtype=dtype, rngs=rngs)
        self.dwconv = layers.conv(hidden, hidden, 3, groups=hidden, bias=True, dtype=dtype, rngs=rngs)
        self.dense2 = layers.Pointwise(hidden, width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        return self.dense2(jax.nn.gelu(self.dwconv(self.dense1(x)), approximate=False))


class Block(nnx.Module):
    """Attention and perceptron, each normalised before and with a shortcut."""

    def __init__(self, width: int, heads: int, reduction: int, drop_path: float, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.layer_norm_1 = layers.layer_norm(width, EPSILON, dtype=dtype, rngs=rngs)
        self.attention = Attention(width, heads, reduction, dtype=dtype, rngs=rngs)
        self.layer_norm_2 = layers.layer_norm(width, EPSILON, dtype=dtype, rngs=rngs)
        self.mlp = MixPerceptron(width, dtype=dtype, rngs=rngs)
        self.drop_path = layers.drop_path(drop_path, rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        x = x + self.drop_path(self.attention(self.layer_norm_1(x)))
        return x + self.drop_path(self.mlp(self.layer_norm_2(x)))


class Stage(nnx.Module):
    """Overlapping patches, blocks, and a normalisation."""

    def __init__(
        self,
        number: int,
        ins: int,
        width: int,
        drop_paths: list[float],
        *,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        remat: str,
    ):
        self.remat = remat
        kernel, stride = PATCHES[number], STRIDES[number]
        self.embed = layers.conv(ins, width, kernel, stride=stride, symmetric=True, bias=True, dtype=dtype, rngs=rngs)
        self.embed_norm = layers.layer_norm(width, EPSILON, dtype=dtype, rngs=rngs)
        self.blocks = nnx.List(
            [Block(width, HEADS[number], REDUCTIONS[number], rate, dtype=dtype, rngs=rngs) for rate in drop_paths]
        )
        self.norm = layers.layer_norm(width, EPSILON, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        x = self.embed_norm(self.embed(x))
        return self.norm(layers.apply_all(self.blocks, x, self.remat))


class MixTransformer(nnx.Module):
    """Four stages; its pyramid has strides 4 to 32.

    Args:
      widths: of the stages.
      counts: blocks of each stage.
      channels: of the image.
      drop_path, dtype, remat, rngs: see `ramjax.models.encoders`.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        counts: tuple[int, ...],
        channels: int,
        *,
        drop_path: float,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        remat: str = "none",
        **_,
    ):
        ins = (channels, *widths)
        rates = layers.split_rates(drop_path, counts)
        self.stages = nnx.List(
            [
                Stage(number, ins[number], width, rates[number], dtype=dtype, rngs=rngs, remat=remat)
                for number, width in enumerate(widths)
            ]
        )

    def __call__(self, image: Float[Array, "b h w c"]) -> list[Float[Array, "b _ _ _"]]:
        x, pyramid = image, []
        for stage in self.stages:
            x = stage(x)
            pyramid.append(x)
        return pyramid

"""VMamba (Liu et al., arXiv 2401.10166): selective scans of an image in four directions (SS2D).

It is the network that the paper calls VMamba-T, with one state a channel and no gate (``vmambav2v_tiny_224``).
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ramjax.models import layers
from ramjax.models.attention import Perceptron
from ramjax.models.selective_scan import StateSpace

STATES, RATIO = 1, 4
"""States of a channel, and channels within the perceptron, as a multiple of those that enter."""

RANK_SHARE = 16
"""Channels for each rank of the matrix that makes the steps."""

EPSILON = 1e-5

FILES = (
    (r"^patch_embed/0", "embed1"),
    (r"^patch_embed/2", "embed1_norm"),
    (r"^patch_embed/5", "embed2"),
    (r"^patch_embed/7", "embed2_norm"),
    (r"downsample/1", "down"),
    (r"downsample/3", "down_norm"),
    (r"op/(x_proj_weight|dt_projs_weight|dt_projs_bias|A_logs|Ds)$", r"op/scan/\1"),
)
"""From the names in the files of VMamba's authors."""

UNUSED = (r"^classifier\b", r"^outnorm\d\b")


class CrossScan(nnx.Module):
    """A selective scan along rows, along columns, and along both backwards, the sum of which is normalised."""

    def __init__(self, width: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        options = {"dtype": dtype, "rngs": rngs}
        self.in_proj = layers.Pointwise(width, width, use_bias=False, **options)
        self.conv2d = layers.conv(width, width, 3, groups=width, **options)
        self.scan = StateSpace(width, 4, STATES, math.ceil(width / RANK_SHARE), rngs=rngs)
        self.out_norm = layers.layer_norm(width, EPSILON, **options)
        self.out_proj = layers.Pointwise(width, width, use_bias=False, **options)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        x = jax.nn.silu(self.conv2d(self.in_proj(x)))
        return self.out_proj(self.out_norm(from_sequences(self.scan(to_sequences(x)), *x.shape[1:3])))


class Block(nnx.Module):
    """Scans and perceptron, each normalised before and with a shortcut."""

    def __init__(self, width: int, drop_path: float, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.norm = layers.layer_norm(width, EPSILON, dtype=dtype, rngs=rngs)
        self.op = CrossScan(width, dtype=dtype, rngs=rngs)
        self.norm2 = layers.layer_norm(width, EPSILON, dtype=dtype, rngs=rngs)
        self.mlp = Perceptron(width, RATIO * width, dtype=dtype, rngs=rngs)
        self.drop_path = layers.drop_path(drop_path, rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        x = x + self.drop_path(self.op(self.norm(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Stage(nnx.Module):
    """Blocks, and what halves the resolution after them, in all stages but the last."""

    def __init__(
        self, width: int, outs: int | None, drop_paths: list[float], *, dtype: jnp.dtype, rngs: nnx.Rngs, remat: str
    ):
        self.remat = remat
        self.blocks = nnx.List([Block(width, rate, dtype=dtype, rngs=rngs) for rate in drop_paths])
        if outs:
            self.down = layers.conv(width, outs, 3, stride=2, symmetric=True, bias=True, dtype=dtype, rngs=rngs)
            self.down_norm = layers.layer_norm(outs, EPSILON, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> tuple[Array, Array | None]:
        """The level, and what the next stage begins with."""
        x = layers.apply_all(self.blocks, x, self.remat)
        return x, self.down_norm(self.down(x)) if hasattr(self, "down") else None


class VMamba(nnx.Module):
    """A stem of two convolutions and four stages; its pyramid has strides 4 to 32.

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
        options = {"dtype": dtype, "rngs": rngs}
        halving = {"stride": 2, "symmetric": True, "bias": True, **options}
        self.embed1 = layers.conv(channels, width // 2, 3, **halving)
        self.embed1_norm = layers.layer_norm(width // 2, EPSILON, **options)
        self.embed2 = layers.conv(width // 2, width, 3, **halving)
        self.embed2_norm = layers.layer_norm(width, EPSILON, **options)
        widths = [width * 2**stage for stage in range(len(counts))]
        rates = layers.split_rates(drop_path, counts)
        self.layers = nnx.List(
            [
                Stage(ins, outs, stage_rates, remat=remat, **options)
                for ins, outs, stage_rates in zip(widths, [*widths[1:], None], rates, strict=True)
            ]
        )

    def __call__(self, image: Float[Array, "b h w c"]) -> list[Float[Array, "b _ _ _"]]:
        x = jax.nn.gelu(self.embed1_norm(self.embed1(image)), approximate=False)
        x, pyramid = self.embed2_norm(self.embed2(x)), []
        for stage in self.layers:
            level, x = stage(x)
            pyramid.append(level)
        return pyramid


def to_sequences(x: Float[Array, "b h w c"]) -> Float[Array, "b 4 l c"]:
    """The pixels row by row, column by column, and both backwards."""
    b, _, _, c = x.shape
    forwards = jnp.stack([x.reshape(b, -1, c), x.transpose(0, 2, 1, 3).reshape(b, -1, c)], 1)
    return jnp.concatenate([forwards, forwards[:, :, ::-1]], 1)


def from_sequences(sequences: Float[Array, "b 4 l c"], height: int, width: int) -> Float[Array, "b h w c"]:
    """The sum of what the four sequences of `to_sequences` have for a pixel."""
    b, _, _, c = sequences.shape
    rows, columns = jnp.split(sequences[:, :2] + sequences[:, 2:, ::-1], 2, 1)
    return rows.reshape(b, height, width, c) + columns.reshape(b, width, height, c).transpose(0, 2, 1, 3)

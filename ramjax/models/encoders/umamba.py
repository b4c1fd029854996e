"""The encoder of U-Mamba (Ma et al., arXiv 2401.04722, U-Mamba_Enc): residual blocks of nnU-Net, and selective scans of
the pixels, row by row, after every second stage.

The widths are those of nnU-Net's plans in two dimensions. The authors scan channels in place of pixels where there are
fewer pixels than channels, which makes their parameters a function of the canvas; here pixels are always scanned.
"""

import functools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ramjax.models import initializers, layers
from ramjax.models.selective_scan import StateSpace

WIDTHS = (32, 64, 128, 256, 512, 512, 512)
COUNTS = (2, 2, 2, 2, 1, 1, 1)
"""Residual blocks of the stages."""

STATES, EXPANSION, TAPS, RANK_SHARE = 16, 2, 4, 16
"""Of the scans: states of a channel, by how much channels are more within, places that their convolution sees, and
channels for each rank of the matrix that makes the steps."""

FILES = (
    (r"^encoder/", ""),
    (r"^stem/(\d)/", r"stem/blocks/\1/"),
    (r"^stages/(\d)/(\d)/", r"stages/\1/blocks/\2/"),
    (r"^mamba_layers/(\d)/", r"stages/\1/"),
    (r"/conv(\d)/conv/", r"/conv\1/"),
    (r"/conv(\d)/norm/", r"/norm\1/"),
    (r"mamba/conv1d/weight", "mamba/conv_kernel"),
    (r"mamba/conv1d/bias", "mamba/conv_bias"),
    (r"mamba/x_proj/weight", "mamba/scan/x_proj_weight"),
    (r"mamba/dt_proj/weight", "mamba/scan/dt_projs_weight"),
    (r"mamba/dt_proj/bias", "mamba/scan/dt_projs_bias"),
    (r"mamba/A_log$", "mamba/scan/A_logs"),
    (r"mamba/D$", "mamba/scan/Ds"),
)
"""From the names of the authors' network."""

UNUSED = (r"^decoder\b", r"all_modules")
"""The latter is a second name of layers."""

EPSILON, SLOPE = 1e-5, 0.01
"""Of the normalisations; of the rectifier below 0."""


class Block(nnx.Module):
    """Two 3x3 convolutions and a shortcut, which a 1x1 convolution projects in the first block of a stage."""

    def __init__(
        self, ins: int, width: int, stride: int, projects: bool, rate: float, *, dtype: jnp.dtype, rngs: nnx.Rngs
    ):
        conv = functools.partial(layers.conv, bias=True, dtype=dtype, rngs=rngs)
        norm = functools.partial(layers.InstanceNorm, dtype=dtype, rngs=rngs)
        self.conv1, self.norm1 = conv(ins, width, 3, stride=stride, symmetric=True), norm(width)
        self.conv2, self.norm2 = conv(width, width, 3), norm(width)
        self.drop_path = layers.drop_path(rate, rngs)
        if projects:
            self.conv3 = conv(ins, width, 1, stride=stride)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        y = jax.nn.leaky_relu(self.norm1(self.conv1(x)), SLOPE)
        y = self.drop_path(self.norm2(self.conv2(y)))
        return jax.nn.leaky_relu(y + (self.conv3(x) if hasattr(self, "conv3") else x), SLOPE)


class Mamba(nnx.Module):
    """A gated selective scan of a sequence (Gu and Dao, arXiv 2312.00752)."""

    def __init__(self, width: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        inner = EXPANSION * width
        self.dtype = dtype
        self.in_proj = layers.Linear(width, 2 * inner, use_bias=False, dtype=dtype, rngs=rngs)
        self.conv_kernel = nnx.Param(initializers.lecun_normal(rngs.params(), (TAPS, inner)).T)
        self.conv_bias = nnx.Param(initializers.zeros(None, (inner,)))
        self.scan = StateSpace(inner, 1, STATES, math.ceil(width / RANK_SHARE), rngs=rngs)
        self.out_proj = layers.Linear(inner, width, use_bias=False, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b l c"]) -> Float[Array, "b l c"]:
        x, gate = jnp.split(self.in_proj(x), 2, -1)
        x = jax.nn.silu(self._convolved(x))
        y = self.scan(x[:, None])[:, 0].astype(self.dtype)
        return self.out_proj(y * jax.nn.silu(gate))

    def _convolved(self, x):
        """A depthwise convolution with the places before."""
        length, padded = x.shape[1], jnp.pad(x, ((0, 0), (TAPS - 1, 0), (0, 0)))
        kernel = self.conv_kernel[...].T.astype(self.dtype)
        taps = [padded[:, tap : tap + length] * kernel[tap] for tap in range(TAPS)]
        return sum(taps[1:], taps[0]) + self.conv_bias[...].astype(self.dtype)


class Stage(nnx.Module):
    """Residual blocks, and the scan after them where there is one."""

    def __init__(
        self,
        ins: int,
        width: int,
        stride: int,
        drop_paths: list[float],
        scans: bool,
        *,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        remat: str,
    ):
        self.remat = remat
        options = {"dtype": dtype, "rngs": rngs}
        self.blocks = nnx.List(
            [
                Block(width if number else ins, width, 1 if number else stride, not number, rate, **options)
                for number, rate in enumerate(drop_paths)
            ]
        )
        if scans:
            self.norm, self.mamba = layers.layer_norm(width, EPSILON, **options), Mamba(width, **options)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        x = layers.apply_all(self.blocks, x, self.remat)
        if not hasattr(self, "mamba"):
            return x
        b, _, _, c = x.shape
        return self.mamba(self.norm(x).reshape(b, -1, c)).reshape(x.shape)


class UMamba(nnx.Module):
    """A stem and seven stages; its pyramid has strides 1 to 64.

    Args:
      channels: of the image.
      drop_path, dtype, remat, rngs: see `ramjax.models.encoders`.
      widths: of the stages.
      counts: blocks of the stages.
    """

    def __init__(
        self,
        channels: int,
        *,
        drop_path: float,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        remat: str = "none",
        widths: tuple[int, ...] = WIDTHS,
        counts: tuple[int, ...] = COUNTS,
        **_,
    ):
        options = {"dtype": dtype, "rngs": rngs, "remat": remat}
        stem_rates, *rates = layers.split_rates(drop_path, (counts[0], *counts))
        self.stem = Stage(channels, widths[0], 1, stem_rates, False, **options)
        self.stages = nnx.List(
            [
                Stage(
                    widths[max(number - 1, 0)],
                    width,
                    2 if number else 1,
                    rates[number],
                    (len(widths) - 1 - number) % 2 == 0,  # the last stage scans
                    **options,
                )
                for number, width in enumerate(widths)
            ]
        )

    def __call__(self, image: Float[Array, "b h w c"]) -> list[Float[Array, "b _ _ _"]]:
        x, pyramid = self.stem(image), []
        for stage in self.stages:
            x = stage(x)
            pyramid.append(x)
        return pyramid

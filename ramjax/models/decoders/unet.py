"""U-Net's decoder (Ronneberger et al., arXiv 1505.04597), U-Net++ (Zhou et al., arXiv 1807.10165), and TransUNet (Chen
et al., arXiv 2102.04306)."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from ramjax.models import layers
from ramjax.models.attention import TransformerBlock

HEAD_WIDTH = 64
"""Channels of an attention head of `TransUNet`, as in ViT."""

TRANSFORMER_BLOCKS = 12
"""Of `TransUNet`, as in the paper."""


class UNetDecoder(nnx.Module):
    """From the coarsest level to the finest: enlarged, concatenated with the level there, and convolved twice."""

    def __init__(
        self, widths: tuple[int, ...], out_features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs, remat: str = "none"
    ):
        self.remat = remat
        self.widths = (out_features, *widths[1:])
        options = {"dtype": dtype, "rngs": rngs}
        self.convolutions = nnx.List(
            [
                layers.DoubleConvolution(skip + coarse, outs, **options)
                for skip, coarse, outs in zip(widths[:-1], self.widths[1:], self.widths[:-1], strict=True)
            ]
        )

    def __call__(self, pyramid: list[Float[Array, "b _ _ _"]]) -> list[Float[Array, "b _ _ _"]]:
        """Returns the results at every level, finest first, the coarsest as it came."""
        dense = [pyramid[-1]]
        for skip, convolution in zip(reversed(pyramid[:-1]), reversed(self.convolutions), strict=True):
            joined = jnp.concatenate([skip, layers.upsample(dense[0], *skip.shape[1:3])], -1)
            dense.insert(0, layers.apply_all([convolution], joined, self.remat))
        return dense


class UNetPlusPlusDecoder(nnx.Module):
    """Nested: each level is refined as often as there are coarser ones, and sees all its earlier versions each time.

    The last version of each level is given. Its deep supervision is that of the losses (``bones.deep_supervision``).
    """

    def __init__(
        self, widths: tuple[int, ...], out_features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs, remat: str = "none"
    ):
        self.remat = remat
        self.widths = (out_features, *widths[1:])
        options = {"dtype": dtype, "rngs": rngs}
        columns = []
        for column in range(1, len(widths)):  # column j makes version j of the levels that have j coarser ones
            before = widths if column == 1 else self.widths
            columns.append(
                nnx.List(
                    [
                        layers.DoubleConvolution(
                            widths[level] + (column - 1) * self.widths[level] + before[level + 1],
                            self.widths[level],
                            **options,
                        )
                        for level in range(len(widths) - column)
                    ]
                )
            )
        self.columns = nnx.List(columns)

    def __call__(self, pyramid: list[Float[Array, "b _ _ _"]]) -> list[Float[Array, "b _ _ _"]]:
        """Returns the last version of every level, finest first, the coarsest as it came."""
        versions = [[level] for level in pyramid]
        for number, column in enumerate(self.columns):
            for level, convolution in enumerate(column):
                here = versions[level]
                coarse = layers.upsample(versions[level + 1][number], *here[0].shape[1:3])
                here.append(layers.apply_all([convolution], jnp.concatenate([*here, coarse], -1), self.remat))
        return [of_level[-1] for of_level in versions]


class TransUNetDecoder(nnx.Module):
    """U-Net's decoder, with a transformer over the coarsest level before it.

    Positions are told by sines and cosines, which serve every canvas; the paper learns them for one. The transformer is
    as wide as the level, so that the convolutions to the transformer's width and from it are not needed.
    """

    def __init__(
        self, widths: tuple[int, ...], out_features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs, remat: str = "none"
    ):
        self.remat = remat
        width = widths[-1]
        heads = max(head for head in range(1, max(width // HEAD_WIDTH, 1) + 1) if width % head == 0)
        self.blocks = nnx.List(
            [TransformerBlock(width, heads, dtype=dtype, rngs=rngs) for _ in range(TRANSFORMER_BLOCKS)]
        )
        self.norm = layers.layer_norm(width, 1e-6, dtype=dtype, rngs=rngs)
        self.unet = UNetDecoder(widths, out_features, dtype=dtype, rngs=rngs, remat=remat)
        self.widths = self.unet.widths

    def __call__(self, pyramid: list[Float[Array, "b _ _ _"]]) -> list[Float[Array, "b _ _ _"]]:
        """Returns the results at every level, finest first, the coarsest as the transformer leaves it."""
        coarsest = pyramid[-1]
        b, h, w, c = coarsest.shape
        tokens = coarsest.reshape(b, h * w, c) + position_waves(h, w, c).astype(coarsest.dtype)
        tokens = self.norm(layers.apply_all(self.blocks, tokens, self.remat))
        return self.unet([*pyramid[:-1], tokens.reshape(coarsest.shape)])


def position_waves(height: int, width: int, channels: int) -> np.ndarray:
    """(height x width, channels): sines and cosines of the row in the first half of the channels, of the column in the
    second, of wavelengths from 2 pi to 20,000 pi (Vaswani et al., arXiv 1706.03762, on both axes)."""
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    quarter = -(-channels // 4)
    waves = 1 / 10_000 ** (np.arange(quarter) / quarter)
    phases = [axis.reshape(-1, 1) * waves for axis in (rows, columns)]
    return np.concatenate([of(phase) for phase in phases for of in (np.sin, np.cos)], 1)[:, :channels].astype(
        np.float32
    )

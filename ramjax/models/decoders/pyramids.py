"""Decoders that bring all levels together: feature pyramid networks (Lin et al., arXiv 1612.03144), UPerNet (Xiao et
al., arXiv 1807.10221), and the perceptrons of SegFormer (Xie et al., arXiv 2105.15203)."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from ramjax.models import layers

POOLED = (1, 2, 3, 6)
"""Sides of the grids that UPerNet pools the coarsest level to, as in the paper."""


class FeaturePyramid(nnx.Module):
    """From the coarsest level to the finest: enlarged and added to the level there, then a convolution."""

    def __init__(
        self, widths: tuple[int, ...], out_features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs, remat: str = "none"
    ):
        self.remat = remat
        self.widths = (out_features,) * len(widths)
        self.lateral = nnx.List([layers.Pointwise(width, out_features, dtype=dtype, rngs=rngs) for width in widths])
        self.smooth = nnx.List(
            [layers.conv(out_features, out_features, 3, bias=True, dtype=dtype, rngs=rngs) for _ in widths]
        )

    def __call__(self, pyramid: list[Float[Array, "b _ _ _"]]) -> list[Float[Array, "b _ _ _"]]:
        """Returns every level, finest first."""
        sums = [self.lateral[-1](pyramid[-1])]
        for level, lateral in zip(reversed(pyramid[:-1]), reversed(self.lateral[:-1]), strict=True):
            fine = lateral(level)
            sums.insert(0, fine + enlarged(sums[0], fine.shape[1] // sums[0].shape[1]))
        return [layers.apply_all([smooth], level, self.remat) for smooth, level in zip(self.smooth, sums, strict=True)]


class UPerNetDecoder(nnx.Module):
    """The coarsest level with its means over coarse grids, a feature pyramid, and all levels of it fused at the finest.

    The finest dense features are the fused ones, the others the levels of the pyramid.
    """

    def __init__(
        self, widths: tuple[int, ...], out_features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs, remat: str = "none"
    ):
        self.remat = remat
        self.widths = (out_features,) * len(widths)

        def convolution(ins, kernel):
            return layers.ConvNorm(ins, out_features, kernel, dtype=dtype, rngs=rngs)

        self.pooled = nnx.List([convolution(widths[-1], 1) for _ in POOLED])
        self.bottleneck = convolution(widths[-1] + len(POOLED) * out_features, 3)
        self.lateral = nnx.List([convolution(width, 1) for width in widths[:-1]])
        self.smooth = nnx.List([convolution(out_features, 3) for _ in widths[:-1]])
        self.fuse = convolution(len(widths) * out_features, 3)

    def __call__(self, pyramid: list[Float[Array, "b _ _ _"]]) -> list[Float[Array, "b _ _ _"]]:
        """Returns every level, finest first."""
        coarsest = pyramid[-1]
        h, w = coarsest.shape[1:3]
        means = [
            layers.upsample(project(pool(coarsest, side)), h, w)
            for side, project in zip(POOLED, self.pooled, strict=True)
        ]
        sums = [layers.apply_all([self.bottleneck], jnp.concatenate([coarsest, *means], -1), self.remat)]
        for level, lateral in zip(reversed(pyramid[:-1]), reversed(self.lateral), strict=True):
            fine = lateral(level)
            sums.insert(0, fine + layers.upsample(sums[0], *fine.shape[1:3]))
        levels = [
            layers.apply_all([smooth], level, self.remat) for smooth, level in zip(self.smooth, sums[:-1], strict=True)
        ]
        levels.append(sums[-1])
        finest = levels[0].shape[1:3]
        joined = jnp.concatenate([levels[0], *(layers.upsample(level, *finest) for level in levels[1:])], -1)
        return [layers.apply_all([self.fuse], joined, self.remat), *levels[1:]]


class SegFormerDecoder(nnx.Module):
    """Each level is projected and enlarged to the finest one, where they are fused pixel by pixel.

    The coarser dense features are means of the fused ones.
    """

    def __init__(
        self, widths: tuple[int, ...], out_features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs, remat: str = "none"
    ):
        self.widths = (out_features,) * len(widths)
        self.project = nnx.List([layers.Pointwise(width, out_features, dtype=dtype, rngs=rngs) for width in widths])
        self.fuse = layers.Pointwise(len(widths) * out_features, out_features, use_bias=False, dtype=dtype, rngs=rngs)
        self.norm = layers.GroupNorm(out_features, rngs=rngs)

    def __call__(self, pyramid: list[Float[Array, "b _ _ _"]]) -> list[Float[Array, "b _ _ _"]]:
        """Returns the fused features at the strides of all levels, finest first."""
        finest = pyramid[0].shape[1:3]
        levels = [
            layers.upsample(project(level), *finest) for project, level in zip(self.project, pyramid, strict=True)
        ]
        dense = [self.norm(self.fuse(jnp.concatenate(levels, -1)), relu=True)]
        for level in pyramid[1:]:
            factor = dense[-1].shape[1] // level.shape[1]
            dense.append(nnx.avg_pool(dense[-1], (factor, factor), (factor, factor)))
        return dense


def enlarged(x: Float[Array, "b h w c"], factor: int) -> Float[Array, "b h2 w2 c"]:
    """Each pixel as `factor` x `factor` of them."""
    return x.repeat(factor, 1).repeat(factor, 2)


def pool(x: Float[Array, "b h w c"], side: int) -> Float[Array, "b side side c"]:
    """Means over a grid of `side` x `side` cells, which overlap by a pixel where `side` does not divide, as PyTorch's
    adaptive pooling has them."""
    rows, columns = (jnp.asarray(_cells(size, side), x.dtype) for size in x.shape[1:3])
    return jnp.einsum("ih,bhwc,jw->bijc", rows, x, columns)


def _cells(size: int, count: int) -> np.ndarray:
    """(count, size): the weights of the pixels in the mean of each cell."""
    firsts = np.arange(count) * size // count
    ends = -(-(np.arange(count) + 1) * size // count)
    inside = (np.arange(size) >= firsts[:, None]) & (np.arange(size) < ends[:, None])
    return inside / inside.sum(1, keepdims=True)

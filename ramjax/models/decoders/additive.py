"""The decoder of the main job: a U-shaped one that adds."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ramjax.models import layers


class AdditiveDecoder(nnx.Module):
    """A U-shaped decoder (Ronneberger et al., arXiv 1505.04597) that adds rather than concatenates.

    Coarse features are projected to the width of the finer level before they are enlarged, which makes upsampling
    cheap. The finest level, the most expensive one, has a single convolution; the others have a residual block.
    """

    def __init__(
        self, widths: tuple[int, ...], out_features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs, remat: str = "none"
    ):
        self.remat = remat
        self.widths = (out_features, *widths[1:])
        outs = self.widths[:-1]
        ins = (*outs[1:], widths[-1])
        self.project = nnx.List(
            [layers.Pointwise(i, o, use_bias=False, dtype=dtype, rngs=rngs) for i, o in zip(ins, outs, strict=True)]
        )
        self.skip = nnx.List(
            [layers.Pointwise(i, o, use_bias=False, dtype=dtype, rngs=rngs) for i, o in zip(widths, outs, strict=False)]
        )
        self.norm = nnx.List([layers.GroupNorm(o, rngs=rngs) for o in outs])
        self.refine = nnx.List(
            [
                layers.ResidualBlock(o, dtype=dtype, rngs=rngs)
                if level
                else layers.ConvNorm(o, o, 3, dtype=dtype, rngs=rngs)
                for level, o in enumerate(outs)
            ]
        )

    def __call__(self, pyramid: list[Float[Array, "b _ _ _"]]) -> list[Float[Array, "b _ _ _"]]:
        """Returns dense features at the strides of the pyramid's levels, finest first, the coarsest as it came."""
        dense = [pyramid[-1]]
        for level in reversed(range(len(self.refine))):
            skip = self.skip[level](pyramid[level])
            coarse = layers.upsample(self.project[level](dense[0]), *skip.shape[1:3])
            mixed = self.norm[level](skip + coarse, relu=True)
            dense.insert(0, layers.apply_all([self.refine[level]], mixed, self.remat))
        return dense

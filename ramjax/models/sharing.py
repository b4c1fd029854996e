"""What a task has of its own between the decoder and its head.

A module here turns the dense features that all tasks share into those that one head is given. It is the attribute
`sharing` of the head, so that its parameters are among those of the head, ``heads/<task>/sharing``: they stay as they
are where a batch has no label of the task, and everything outside of ``heads`` is shared.
"""

import abc
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ramjax.models import initializers, layers

BOTTLENECK = 4
"""A bottleneck has so many times fewer channels than enter."""

Dense = list[Float[Array, "b _ _ _"]]
"""Dense features, finest level first."""


class Sharing(nnx.Module):
    """Shared dense features to those of one task, of the same shapes.

    Args:
      widths: channels of the levels, finest first.
      others: how many other tasks there are.
      dtype, remat, rngs: as of the decoder.
    """

    @abc.abstractmethod
    def own(self, dense: Dense) -> Dense:
        """Returns what the task makes of the shared features."""

    def exchange(self, mine: Dense, others: Sequence[Dense]) -> Dense:
        """Returns the features that the head is given, of the task's own ones and those of the other tasks."""
        del others
        return mine


class Adapter(nnx.Module):
    """A residual bottleneck, which changes nothing at first."""

    def __init__(self, width: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        hidden = max(width // BOTTLENECK, 1)
        self.norm = layers.GroupNorm(width, rngs=rngs)
        self.down = layers.Pointwise(width, hidden, dtype=dtype, rngs=rngs)
        self.up = layers.Pointwise(hidden, width, dtype=dtype, kernel_init=initializers.zeros, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        return x + self.up(jax.nn.relu(self.down(self.norm(x))))


class Adapters(Sharing):
    """Residual adapters (Rebuffi et al., arXiv 1705.08045) with a bottleneck (Houlsby et al., arXiv 1902.00751), one a
    level."""

    def __init__(self, widths: Sequence[int], others: int, *, dtype: jnp.dtype, rngs: nnx.Rngs, remat: str = "none"):
        del others
        self.remat = remat
        self.adapters = nnx.List([Adapter(width, dtype=dtype, rngs=rngs) for width in widths])

    def own(self, dense: Dense) -> Dense:
        return [
            layers.apply_all([adapter], level, self.remat) for adapter, level in zip(self.adapters, dense, strict=True)
        ]


class Mask(nnx.Module):
    """The first `width` channels, each pixel times a mask of 0 to 1 that is told from all channels."""

    def __init__(self, ins: int, width: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.width = width
        self.first = layers.ConvNorm(ins, width, 1, dtype=dtype, rngs=rngs)
        self.second = layers.Pointwise(width, width, use_bias=False, dtype=dtype, rngs=rngs)
        self.norm = layers.GroupNorm(width, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w d"]) -> Float[Array, "b h w c"]:
        return x[..., : self.width] * jax.nn.sigmoid(self.norm(self.second(self.first(x))))


class AttentionMasks(Sharing):
    """Attention modules of a task as in MTAN (Liu et al., arXiv 1803.10704), from the coarsest level to the finest.

    A level's mask is told from the shared features there and from the task's own ones of the coarser level. The paper
    has modules on each block of the encoder, too; and where it has batch normalisation, this has group normalisation.
    """

    def __init__(self, widths: Sequence[int], others: int, *, dtype: jnp.dtype, rngs: nnx.Rngs, remat: str = "none"):
        del others
        self.remat = remat
        options = {"dtype": dtype, "rngs": rngs}
        pairs = zip(widths[1:], widths[:-1], strict=True)
        self.carry = nnx.List([layers.ConvNorm(coarse, fine, 3, **options) for coarse, fine in pairs])
        ins = (*(2 * width for width in widths[:-1]), widths[-1])
        self.masks = nnx.List([Mask(enter, width, **options) for enter, width in zip(ins, widths, strict=True)])

    def own(self, dense: Dense) -> Dense:
        mine = [layers.apply_all([self.masks[-1]], dense[-1], self.remat)]
        for level in reversed(range(len(dense) - 1)):
            carried = layers.apply_all([self.carry[level]], mine[0], self.remat)
            seen = jnp.concatenate([dense[level], layers.upsample(carried, *dense[level].shape[1:3])], -1)
            mine.insert(0, layers.apply_all([self.masks[level]], seen, self.remat))
        return mine


class Message(nnx.Module):
    """The first `width` channels, and what the others tell, as far as the first let it in; nothing at first."""

    def __init__(self, width: int, others: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.width = width
        self.gate = layers.Pointwise(width, width, dtype=dtype, rngs=rngs)
        self.tell = layers.Pointwise(
            others * width, width, use_bias=False, dtype=dtype, kernel_init=initializers.zeros, rngs=rngs
        )

    def __call__(self, x: Float[Array, "b h w d"]) -> Float[Array, "b h w c"]:
        mine = x[..., : self.width]
        return mine + jax.nn.sigmoid(self.gate(mine)) * self.tell(x[..., self.width :])


class CrossAttention(Adapters):
    """Messages between the tasks, guided by attention, as in PAD-Net (Xu et al., arXiv 1805.04409, module C).

    The task's own features are those of its adapters. At each pixel it adds those of the other tasks, each times a
    matrix, weighted by an attention that is told from its own. The paper has convolutions for these matrices, and a
    preliminary prediction of each task before.
    """

    def __init__(self, widths: Sequence[int], others: int, *, dtype: jnp.dtype, rngs: nnx.Rngs, remat: str = "none"):
        super().__init__(widths, others, dtype=dtype, rngs=rngs, remat=remat)
        self.messages = nnx.List([Message(width, others, dtype=dtype, rngs=rngs) for width in widths])

    def exchange(self, mine: Dense, others: Sequence[Dense]) -> Dense:
        return [
            layers.apply_all([message], jnp.concatenate(levels, -1), self.remat)
            for message, *levels in zip(self.messages, mine, *others, strict=True)
        ]


SHARING: dict[str, type[Sharing]] = {
    "adapters": Adapters,
    "mtan": AttentionMasks,
    "cross_attention": CrossAttention,
}
"""The forms of sharing by their name in `model.sharing`, but for ``hard``, which has no module."""


def features_of(heads: Mapping[str, nnx.Module], dense: Dense) -> dict[str, Dense]:
    """Returns the dense features that each head is given, by the name of the task."""
    own = {name: head.sharing.own(dense) for name, head in heads.items()}
    return {
        name: head.sharing.exchange(own[name], [own[other] for other in own if other != name])
        for name, head in heads.items()
    }

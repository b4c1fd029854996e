"""Building blocks of the encoders, decoders and heads. Activations are (b, h, w, c)."""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from ramjax.models import convolution, normalization

GROUP_SIZE = 8
"""Channels a normalisation group (Wu and He, arXiv 1803.08494); stateless, so however a batch is split."""

EPSILON = 1e-5
"""Added to a variance."""

CONVOLUTION = "convolution"
"""Name of what comes out of a convolution, for `_KEPT` to choose by."""

_KEPT = {
    "activations": jax.checkpoint_policies.save_only_these_names(CONVOLUTION),
    "blocks": jax.checkpoint_policies.nothing_saveable,
}
"""What within a block the backward pass finds kept, by `ModelConfig.remat`."""


def conv(
    in_features: int,
    out_features: int,
    kernel: int,
    *,
    dtype: jnp.dtype,
    rngs: nnx.Rngs,
    stride: int = 1,
    bias: bool = False,
) -> nnx.Conv:
    """A same-padded square convolution, He-initialised."""
    return nnx.Conv(
        in_features,
        out_features,
        (kernel, kernel),
        strides=stride,
        padding="SAME",
        use_bias=bias,
        dtype=dtype,
        conv_general_dilated=convolution.conv_general_dilated,
        kernel_init=nnx.initializers.he_normal(),
        rngs=rngs,
    )


class GroupNorm(nnx.Module):
    """Group normalisation; statistics are float32 whatever the activations' dtype."""

    def __init__(self, features: int, *, rngs: nnx.Rngs):
        self.groups = max(1, features // GROUP_SIZE)
        self.scale = nnx.Param(jnp.ones(features))
        self.bias = nnx.Param(jnp.zeros(features))

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        return normalization.group_norm(x, self.scale[...], self.bias[...], self.groups, EPSILON)


class Pointwise(nnx.Linear):
    """A 1x1 convolution, as a product of two matrices.

    XLA's CPU backend is several times slower on the gradient of the convolution, and of a product with more dimensions.
    """

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        return super().__call__(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], self.out_features)


class ConvNorm(nnx.Module):
    """Convolution, normalisation, ReLU."""

    def __init__(
        self, in_features: int, out_features: int, kernel: int, *, dtype: jnp.dtype, rngs: nnx.Rngs, stride: int = 1
    ):
        self.conv = conv(in_features, out_features, kernel, stride=stride, dtype=dtype, rngs=rngs)
        self.norm = GroupNorm(out_features, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        return jax.nn.relu(self.norm(checkpoint_name(self.conv(x), CONVOLUTION)))


class ResidualBlock(nnx.Module):
    """Two 3x3 convolutions and a shortcut (He et al., arXiv 1512.03385)."""

    def __init__(self, features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.first = ConvNorm(features, features, 3, dtype=dtype, rngs=rngs)
        self.second = conv(features, features, 3, dtype=dtype, rngs=rngs)
        self.norm = GroupNorm(features, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        return jax.nn.relu(x + self.norm(checkpoint_name(self.second(self.first(x)), CONVOLUTION)))


def residual_blocks(count: int, features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.List:
    """A list of `count` residual blocks."""
    return nnx.List([ResidualBlock(features, dtype=dtype, rngs=rngs) for _ in range(count)])


def apply_all(modules: Sequence[nnx.Module], x: Array, remat: str = "none") -> Array:
    """Applies the modules one after the other; `remat` says what the backward pass computes again.

    See `ModelConfig.remat`. Blocks of one shape become a loop: XLA's CPU backend finds what is computed twice, and
    keeps it after all, unless it is in a loop; and a loop is compiled once, however many blocks there are.
    """
    if remat == "none":
        for module in modules:
            x = module(x)
        return x
    for (graphdef, _), equal in itertools.groupby(map(nnx.split, modules), key=_structure):
        block = jax.checkpoint(lambda x, state, of=graphdef: nnx.merge(of, state)(x), policy=_KEPT[remat])
        states = [state for _, state in equal]
        if len(states) == 1:  # it may change the shape of x, as a loop's body may not
            x = block(x, states[0])
        else:
            stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
            x, _ = jax.lax.scan(lambda x, state, block=block: (block(x, state), None), x, stacked)
    return x


def spatial_max(x: Float[Array, "b h w c"]) -> Float[Array, "b c"]:
    """The largest value of each channel, its gradient where the first of them stands.

    The gradient of `jnp.max` goes where a value equals the maximum, which is nowhere, and not a number, if the compiler
    computes the values twice and rounds them differently.
    """
    b, _, _, c = x.shape
    flat = x.reshape(b, -1, c)
    return jnp.take_along_axis(flat, flat.argmax(1, keepdims=True), 1)[:, 0]


def space_to_depth(x: Float[Array, "b h w c"], block: int) -> Float[Array, "b h2 w2 d"]:
    """Moves each `block` x `block` square of pixels into the channels: (b, h / block, w / block, block^2 c)."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // block, block, w // block, block, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h // block, w // block, block * block * c)


def depth_to_space(x: Float[Array, "b h w d"], block: int) -> Float[Array, "b h2 w2 c"]:
    """The inverse of `space_to_depth`: sub-pixel upsampling (Shi et al., arXiv 1609.05158)."""
    b, h, w, d = x.shape
    x = x.reshape(b, h, w, block, block, d // (block * block))
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h * block, w * block, d // (block * block))


def upsample(x: Float[Array, "b h w c"], height: int, width: int) -> Float[Array, "b height width c"]:
    """Bilinear interpolation to (height, width), pixel centres at half integers.

    By whole factors as sums of neighbours, which devices that share the rows need no more than two of each other's for;
    `jax.image.resize`, which does the rest, multiplies by matrices as large as the image is high and wide.
    """
    b, h, w, c = x.shape
    if height % h or width % w:
        return jax.image.resize(x, (b, height, width, c), "bilinear")
    return _enlarge(_enlarge(x, 1, height // h), 2, width // w)


def _enlarge(x: Array, axis: int, factor: int) -> Array:
    """Interpolates an axis between neighbours; the outermost pixels go on beyond the border."""
    if factor == 1:
        return x
    size = x.shape[axis]
    cut = functools.partial(jax.lax.slice_in_dim, x, axis=axis)
    before = jnp.concatenate([cut(0, 1), cut(0, size - 1)], axis)
    after = jnp.concatenate([cut(1, size), cut(size - 1, size)], axis)
    phases = []
    for phase in range(factor):
        shift = (phase + 0.5) / factor - 0.5  # of the new pixel from the centre of its old one, in old pixels
        phases.append(x * (1 - abs(shift)) + (before if shift < 0 else after) * abs(shift))
    return jnp.stack(phases, axis + 1).reshape(*x.shape[:axis], factor * size, *x.shape[axis + 1 :])


def _structure(module: tuple[nnx.GraphDef, nnx.State]) -> tuple[nnx.GraphDef, Any]:
    """What two split modules have in common that are the same function of their parameters."""
    graphdef, state = module
    return graphdef, jax.tree.map(jnp.shape, nnx.to_pure_dict(state))

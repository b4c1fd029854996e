"""Building blocks of the encoders, decoders and heads. Activations are (b, h, w, c)."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from ramjax.models import convolution, initializers, normalization

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
    groups: int = 1,
    bias: bool = False,
    symmetric: bool = False,
) -> nnx.Conv:
    """A same-padded square convolution, He-initialised.

    With `symmetric`, both sides are padded by half the kernel, as PyTorch does; else, at a stride, the end more.
    `groups` splits the input's and the output's channels into as many groups, each of which sees its own alone;
    ``groups=in_features`` is a depthwise convolution. Both `in_features` and `out_features` are multiples of it.
    """
    return nnx.Conv(
        in_features,
        out_features,
        (kernel, kernel),
        strides=stride,
        padding=[(kernel // 2, kernel // 2)] * 2 if symmetric else "SAME",
        feature_group_count=groups,
        use_bias=bias,
        dtype=dtype,
        conv_general_dilated=convolution.conv_general_dilated,
        kernel_init=initializers.he_normal,
        bias_init=initializers.zeros,
        rngs=rngs,
    )


class GroupNorm(nnx.Module):
    """Group normalisation, and the ReLU after it if asked for; computed in float32 whatever the activations' dtype."""

    def __init__(self, features: int, *, rngs: nnx.Rngs):
        self.groups = max(1, features // GROUP_SIZE)
        self.scale = nnx.Param(initializers.ones(None, (features,)))
        self.bias = nnx.Param(initializers.zeros(None, (features,)))

    def __call__(
        self, x: Float[Array, "b h w c"], *, shortcut: Float[Array, "b h w c"] | None = None, relu: bool = False
    ) -> Float[Array, "b h w c"]:
        """Normalises; adds the shortcut; sets negative values to 0 if `relu`. One pass costs less than three."""
        parameters = self.scale[...], self.bias[...]
        return normalization.group_norm(x, *parameters, self.groups, EPSILON, shortcut=shortcut, relu=relu)


def kept(x: Array) -> Array:
    """What comes out of a convolution: the backward pass finds it kept where `ModelConfig.remat` is ``activations``."""
    return checkpoint_name(x, CONVOLUTION)


def batch_norm(
    features: int, kind: str, *, dtype: jnp.dtype, rngs: nnx.Rngs, epsilon: float = EPSILON, momentum: float = 0.9
) -> nnx.Module:
    """Batch normalisation (Ioffe and Szegedy, arXiv 1502.03167), or what `ModelConfig.batch_norm` has in its place."""
    if kind == "group":
        return GroupNorm(features, rngs=rngs)
    if kind == "frozen":
        return FrozenBatchNorm(features, dtype=dtype, epsilon=epsilon)
    return nnx.BatchNorm(
        features,
        epsilon=epsilon,
        momentum=momentum,
        dtype=dtype,
        scale_init=initializers.ones,
        bias_init=initializers.zeros,
        rngs=rngs,
    )


class FrozenBatchNorm(nnx.Module):
    """Batch normalisation whose statistics, scale and bias are not trained."""

    def __init__(self, features: int, *, dtype: jnp.dtype, epsilon: float = EPSILON):
        self.dtype, self.epsilon = dtype, epsilon
        for name, first in (("scale", initializers.ones), ("bias", initializers.zeros)):
            setattr(self, name, nnx.BatchStat(first(None, (features,))))
        for name, first in (("mean", initializers.zeros), ("var", initializers.ones)):
            setattr(self, name, nnx.BatchStat(first(None, (features,))))

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        factor = self.scale[...] * jax.lax.rsqrt(self.var[...] + self.epsilon)
        return (x * factor + (self.bias[...] - self.mean[...] * factor)).astype(self.dtype)


def layer_norm(features: int, epsilon: float, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Layer normalisation over the channels (Ba, Kiros and Hinton, arXiv 1607.06450), with float32 moments."""
    first = {"scale_init": initializers.ones, "bias_init": initializers.zeros}
    return nnx.LayerNorm(features, epsilon=epsilon, dtype=dtype, rngs=rngs, **first)


class InstanceNorm(nnx.GroupNorm):
    """Normalisation of each channel of each image (Ulyanov et al., arXiv 1607.08022), with float32 moments."""

    def __init__(self, features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        super().__init__(
            features,
            num_groups=None,
            group_size=1,
            epsilon=EPSILON,
            dtype=dtype,
            scale_init=initializers.ones,
            bias_init=initializers.zeros,
            rngs=rngs,
        )


def drop_path(rate: float, rngs: nnx.Rngs) -> Callable[[Array], Array]:
    """Stochastic depth (Huang et al., arXiv 1603.09382) of a residual branch (b, h, w, c).

    In training it is 0 for that share of the examples, and larger for the others, so that its mean stays.
    """
    return nnx.Dropout(rate, broadcast_dims=(1, 2, 3), rngs=rngs) if rate else unchanged


def split_rates(rate: float, counts: Sequence[int]) -> list[list[float]]:
    """The rates of stochastic depth of the blocks of each stage: from 0 at the first block to `rate` at the last."""
    total, first, rates = max(sum(counts) - 1, 1), 0, []
    for count in counts:
        rates.append([rate * number / total for number in range(first, first + count)])
        first += count
    return rates


def unchanged(x: Array) -> Array:
    """What is given: a branch without stochastic depth."""
    return x


class Linear(nnx.Linear):
    """`flax.nnx.Linear`, with the first values of `initializers`."""

    def __init__(self, in_features: int, out_features: int, **settings: Any):
        first = {"kernel_init": initializers.lecun_normal, "bias_init": initializers.zeros}
        super().__init__(in_features, out_features, **first | settings)


class Embed(nnx.Embed):
    """`flax.nnx.Embed`, with the first values of `initializers`."""

    def __init__(self, num_embeddings: int, features: int, **settings: Any):
        first = {"embedding_init": initializers.embedding_normal}
        super().__init__(num_embeddings, features, **first | settings)


class Pointwise(Linear):
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
        return self.norm(kept(self.conv(x)), relu=True)


class DoubleConvolution(nnx.Module):
    """Two 3x3 convolutions, each with normalisation and ReLU."""

    def __init__(self, ins: int, outs: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.first = ConvNorm(ins, outs, 3, dtype=dtype, rngs=rngs)
        self.second = ConvNorm(outs, outs, 3, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        return self.second(self.first(x))


class ResidualBlock(nnx.Module):
    """Two 3x3 convolutions and a shortcut (He et al., arXiv 1512.03385)."""

    def __init__(self, features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.first = ConvNorm(features, features, 3, dtype=dtype, rngs=rngs)
        self.second = conv(features, features, 3, dtype=dtype, rngs=rngs)
        self.norm = GroupNorm(features, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        mixed = kept(self.second(self.first(x)))
        return self.norm(mixed, shortcut=x, relu=True)


def residual_blocks(count: int, features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.List:
    """A list of `count` residual blocks."""
    return nnx.List([ResidualBlock(features, dtype=dtype, rngs=rngs) for _ in range(count)])


def apply_all(modules: Sequence[nnx.Module], x: Array, remat: str = "none") -> Array:
    """Applies the modules one after the other; `remat` says what the backward pass computes again.

    See `ModelConfig.remat`. Blocks of the same shape become a loop, for two reasons. Outside a loop, XLA's CPU backend
    notices that something is computed twice, and keeps it after all. And a loop is compiled once for any number of
    blocks.

    Variables that a block changes, such as batch statistics, are changed in `modules` as by an ordinary call. Each
    block draws the same random numbers as in an ordinary call, and the same ones when it is computed again. Blocks that
    share a variable, such as a stream of random numbers, are applied one by one, without a loop.
    """
    if remat == "none":
        for module in modules:
            x = module(x)
        return x
    for _, group in itertools.groupby(modules, key=_structure):
        equal = list(group)
        graphdef = nnx.graphdef(equal[0])
        block = jax.checkpoint(functools.partial(_apply, graphdef), policy=_KEPT[remat])
        if len(equal) == 1 or _share_variables(equal):  # a single one may change the shape of x, as no loop's body may
            for module in equal:
                x, after = block(x, nnx.state(module))
                nnx.update(module, after)
        else:
            stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(nnx.state, equal))
            x, after = jax.lax.scan(block, x, stacked)
            for number, module in enumerate(equal):
                nnx.update(module, jax.tree.map(lambda leaf, number=number: leaf[number], after))
    return x


def spatial_max(x: Float[Array, "b h w c"]) -> Float[Array, "b c"]:
    """The largest value of each channel; its gradient goes to the first pixel that has it.

    The gradient of `jnp.max` goes to all values that equal the maximum. If the compiler computes the values twice and
    rounds them differently, no value equals it, and the gradient is not a number.
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

    Whole factors are computed as sums of neighbours; devices that share the rows of an image then exchange at most two
    rows. Other factors use `jax.image.resize`, which multiplies by matrices as large as the sides of the image. A side
    may also become smaller: it is interpolated between neighbours all the same, as in PyTorch, without smoothing.
    """
    b, h, w, c = x.shape
    if height % h or width % w:
        return jax.image.resize(x, (b, height, width, c), "bilinear", antialias=False)
    return _enlarge(_enlarge(x, 1, height // h), 2, width // w)


def _enlarge(x: Array, axis: int, factor: int) -> Array:
    """Interpolates an axis between neighbours; the outermost pixels are continued beyond the border."""
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


def _apply(graphdef: nnx.GraphDef, x: Array, state: nnx.State) -> tuple[Array, nnx.State]:
    """A module as a function: what it returns, and its variables but for the parameters as the call leaves them."""
    module = nnx.merge(graphdef, state)
    y = module(x)
    there = {path for path, _ in nnx.to_flat_state(nnx.filter_state(state, nnx.Not(nnx.Param)))}
    after = nnx.to_flat_state(nnx.state(module, nnx.Not(nnx.Param)))
    return y, nnx.from_flat_state([(path, variable) for path, variable in after if path in there])


def _structure(module: nnx.Module) -> tuple[nnx.GraphDef, Any]:
    """What two modules have in common that are the same function of their variables."""
    graphdef, state = nnx.split(module)
    return graphdef, jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), nnx.to_pure_dict(state))


def _share_variables(modules: Sequence[nnx.Module]) -> bool:
    """Whether two of the modules hold one and the same variable."""
    together = jax.tree.leaves(nnx.state(nnx.List(modules)))
    return len(together) < sum(len(jax.tree.leaves(nnx.state(module))) for module in modules)

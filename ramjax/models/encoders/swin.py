"""Swin Transformer, versions 1 (Liu et al., arXiv 2103.14030) and 2 (Liu et al., arXiv 2111.09883).

Tokens attend to each other within windows, which every second block shifts by half a window. An image that windows do
not divide is padded, and one that is smaller than a window is one window.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from ramjax.models import initializers, layers
from ramjax.models.attention import Perceptron

PATCH = 4
"""Side of the patches."""

RATIO = 4
"""Channels within the perceptron, as a multiple of those that enter."""

EPSILON = 1e-5
"""Of the layer normalisations, which is PyTorch's default."""

TIMM = (
    (r"^patch_embed/proj", "embed"),
    (r"^patch_embed/norm", "embed_norm"),
    (r"^layers/(\d)/downsample/", r"layers/\1/"),
    (r"cpb_mlp/0", "position1"),
    (r"cpb_mlp/2", "position2"),
)

UNUSED = (r"^head\b", r"^norm\b")

HIDDEN = 512
"""Of version 2: channels of the perceptron that makes the bias of relative positions."""

LARGEST_BIAS = 16.0
"""Of version 2: of a relative position."""

LARGEST_SCALE = np.log(100.0)
"""Of version 2: logarithm of the factor on the cosines of queries and keys."""


class WindowAttention(nnx.Module):
    """Attention within windows, with a bias for each relative position and head from a table."""

    def __init__(self, width: int, heads: int, window: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.heads, self.window = heads, window
        self.qkv = layers.Linear(width, 3 * width, dtype=dtype, rngs=rngs)
        self.proj = layers.Linear(width, width, dtype=dtype, rngs=rngs)
        self.relative_position_bias_table = nnx.Param(initializers.zeros(None, ((2 * window - 1) ** 2, heads)))

    def __call__(self, tokens: Float[Array, "b w n c"], sides: tuple[int, int], mask: np.ndarray | None):
        """Returns tokens of that shape.

        Args:
          tokens: n of each of w windows, row by row.
          sides: height and width of a window.
          mask: (w, n, n) whether a token sees another one; None for all.
        """
        queries, keys, values = self._project(tokens)
        logits = self._products(queries, keys) + self._bias(sides)
        if mask is not None:
            logits = jnp.where(mask[None, :, None], logits, -jnp.inf)
        shares = jax.nn.softmax(logits).astype(values.dtype)
        return self.proj(jnp.einsum("bwhnm,bwmhd->bwnhd", shares, values).reshape(tokens.shape))

    def _project(self, tokens):
        projected = self.qkv(tokens).reshape(*tokens.shape[:3], 3, self.heads, -1)
        return (projected[..., part, :, :] for part in range(3))

    def _products(self, queries, keys):
        products = jnp.einsum("bwnhd,bwmhd->bwhnm", queries, keys, preferred_element_type=jnp.float32)
        return products / np.sqrt(queries.shape[-1])

    def _bias(self, sides):
        """(heads, n, n)."""
        return self.relative_position_bias_table[...][_relative(sides, self.window)].transpose(2, 0, 1)


class CosineAttention(WindowAttention):
    """The attention of version 2: by cosines, with a bias that is a smooth function of the relative position."""

    def __init__(self, width: int, heads: int, window: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.heads, self.window = heads, window
        self.qkv = layers.Linear(width, 3 * width, use_bias=False, dtype=dtype, rngs=rngs)
        self.q_bias = nnx.Param(initializers.zeros(None, (width,)))
        self.v_bias = nnx.Param(initializers.zeros(None, (width,)))
        self.proj = layers.Linear(width, width, dtype=dtype, rngs=rngs)
        self.logit_scale = nnx.Param(np.log(10.0) * initializers.ones(None, (heads, 1, 1)))
        self.position1 = layers.Linear(2, HIDDEN, rngs=rngs)
        self.position2 = layers.Linear(HIDDEN, heads, use_bias=False, rngs=rngs)

    def _project(self, tokens):
        queries, keys, values = super()._project(tokens)
        biases = (bias[...].reshape(self.heads, -1).astype(tokens.dtype) for bias in (self.q_bias, self.v_bias))
        return queries + next(biases), keys, values + next(biases)

    def _products(self, queries, keys):
        queries, keys = (_unit(part.astype(jnp.float32)) for part in (queries, keys))
        cosines = jnp.einsum("bwnhd,bwmhd->bwhnm", queries, keys)
        return cosines * jnp.exp(jnp.minimum(self.logit_scale[...], LARGEST_SCALE))

    def _bias(self, sides):
        offsets = np.arange(1 - self.window, self.window) / (self.window - 1) * 8
        offsets = np.sign(offsets) * np.log2(np.abs(offsets) + 1) / np.log2(8)
        table = np.stack(np.meshgrid(offsets, offsets, indexing="ij"), -1).reshape(-1, 2).astype(np.float32)
        table = LARGEST_BIAS * jax.nn.sigmoid(self.position2(jax.nn.relu(self.position1(table))))
        return table[_relative(sides, self.window)].transpose(2, 0, 1)


class Block(nnx.Module):
    """Attention and perceptron with shortcuts, normalised before them in version 1, after them in version 2."""

    def __init__(
        self,
        width: int,
        heads: int,
        window: int,
        shifts: bool,
        version: int,
        drop_path: float,
        *,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.window, self.shifts, self.version = window, shifts, version
        attention = WindowAttention if version == 1 else CosineAttention
        self.norm1 = layers.layer_norm(width, EPSILON, dtype=dtype, rngs=rngs)
        self.attn = attention(width, heads, window, dtype=dtype, rngs=rngs)
        self.norm2 = layers.layer_norm(width, EPSILON, dtype=dtype, rngs=rngs)
        self.mlp = Perceptron(width, RATIO * width, dtype=dtype, rngs=rngs)
        self.drop_path = layers.drop_path(drop_path, rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        if self.version == 1:
            x = x + self.drop_path(self._attend(self.norm1(x)))
            return x + self.drop_path(self.mlp(self.norm2(x)))
        x = x + self.drop_path(self.norm1(self._attend(x)))
        return x + self.drop_path(self.norm2(self.mlp(x)))

    def _attend(self, x):
        b, h, w, c = x.shape
        sides = tuple(min(self.window, side) for side in (h, w))
        shift = tuple(
            self.window // 2 if self.shifts and side > window else 0 for side, window in zip((h, w), sides, strict=True)
        )
        rows, columns = (-(-side // window) for side, window in zip((h, w), sides, strict=True))
        height, width = rows * sides[0], columns * sides[1]
        x = jnp.roll(x, (-shift[0], -shift[1]), (1, 2))
        x = jnp.pad(x, ((0, 0), (0, height - h), (0, width - w), (0, 0)))
        x = x.reshape(b, rows, sides[0], columns, sides[1], c).transpose(0, 1, 3, 2, 4, 5)
        tokens = x.reshape(b, rows * columns, -1, c)
        tokens = self.attn(tokens, sides, _seen((height, width), sides, shift) if any(shift) else None)
        x = tokens.reshape(b, rows, columns, *sides, c).transpose(0, 1, 3, 2, 4, 5)
        return jnp.roll(x.reshape(b, height, width, c)[:, :h, :w], shift, (1, 2))


class Stage(nnx.Module):
    """Blocks; all stages but the first halve the resolution before, by merging 2x2 patches."""

    def __init__(
        self,
        ins: int,
        width: int,
        heads: int,
        window: int,
        version: int,
        drop_paths: list[float],
        *,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        remat: str,
    ):
        self.remat, self.version = remat, version
        if ins != width:
            self.reduction = layers.Pointwise(4 * ins, width, use_bias=False, dtype=dtype, rngs=rngs)
            self.norm = layers.layer_norm(4 * ins if version == 1 else width, EPSILON, dtype=dtype, rngs=rngs)
        self.blocks = nnx.List(
            [
                Block(width, heads, window, number % 2 == 1, version, rate, dtype=dtype, rngs=rngs)
                for number, rate in enumerate(drop_paths)
            ]
        )

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        if hasattr(self, "reduction"):
            b, h, w, c = x.shape
            x = x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 4, 2, 5).reshape(b, h // 2, w // 2, 4 * c)
            x = self.reduction(self.norm(x)) if self.version == 1 else self.norm(self.reduction(x))
        return layers.apply_all(self.blocks, x, self.remat)


class Swin(nnx.Module):
    """Patches and four stages; its pyramid has strides 4 to 32.

    Args:
      version: 1 or 2.
      width: of the first stage, which doubles from stage to stage, as the heads do.
      counts: blocks of each stage.
      window: side of the windows, in tokens.
      heads: of the attention in the first stage.
      channels: of the image.
      drop_path, dtype, remat, rngs: see `ramjax.models.encoders`.
    """

    def __init__(
        self,
        version: int,
        width: int,
        counts: tuple[int, ...],
        window: int,
        heads: int,
        channels: int,
        *,
        drop_path: float,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        remat: str = "none",
        **_,
    ):
        self.embed = layers.conv(channels, width, PATCH, stride=PATCH, bias=True, dtype=dtype, rngs=rngs)
        self.embed_norm = layers.layer_norm(width, EPSILON, dtype=dtype, rngs=rngs)
        options = {"dtype": dtype, "rngs": rngs, "remat": remat}
        stages, ins = [], width
        for number, rates in enumerate(layers.split_rates(drop_path, counts)):
            outs = width * 2**number
            stages.append(Stage(ins, outs, heads * 2**number, window, version, rates, **options))
            ins = outs
        self.layers = nnx.List(stages)

    def __call__(self, image: Float[Array, "b h w c"]) -> list[Float[Array, "b _ _ _"]]:
        x, pyramid = self.embed_norm(self.embed(image)), []
        for stage in self.layers:
            x = stage(x)
            pyramid.append(x)
        return pyramid


def _relative(sides: tuple[int, int], window: int) -> np.ndarray:
    """(n, n): the row of a table of relative positions, from 1 - window to window - 1 on both axes, of each pair."""
    places = np.stack(np.meshgrid(*map(np.arange, sides), indexing="ij"), -1).reshape(-1, 2)
    offsets = places[:, None] - places[None] + window - 1
    return offsets[..., 0] * (2 * window - 1) + offsets[..., 1]


def _seen(shape: tuple[int, int], sides: tuple[int, int], shift: tuple[int, int]) -> np.ndarray:
    """(windows, n, n): whether tokens of a shifted image were neighbours before, not brought together by the shift."""
    parts = []
    for side, window, moved in zip(shape, sides, shift, strict=True):
        part = np.zeros(side, int)
        if moved:
            part[side - window :], part[side - moved :] = 1, 2
        parts.append(part)
    parts = parts[0][:, None] * 3 + parts[1]
    rows, columns = shape[0] // sides[0], shape[1] // sides[1]
    parts = parts.reshape(rows, sides[0], columns, sides[1]).transpose(0, 2, 1, 3).reshape(rows * columns, -1)
    return parts[:, :, None] == parts[:, None, :]


def _unit(x: Array) -> Array:
    return x / jnp.maximum(jnp.sqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-24), 1e-12)

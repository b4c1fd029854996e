"""Vision Transformers (Dosovitskiy et al., arXiv 2010.11929) with registers (Darcet et al., arXiv 2309.16588).

They are those of DINOv2 (Oquab et al., arXiv 2304.07193) and DINOv3 (Siméoni et al., arXiv 2508.10104), with a simple
feature pyramid (ViTDet, Li et al., arXiv 2203.16527). DINOv2 adds a learned vector to each patch, from a grid that is
interpolated to that of the image. DINOv3 turns queries and keys by angles that tell the place of their patch (rotary
position embedding, Su et al., arXiv 2104.09864).
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from ramjax.models import initializers, layers
from ramjax.models.attention import Perceptron, attend, drop_path

STRIDE = 16
"""Of the tokens, in canvas pixels. An image whose patches are smaller is made smaller."""

COUNT, RATIO, HEAD_WIDTH = 12, 4, 64
"""Blocks, channels within the perceptron as a multiple of those that enter, and channels of a head."""

REGISTERS = 4

SCALE_FIRST = 1e-5
"""What a branch is multiplied by at first (LayerScale, Touvron et al., arXiv 2103.17239)."""

LONGEST_PERIOD = 100.0
"""Of the angles of DINOv3, almost; the shortest is 1. Half the height and width of the image are 1."""

WIDTH = 256
"""Channels of the levels of the pyramid."""

EPSILON = 1e-6
"""Of the layer normalisations of the pyramid."""

TIMM = (
    (r"^patch_embed/proj", "embed"),
    (r"/ls(\d)/gamma", r"/gamma_\1"),
    (r"^", "trunk/"),
)

UNUSED = (r"^head\b", r"^mask_token$", r"^rope\.periods$")

OWN = (r"^pyramid/",)
"""Parameters that no file holds."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """How DINOv2 and DINOv3 differ.

    Attributes:
      patch: side of a patch in pixels.
      grid: side of the grid of learned positions; 0 for angles.
      bias: whether queries, keys and values have one.
      epsilon: of the layer normalisations.
    """

    patch: int
    grid: int
    bias: bool
    epsilon: float


DINOV2 = Kind(patch=14, grid=37, bias=True, epsilon=1e-6)
DINOV3 = Kind(patch=16, grid=0, bias=False, epsilon=1e-5)

Tokens = tuple[Float[Array, "b n c"], Float[Array, "n d"] | None]
"""Tokens, and the angles that turn their queries and keys."""


class Attention(nnx.Module):
    """Of all tokens to all."""

    def __init__(self, kind: Kind, width: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.heads = width // HEAD_WIDTH
        self.qkv = layers.Linear(width, 3 * width, use_bias=kind.bias, dtype=dtype, rngs=rngs)
        self.proj = layers.Linear(width, width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b n c"], angles: Float[Array, "n d"] | None) -> Float[Array, "b n c"]:
        queries, keys, values = jnp.split(self.qkv(x), 3, -1)
        if angles is not None:
            queries, keys = rotate(queries, angles, self.heads), rotate(keys, angles, self.heads)
        return self.proj(attend(queries, keys, values, self.heads))


class Block(nnx.Module):
    """Attention and perceptron, each normalised before, scaled after, and with a shortcut."""

    def __init__(self, kind: Kind, width: int, rate: float, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.dtype = dtype
        self.norm1 = layers.layer_norm(width, kind.epsilon, dtype=dtype, rngs=rngs)
        self.attn = Attention(kind, width, dtype=dtype, rngs=rngs)
        self.gamma_1 = nnx.Param(SCALE_FIRST * initializers.ones(None, (width,)))
        self.norm2 = layers.layer_norm(width, kind.epsilon, dtype=dtype, rngs=rngs)
        self.mlp = Perceptron(width, RATIO * width, dtype=dtype, rngs=rngs)
        self.gamma_2 = nnx.Param(SCALE_FIRST * initializers.ones(None, (width,)))
        self.drop_path = drop_path(rate, rngs)

    def __call__(self, tokens: Tokens) -> Tokens:
        x, angles = tokens
        x = x + self.drop_path(self.attn(self.norm1(x), angles) * self.gamma_1[...].astype(self.dtype))
        return x + self.drop_path(self.mlp(self.norm2(x)) * self.gamma_2[...].astype(self.dtype)), angles


class VisionTransformer(nnx.Module):
    """Image to one normalised feature map.

    Args:
      kind: `DINOV2` or `DINOV3`.
      width: channels.
      channels: of the image.
      drop_path, dtype, remat, rngs: see `ramjax.models.encoders`.
    """

    def __init__(
        self,
        kind: Kind,
        width: int,
        channels: int,
        *,
        drop_path: float,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        remat: str,
    ):
        self.kind, self.dtype, self.remat = kind, dtype, remat

        def vectors(count):
            return nnx.Param(initializers.token_normal(rngs.params(), (1, count, width)))

        self.embed = layers.conv(channels, width, kind.patch, stride=kind.patch, bias=True, dtype=dtype, rngs=rngs)
        self.cls_token, self.reg_token = vectors(1), vectors(REGISTERS)
        if kind.grid:
            self.pos_embed = vectors(kind.grid**2)
        rates = layers.split_rates(drop_path, (COUNT,))[0]
        self.blocks = nnx.List([Block(kind, width, rate, dtype=dtype, rngs=rngs) for rate in rates])
        self.norm = layers.layer_norm(width, kind.epsilon, dtype=dtype, rngs=rngs)

    def __call__(self, image: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Features of patches; the sides of the image are multiples of the patch's."""
        x = self.embed(image)
        b, h, w, c = x.shape
        angles = None
        if self.kind.grid:
            learned = self.pos_embed[...].reshape(self.kind.grid, self.kind.grid, c)
            x += jax.image.resize(learned, (h, w, c), "bicubic").astype(self.dtype)
        else:
            angles = np.concatenate([np.zeros((1 + REGISTERS, HEAD_WIDTH // 2), np.float32), angles_of(h, w)])
        others = jnp.concatenate([self.cls_token[...], self.reg_token[...]], 1).astype(self.dtype)
        x = jnp.concatenate([jnp.broadcast_to(others, (b, 1 + REGISTERS, c)), x.reshape(b, h * w, c)], 1)
        x, _ = layers.apply_all(self.blocks, (x, angles), self.remat)
        return self.norm(x[:, 1 + REGISTERS :]).reshape(b, h, w, c)


class Level(nnx.Module):
    """A level of the simple feature pyramid: of the stride 16 / 2^finer, or of 32 for -1."""

    def __init__(self, width: int, finer: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        options = {"dtype": dtype, "rngs": rngs}
        self.finer = finer
        widths = [width // 2**step for step in range(max(finer, 0) + 1)]
        self.up = nnx.List([layers.Pointwise(ins, 4 * (ins // 2), **options) for ins in widths[:-1]])
        self.up_norm = nnx.List([layers.layer_norm(outs, EPSILON, **options) for outs in widths[1:-1]])
        self.conv1 = layers.Pointwise(widths[-1], WIDTH, use_bias=False, **options)
        self.norm1 = layers.layer_norm(WIDTH, EPSILON, **options)
        self.conv2 = layers.conv(WIDTH, WIDTH, 3, **options)
        self.norm2 = layers.layer_norm(WIDTH, EPSILON, **options)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        for step, up in enumerate(self.up):  # transposed convolutions of 2 x 2 pixels
            if step:
                x = jax.nn.gelu(self.up_norm[step - 1](x), approximate=False)
            x = layers.depth_to_space(up(x), 2)
        if self.finer < 0:
            x = nnx.max_pool(x, (2, 2), (2, 2))
        return self.norm2(self.conv2(self.norm1(self.conv1(x))))


class PyramidTransformer(nnx.Module):
    """A Vision Transformer and a simple feature pyramid of strides 4 to 32.

    Args:
      kind: `DINOV2` or `DINOV3`.
      width: channels of the transformer.
      channels: of the image.
      drop_path, dtype, remat, rngs: see `ramjax.models.encoders`.
    """

    def __init__(
        self,
        kind: Kind,
        width: int,
        channels: int,
        *,
        drop_path: float,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        remat: str = "none",
        **_,
    ):
        options = {"dtype": dtype, "rngs": rngs}
        self.trunk = VisionTransformer(kind, width, channels, drop_path=drop_path, remat=remat, **options)
        self.pyramid = nnx.List([Level(width, finer, **options) for finer in (2, 1, 0, -1)])

    def __call__(self, image: Float[Array, "b h w c"]) -> list[Float[Array, "b _ _ _"]]:
        b, h, w, c = image.shape
        patch = self.trunk.kind.patch
        if patch != STRIDE:
            image = jax.image.resize(image, (b, h * patch // STRIDE, w * patch // STRIDE, c), "bilinear")
        x = self.trunk(image)
        return [level(x) for level in self.pyramid]


def angles_of(rows: int, columns: int) -> np.ndarray:
    """Of patches, (rows * columns, half of a head's channels) float32: by their row, then by their column."""
    periods = LONGEST_PERIOD ** (np.arange(HEAD_WIDTH // 4) / (HEAD_WIDTH // 4))
    along = [2 * (np.arange(count) + 0.5) / count - 1 for count in (rows, columns)]
    places = np.stack(np.meshgrid(*along, indexing="ij"), -1).reshape(-1, 2)
    return (2 * math.pi * places[..., None] / periods).reshape(rows * columns, -1).astype(np.float32)


def rotate(x: Float[Array, "b n c"], angles: Float[Array, "n d"], heads: int) -> Float[Array, "b n c"]:
    """Turns the plane of channels i and i + d of each head, which has 2 d channels, by angle i of the token."""
    first, second = jnp.split(x.astype(jnp.float32).reshape(*x.shape[:2], heads, -1), 2, -1)
    sine, cosine = jnp.sin(angles)[:, None], jnp.cos(angles)[:, None]
    turned = jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], -1)
    return turned.reshape(x.shape).astype(x.dtype)

"""What the two dense tasks share: a sub-pixel head, targets on its grid, and losses of its levels."""

import functools
import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from ramjax.config import ModelConfig
from ramjax.losses import Term
from ramjax.models import initializers, layers
from ramjax.models.features import Features, dense_level, dense_width


class DenseHead(nnx.Module):
    """Dense features to logits at half their stride (at their stride where that is 1), by sub-pixel upsampling.

    Two levels are added: the finest one locates edges, and the next one, with more channels and a wider view, tells to
    which bone they belong. `bias` holds one initial logit a channel; `blocks` is how many residual blocks there are on
    the finest level. With `supervise`, the decoder's coarser levels have logits of their own, to be trained by (Lee et
    al., arXiv 1409.5185); the coarsest, which is the encoder's, has none.
    """

    def __init__(
        self, model: ModelConfig, bias: tuple[float, ...], *, rngs: nnx.Rngs, blocks: int = 0, supervise: bool = False
    ):
        dtype = jnp.dtype(model.dtype)
        self.remat = model.remat
        self.block, self.level = min(model.stem_stride, 2), dense_level(1, model)
        self.mix = layers.ConvNorm(model.decoder_width, model.decoder_width, 3, dtype=dtype, rngs=rngs)
        self.blocks = layers.residual_blocks(blocks, model.decoder_width, dtype=dtype, rngs=rngs)
        self.fine = layers.Pointwise(
            model.decoder_width,
            len(bias) * self.block**2,
            dtype=dtype,
            bias_init=initializers.constant(*bias * self.block**2),
            rngs=rngs,
        )
        self.coarse = layers.Pointwise(
            dense_width(self.level, model),
            len(bias) * (self.block * 2**self.level) ** 2,
            use_bias=False,
            dtype=dtype,
            rngs=rngs,
        )
        levels = range(1, len(model.widths) - 1) if supervise else ()
        self.deep = nnx.Dict(
            {
                f"level_{level}": layers.Pointwise(
                    dense_width(level, model), len(bias), dtype=dtype, bias_init=initializers.constant(*bias), rngs=rngs
                )
                for level in levels
            }
        )

    def __call__(self, features: Features) -> dict[str, Array]:
        """Returns ``logits`` in the network's dtype, in blocks: (b, h, w, k, l, i, j, channels).

        And ``level_1``, ``level_2`` ..., the logits of the coarser levels, (b, h, w, channels), where these are
        supervised.

        Each pixel (h, w) of the coarser level has k x l pixels of the finest level, and each of these a block of i x j
        cells of the logits' grid. `on_grid` puts the cells in their places; a loss does without, for that moves the
        largest array of the network. It brings its targets into blocks, by `in_blocks`.
        """
        x = layers.apply_all([self.mix, *self.blocks], features.dense[0], self.remat)
        b, h, w, c = x.shape
        side = 2**self.level
        x = x.reshape(b, h // side, side, w // side, side, c).transpose(0, 1, 3, 2, 4, 5)
        fine = self.fine(x.reshape(b, -1, side * side, c))
        logits = fine + self._coarse(features.dense[self.level]).reshape(fine.shape)
        deep = {name: project(features.dense[int(name.removeprefix("level_"))]) for name, project in self.deep.items()}
        return {"logits": logits.reshape(*x.shape[:-1], self.block, self.block, -1), **deep}

    def _coarse(self, x: Float[Array, "b h2 w2 k"]) -> Float[Array, "n d"]:
        """The logits of the coarser level, for each of its pixels the cells of a pixel of the finest level together.

        The parameters are in the order of the cells' places on the grid; they are reordered here, which is cheap.
        """
        side = 2**self.level
        kernel = self.coarse.kernel[...]
        kernel = kernel.reshape(-1, side, self.block, side, self.block, self.fine.out_features // self.block**2)
        kernel = kernel.transpose(0, 1, 3, 2, 4, 5).reshape(self.coarse.in_features, -1).astype(self.coarse.dtype)
        return x.reshape(-1, x.shape[-1]).astype(self.coarse.dtype) @ kernel  # matrices, as in `layers.Pointwise`


def of_levels(outputs: dict[str, Array], terms: Callable[[Array], list[Term]]) -> list[Term]:
    """The terms of the logits of a `DenseHead`, and of its supervised levels.

    Each level has half the weight of the one before, and together they have 1 (as in nnU-Net, Isensee et al., Nature
    Methods 2021).
    """
    levels = [outputs["logits"], *(outputs[name] for name in sorted(outputs) if name.startswith("level_"))]
    shares = 0.5 ** np.arange(len(levels))
    return [
        term.times(share)
        for logits, share in zip(levels, (shares / shares.sum()).tolist(), strict=True)
        for term in terms(logits)
    ]


def on_grid(logits: Float[Array, "b h w *blocks c"]) -> Float[Array, "b height width c"]:
    """The logits of a `DenseHead` on their grid, float32."""
    rows, columns = _axes(logits)
    places = logits.transpose(0, *rows, *columns, logits.ndim - 1)
    return places.reshape(len(logits), *grid_shape(logits), -1).astype(jnp.float32)


def grid_shape(logits: Float[Array, "b h w *blocks c"]) -> tuple[int, int]:
    """Height and width of the grid of logits."""
    height, width = (math.prod(logits.shape[axis] for axis in axes) for axes in _axes(logits))
    return height, width


def in_blocks(grid: Array, logits: Float[Array, "b h w *blocks c"]) -> Array:
    """A map on the logits' grid, (b, height, width), as the logits have it: (b, h, w, *blocks)."""
    order = [0, *(axis for axes in _axes(logits) for axis in axes)]
    places = grid.reshape([logits.shape[axis] for axis in order])
    return places.transpose(np.argsort(order))


def _axes(logits: Float[Array, "b h w *blocks c"]) -> tuple[range, range]:
    """The axes of logits in blocks that make up the rows of the grid, and those that make up its columns."""
    return range(1, logits.ndim - 1, 2), range(2, logits.ndim - 1, 2)


def cells(canvas: Array, height: int, width: int) -> list[Array]:
    """Splits maps (b, H, W) into the cells of a (height, width) grid: one map a pixel of the cell."""
    rows, columns = canvas.shape[1] // height, canvas.shape[2] // width
    return [canvas[:, i::rows, j::columns] for i in range(rows) for j in range(columns)]


def inside_grid(padding: Bool[Array, "b h w"], height: int, width: int) -> Bool[Array, "b height width"]:
    """True where no pixel of the cell is padding."""
    return ~functools.reduce(jnp.logical_or, cells(padding, height, width))


def share_of_cells(canvas: Array, height: int, width: int) -> Float[Array, "b height width *c"]:
    """The mean of a map (b, H, W, *c) in each cell of a (height, width) grid, float32; for cells of many pixels."""
    b, rows, columns, *c = canvas.shape
    return canvas.reshape(b, height, rows // height, width, columns // width, *c).mean((2, 4), dtype=jnp.float32)


def fine(logits: Float[Array, "b h w *blocks c"], canvas: Float[Array, "b height width"]) -> bool:
    """Whether a cell of the logits' grid has at most 4 pixels of the canvas, as that of the finest logits has."""
    return math.prod(canvas.shape[1:]) <= 4 * math.prod(grid_shape(logits))


def upsampled_logits(
    logits: Float[Array, "b h w *blocks c"], padding: Bool[Array, "b height width"]
) -> Float[Array, "b height width c"]:
    """The logits of a `DenseHead` on the canvas grid, float32, by bilinear interpolation."""
    return layers.upsample(on_grid(logits), *padding.shape[1:])

"""Sliding-window inference: overlapping tiles of one fixed shape, blended into the maps of a whole image.

The network is called with one shape only, whatever the size of the image, so that a jitted one is compiled once.
"""

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ramjax.evaluation.averaging import Kinds, PredictFn, name_of
from ramjax.tasks.base import Kind

Blending = Literal["gaussian", "constant"]

MIN_WEIGHT = 1e-3
"""Least weight of a tile's cell; MONAI 1.4, compute_importance_map."""


def sliding_window(
    predict: PredictFn,
    image: Float[np.ndarray, "h w"] | Float[np.ndarray, "h w 1"],
    *,
    kinds: Kinds,
    tile: tuple[int, int],
    overlap: float = 0.5,
    batch: int = 4,
    blending: Blending = "gaussian",
    sigma: float = 0.125,
) -> dict[str, np.ndarray]:
    """Predicts an image of any size by tiles.

    Where the maps have the tile's resolution, tiles, weights and result are those of MONAI 1.4,
    ``sliding_window_inference``. An image smaller than the tile is padded with 0 on both sides, as the canvas is.

    Args:
      predict: a JAX function of float32 (batch, *tile, 1) to a dictionary. Dense maps are
        (batch, tile height / s, tile width / s, channels) with a whole number s, the stride; boxes are in pixels of the
        tile. Jit it: it is called as it is. Where the jitted function takes the parameters first, bind them by
        `functools.partial`.
      image: float (H, W) or (H, W, 1), grey values in 0..1.
      kinds: of the entries that it returns (see `ramjax.tasks.base.Kind`).
      tile: height and width of the tiles in pixels; as the network takes them, so multiples of its largest stride.
      overlap: share of a tile that the next one overlaps, at least 0 and below 1. Tiles start every ``int(side * (1 -
        overlap))`` pixels, rounded down to a multiple of the strides; the last ends at the border.
      batch: tiles in a call of `predict`. The last call is filled up with blank tiles, which are ignored.
      blending: ``gaussian`` weights the middle of a tile most, ``constant`` weights all of it equally.
      sigma: standard deviation of the Gaussian as a share of the tile's side, above 0.

    Returns:
      Arrays in host memory without the batch axis. A dense map of stride s is float32 (ceil(H / s), ceil(W / s),
      channels), the weighted mean over the tiles; its cell (i, j) covers rows s i to s (i + 1) and columns s j to
      s (j + 1) of the image. A joint site occurs once, so its entries are taken from the tile that is most confident of
      it, with boxes moved to pixels of the image. Without confidences, entries of sites are means over the tiles, as
      are entries of the whole image.

    Raises:
      ValueError: an argument is out of its range, the stride of a map is no whole number, a prediction is not finite,
        or there are boxes without a confidence.
    """
    image = _checked_image(image)
    _check_settings(tile, overlap, batch, blending, sigma)
    grids = _map_grids(predict, kinds, (batch, *tile, 1))
    strides = {name: _stride(name, tile, grid) for name, grid in grids.items()}
    step = math.lcm(1, *strides.values())
    padded, corner = _padded(image, tile, step)
    starts = tile_starts(padded.shape, tile, overlap, step)

    weights = {name: jnp.asarray(tile_weight(grid[:2], blending, sigma)) for name, grid in grids.items()}
    sums = _empty_sums(padded.shape, tile, grids)
    sites = []
    for first in range(0, len(starts), batch):
        some = starts[first : first + batch]
        tiles = np.zeros((batch, *tile, 1), np.float32)
        for row, (y, x) in zip(tiles, some, strict=False):
            row[..., 0] = padded[y : y + tile[0], x : x + tile[1]]
        predictions = predict(tiles)
        where = np.zeros((batch, 2), np.int32)
        where[: len(some)] = some
        of_maps = {name: (predictions[name], where // strides[name]) for name in grids}
        sums = _add(sums, of_maps, weights, len(some))
        sites.append({name: value for name, value in predictions.items() if name not in grids})

    totals, counts = ({name: sums[name][i] for name in sums} for i in (0, 1))
    maps = {}
    for name, (mean, finite) in jax.device_get(_means(totals, counts)).items():
        if not finite:
            raise ValueError(f"The predicted {name!r} are not finite; look at the checkpoint and at the image.")
        top, left = (offset // strides[name] for offset in corner)
        height, width = (math.ceil(side / strides[name]) for side in image.shape)
        maps[name] = mean[top : top + height, left : left + width]
    return maps | _of_tiles(jax.device_get(sites), kinds, starts - corner)


def tile_starts(size: tuple[int, int], tile: tuple[int, int], overlap: float, step: int = 1) -> np.ndarray:
    """Returns the first row and column of each tile, int64 (tiles, 2), row by row.

    Args:
      size: of the image in pixels, no smaller than the tile; with it and the tile a multiple of `step`.
      tile: in pixels.
      overlap: at least 0 and below 1.
      step: starts are multiples of it.
    """
    sides = []
    for whole, side in zip(size, tile, strict=True):
        interval = max(int(side * (1 - overlap)) // step, 1) * step
        sides.append([*range(0, whole - side, interval), whole - side])
    return np.array(list(itertools.product(*sides)))


@functools.lru_cache(maxsize=16)
def tile_weight(shape: tuple[int, int], blending: Blending, sigma: float) -> np.ndarray:
    """Returns how much each cell of a tile's map counts, float32 (h, w), read-only, in `MIN_WEIGHT`..1.

    Args:
      shape: (h, w) of the map.
      blending: ``gaussian`` or ``constant``.
      sigma: standard deviation over the side of the map.
    """
    weight = np.ones(shape, np.float32)
    if blending == "gaussian":
        rows, columns = (np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (sigma * n)) ** 2) for n in shape)
        weight = np.maximum(np.outer(rows, columns), MIN_WEIGHT).astype(np.float32)
    weight.flags.writeable = False
    return weight


@functools.partial(jax.jit, donate_argnums=0)
def _add(
    sums: dict[str, tuple[Array, Array]], maps: dict[str, tuple[Array, Array]], weights: dict[str, Array], count: int
) -> dict[str, tuple[Array, Array]]:
    """Adds the first `count` tiles, each times its weight, to the sums, and the weights to theirs.

    `maps` holds values (b, h, w, c) and where they start on the map of the image, (b, 2).
    """

    def add_tile(i, sums):
        added = {}
        for name, (total, weight) in sums.items():
            values, where = maps[name]
            y, x = where[i, 0], where[i, 1]
            tile = values[i].astype(jnp.float32) * weights[name][..., None]
            added[name] = _add_at(total, tile, y, x), _add_at(weight, weights[name][..., None], y, x)
        return added

    return jax.lax.fori_loop(0, count, add_tile, sums)


@functools.partial(jax.jit, donate_argnums=0)
def _means(totals: dict[str, Array], weights: dict[str, Array]) -> dict[str, tuple[Array, Array]]:
    """The totals over their weights, 0 where there is no weight, and whether all of it is finite."""
    means = {name: total / jnp.where(weights[name] > 0, weights[name], 1) for name, total in totals.items()}
    return {name: (mean, jnp.isfinite(mean).all()) for name, mean in means.items()}


def _add_at(whole: Float[Array, "H W c"], part: Float[Array, "h w c"], y: Array, x: Array) -> Float[Array, "H W c"]:
    there = jax.lax.dynamic_slice(whole, (y, x, 0), part.shape)
    return jax.lax.dynamic_update_slice(whole, there + part, (y, x, 0))


def _empty_sums(
    size: tuple[int, int], tile: tuple[int, int], grids: Mapping[str, tuple[int, int, int]]
) -> dict[str, tuple[Array, Array]]:
    """Sums and weights for whole numbers of tiles, so that images of many sizes need few shapes of buffers."""
    rows, columns = (math.ceil(whole / side) for whole, side in zip(size, tile, strict=True))
    shapes = {name: (rows * h, columns * w, c) for name, (h, w, c) in grids.items()}
    return {name: (jnp.zeros(shape), jnp.zeros((*shape[:2], 1))) for name, shape in shapes.items()}


def _map_grids(predict: PredictFn, kinds: Kinds, shape: tuple[int, ...]) -> dict[str, tuple[int, int, int]]:
    """(h, w, channels) of each dense map, without running the network."""
    # A jitted function with compiler options may not be traced within another, such as a partial: taken apart again.
    bound = functools.partial(predict)
    outputs = jax.eval_shape(bound.func, *bound.args, jax.ShapeDtypeStruct(shape, np.float32), **bound.keywords)
    return {name: output.shape[1:] for name, output in outputs.items() if kinds[name] is Kind.DENSE}


def _stride(name: str, tile: tuple[int, int], grid: tuple[int, ...]) -> int:
    stride = tile[0] // grid[0]
    if (stride * grid[0], stride * grid[1]) != tuple(tile):
        raise ValueError(
            f"The map {name!r} is {grid[0]} x {grid[1]} for a tile of {tile[0]} x {tile[1]}; the tile must be the same "
            "whole multiple of it both ways: choose a tile that the network's strides divide."
        )
    return stride


def _padded(image: np.ndarray, tile: tuple[int, int], step: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The image with zeros about it, no smaller than the tile and a multiple of `step`, and where it starts there."""
    before, after = [], []
    for whole, side in zip(image.shape, tile, strict=True):
        before.append(max(side - whole, 0) // 2 // step * step)
        after.append(max(side, math.ceil(whole / step) * step) - whole - before[-1])
    return np.pad(image, list(zip(before, after, strict=True))), tuple(before)


def _of_tiles(batches: Sequence[dict[str, np.ndarray]], kinds: Kinds, corners: np.ndarray) -> dict[str, np.ndarray]:
    """The image's own entries as means over the tiles; those of each site from the tile that is the most confident.

    Of several such tiles the first one counts. `corners` says where the tiles start on the image; what the batches hold
    beyond them is blank.
    """
    tiles = {name: np.concatenate([batch[name] for batch in batches])[: len(corners)] for name in batches[0]}
    confidence = name_of(Kind.CONFIDENCE, kinds, tiles)
    for name, value in tiles.items():
        if not np.isfinite(value).all():
            raise ValueError(f"The predicted {name!r} are not finite; look at the checkpoint and at the image.")
    found = {name: value.mean(0) for name, value in tiles.items() if kinds[name] is Kind.IMAGE}
    if confidence is None:
        if boxes := name_of(Kind.BOXES, kinds, tiles):
            raise ValueError(f"The predicted {boxes!r} of several tiles cannot be chosen from without a confidence.")
        return found | {name: value.mean(0) for name, value in tiles.items()}
    best = tiles[confidence].argmax(axis=0)
    for name, value in tiles.items():
        if kinds[name] is not Kind.IMAGE:
            moved = np.tile(corners, 2)[:, None].astype(np.float32) if kinds[name] is Kind.BOXES else 0
            found[name] = (value + moved)[best, np.arange(len(best))]
    return found


def _checked_image(image: np.ndarray) -> np.ndarray:
    """The image as float32 (H, W)."""
    image = np.asarray(image, np.float32)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.ndim != 2 or 0 in image.shape:
        raise ValueError(f"The image is {image.shape}; expected (H, W) or (H, W, 1) with at least one pixel.")
    return image


def _check_settings(tile: tuple[int, int], overlap: float, batch: int, blending: str, sigma: float) -> None:
    if len(tile) != 2 or min(tile) < 1:
        raise ValueError(f"tile is {tile}; expected a height and a width of at least one pixel.")
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap is {overlap}; expected a share of the tile, at least 0 and below 1.")
    if batch < 1:
        raise ValueError(f"batch is {batch}; expected at least one tile a call.")
    if blending not in ("gaussian", "constant"):
        raise ValueError(f"blending is {blending!r}; expected 'gaussian' or 'constant'.")
    if not sigma > 0:
        raise ValueError(f"sigma is {sigma}; expected a share of the tile's side above 0.")

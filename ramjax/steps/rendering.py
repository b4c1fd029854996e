"""Makes training examples on the devices, of records that lie there and of plans (see `ramjax.data.plan`).

Given the same plan and the same noise, an example equals that of `ramjax.data.canvas` but for rounding: the same
averaging, interpolation, percentiles and changes of grey values, which OpenCV computes there.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from ramjax.config import CanvasConfig, DataConfig
from ramjax.data import canvas as canvases
from ramjax.data.augment import NOISE_LEVELS, resampled, slow_variation_maps
from ramjax.data.geometry import OVERSAMPLING
from ramjax.data.labels import Labels
from ramjax.data.plan import PREFIX

Planes = Mapping[str, Array]
"""Of records: ``image`` uint8, ``bones`` uint32 and ``erosions`` uint8, (n, H, W); smaller records are filled up."""

_NOISE_STREAM = 0x6E6F6973
"""Folded into the seed, so that the noise shares no random numbers with the training step."""


@dataclasses.dataclass(frozen=True)
class Renderer:
    """Renders one example of a plan.

    Attributes:
      data: canvas and augmentation.
      planes: the label arrays that are planes of the record, and which; they are 0 in padding.
      seed: of the noise, or a uint32 array.
      taps: pixels of the record, at most, that the averaging of a shrunk image puts together along an axis.
    """

    data: DataConfig
    planes: tuple[tuple[str, str], ...]
    seed: int | Array
    taps: int

    def __call__(
        self, record: Planes, plan: Mapping[str, Array], levels: UInt8[Array, "h w"] | None = None
    ) -> dict[str, Array]:
        """Returns the example.

        Args:
          record: its planes, (H, W) each.
          plan: of `ramjax.data.plan.draw`.
          levels: of the noise, as `ramjax.data.augment.GreyChange` has them; None draws them.
        """
        canvas = self.data.canvas
        example = {name: value for name, value in plan.items() if not name.startswith(PREFIX)}
        plan = {name.removeprefix(PREFIX): value for name, value in plan.items() if name.startswith(PREFIX)}
        x, y = _coordinates(plan["to_native"], canvas)
        shown = _shown(x + 0.5, y + 0.5, plan["window"])
        height, width = example["native_size"]
        column, row = jnp.rint(x).astype(jnp.int32), jnp.rint(y).astype(jnp.int32)
        inside = shown & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        for name, plane in self.planes:
            example[name] = jnp.where(inside, _at(record[plane], row, column), 0)
        grey = self._warp(record["image"], plan, example["native_size"])
        image = self._change(grey, shown, plan, levels)
        return {**example, "image": jnp.where(shown, image, 0)[..., None], "padding": ~shown}

    def _warp(self, image: UInt8[Array, "H W"], plan: Mapping[str, Array], size: Int[Array, "2"]) -> Int[Array, "h w"]:
        """As `geometry.warp_grey`: grey values 0..255, averaged and interpolated; each of the two is rounded."""
        if self.taps > 1:
            image = jnp.rint(_average(image, size, plan["small"], self.taps)).astype(jnp.uint8)
        x, y = _coordinates(plan["to_small"], self.data.canvas)
        return jnp.rint(_interpolate(image, x, y, plan["small"])).astype(jnp.int32)

    def _change(
        self,
        grey: Int[Array, "h w"],
        shown: Bool[Array, "h w"],
        plan: Mapping[str, Array],
        levels: UInt8[Array, "h w"] | None,
    ) -> Float[Array, "h w"]:
        """The image normalised as in `ramjax.data.canvas`, then changed as `augment.change_grey` does.

        What the settings switch off is left out.
        """
        augment, (height, width) = self.data.augment, grey.shape
        black, white = _percentiles(grey, shown, (canvases.BLACK_PERCENTILE, canvases.WHITE_PERCENTILE))
        span = jnp.maximum(white - black, 1)
        grey = jnp.clip(grey - black, 0, span)
        if augment.gamma or augment.contrast or augment.brightness:
            image = plan["curve"][_rounded_ratio(255 * grey, span)]
        else:
            image = grey / span
        if augment.contrast:
            image = _kept(image)
            image -= plan["compression"] * _slow_variation(image)
        if augment.brightness:
            x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)[:, None]
            along_x, along_y, bowl = plan["gradient"]
            image += along_x * x + bowl * x**2 + along_y * y + bowl * y**2
        if augment.blur:
            image = _change_sharpness(image, plan["sharpness_kernel"], plan["sharpness_gain"])
        if augment.noise:
            if levels is None:
                levels = self._draw_levels(plan["moment"])
            image += plan["noise"] * jnp.asarray(NOISE_LEVELS)[levels.astype(jnp.int32)]
        if augment.resample:
            image = _resample(image, plan["resampled"], resampled(height, width, 1 + augment.resample))
            image = _change_sharpness(image, plan["crispness_kernel"], plan["crispness_gain"])
        if augment.erase:
            image = _cover(image, plan["cover_masks"], plan["cover_corners"], plan["cover_greys"])
        return jnp.clip(image, 0, 1)

    def _draw_levels(self, moment: Int[Array, "2"]) -> UInt8[Array, "h w"]:
        """Noise of a step and a row: four levels of each random word."""
        key = jax.random.fold_in(jax.random.key(self.seed), _NOISE_STREAM)
        for number in moment:
            key = jax.random.fold_in(key, number)
        shape = self.data.canvas.height, self.data.canvas.width
        words = jax.random.bits(key, (-(-math.prod(shape) // 4),), jnp.uint32)
        return jax.lax.bitcast_convert_type(words, jnp.uint8).ravel()[: math.prod(shape)].reshape(shape)


def make_renderer(data: DataConfig, labels: Sequence[Labels], seed: int, smallest_scale: float) -> Renderer:
    """Returns the renderer of an experiment.

    Args:
      data: settings.
      labels: of the tasks.
      seed: of the experiment.
      smallest_scale: of `canvas.scale_of`, of the records; how far they are shrunk decides how many pixels become one.
    """
    shrink = OVERSAMPLING * smallest_scale / (1 + data.augment.scale)
    # A side is rounded to whole pixels, so that what is hardly shrunk may be shrunk a little more.
    taps = 1 if shrink >= 1 else math.ceil(1 / shrink + 0.05) + 1
    planes = tuple((name, spec.plane) for group in labels for name, spec in group.planes.items())
    return Renderer(data, planes, seed, taps)


def _kept(image: Array) -> Array:
    """The same, written to memory: what reads it at many places would otherwise compute it anew at each of them."""
    return jax.lax.optimization_barrier(image)


def _coordinates(to: Float[Array, "2 3"], canvas: CanvasConfig) -> tuple[Float[Array, "h w"], Float[Array, "h w"]]:
    """Where the canvas's pixels come from: x and y."""
    column, row = jnp.arange(canvas.width, dtype=jnp.float32), jnp.arange(canvas.height, dtype=jnp.float32)[:, None]
    x, y = (m[0] * column + (m[1] * row + m[2]) for m in to)
    return x, y


def _shown(x: Float[Array, "h w"], y: Float[Array, "h w"], window: Float[Array, "4"]) -> Bool[Array, "h w"]:
    """As `geometry.visible`."""
    ymin, xmin, ymax, xmax = window
    return (x >= xmin) & (x < xmax) & (y >= ymin) & (y < ymax)


def _at(plane: Array, row: Int[Array, "h w"], column: Int[Array, "h w"]) -> Array:
    """The plane's values there; rows and columns beyond it give any of its values."""
    return jnp.take(plane.ravel(), row * plane.shape[1] + column, mode="clip")


def _interpolate(image: Array, x: Array, y: Array, size: Int[Array, "2"]) -> Float[Array, "h w"]:
    """What is at x, y, which broadcast to (h, w); beyond the first `size` rows and columns, their border continues."""
    height, width = size
    left, above = jnp.floor(x), jnp.floor(y)
    a, b = x - left, y - above
    columns = [jnp.clip(left + i, 0, width - 1).astype(jnp.int32) for i in (0, 1)]
    rows = [jnp.clip(above + i, 0, height - 1).astype(jnp.int32) for i in (0, 1)]
    upper, lower = (
        (1 - a) * _at(image, row, columns[0]).astype(jnp.float32) + a * _at(image, row, columns[1]).astype(jnp.float32)
        for row in rows
    )
    return (1 - b) * upper + b * lower


def _average(image: Array, size: Sequence[Any], small: Int[Array, "2"], taps: int) -> Float[Array, "H W"]:
    """The first `size` rows and columns averaged to `small` ones, as `cv2.INTER_AREA` does; the others are void.

    Args:
      image: (H, W).
      size, small: height and width.
      taps: pixels, at most, that become one along an axis.
    """
    image = image.astype(jnp.float32)
    for axis in (1, 0):
        image = _average_along(axis, image, size[axis], small[axis], taps)
    return image


def _average_along(
    axis: int, image: Float[Array, "H W"], size: Any, small: Int[Array, ""], taps: int
) -> Float[Array, "H W"]:
    # Where the i-th pixel and its part begin and end, in parts of a pixel of which there are `small`: whole numbers.
    begin = jnp.arange(image.shape[axis]) * size

    def add(tap, total):
        pixel = begin // small + tap
        overlap = jnp.minimum(begin + size, (pixel + 1) * small) - jnp.maximum(begin, pixel * small)
        weight = jnp.expand_dims(jnp.maximum(overlap, 0) / size, 1 - axis)
        return total + weight * jnp.take(image, pixel, axis=axis, mode="clip")

    # A loop, or the compiler computes all of it anew at each of the many places where the result is read.
    return jax.lax.fori_loop(0, taps, add, jnp.zeros_like(image))


def _resample(image: Float[Array, "h w"], small: Int[Array, "2"], smallest: tuple[int, int]) -> Float[Array, "h w"]:
    """The image averaged to another size, at least the smallest, and interpolated to its own."""
    height, width = image.shape
    taps = math.ceil(max(height / smallest[0], width / smallest[1])) + 1
    averaged = _average(_kept(image), image.shape, small, taps)
    y = (jnp.arange(height) + 0.5) * small[0] / height - 0.5
    x = (jnp.arange(width) + 0.5) * small[1] / width - 0.5
    return _interpolate(averaged, x, y[:, None], small)


def _rounded_ratio(numerator: Int[Array, "h w"], denominator: Int[Array, ""]) -> Int[Array, "h w"]:
    """The ratio rounded, halves to even numbers. Halves are frequent, and a compiled division may miss them."""
    doubled = 2 * numerator + denominator
    rounded = doubled // (2 * denominator)
    return rounded - ((doubled % (2 * denominator) == 0) & (rounded % 2 == 1))


def _percentiles(
    grey: Int[Array, "h w"], shown: Bool[Array, "h w"], percents: Sequence[float]
) -> Int[Array, " percents"]:
    """The least grey values that at least so many percent of the shown pixels do not exceed; found by halving."""
    # In whole numbers, none of which exceeds the count of the pixels.
    tenths = np.rint(10 * np.array(percents)).astype(np.int32)
    thousands, rest = jnp.divmod(shown.sum(dtype=jnp.int32), 1000)
    wanted = thousands * tenths + (rest * tenths + 999) // 1000

    def halve(number, values):
        half = 128 >> number
        count = (shown & (grey < (values + half)[:, None, None])).sum((1, 2), dtype=jnp.int32)
        return values + jnp.where(count < wanted, half, 0)

    return jax.lax.fori_loop(0, 8, halve, jnp.zeros(len(percents), jnp.int32))


def _slow_variation(image: Float[Array, "h w"]) -> Float[Array, "h w"]:
    """As `augment.slow_variation`, which is linear: by the matrices that it amounts to."""
    (down_y, up_y), (down_x, up_x) = slow_variation_maps(*image.shape)
    with jax.default_matmul_precision("highest"):
        slow = down_y @ image @ down_x.T
        return up_y @ (slow - slow.mean()) @ up_x.T


def _change_sharpness(
    image: Float[Array, "h w"], kernel: Float[Array, " k"], gain: Float[Array, ""]
) -> Float[Array, "h w"]:
    """As `augment.Sharpness` says, by the taps of its Gaussian."""
    image = _kept(image)
    return (1 + gain) * image - gain * _blur(image, kernel)


def _blur(image: Float[Array, "h w"], kernel: Float[Array, " k"]) -> Float[Array, "h w"]:
    """As `cv2.GaussianBlur`: along both axes, reflected at the border about the pixel there."""
    half = len(kernel) // 2
    for axis in (0, 1):
        widths = [(0, 0), (0, 0)]
        widths[axis] = (half, half)
        padded = jnp.pad(image, widths, mode="reflect")
        size = image.shape[axis]
        image = _kept(sum(kernel[k] * jax.lax.slice_in_dim(padded, k, k + size, axis=axis) for k in range(len(kernel))))
    return image


def _cover(
    image: Float[Array, "h w"],
    masks: UInt8[Array, "n s bytes"],
    corners: Int[Array, "n 2"],
    greys: Float[Array, " n"],
) -> Float[Array, "h w"]:
    """Puts squares over the image where their masks have bits; they may lie partly outside."""
    (height, width), side = image.shape, masks.shape[1]
    padded = jnp.pad(image, side)
    for mask, corner, grey in zip(jnp.unpackbits(masks, axis=-1), corners, greys, strict=True):
        place = tuple(corner + side)
        square = jax.lax.dynamic_slice(padded, place, (side, side))
        padded = jax.lax.dynamic_update_slice(padded, jnp.where(mask > 0, grey, square), place)
    return padded[side : side + height, side : side + width]

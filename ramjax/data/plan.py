"""Plans: all that the devices need, beside the records that they keep, to make training examples themselves.

A plan is an example without what has the size of the canvas: the changes are drawn here, as `ramjax.data.canvas` draws
them, and carried out by `ramjax.steps.rendering`. It has the keys of a batch but `image`, `padding` and the labels that
are planes of the record, and these, with `PREFIX` before each name. Maps take (column, row, 1) to (column, row), which
are whole numbers at the centres of pixels.

A further change of the grey values is a field of `GreyChange` that `augment.draw_grey` draws and `augment.change_grey`
carries out on the host; `_grey` puts what the devices need of it into the plan, and `rendering.Renderer` does the same.

| key | dtype, shape | meaning |
|---|---|---|
| slot | int32 () | the record, among those on the devices |
| moment | int32 (2,) | step and row of the batch, which seed the noise |
| to_native | float32 (2, 3) | canvas to record |
| small | int32 (2,) | height and width of the image, averaged before it is interpolated |
| to_small | float32 (2, 3) | canvas to the image of that size |
| window | float32 (4,) | the visible part, ymin, xmin, ymax, xmax in native pixels |
| curve | float32 (256,) | of `GreyChange`, and so the next two |
| compression | float32 () | |
| gradient | float32 (3,) | |
| sharpness_kernel | float32 (k,) | the taps of the Gaussian; k is the number of the widest |
| sharpness_gain | float32 () | |
| noise | float32 () | of `GreyChange` |
| resampled | int32 (2,) | height and width in the larger pixels that the image goes through |
| crispness_kernel | float32 (k,) | as of `sharpness`, and so the next |
| crispness_gain | float32 () | |
| cover_masks | uint8 (3, s, s / 8) | what each cover covers of a square, a bit a pixel, the first is the highest |
| cover_corners | int32 (3, 2) | row and column of the square's first pixel |
| cover_greys | float32 (3,) | |
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from ramjax.config import AugmentConfig, CanvasConfig
from ramjax.data import augment as augmentation
from ramjax.data import canvas as canvases
from ramjax.data import geometry
from ramjax.data.augment import MOST_COVERS, NO_BLUR, Cover, GreyChange, Sharpness, gaussian_taps
from ramjax.data.geometry import Placement
from ramjax.data.labels import Labels, View
from ramjax.record import Record

PREFIX = "plan/"
"""Of the keys that a plan has and a batch has not, so that labels may have any name."""


def draw(
    record: Record,
    canvas: CanvasConfig,
    augment: AugmentConfig,
    rng: np.random.Generator,
    labels: Sequence[Labels],
    slot: int = 0,
    moment: tuple[int, int] = (0, 0),
) -> dict[str, Any]:
    """Returns the plan of the example that `canvas.to_canvas` makes of the same arguments.

    Args:
      record: whose planes are not looked at.
      canvas, augment, rng, labels: as `canvas.to_canvas` takes them.
      slot, moment: as they are to be in the plan.
    """
    placement = canvases.place(record, canvas, rng)
    placement = augmentation.vary_placement(placement, record, canvas, augment, rng)
    change = augmentation.draw_grey(augment, canvas.height, canvas.width, rng)
    view, arrays = View(placement, canvas), {}
    for group in labels:
        arrays |= group.without_planes(record, view)
    planned = {
        "slot": np.int32(slot),
        "moment": np.array(moment, np.int32),
        **_maps(record.image.shape, placement),
        **_grey(change, canvas, augment),
    }
    return arrays | canvases.about(record, placement) | {PREFIX + name: value for name, value in planned.items()}


def _maps(shape: tuple[int, int], placement: Placement) -> dict[str, np.ndarray]:
    small, to_canvas = geometry.averaged(shape, placement.affine)

    def inverse(affine: np.ndarray) -> np.ndarray:
        return geometry.invert(geometry.to_pixel_centers(affine)).astype(np.float32)

    return {
        "to_native": inverse(placement.affine),
        "small": np.array(small, np.int32),
        "to_small": inverse(to_canvas),
        "window": placement.window.astype(np.float32),
    }


def _grey(change: GreyChange, canvas: CanvasConfig, augment: AugmentConfig) -> dict[str, np.ndarray]:
    return {
        "curve": np.linspace(0, 1, 256, dtype=np.float32) if change.curve is None else change.curve,
        "compression": np.float32(change.compression),
        "gradient": change.gradient,
        **_sharpness("sharpness", change.sharpness, augment.blur),
        "noise": np.float32(change.noise),
        "resampled": np.array(augmentation.resampled(canvas.height, canvas.width, change.pixel), np.int32),
        **_sharpness("crispness", change.crispness, 1 + augment.resample),
        **_covers(change.covers, canvas),
    }


def _sharpness(name: str, change: Sharpness, widest: float) -> dict[str, np.ndarray]:
    """The kernel of a change of sharpness among the taps of the widest, and its gain."""
    kernel, gain = np.zeros(gaussian_taps(widest), np.float32), 0.0
    if change.sigma >= NO_BLUR:
        taps = gaussian_taps(change.sigma)
        first = (len(kernel) - taps) // 2
        kernel[first : first + taps] = cv2.getGaussianKernel(taps, change.sigma)[:, 0]
        gain = change.gain
    return {f"{name}_kernel": kernel, f"{name}_gain": np.float32(gain)}


def _covers(covers: Sequence[Cover], canvas: CanvasConfig) -> dict[str, np.ndarray]:
    side = augmentation.cover_side(canvas.height, canvas.width)
    masks, corners = np.zeros((MOST_COVERS, side, side), bool), np.zeros((MOST_COVERS, 2), np.int32)
    greys = np.zeros(MOST_COVERS, np.float32)
    for number, cover in enumerate(covers):
        left, top = cover.corner
        there = cover.drawn(canvas.height, canvas.width)[max(top, 0) : top + side, max(left, 0) : left + side]
        below, right = max(-top, 0), max(-left, 0)
        masks[number, below : below + there.shape[0], right : right + there.shape[1]] = there
        corners[number], greys[number] = (top, left), cover.grey
    return {"cover_masks": np.packbits(masks, axis=-1), "cover_corners": corners, "cover_greys": greys}

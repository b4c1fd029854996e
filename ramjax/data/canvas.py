"""A record on its canvas: one affine map carries image, masks, boxes and coordinates to a fixed shape.

Whole hands at a quarter of the resolution, whole hands at native resolution and native crops are settings of
`CanvasConfig`: ``scale`` 0.25, ``scale`` 1 on a canvas larger than the image, and ``scale`` 1 on a smaller one.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from ramjax.config import AugmentConfig, CanvasConfig
from ramjax.data import augment as augmentation
from ramjax.data import geometry
from ramjax.data.augment import GreyChange
from ramjax.data.geometry import Placement
from ramjax.data.labels import Labels, View
from ramjax.record import Record

BLACK_PERCENTILE, WHITE_PERCENTILE = 1.0, 99.5


def to_canvas(
    record: Record,
    canvas: CanvasConfig,
    augment: AugmentConfig | None = None,
    rng: np.random.Generator | None = None,
    labels: Sequence[Labels] = (),
) -> dict[str, Any]:
    """Puts a record on the canvas.

    Args:
      record: what is to be shown; nothing in it is changed.
      canvas: shape and sizing.
      augment: random changes; None for evaluation.
      rng: the random numbers of crops and of `augment`. None crops the centre; it is an error with `augment`.
      labels: what the tasks learn from.

    Returns:
      One example: the keys of the batch (see `ramjax.data.pipeline`) without the batch axis, `valid`, and `index` -1.
    """
    if augment is None:
        return render(record, place(record, canvas, rng), canvas, labels=labels)
    if rng is None:
        raise ValueError("Augmentation needs a random generator; pass rng.")
    placement = augmentation.vary_placement(place(record, canvas, rng), record, canvas, augment, rng)
    change = augmentation.draw_grey(augment, canvas.detail * canvas.height, canvas.detail * canvas.width, rng)
    return render(record, placement, canvas, change, labels)


def place(record: Record, canvas: CanvasConfig, rng: np.random.Generator | None = None) -> Placement:
    """The placement of the record: centred, or with `rng` randomly cropped where it is larger than the canvas."""
    height, width = record.image.shape
    size = scale_of(record, canvas)
    shift = [
        room / 2 if room >= 0 or rng is None else rng.uniform(room, 0)
        for room in (canvas.width - size * width, canvas.height - size * height)
    ]
    mirrored = canvas.mirror_left and record.side == "L"
    affine = geometry.compose(geometry.translate(*shift), geometry.scale(size, size))
    if mirrored:
        affine = geometry.compose(affine, geometry.mirror(width))
    return Placement(affine, np.array((0, 0, height, width), float), mirrored)


def render(
    record: Record,
    placement: Placement,
    canvas: CanvasConfig,
    change: GreyChange | None = None,
    labels: Sequence[Labels] = (),
) -> dict[str, Any]:
    """Shows a record on the canvas at a placement.

    Args:
      record: what is to be shown.
      placement: where it goes.
      canvas: shape of the canvas.
      change: of its grey values, once they are normalised, drawn for the pixels of `canvas.detail`; None leaves them.
      labels: what the tasks learn from.

    Returns:
      The example of `to_canvas`.
    """
    view, detail = View(placement, canvas), canvas.detail
    affine = geometry.compose(geometry.scale(detail, detail), placement.affine)
    image = geometry.warp_grey(record.image, affine, detail * canvas.height, detail * canvas.width)
    shown = view.shown.repeat(detail, axis=0).repeat(detail, axis=1)
    image = _normalise(image, shown)
    if change is not None:
        image = augmentation.change_grey(image, change)
    image[~shown] = 0
    arrays = {}
    for group in labels:
        arrays |= group.of(record, view)
    return {"image": _pack(image, detail), "padding": ~view.shown, **arrays, **about(record, placement)}


def _pack(image: np.ndarray, detail: int) -> np.ndarray:
    """(H, W) to (H / detail, W / detail, detail^2): the pixels of a block as channels, row by row."""
    height, width = (side // detail for side in image.shape)
    blocks = image.reshape(height, detail, width, detail).transpose(0, 2, 1, 3)
    return blocks.reshape(height, width, detail**2)


def about(record: Record, placement: Placement) -> dict[str, Any]:
    """The keys of an example that are neither image nor label."""
    return {
        "valid": np.bool_(True),
        "index": np.int32(-1),
        "affine": placement.affine.astype(np.float32),
        "native_size": np.array(record.image.shape, np.int32),
        "mirrored": np.bool_(placement.mirrored),
        "pixel_spacing_mm": np.float32(record.pixel_spacing_mm / geometry.linear_scale(placement.affine)),
    }


def enlarged(
    canvas: CanvasConfig, shape: tuple[int, int], pixel_spacing_mm: float, steps: tuple[int, int]
) -> CanvasConfig:
    """A canvas of the same scale as `canvas`, but large enough to show a whole image.

    Args:
      canvas: as trained on.
      shape: height and width of the image.
      pixel_spacing_mm: of the image; where it is unknown and the scale depends on it, the image is fit to `canvas`.
      steps: the height and the width, where they are more than those of `canvas`, are multiples of these.
    """
    if canvas.sizing == "spacing" and not math.isfinite(pixel_spacing_mm):
        return dataclasses.replace(canvas, sizing="fit")
    if canvas.sizing == "fit":
        return canvas
    scale = canvas.scale if canvas.sizing == "scale" else pixel_spacing_mm / canvas.mm_per_pixel
    height, width = (
        max(side, math.ceil(native * scale / step) * step)
        for native, side, step in zip(shape, (canvas.height, canvas.width), steps, strict=True)
    )
    return dataclasses.replace(canvas, height=height, width=width)


def empty(canvas: CanvasConfig, labels: Sequence[Labels] = ()) -> dict[str, Any]:
    """An example that fills up the last batch: only padding, nothing annotated, `valid` False."""
    record = Record.unlabelled(np.zeros((canvas.height, canvas.width), np.uint8))
    example = render(record, dataclasses.replace(place(record, canvas), window=np.zeros(4)), canvas, labels=labels)
    return {**example, "valid": np.bool_(False)}


def scale_of(record: Record, canvas: CanvasConfig) -> float:
    """Canvas pixels a native pixel."""
    if canvas.sizing == "scale":
        return canvas.scale
    if canvas.sizing == "spacing" and math.isfinite(record.pixel_spacing_mm):
        return record.pixel_spacing_mm / canvas.mm_per_pixel
    height, width = record.image.shape
    return min(canvas.height / height, canvas.width / width)


def _normalise(image: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Maps uint8 to float32 0..1: the black percentile of what is shown becomes 0, the white one 1."""
    counts = np.cumsum(cv2.calcHist([image], [0], shown.view(np.uint8), [256], [0, 256]).ravel())
    black, white = np.searchsorted(counts, counts[-1] * np.array((BLACK_PERCENTILE, WHITE_PERCENTILE)) / 100)
    table = (np.arange(256) - black) / max(white - black, 1)
    return cv2.LUT(image, np.clip(table, 0, 1).astype(np.float32))

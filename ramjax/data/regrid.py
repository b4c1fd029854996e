"""The network's maps on the radiograph's own grid.

Masks are cut from interpolated logits, not from interpolated masks or the nearest cell. Log-odds change linearly across
the edge of a mask, so that the interpolated edge lies at the right place between two cells.
"""

from collections.abc import Iterator

import numpy as np

from ramjax.data import geometry

_LEAST = 1e-6
"""Probabilities nearer to 0 or 1 have no finite float32 logit."""

_MARGIN = 3
"""Cells about the active ones that interpolation may look at."""

Window = tuple[int, int, int, int]
"""Top, left, bottom, right in pixels of the radiograph."""


def bone_masks(
    probabilities: np.ndarray, affine: np.ndarray, canvas_height: int, shape: tuple[int, int]
) -> Iterator[tuple[int, Window, np.ndarray]]:
    """Yields each channel that is more probable than not anywhere: its index, a window and the mask in it.

    Args:
      probabilities: float32 (h, w, channels) over the whole canvas, at any stride.
      affine: (2, 3), pixels of the radiograph to canvas pixels.
      canvas_height: to tell the stride.
      shape: the radiograph's (H, W).
    """
    for channel in range(probabilities.shape[-1]):
        plane = np.ascontiguousarray(probabilities[..., channel], np.float32)
        window = native_window(plane > 0.5, affine, canvas_height, shape)
        if window is None:
            continue
        mask = to_native(plane, affine, canvas_height, window, _log_odds) > 0
        yield channel, window, mask & on_canvas(plane.shape, affine, canvas_height, window)


def erosion_labels(
    probabilities: np.ndarray, affine: np.ndarray, canvas_height: int, shape: tuple[int, int]
) -> np.ndarray:
    """The most probable lesion label where a lesion is more probable than none, uint8 (H, W).

    Arguments as for `bone_masks`, with one plane for each of `anatomy.EROSION_LABELS`.
    """
    labels = np.zeros(shape, np.uint8)
    probabilities = np.ascontiguousarray(probabilities, np.float32)
    window = native_window(probabilities[..., 0] < 0.5, affine, canvas_height, shape)
    if window is None:
        return labels
    top, left, bottom, right = window
    logits = to_native(probabilities, affine, canvas_height, window, _log)
    eroded = np.logaddexp.reduce(logits[..., 1:], axis=-1) > logits[..., 0]
    eroded &= on_canvas(probabilities.shape[:2], affine, canvas_height, window)
    labels[top:bottom, left:right] = np.where(eroded, logits[..., 1:].argmax(axis=-1) + 1, 0)
    return labels


def packed_masks(
    probabilities: np.ndarray, affine: np.ndarray, canvas_height: int, shape: tuple[int, int]
) -> np.ndarray:
    """The masks of `bone_masks` as one word a pixel, uint32 (H, W), bit k = channel k of at most 32."""
    words = np.zeros(shape, np.uint32)
    for channel, (top, left, bottom, right), mask in bone_masks(probabilities, affine, canvas_height, shape):
        words[top:bottom, left:right] |= mask.astype(np.uint32) << np.uint32(channel)
    return words


def to_native(plane: np.ndarray, affine: np.ndarray, canvas_height: int, window: Window, transform=None) -> np.ndarray:
    """Resamples a map to a window of the radiograph: linearly where it is magnified, antialiased where it shrinks.

    Args:
      plane: float32 (h, w) or (h, w, c), c <= 4, over the whole canvas, at any stride.
      affine: (2, 3), pixels of the radiograph to canvas pixels.
      canvas_height: to tell the stride.
      window: of the radiograph.
      transform: applied to the cells that the window shows, before they are resampled.

    Returns:
      float32 (bottom - top, right - left[, c]); the map's border is continued off the canvas.
    """
    top, left, bottom, right = window
    stride = canvas_height / plane.shape[0]
    to_plane = geometry.compose(geometry.scale(1 / stride, 1 / stride), affine)
    corners = geometry.apply(to_plane, np.array([(x, y) for x in (left, right) for y in (top, bottom)], float))
    lower = np.clip(np.floor(corners.min(0)).astype(int) - _MARGIN, 0, np.array(plane.shape[1::-1]) - 1)
    upper = np.clip(np.ceil(corners.max(0)).astype(int) + _MARGIN, lower + 1, plane.shape[1::-1])
    cells = np.ascontiguousarray(plane[lower[1] : upper[1], lower[0] : upper[0]])
    if transform is not None:
        cells = transform(cells)
    to_window = geometry.compose(
        geometry.translate(-left, -top), geometry.invert(to_plane), geometry.translate(*map(float, lower))
    )
    return geometry.warp_grey(cells, to_window, bottom - top, right - left)


def native_window(active: np.ndarray, affine: np.ndarray, canvas_height: int, shape: tuple[int, int]) -> Window | None:
    """The window of the radiograph that holds the active cells, bool (h, w), and a margin; None where it is empty."""
    rows, columns = np.flatnonzero(active.any(axis=1)), np.flatnonzero(active.any(axis=0))
    if not rows.size:
        return None
    stride = canvas_height / active.shape[0]
    ymin, ymax, xmin, xmax = rows[0] - 1, rows[-1] + 2, columns[0] - 1, columns[-1] + 2
    corners = np.array([(x, y) for x in (xmin, xmax) for y in (ymin, ymax)]) * stride
    corners = geometry.apply(geometry.invert(affine), corners)
    left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)), shape[::-1]).astype(int)
    return (int(top), int(left), int(bottom), int(right)) if bottom > top and right > left else None


def on_canvas(grid: tuple[int, int], affine: np.ndarray, canvas_height: int, window: Window) -> np.ndarray:
    """Bool (bottom - top, right - left): the pixels whose centres lie on the canvas, of which `grid` are the cells."""
    top, left, bottom, right = window
    canvas = np.array((0, 0, canvas_height, grid[1] * canvas_height / grid[0]))
    to_window = geometry.compose(geometry.translate(-left, -top), geometry.invert(affine))
    return geometry.visible(geometry.Placement(to_window, canvas, False), bottom - top, right - left)


def check_finite(predictions: dict[str, np.ndarray], of: str) -> None:
    """Raises ValueError, naming whose predictions they are, where one is NaN or infinite."""
    for name, value in predictions.items():
        if not np.isfinite(value).all():
            raise ValueError(
                f"The network's {name} of {of} are not finite (NaN or infinite), so nothing can be measured; use an "
                "earlier checkpoint, or train again with a lower learning rate."
            )


def _log_odds(probabilities: np.ndarray) -> np.ndarray:
    inside = np.clip(probabilities, _LEAST, 1 - _LEAST)
    return np.log(inside) - np.log1p(-inside)


def _log(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities, _LEAST))

"""Where a radiograph is measured: its own pixels, or the square grid of the wrist papers."""

import dataclasses

import cv2
import numpy as np

from ramjax.data import geometry
from ramjax.record import Record

SQUARE = 512
"""Side in pixels of the grid that the wrist papers measure on: the radiograph stretched to a square (RAM-W600)."""


@dataclasses.dataclass(frozen=True)
class Grid:
    """A grid of pixels over a radiograph, and where the network saw it.

    Attributes:
      shape: height and width.
      to_canvas: float64 (2, 3), pixels (x, y, 1) of the grid to those of the canvas.
      canvas_height: in pixels; a map of predictions covers the whole canvas at any stride.
      spacing_mm: between rows and between columns; NaN unknown.
      name: whose radiograph it is, for messages.
    """

    shape: tuple[int, int]
    to_canvas: np.ndarray
    canvas_height: int
    spacing_mm: tuple[float, float]
    name: str = ""

    def boxes(self, on_canvas: np.ndarray) -> np.ndarray:
        """Boxes (n, 4) of the canvas in pixels of the grid."""
        return geometry.apply_to_boxes(geometry.invert(self.to_canvas), on_canvas)

    def labels(self, native: np.ndarray) -> np.ndarray:
        """Annotated labels or words (H, W) of the radiograph, at the pixels nearest to the centres of the grid's.

        The published code takes pixels half a grid pixel above and left of these, in training and in the test.
        Predictions that are put on the grid correctly would then seem shifted.
        """
        if native.shape == self.shape:
            return native
        planes = np.ascontiguousarray(native).view(np.uint8).reshape(*native.shape, -1)
        resized = cv2.resize(planes, self.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        return np.ascontiguousarray(resized).view(native.dtype).reshape(self.shape)


def grid_of(record: Record, kind: str, affine: np.ndarray, canvas_height: int) -> Grid:
    """The ``native`` grid of a record, or ``square512``: the whole of it stretched to `SQUARE` pixels a side.

    Args:
      record: of the radiograph.
      kind: ``native`` or ``square512``.
      affine: float64 (2, 3), pixels of the radiograph to those of the canvas.
      canvas_height: in pixels.
    """
    height, width = record.image.shape
    mm = float(record.pixel_spacing_mm)
    name = f"{record.dataset} {record.id}".strip()
    if kind == "native":
        return Grid((height, width), affine, canvas_height, (mm, mm), name)
    to_native = geometry.invert(geometry.scale(SQUARE / width, SQUARE / height))
    spacing = mm * height / SQUARE, mm * width / SQUARE
    return Grid((SQUARE, SQUARE), geometry.compose(affine, to_native), canvas_height, spacing, name)

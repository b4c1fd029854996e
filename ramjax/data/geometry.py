"""Affine maps between a record and its canvas, and where they put pixels and boxes.

Coordinates are continuous: pixel i covers [i, i + 1), so its centre is at i + 0.5 and an image W wide spans 0..W. A map
is float64 (2, 3) and takes (x, y, 1) to (x, y). Boxes are (ymin, xmin, ymax, xmax) in pixels.
"""

import dataclasses
import math

import cv2
import numpy as np

OVERSAMPLING = 1.5
"""A shrunk image is averaged to this times its final resolution, then interpolated: little aliasing, little blur."""


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where a record goes on a canvas.

    Attributes:
      affine: float64 (2, 3), native to canvas coordinates, mirroring included.
      window: the visible part of the record as a box (4,) in native pixels; all else is padding.
      mirrored: the canvas shows the record's mirror image.
    """

    affine: np.ndarray
    window: np.ndarray
    mirrored: bool

    def then(self, affine: np.ndarray) -> "Placement":
        """The placement followed by a map of the canvas onto itself that does not mirror."""
        return dataclasses.replace(self, affine=compose(affine, self.affine))

    def then_mirror(self, width: float) -> "Placement":
        """The placement followed by mirroring a canvas `width` wide."""
        return dataclasses.replace(self, affine=compose(mirror(width), self.affine), mirrored=not self.mirrored)


def compose(*maps: np.ndarray) -> np.ndarray:
    """The product of `maps`: the last one is applied first."""
    linear, shift = np.eye(2), np.zeros(2)
    for affine in maps:
        linear, shift = linear @ affine[:, :2], linear @ affine[:, 2] + shift
    return np.column_stack([linear, shift])


def invert(affine: np.ndarray) -> np.ndarray:
    """The inverse map."""
    linear = np.linalg.inv(affine[:, :2])
    return np.column_stack([linear, -linear @ affine[:, 2]])


def translate(x: float, y: float) -> np.ndarray:
    """The map that shifts by (x, y)."""
    return np.array([[1, 0, x], [0, 1, y]], float)


def scale(x: float, y: float) -> np.ndarray:
    """The map that multiplies each coordinate."""
    return np.array([[x, 0, 0], [0, y, 0]], float)


def rotate(degrees: float) -> np.ndarray:
    """The rotation about the origin that turns x towards y."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0]], float)


def mirror(width: float) -> np.ndarray:
    """The map that swaps left and right of an image `width` wide."""
    return np.array([[-1, 0, width], [0, 1, 0]], float)


def about(affine: np.ndarray, x: float, y: float) -> np.ndarray:
    """`affine` with (x, y) instead of the origin as its fixed point."""
    return compose(translate(x, y), affine, translate(-x, -y))


def linear_scale(affine: np.ndarray) -> float:
    """Canvas pixels a native pixel, the geometric mean of both directions."""
    return math.sqrt(abs(np.linalg.det(affine[:, :2])))


def apply(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Maps float (..., 2) points (x, y)."""
    return np.asarray(points, float) @ affine[:, :2].T + affine[:, 2]


def apply_to_boxes(affine: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Maps boxes (N, 4): each becomes the bounding box of its inscribed ellipse, once mapped.

    This is exact for shifts, scaling and mirroring. Under rotation a square keeps its size, as a joint does; the
    bounding box of its corners would grow.
    """
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    centers = apply(affine, (boxes[:, [1, 0]] + boxes[:, [3, 2]]) / 2)
    half = (boxes[:, [3, 2]] - boxes[:, [1, 0]]) / 2
    half = np.sqrt(half**2 @ (affine[:, :2] ** 2).T)
    return np.concatenate([(centers - half)[:, ::-1], (centers + half)[:, ::-1]], axis=1)


def visible(placement: Placement, height: int, width: int) -> np.ndarray:
    """Returns bool (height, width): the canvas pixels whose centres show a point of the placement's window."""
    ymin, xmin, ymax, xmax = placement.window
    inverse = invert(placement.affine)
    corners = apply(inverse, np.array([(x, y) for x in (0.5, width - 0.5) for y in (0.5, height - 0.5)]))
    if (corners >= (xmin, ymin)).all() and (corners < (xmax, ymax)).all():  # as in a crop from the middle
        return np.ones((height, width), bool)
    columns, rows = np.arange(width) + 0.5, (np.arange(height) + 0.5)[:, None]
    x = inverse[0, 0] * columns + (inverse[0, 1] * rows + inverse[0, 2])
    y = inverse[1, 0] * columns + (inverse[1, 1] * rows + inverse[1, 2])
    return (x >= xmin) & (x < xmax) & (y >= ymin) & (y < ymax)


def averaged(shape: tuple[int, int], affine: np.ndarray) -> tuple[tuple[int, int], np.ndarray]:
    """The height and width that an image is averaged to before it is interpolated, and the map from there.

    They are those of the image where it is not shrunk.
    """
    shrink = linear_scale(affine) * OVERSAMPLING
    if shrink >= 1:
        return shape, affine
    small = max(1, round(shape[0] * shrink)), max(1, round(shape[1] * shrink))
    return small, compose(affine, scale(shape[1] / small[1], shape[0] / small[0]))


def warp_grey(image: np.ndarray, affine: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resamples a uint8 or float32 (H, W) image to (height, width), antialiased; the border is continued outwards."""
    small, affine = averaged(image.shape, affine)
    if small != image.shape:
        image = cv2.resize(image, small[::-1], interpolation=cv2.INTER_AREA)
    return cv2.warpAffine(
        image, to_pixel_centers(affine), (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def warp_labels(labels: np.ndarray, affine: np.ndarray, height: int, width: int) -> np.ndarray:
    """Samples uint8 (H, W) or (H, W, C) labels at the nearest pixel to (height, width[, C]); 0 outside."""
    return cv2.warpAffine(labels, to_pixel_centers(affine), (width, height), flags=cv2.INTER_NEAREST)


def to_pixel_centers(affine: np.ndarray) -> np.ndarray:
    """The same map for OpenCV, which puts whole numbers at pixel centres."""
    return compose(translate(-0.5, -0.5), affine, translate(0.5, 0.5))

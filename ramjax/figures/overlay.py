"""What pictures of a radiograph are made of: shapes that lie on it, their colours, fonts and PNG.

Images are uint8 RGB (H, W, 3). Coordinates are continuous, in pixels of the radiograph; `scale` takes them to the
picture.
"""

import dataclasses
import io
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageFont

Colour = tuple[int, int, int]

INK, DIM, GROUND, WARNING = (236, 239, 242), (150, 158, 166), (12, 14, 17), (255, 196, 84)
"""Of words, of words that matter less, of what lies behind, and of a warning."""

AGREE, NEAR, FAR, UNKNOWN = (110, 210, 140), (250, 200, 80), (245, 70, 70), (170, 178, 186)
"""Of a prediction that is as annotated, near it, far from it, and of what is not compared."""

FRACTION = 4
"""Fractional bits of OpenCV's drawing coordinates."""


@dataclasses.dataclass(frozen=True)
class Outline:
    """The edge of a mask, bool (h, w), whose corner lies at (`top`, `left`)."""

    mask: np.ndarray
    top: int
    left: int
    colour: Colour


@dataclasses.dataclass(frozen=True)
class Fill:
    """A mask of the whole radiograph, bool (H, W), that is filled and can be seen through."""

    mask: np.ndarray
    colour: Colour


@dataclasses.dataclass(frozen=True)
class Pixels:
    """Other grey values in the place of the radiograph's.

    Attributes:
      grey: float32 (h, w), 0 to 1.
      where: bool (h, w), which of them are shown.
      affine: float64 (2, 3), pixels of the radiograph to those of `grey`, continuous (x, y, 1).
    """

    grey: np.ndarray
    where: np.ndarray
    affine: np.ndarray


@dataclasses.dataclass(frozen=True)
class Box:
    """A box with words.

    Attributes:
      name: what it is about; unique in a picture.
      box: ymin, xmin, ymax, xmax.
      colour: of the box and its words.
      words: what stands behind the name where there is room.
      mark: what stands beside the box, without the name, where there is little.
    """

    name: str
    box: tuple[float, float, float, float]
    colour: Colour = INK
    words: str = ""
    mark: str = ""


Shape = Outline | Fill | Box | Pixels


def grey_to_rgb(pixels: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """uint8 (H, W) to RGB, resampled by `scale`."""
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    if size != pixels.shape[::-1]:
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)


def draw_outline(picture: np.ndarray, outline: Outline, scale: float, thickness: int = 1) -> None:
    """Draws an outline, in place."""
    # One empty pixel around, so that the outline closes where the mask touches its rectangle.
    mask = np.pad(outline.mask, 1).astype(np.uint8) * 255
    _outline(picture, mask, outline.left - 1, outline.top - 1, scale, outline.colour, thickness)


def draw_fill(picture: np.ndarray, fill: Fill, scale: float, thickness: int = 1) -> None:
    """Fills a mask translucently and outlines it, in place."""
    mask = fill.mask.astype(np.uint8) * 255
    if not mask.any():
        return
    height, width = picture.shape[:2]
    share = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    share = share[..., None].astype(np.float32) * (0.5 / 255)
    picture[:] = np.rint(picture * (1 - share) + np.float32(fill.colour) * share)
    _outline(picture, np.pad(mask, 1), -1, -1, scale, fill.colour, thickness)


def draw_pixels(picture: np.ndarray, pixels: Pixels, scale: float) -> None:
    """Puts other grey values on the picture, in place."""
    height, width = picture.shape[:2]
    half = np.array([0.5, 0.5])
    linear = pixels.affine[:, :2] / scale  # from the picture; OpenCV has whole numbers at the centres of pixels
    there = np.column_stack([linear, linear @ half + pixels.affine[:, 2] - half])
    flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    grey = cv2.warpAffine(
        pixels.grey.astype(np.float32), there, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    flags = cv2.WARP_INVERSE_MAP | cv2.INTER_NEAREST
    where = cv2.warpAffine(pixels.where.astype(np.uint8), there, (width, height), flags=flags) > 0
    picture[where] = np.rint(255 * np.clip(grey[where], 0, 1))[:, None]


def draw_box(picture: np.ndarray, box: Sequence[float], scale: float, colour: Colour, thickness: int = 1) -> None:
    """Draws the corners of a box (ymin, xmin, ymax, xmax), in place; open sides keep the crowded wrist readable."""
    ymin, xmin, ymax, xmax = (v * scale for v in box)
    arm = 0.28 * min(ymax - ymin, xmax - xmin)
    for x, inward_x in ((xmin, arm), (xmax, -arm)):
        for y, inward_y in ((ymin, arm), (ymax, -arm)):
            points = np.array([(x + inward_x, y), (x, y), (x, y + inward_y)])
            fixed = np.rint((points - 0.5) * 2**FRACTION).astype(np.int32)
            cv2.polylines(picture, [fixed], False, colour, thickness, cv2.LINE_AA, FRACTION)


def paint(
    picture: np.ndarray,
    drawn: Sequence[Shape],
    scale: float,
    thickness: int = 1,
    order: Sequence[type] = (Pixels, Fill, Outline, Box),
) -> np.ndarray:
    """Draws shapes on the picture, in place, and returns it; of each kind in `order`, the first one lowest."""
    for kind in order:
        for shape in drawn:
            if not isinstance(shape, kind):
                continue
            if isinstance(shape, Pixels):
                draw_pixels(picture, shape, scale)
            elif isinstance(shape, Fill):
                draw_fill(picture, shape, scale, thickness)
            elif isinstance(shape, Outline):
                draw_outline(picture, shape, scale, thickness)
            else:
                draw_box(picture, shape.box, scale, shape.colour, thickness)
    return picture


def fixed_point(value: float) -> int:
    """A continuous coordinate of the picture as OpenCV draws it, with `FRACTION` bits behind the point."""
    return round((value - 0.5) * 2**FRACTION)


def encode_png(picture: np.ndarray) -> bytes:
    """The picture as PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The built-in font, so that pictures look the same everywhere."""
    return ImageFont.load_default(size=size)


def _outline(
    picture: np.ndarray, mask: np.ndarray, left: int, top: int, scale: float, colour: Colour, thickness: int
) -> None:
    """Draws the outline of a uint8 mask (0, 255) whose corner lies at (left, top), smoothed where it is magnified."""
    size = max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale))
    shown = cv2.resize(mask, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    contours, _ = cv2.findContours((shown >= 128).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    shift = np.array((left, top)) * scale
    fixed = [np.rint((contour + shift) * 2**FRACTION).astype(np.int32) for contour in contours]
    cv2.polylines(picture, fixed, True, colour, thickness, cv2.LINE_AA, FRACTION)

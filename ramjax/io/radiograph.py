"""What every reader returns: one grey radiograph, its geometry, and nothing that identifies the patient."""

import dataclasses
import math

import numpy as np

from ramjax.errors import UserError

MIN_SIDE = 64
"""Shortest side, in pixels, of an image in which a wrist can be told from noise."""

MAX_PIXELS = 100_000_000
"""Most pixels of an image, told from its header before anything is decoded. The largest film that hands are taken on,
35 x 43 cm, scanned at 40 um a pixel, has 94 million; more is a mistake or an attack on the memory."""

COLOUR_CHROMA = 24
"""A pixel is coloured when its largest and smallest channels differ by more than this (of 255)."""

COLOUR_SHARE = 0.02
"""An image is a photograph when more than this share of its pixels is coloured; less are arrows or letters."""


class ImageError(UserError, ValueError):
    """A file is not one readable grey radiograph; the message names the file and the remedy."""


@dataclasses.dataclass(frozen=True)
class Radiograph:
    """One grey radiograph.

    Attributes:
      pixels: uint8 (H, W), bright bone on a dark ground.
      pixel_spacing_mm: side of a square pixel in mm; NaN unknown.
      side: ``L`` or ``R``; '' unknown.
      view: ``hand`` or ``wrist``; '' unknown.
      notes: what was decided while reading, one sentence each.
    """

    pixels: np.ndarray
    pixel_spacing_mm: float = math.nan
    side: str = ""
    view: str = ""
    notes: tuple[str, ...] = ()


def check_size(width: int, height: int, name: str) -> None:
    """Raises ImageError where a header claims no pixels, or more than `MAX_PIXELS`; called before decoding."""
    if width < 1 or height < 1:
        raise ImageError(f"{name} says its image has no size; export it again.")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name} has {width} x {height} pixels, too many for one radiograph (at most {MAX_PIXELS:,} are read); "
            "export it at a lower resolution."
        )


def checked(pixels: np.ndarray, name: str) -> np.ndarray:
    """Returns `pixels`, uint8 (H, W), or raises ImageError where nothing could be seen in them."""
    height, width = pixels.shape
    if min(height, width) < MIN_SIDE:
        raise ImageError(
            f"{name} is only {width} x {height} pixels; a radiograph of at least {MIN_SIDE} pixels a side is needed."
        )
    if pixels.min() == pixels.max():
        raise ImageError(f"{name} shows one grey value all over; export the radiograph again.")
    return pixels


def to_uint8(values: np.ndarray, valid: np.ndarray | None = None, tail: float = 0.1) -> np.ndarray:
    """Scales grey values (H, W) of any type to uint8 0-255.

    Black and white are the `tail`-th and the (100 - `tail`)-th percentile; what lies beyond is clipped. `valid`, bool
    (H, W), leaves out pixels that show nothing (DICOM padding); they become 0.
    """
    values = values.astype(np.float32)
    seen = values if valid is None or not valid.any() else values[valid]
    seen = seen[np.isfinite(seen)]
    if not seen.size:
        return np.zeros(values.shape, np.uint8)
    low, high = np.percentile(seen, (tail, 100 - tail))
    if high <= low:
        low, high = seen.min(), seen.max()
    scaled = np.nan_to_num((values - low) * (255.0 / max(high - low, 1e-12)), nan=0.0, posinf=255.0, neginf=0.0)
    grey = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    if valid is not None:
        grey[~valid] = 0
    return grey


def colour_to_grey(rgb: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Turns uint8 (H, W, 3) with equal channels, nearly, into grey (H, W) and notes; a photograph is an ImageError."""
    if (rgb == rgb[..., :1]).all():
        return rgb[..., 0].copy(), ()
    chroma = rgb.max(axis=-1).astype(np.int16) - rgb.min(axis=-1)
    share = float(np.mean(chroma > COLOUR_CHROMA))
    if share > COLOUR_SHARE:
        raise ImageError(
            f"{name} is a colour photograph, not a radiograph; export the radiograph as a grey image or as DICOM."
        )
    grey = np.median(rgb, axis=-1).astype(np.uint8)
    notes = ("Coloured marks in the image were taken as grey.",) if share > 1e-4 else ()
    return grey, notes

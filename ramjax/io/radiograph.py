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


_BLOCK = 1 << 20
"""Values that are scaled at once, in float64."""


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


def damaged(name: str, why: str) -> ImageError:
    """The error of bytes that are not what their format demands; `why` says what is missing or wrong."""
    return ImageError(f"{name} is damaged or truncated ({why}) and cannot be decoded; copy or export it again.")


def unread(name: str, kind: str) -> ImageError:
    """The error of an undamaged file of a `kind` that no decoder here reads, such as "12-bit JPEG"."""
    return ImageError(f"{name} is a {kind}, which is not read; save it as 8 or 16-bit grey PNG or TIFF.")


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


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Scales grey values (H, W) or (H, W, C) of any real type to uint8 0-255.

    Black and white are the 0.1th and the 99.9th percentile; what lies beyond is clipped, and what is no number is
    black. Besides its result this takes at most twice the memory of `values`.
    """
    seen = values
    if not np.isfinite(seen).all():
        seen = seen[np.isfinite(seen)]
    grey = np.zeros(values.shape, np.uint8)
    if not seen.size:
        return grey
    base = values.min() if values.dtype.kind in "iu" else None
    low, high = _percentiles(seen, base, (0.1, 99.9))
    if high <= low:
        low, high = (float(_above(end, base)) for end in (seen.min(), seen.max()))
    scale = 255.0 / max(high - low, 1e-300)
    rows = max(1, _BLOCK // max(values[:1].size, 1))
    with np.errstate(over="ignore", invalid="ignore"):
        for top in range(0, len(values), rows):
            scaled = (_above(values[top : top + rows], base) - low) * scale
            grey[top : top + rows] = np.rint(np.clip(np.nan_to_num(scaled, nan=0.0), 0, 255))
    return grey


def _above(values: np.ndarray, base: np.ndarray | None) -> np.ndarray:
    """`values`, less `base` where they are integers, as float64: a small range at a large offset loses no digit."""
    if base is None:
        return values.astype(np.float64)
    # The difference of two's complements is right even where it would overflow with a sign.
    unsigned = f"u{values.dtype.itemsize}"
    return (values.astype(unsigned) - base.astype(unsigned)).astype(np.float64)


def _percentiles(values: np.ndarray, base: np.ndarray | None, percents: tuple[float, ...]) -> list[float]:
    """Like np.percentile of `_above`, which neither overflows nor needs float64 of all values at once."""
    places = [(values.size - 1) * percent / 100 for percent in percents]
    below = [math.floor(place) for place in places]
    above = [min(at + 1, values.size - 1) for at in below]
    ranked = np.partition(values, sorted({*below, *above}), axis=None)
    starts, ends = _above(ranked[below], base), _above(ranked[above], base)
    return [float(start + (end - start) * (place % 1)) for start, end, place in zip(starts, ends, places, strict=True)]


def colour_to_grey(rgb: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Turns (H, W, 3) of any real type with equal channels, nearly, into grey (H, W) of that type, and notes.

    Raises:
      ImageError: it is a colour photograph.
    """
    red, green, blue = (rgb[..., channel] for channel in range(3))
    if np.array_equal(red, green, equal_nan=True) and np.array_equal(red, blue, equal_nan=True):
        return red.copy(), ()
    shown = rgb if rgb.dtype == np.uint8 else to_uint8(rgb)
    share = float(np.mean(shown.max(axis=-1) - shown.min(axis=-1) > COLOUR_CHROMA))
    if share > COLOUR_SHARE:
        raise ImageError(
            f"{name} is a colour photograph, not a radiograph; export the radiograph as a grey image or as DICOM."
        )
    median = np.maximum(np.minimum(red, green), np.minimum(np.maximum(red, green), blue))
    notes = ("Coloured marks in the image were taken as grey.",) if share > 1e-4 else ()
    return median, notes

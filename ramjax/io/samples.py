"""From the samples of a decoded image to grey pixels: transparency, colour, bits and orientation, in this order."""

import dataclasses
import io
import warnings

import numpy as np
from PIL import Image

from ramjax.io.radiograph import ImageError, colour_to_grey, to_uint8

_ORIENTATION = 0x0112


@dataclasses.dataclass(frozen=True)
class Samples:
    """An image as its file stores it.

    Attributes:
      values: (H, W) grey or (H, W, 3) RGB, of any real type. uint8 is what it is, black 0 to white 255; any other type
        is scaled.
      alpha: (H, W) opacity, unsigned, from 0 to the type's maximum; None: opaque.
      orientation: 1 to 8, as in the TIFF tag 274 and EXIF; others count as 1, upright.
      notes: what was decided while decoding.
    """

    values: np.ndarray
    alpha: np.ndarray | None = None
    orientation: int = 1
    notes: tuple[str, ...] = ()


def exif_orientation(data: bytes, block: bytes | None = None) -> tuple[int, tuple[str, ...]]:
    """The orientation that an image file (`data`), or its block of EXIF, states, and notes; 1 where it states none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the size is checked before
            if block is not None:
                exif = Image.Exif()
                exif.load(block)
            else:
                with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
                    exif = image.getexif()
            return int(exif.get(_ORIENTATION, 1)), ()
    except Exception:  # Pillow raises nearly anything; a remark beside an intact picture does not refuse it.
        return 1, ("The EXIF data of the image is damaged; whether the image lies is not known.",)


def converted(values: np.ndarray, mode: str) -> np.ndarray:
    """RGB, uint8 (H, W, 3), of uint8 (H, W, C) in one of Pillow's modes."""
    height, width = values.shape[:2]
    return np.asarray(Image.frombytes(mode, (width, height), values.tobytes()).convert("RGB"))


def grey(samples: Samples, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Grey pixels, uint8 (H, W), the right way up, and notes.

    Raises:
      ImageError: the image is a colour photograph or holds no numbers.
    """
    values, notes = _opaque(samples.values, samples.alpha)
    if values.ndim == 3:
        values, more = colour_to_grey(values, name)
        notes += more
    if values.dtype != np.uint8:
        notes += (*_numberless(values, name), "Grey values wider than 8 bits or signed were scaled to 0-255.")
        values = to_uint8(values)
    if samples.orientation in range(2, 9):
        values = _turned(values, samples.orientation)
        notes = ("The image was turned upright as its orientation tag says.", *notes)
    return np.ascontiguousarray(values), (*notes, *samples.notes)


def _opaque(values: np.ndarray, alpha: np.ndarray | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """The values to be read, and notes: a picture may be in its alpha channel, over one colour."""
    if alpha is None:
        return values, ()
    full = np.iinfo(alpha.dtype).max
    low, high = int(alpha.min()), int(alpha.max())
    if low == full:
        return values, ()
    if low == high:
        return values, ("The image is transparent all over; its transparency was left out.",)
    first = np.unravel_index(np.argmax(alpha > 0), alpha.shape)
    other = values != values[first]
    other = other if other.ndim == 2 else other.any(axis=-1)
    graded = ((alpha > low) & (alpha < high)).any()
    if not (other & (alpha > 0)).any() and (graded or not other.any()):
        return alpha, ("The image is one colour of changing transparency; the transparency was read as grey.",)
    share = float(np.mean(alpha < full))
    return values, (f"Transparency was left out: {share:.1%} of the pixels show the value that is stored below it.",)


def _numberless(values: np.ndarray, name: str) -> tuple[str, ...]:
    share = 1 - float(np.isfinite(values).mean())
    if share == 1:
        raise ImageError(f"{name} holds no numbers but NaN or infinity; export it again.")
    return (f"{share:.1%} of the pixels are NaN or infinite; NaN was taken as black.",) if share else ()


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Row 0 to the top and column 0 to the left; TIFF 6.0, tag 274, says where they are."""
    if orientation >= 5:
        pixels = pixels.T
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels

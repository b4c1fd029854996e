"""Reads a radiograph from PNG, BMP, JPEG, TIFF or DICOM; the format is recognised by the content, not the suffix."""

import pathlib
import warnings
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from ramjax.io import dicom
from ramjax.io.radiograph import ImageError, Radiograph, checked, colour_to_grey, to_uint8

T = TypeVar("T")

SUFFIXES: tuple[str, ...] = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")
"""Of files that `is_candidate` takes from a folder, beside DICOM files under any name."""

_FORMATS = ("PNG", "BMP", "JPEG", "TIFF")
_HEAD_BYTES = 132
_MAGIC = (b"\x89PNG", b"BM", b"\xff\xd8\xff", b"II*\0", b"MM\0*")
_TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0


def read_radiograph(path: str | pathlib.Path) -> Radiograph:
    """Reads one radiograph.

    8-bit grey values are kept; wider ones are scaled by a robust minimum and maximum. Three (nearly) equal channels are
    grey. Nothing that identifies the patient is read from DICOM.

    Raises:
      ImageError: the file is missing, empty, truncated, not an image, several images, a colour photograph, or
        compressed in a way that no installed decoder reads.
    """
    path = pathlib.Path(path)
    head = _read_head(path)
    if dicom.has_magic(head) or (path.suffix.lower() in (".dcm", ".dicom") and not head.startswith(_MAGIC)):
        return dicom.read_dicom(path)
    if not head.startswith(_MAGIC):
        raise ImageError(f"{path} is not an image that is read here; use PNG, BMP, JPEG, TIFF or DICOM.")
    return _decode(path, lambda image: _from_pillow(image, path))


def read_bmp(path: str | pathlib.Path) -> np.ndarray:
    """Reads the grey values of a BMP as released data sets have them, 8-bit or 24-bit, of any size: uint8 (H, W).

    Raises:
      ImageError: the file is missing, empty, truncated, not a BMP, a Git LFS pointer, or a colour photograph.
    """
    path = pathlib.Path(path)
    if not _read_head(path).startswith(b"BM"):
        raise ImageError(f"{path} is no BMP file, whatever its name says; fetch it again.")
    return _decode(path, lambda image: _grey(image, path)[0])


def is_candidate(path: pathlib.Path) -> bool:
    """Whether a file found in a folder looks like a radiograph: by suffix, or a DICOM file under any name."""
    if path.name.startswith(".") or path.name.upper() == "DICOMDIR":
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        return dicom.has_magic(_read_head(path))
    except ImageError:
        return False


def _read_head(path: pathlib.Path) -> bytes:
    if not path.exists():
        raise ImageError(f"{path} does not exist; check the path.")
    if not path.is_file():
        raise ImageError(f"{path} is not a file; name an image file.")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    if not head:
        raise ImageError(f"{path} is empty; copy or export it again.")
    if head.startswith(b"version https://git-lfs"):
        raise ImageError(f"{path} is a Git LFS pointer, not the image itself; fetch it with `git lfs pull`.")
    return head


def _decode(path: pathlib.Path, take: Callable[[Image.Image], T]) -> T:
    """Returns what `take` makes of the opened image; whatever the decoder raises becomes an ImageError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as image:
                return take(image)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path} has too many pixels for one radiograph; export it again.") from error
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged bytes.
        raise ImageError(f"{path} is damaged or truncated and cannot be decoded; copy or export it again.") from error


def _from_pillow(image: Image.Image, path: pathlib.Path) -> Radiograph:
    if getattr(image, "n_frames", 1) > 1:
        raise ImageError(f"{path} holds {image.n_frames} images; save the one of the hand as a file of its own.")
    notes: tuple[str, ...] = ()
    white_is_zero = image.format == "TIFF" and image.tag_v2.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO
    image.load()
    if image.getexif().get(0x0112, 1) != 1:
        image = ImageOps.exif_transpose(image)
        notes += ("The image was turned upright as its EXIF orientation says.",)
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image).astype(np.float32)
        # Pillow turns white-is-zero round for 8-bit TIFF only.
        pixels = to_uint8(-values if white_is_zero else values)
        notes += ("Grey values wider than 8 bits were scaled to 0-255.",)
    else:
        pixels, more = _grey(image, path)
        notes += more
    return Radiograph(pixels=checked(pixels, str(path)), notes=notes)


def _grey(image: Image.Image, path: pathlib.Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Grey values uint8 (H, W) of an image of 8 bits a channel, and notes."""
    if image.mode in ("L", "1"):
        return np.array(image.convert("L")), ()
    if image.mode == "LA":
        return np.array(image.getchannel(0)), ()
    return colour_to_grey(np.asarray(image.convert("RGB")), str(path))

"""Reads a radiograph from PNG, BMP, JPEG, TIFF or DICOM; the format is recognised by the content, not the suffix."""

import pathlib

import numpy as np

from ramjax.io import dicom
from ramjax.io.bmp import read_bmp as decode_bmp
from ramjax.io.jpeg import read_jpeg
from ramjax.io.png import SIGNATURE, read_png
from ramjax.io.radiograph import MAX_PIXELS, ImageError, Radiograph, checked
from ramjax.io.samples import Samples, grey
from ramjax.io.tiff import MAGIC as TIFF_MAGIC
from ramjax.io.tiff import read_tiff

SUFFIXES: tuple[str, ...] = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")
"""Of files that `is_candidate` takes from a folder, beside DICOM files under any name."""

_HEAD_BYTES = 132
_MAX_BYTES = 8 * MAX_PIXELS
"""Of a PNG, BMP or JPEG file, which is read as a whole: the largest image with four channels of 16 bits."""


def read_radiograph(path: str | pathlib.Path) -> Radiograph:
    """Reads one radiograph.

    8-bit grey values are kept; wider and signed ones are scaled by a robust minimum and maximum. Three (nearly) equal
    channels are grey. An image that lies is turned upright. Nothing that identifies the patient is read from DICOM.
    The notes say what was decided. Reading PNG, JPEG, BMP and TIFF takes at most 32 bytes a pixel, and images of more
    than `MAX_PIXELS` are refused before they are decoded.

    Raises:
      ImageError: the file is missing, empty, damaged, not an image, several images, a colour photograph, too large, or
        of a kind that is not read; the message tells these apart and names the remedy.
    """
    path = pathlib.Path(path)
    head = _read_head(path)
    if dicom.has_magic(head) or (path.suffix.lower() in (".dcm", ".dicom") and _format(head) is None):
        return dicom.read_dicom(path)
    pixels, notes = grey(_samples(path, head), str(path))
    return Radiograph(pixels=checked(pixels, str(path)), notes=notes)


def read_bmp(path: str | pathlib.Path) -> np.ndarray:
    """Reads the grey values of a BMP as released data sets have them, of any size: uint8 (H, W).

    Raises:
      ImageError: the file is missing, empty, damaged, not a BMP, a Git LFS pointer, or a colour photograph.
    """
    path = pathlib.Path(path)
    if _format(_read_head(path)) != "BMP":
        raise ImageError(f"{path} is no BMP file, whatever its name says; fetch it again.")
    return grey(decode_bmp(_whole(path), str(path)), str(path))[0]


def _format(head: bytes) -> str | None:
    """The format of a file that starts with these bytes; None: none that is read here."""
    if head.startswith(SIGNATURE[:4]):
        return "PNG"
    if head.startswith(b"BM"):
        return "BMP"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    return "TIFF" if head.startswith(TIFF_MAGIC) else None


def _samples(path: pathlib.Path, head: bytes) -> Samples:
    match _format(head):
        case "PNG":
            return read_png(_whole(path), str(path))
        case "BMP":
            return decode_bmp(_whole(path), str(path))
        case "JPEG":
            return read_jpeg(_whole(path), str(path))
        case "TIFF":
            return read_tiff(path, str(path))
    raise ImageError(f"{path} is not an image that is read here; use PNG, BMP, JPEG, TIFF or DICOM.")


def _whole(path: pathlib.Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise ImageError(f"{path} has {size:,} bytes, too many for one radiograph; export it again, smaller.")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror}); check the file.") from error


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

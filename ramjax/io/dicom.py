"""Reads a projection radiograph from DICOM. Only the tags listed here are parsed: no name, no id, no date of birth."""

import math
import pathlib
import warnings

import numpy as np
import pydicom
from pydicom import pixels as dicom_pixels

from ramjax.io.radiograph import ImageError, Radiograph, checked, colour_to_grey, to_uint8

TAGS: tuple[str, ...] = (
    "SOPClassUID", "Modality", "BodyPartExamined", "Laterality", "ImageLaterality", "PixelSpacing",
    "ImagerPixelSpacing", "NominalScannedPixelSpacing", "NumberOfFrames", "SamplesPerPixel",
    "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept",
    "RescaleType", "ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence",
    "LUTDescriptor", "LUTData", "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData", "PixelData",
)  # fmt: skip
"""The only data elements parsed from a file."""

_SPACINGS = (
    ("ImagerPixelSpacing", "at the detector"),
    ("PixelSpacing", "as stored in PixelSpacing"),
    ("NominalScannedPixelSpacing", "of the scanned film"),
)
_PREAMBLE = 128


def has_magic(head: bytes) -> bool:
    """Whether a file that starts with these bytes is DICOM with its preamble."""
    return head[_PREAMBLE : _PREAMBLE + 4] == b"DICM"


def read_dicom(path: pathlib.Path) -> Radiograph:
    """Reads a single-frame DICOM radiograph, MONOCHROME1 or 2 of 8 to 16 bits, as it is meant to be shown.

    Modality and value-of-interest tables (or the first window) are applied, MONOCHROME1 is inverted so that bone is
    bright, and the result is scaled to 0-255. The spacing is that at the detector, where the file has it.

    Raises:
      ImageError: the file is not DICOM, is damaged, has no pixels, several frames, both hands or colour, or is
        compressed in a way for which a decoder is missing (the message names what to install).
    """
    name = str(path)
    with warnings.catch_warnings():
        # pydicom's warnings quote values of the file, names of patients among them.
        warnings.simplefilter("ignore")
        dataset = _parse(path)
        values = _decode(dataset, name)
        photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
        if values.ndim == 3 or photometric == "PALETTE COLOR":
            pixels, notes = _colour(dataset, values, name)
        else:
            pixels, notes = _grey(dataset, values, photometric)
        spacing, spacing_notes = _spacing(dataset)
        side, view = _side(dataset, name), _view(dataset)
    return Radiograph(checked(pixels, name), spacing, side, view, (*notes, *spacing_notes))


def _parse(path: pathlib.Path) -> pydicom.Dataset:
    try:
        dataset = pydicom.dcmread(path, force=True, specific_tags=list(TAGS))
        if not dataset.keys():
            raise ImageError(f"{path} is not a DICOM file, whatever its name says; check what it is.")
        if "PixelData" not in dataset:
            raise ImageError(f"{path} is DICOM without an image; choose the file that holds the radiograph.")
        frames = int(dataset.get("NumberOfFrames") or 1)
        if frames > 1:
            raise ImageError(f"{path} holds {frames} frames; save the one of the hand as a file of its own.")
        if not dataset.get("Rows") or not dataset.get("Columns"):
            raise ImageError(f"{path} says its image has no size; export it again.")
    except ImageError:
        raise
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror or error}); check the file.") from error
    except Exception as error:  # pydicom raises nearly anything on damaged bytes.
        raise ImageError(f"{path} is damaged or no DICOM file; copy or export it again.") from error
    return dataset


def _decode(dataset: pydicom.Dataset, name: str) -> np.ndarray:
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is None:
        # Files without the preamble come from old devices, which write the default syntax.
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        syntax = dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    try:
        decoder = dicom_pixels.get_decoder(syntax) if syntax.is_compressed else None
    except NotImplementedError as error:
        raise ImageError(f"{name} is stored as {syntax.name}, which is not read; export it uncompressed.") from error
    if decoder is not None and not decoder.is_available:
        raise ImageError(
            f"{name} is compressed as {syntax.name} and no decoder for it is installed; "
            "run `pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg`, or export it uncompressed."
        )
    try:
        return dataset.pixel_array
    except Exception as error:  # decoders raise nearly anything on damaged bytes.
        raise ImageError(
            f"{name} holds pixels that cannot be decoded ({syntax.name}, damaged or truncated); export it again."
        ) from error


def _grey(dataset: pydicom.Dataset, values: np.ndarray, photometric: str) -> tuple[np.ndarray, list[str]]:
    valid = _valid(dataset, values)
    notes = []
    shown, tail = values, 0.1
    try:
        rescaled = dicom_pixels.apply_modality_lut(values, dataset)
        shown = dicom_pixels.apply_voi_lut(rescaled, dataset)
        if "WindowCenter" in dataset or "VOILUTSequence" in dataset:
            tail = 0.0  # already the range that is meant to be seen
    except Exception:  # a malformed table; the stored values still show the hand.
        notes.append("The file's grey value table could not be applied; the stored values were used.")
    if np.ptp(shown[valid]) == 0 < np.ptp(values[valid]):
        shown, tail = values, 0.1
        notes.append("The file's window hides the image; the stored values were used.")
    if shown.dtype == np.uint8:
        grey = 255 - shown if photometric == "MONOCHROME1" else shown
        return np.where(valid, grey, 0).astype(np.uint8), notes
    shown = shown.astype(np.float32)
    return to_uint8(-shown if photometric == "MONOCHROME1" else shown, valid, tail), notes


def _valid(dataset: pydicom.Dataset, values: np.ndarray) -> np.ndarray:
    """Bool (H, W): False on padding, unless everything would be."""
    padding = dataset.get("PixelPaddingValue")
    if padding is None:
        return np.ones(values.shape, bool)
    limit = dataset.get("PixelPaddingRangeLimit", padding)
    low, high = sorted((int(padding), int(limit)))
    valid = (values < low) | (values > high)
    return valid if valid.any() else np.ones(values.shape, bool)


def _colour(dataset: pydicom.Dataset, values: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    try:
        if values.ndim == 2:
            values = dicom_pixels.apply_color_lut(values, dataset)
        rgb = values if values.dtype == np.uint8 else (values >> (8 * values.itemsize - 8)).astype(np.uint8)
    except Exception as error:
        raise ImageError(f"{name} has a damaged colour table; export it as a grey image.") from error
    grey, notes = colour_to_grey(rgb[..., :3], name)
    return grey, list(notes)


def _spacing(dataset: pydicom.Dataset) -> tuple[float, list[str]]:
    for tag, where in _SPACINGS:
        try:
            row, column = (float(value) for value in dataset.get(tag) or ())
        except (TypeError, ValueError):
            continue
        if not (math.isfinite(row) and math.isfinite(column) and row > 0 and column > 0):
            continue
        if abs(row - column) > 0.01 * max(row, column):
            return math.nan, [f"Pixels are not square ({row} x {column} mm); the spacing was not used."]
        return (row + column) / 2, [f"Pixel spacing {where}."]
    return math.nan, []


def _side(dataset: pydicom.Dataset, name: str) -> str:
    side = str(dataset.get("ImageLaterality") or dataset.get("Laterality") or "").strip().upper()
    if side == "B":
        raise ImageError(f"{name} shows both hands; save each hand as an image of its own.")
    return side if side in ("L", "R") else ""


def _view(dataset: pydicom.Dataset) -> str:
    part = str(dataset.get("BodyPartExamined") or "").upper()
    return "wrist" if "WRIST" in part else "hand" if "HAND" in part else ""

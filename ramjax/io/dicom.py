"""Reads a projection radiograph from DICOM. Only the tags listed here are parsed: no name, no id, no date of birth."""

import io
import pathlib
import warnings
import zlib

import numpy as np
import pydicom
from pydicom import pixels as dicom_pixels

from ramjax.io.dicom_cells import read_words
from ramjax.io.dicom_elements import Elements
from ramjax.io.dicom_geometry import square
from ramjax.io.dicom_grey import to_grey
from ramjax.io.dicom_stored import Layout, read_layout, stored_values
from ramjax.io.radiograph import MAX_PIXELS, ImageError, Radiograph, checked, colour_to_grey

TAGS: tuple[str, ...] = (
    "SOPClassUID", "Modality", "BodyPartExamined", "Laterality", "ImageLaterality", "PixelSpacing",
    "PixelSpacingCalibrationType", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio",
    "EstimatedRadiographicMagnificationFactor", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
    "PlanarConfiguration", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence",
    "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence", "LUTDescriptor", "LUTData",
    "PresentationLUTSequence", "PresentationLUTShape", "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData", "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData", "FloatPixelData", "DoubleFloatPixelData", "PixelData",
)  # fmt: skip
"""The only data elements parsed from a file."""

MAX_BYTES = 8 * MAX_PIXELS
"""Most bytes of a file, and of what a deflated one becomes: about those of the largest image with 64 bits a pixel."""

_PREAMBLE = 128


def has_magic(head: bytes) -> bool:
    """Whether a file that starts with these bytes is DICOM with its preamble."""
    return head[_PREAMBLE : _PREAMBLE + 4] == b"DICM"


def read_dicom(path: pathlib.Path) -> Radiograph:
    """Reads a single-frame DICOM radiograph, MONOCHROME1 or 2 of 1 to 32 bits, as it is meant to be shown.

    `dicom_cells` decodes the bytes, `dicom_stored` takes the stored values out of them, `dicom_grey` applies the tables
    and windows, and `dicom_geometry` makes the pixels square and finds their size. What they leave out, or take
    otherwise than a contradictory file says, is in the notes.

    Memory: at most 15 bytes a pixel (32-bit cells; 7 for 16 bits), after `check_size` and `MAX_BYTES`.

    Raises:
      ImageError: the file is not DICOM, is damaged, has no pixels, several frames, both hands, colour, or a modality or
        presentation table that cannot be applied, or is compressed in a way for which a decoder is missing (the message
        names what to install).
    """
    name = str(path)
    with warnings.catch_warnings():
        # pydicom's warnings quote values of the file, names of patients among them.
        warnings.simplefilter("ignore")
        dataset = _parse(path)
        elements = Elements(dataset, "<" if dataset.original_encoding[1] else ">", [])
        if elements.has("FloatPixelData") or elements.has("DoubleFloatPixelData"):
            raise ImageError(f"{path} has pixels of floating point, which are not read; export it with 8 or 16 bits.")
        if not elements.has("PixelData"):
            raise ImageError(f"{path} is DICOM without an image; choose the file that holds the radiograph.")
        layout = read_layout(elements, name)
        words, placed = read_words(elements, layout, _syntax(dataset, name), name)
        if layout.samples == 3 or layout.photometric == "PALETTE COLOR":
            pixels = _colour(dataset, words, layout, elements, name)
        else:
            stored = stored_values(words, layout, placed, elements)
            pixels = to_grey(stored, layout.photometric, elements, name)
        pixels, spacing = square(pixels, elements, name)
        side, view = _side(elements, name), _view(elements)
    return Radiograph(checked(pixels, name), spacing, side, view, tuple(elements.notes))


def _parse(path: pathlib.Path) -> pydicom.Dataset:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(
                f"{path} is larger than {MAX_BYTES:,} bytes, too large for one radiograph; export it again."
            )
        content = path.read_bytes()
        _check_deflated(content, path)
        dataset = pydicom.dcmread(io.BytesIO(content), force=True, specific_tags=list(TAGS))
        if not dataset.keys() and not has_magic(content):
            raise ImageError(f"{path} is not a DICOM file, whatever its name says; check what it is.")
    except ImageError:
        raise
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror or error}); check the file.") from error
    except Exception as error:  # pydicom raises nearly anything on damaged bytes.
        raise ImageError(f"{path} is damaged or no DICOM file; copy or export it again.") from error
    return dataset


def _check_deflated(content: bytes, path: pathlib.Path) -> None:
    """Raises ImageError where a deflated data set becomes larger than `MAX_BYTES`; pydicom inflates without limit."""
    head = content[_PREAMBLE + 4 : _PREAMBLE + 4096]
    if not has_magic(content) or pydicom.uid.DeflatedExplicitVRLittleEndian.encode() not in head:
        return
    meta = pydicom.filereader.read_file_meta_info(path)
    start = _PREAMBLE + 4 + 12 + meta.FileMetaInformationGroupLength
    if meta.TransferSyntaxUID == pydicom.uid.DeflatedExplicitVRLittleEndian:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        inflate.decompress(content[start:], MAX_BYTES)
        if inflate.unconsumed_tail:
            raise ImageError(
                f"{path} unpacks to more than {MAX_BYTES:,} bytes, too many for one film; export it again."
            )


def _syntax(dataset: pydicom.Dataset, name: str) -> pydicom.uid.UID:
    """The transfer syntax; that which the file was parsed with where it does not say."""
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if not syntax:
        implicit, little = dataset.original_encoding
        if not little:
            return pydicom.uid.ExplicitVRBigEndian
        return pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian
    if not syntax.is_transfer_syntax:
        raise ImageError(f"{name} has a transfer syntax that is not known; export it uncompressed.")
    return syntax


def _colour(dataset: pydicom.Dataset, values: np.ndarray, layout: Layout, elements: Elements, name: str) -> np.ndarray:
    """Grey uint8 (H, W) of RGB (H, W, 3), or of indices (H, W) into a palette."""
    bits = layout.stored
    try:
        if values.ndim == 2:
            values = dicom_pixels.apply_color_lut(values, dataset)
            bits = 8 * values.itemsize
        rgb = (values >> max(bits - 8, 0)).astype(np.uint8)
    except Exception as error:  # pydicom raises nearly anything on damaged bytes.
        raise ImageError(f"{name} has a damaged colour table; export it as a grey image.") from error
    grey, notes = colour_to_grey(rgb[..., :3], name)
    for note in notes:
        elements.note(note)
    return grey


def _side(elements: Elements, name: str) -> str:
    image, series = elements.texts("ImageLaterality"), elements.texts("Laterality")
    sides = image or series
    if "B" in sides or {"L", "R"} <= set(sides):
        raise ImageError(f"{name} shows both hands; save each hand as an image of its own.")
    if {"L", "R"} <= {*image, *series}:
        elements.note("Laterality contradicts ImageLaterality; that of the image was used.")
    return next((side for side in sides if side in ("L", "R")), "")


def _view(elements: Elements) -> str:
    part = elements.text("BodyPartExamined")
    return "wrist" if "WRIST" in part else "hand" if "HAND" in part else ""

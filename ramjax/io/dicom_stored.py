"""The stored values of a DICOM image: how they are laid out, and their bits and sign taken out of their cells.

PS3.3 C.7.6.3 (image pixel), PS3.5 section 8 and annex D (how cells of `BitsAllocated` hold `BitsStored` bits).
"""

import dataclasses
import re

import numpy as np

from ramjax.io.dicom_elements import Elements
from ramjax.io.radiograph import ImageError, check_size

HIDDEN_SHARE = 0.95
"""Padding, a table or a window that takes away more than this share of an image is not used."""

_BLOCK = 1 << 20
GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT")


@dataclasses.dataclass(frozen=True)
class Layout:
    """How PixelData is laid out: the elements of the image pixel module, with their contradictions settled."""

    rows: int
    columns: int
    samples: int
    photometric: str
    planar: int
    allocated: int
    stored: int
    high: int
    signed: bool

    @property
    def length(self) -> int:
        """Bytes of one uncompressed frame."""
        return self.rows * self.columns * self.samples * self.allocated // 8


@dataclasses.dataclass(frozen=True)
class Stored:
    """A grey image as indices into the values that are stored. There are few of these, and the stages work on them.

    Attributes:
      index: unsigned (H, W), of each pixel into the levels.
      values: int64 (N,), the stored value of each level.
      counts: int64 (N,), the pixels of each level that are no padding.
      valid: bool (N,), False for levels that are padding.
      bits: of a value.
      low: the smallest value that `bits` and the sign allow.
    """

    index: np.ndarray
    values: np.ndarray
    counts: np.ndarray
    valid: np.ndarray
    bits: int
    low: int


def read_layout(elements: Elements, name: str) -> Layout:
    """Reads how the pixels are laid out.

    Raises:
      ImageError: there is no size, more than one frame, a layout that is not read, or elements contradict each other.
    """
    rows, columns = elements.whole("Rows") or 0, elements.whole("Columns") or 0
    check_size(columns, rows, name)
    frames = elements.whole("NumberOfFrames") or 1
    if frames > 1:
        raise several_frames(name, frames)
    samples, photometric = _samples(elements, name)
    allocated = elements.whole("BitsAllocated")
    if allocated is None:
        allocated = 8 * len(elements.raw("PixelData")[1]) // (rows * columns * samples)
        elements.note(f"BitsAllocated is missing; {allocated} was taken from the length of PixelData.")
    if allocated not in (8, 16, 32):
        raise ImageError(f"{name} has BitsAllocated {allocated}; 8, 16 and 32 are read, export it with one of these.")
    stored, high = elements.whole("BitsStored"), elements.whole("HighBit")
    if stored is None:
        stored = allocated
        elements.note(f"BitsStored is missing; {stored} was taken as BitsAllocated says.")
    if not 1 <= stored <= allocated:
        raise ImageError(f"{name} has BitsStored {stored} in BitsAllocated {allocated}, a contradiction; export again.")
    if high is None or not stored - 1 <= high < allocated:
        said = "is missing" if high is None else f"{high} contradicts BitsStored {stored} of {allocated}"
        high = stored - 1
        elements.note(f"HighBit {said}; {high} was taken.")
    sign = elements.whole("PixelRepresentation")
    if sign not in (0, 1):
        elements.note("PixelRepresentation is missing or neither 0 nor 1; the values were taken as unsigned.")
    planar = elements.whole("PlanarConfiguration") or 0
    return Layout(rows, columns, samples, photometric, planar, allocated, stored, high, sign == 1)


def _samples(elements: Elements, name: str) -> tuple[int, str]:
    """SamplesPerPixel and PhotometricInterpretation, which must agree."""
    photometric = elements.text("PhotometricInterpretation")
    close = re.sub(r"[\s_]", "", photometric)
    photometric = {"PALETTECOLOR": "PALETTE COLOR"}.get(close, close if close in GREY else photometric)
    samples = elements.whole("SamplesPerPixel")
    if samples is None:
        samples = 3 if photometric in _COLOUR else 1
    if not photometric and samples == 1:
        photometric = "MONOCHROME2"
        elements.note("PhotometricInterpretation is missing; MONOCHROME2 was taken: high values are bright.")
    if (samples, photometric) not in {*((1, grey) for grey in (*GREY, "PALETTE COLOR")), *((3, c) for c in _COLOUR)}:
        said = f"PhotometricInterpretation {photometric[:16]!r} with SamplesPerPixel {samples}"
        raise ImageError(f"{name} has {said}, which is not read; export it as MONOCHROME2.")
    return samples, photometric


def several_frames(name: str, frames: int) -> ImageError:
    """The error of a file that holds more than one frame."""
    return ImageError(f"{name} holds {frames} frames; save the one of the hand as a file of its own.")


def stored_values(words: np.ndarray, layout: Layout, placed: bool, elements: Elements) -> Stored:
    """Takes the stored values out of their cells (H, W): the `BitsStored` bits that end at `HighBit`, with their sign.

    Bits beside them are not part of a value (once they held overlays). But there are files whose values are larger
    than `BitsStored` says. Where other bits are in use, the reading with the smaller sum of differences between
    neighbours is taken: values that wrap round, as bits of something else, add to it. `placed`: see
    `dicom_cells.read_words`.
    """
    allocated = 8 * words.dtype.itemsize
    words = words.view(f"{words.dtype.str[0]}u{words.dtype.itemsize}")
    rows = max(1, _BLOCK // words.shape[1])
    blocks = [slice(top, top + rows) for top in range(0, len(words), rows)]  # NumPy copies to 8 bytes a pixel
    if allocated <= 16:
        cells, index = np.arange(1 << allocated), words
    else:
        cells, index = np.unique(words), np.empty(words.shape, np.uint32)
        for block in blocks:
            index[block] = np.searchsorted(cells, words[block])
        cells = cells.astype(np.int64)
    counts = sum(np.bincount(index[block].ravel(), minlength=len(cells)) for block in blocks)
    seen = counts > 0
    bits = min(layout.stored, allocated)
    shift = layout.high + 1 - bits if placed else 0
    if shift and cells[seen].max() < 1 << bits and (cells[seen] & ((1 << shift) - 1)).any():
        elements.note(
            f"HighBit {layout.high} says the {bits} bits of a value are the upper ones, but they are the lower ones; "
            "these were read."
        )
        shift = 0
    values = _signed((cells >> shift) & ((1 << bits) - 1), bits, layout.signed)
    whole = values if shift or bits == allocated else _signed(cells, allocated, layout.signed)
    valid = _valid(elements, layout, whole, counts)
    shown = seen & valid
    if not np.array_equal(whole[shown], values[shown]):
        if _roughness(whole, valid, index) < _roughness(values, valid, index):
            elements.note(f"BitsStored is {bits}, but values use more bits; all {allocated} were read.")
            values, bits = whole, allocated
        else:
            beside = (cells >> bits)[shown]
            if beside.any() and not (layout.signed and np.isin(beside, (0, (1 << allocated - bits) - 1)).all()):
                elements.note(f"Bits outside the {bits} of BitsStored are in use; they were cut off.")
            valid &= _valid(elements, layout, values, counts)
    return Stored(index, values, np.where(valid, counts, 0), valid, bits, -(1 << bits - 1) if layout.signed else 0)


def _signed(values: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    return np.where(values >> (bits - 1) & 1, values - (1 << bits), values) if signed else values


def _roughness(values: np.ndarray, valid: np.ndarray, index: np.ndarray) -> float:
    """Sum of the differences between neighbours in a row."""
    values = np.where(valid, values, 0)
    return float(sum(np.abs(np.diff(values[row])).sum() for row in index))


def _valid(elements: Elements, layout: Layout, values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Bool (N,): False on padding, PS3.3 C.7.5.1.1.2, unless that were nearly everything.

    PixelPaddingValue and the limit of its range, either end first, have the sign of the pixels whatever their VR says.
    """
    everything = np.ones(values.shape, bool)
    padding, limit = elements.whole("PixelPaddingValue"), elements.whole("PixelPaddingRangeLimit")
    if padding is None:
        return everything
    ends = [padding, padding if limit is None else limit]
    bits = max(16, layout.allocated)
    if layout.signed:
        ends = [end - (1 << bits) if end >= 1 << (bits - 1) else end for end in ends]
    else:
        ends = [end + (1 << bits) if end < 0 else end for end in ends]
    valid = (values < min(ends)) | (values > max(ends))
    share = counts[~valid].sum() / counts.sum()
    if share > HIDDEN_SHARE:
        elements.note(f"PixelPaddingValue would hide {100 * share:.0f} % of the image; it was not used.")
        return everything
    return valid

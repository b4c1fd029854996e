"""The stored values of a DICOM image: decompressed, in the right byte order, of the right bits and sign, and no more.

PS3.3 C.7.6.3 (image pixel), PS3.5 section 8 and annex D (how cells of `BitsAllocated` hold `BitsStored` bits).
"""

import dataclasses
import re
import warnings

import numpy as np
import pydicom
from pydicom import encaps
from pydicom import pixels as dicom_pixels
from pydicom.pixels.decoders.base import Decoder
from pydicom.pixels.utils import get_j2k_parameters

from ramjax.io import jpeg
from ramjax.io.dicom_elements import Elements
from ramjax.io.radiograph import ImageError, check_size

HIDDEN_SHARE = 0.95
"""Padding, a table or a window that takes away more than this share of an image is not used."""

SPARE_BYTES = 1024
"""PixelData may be this much longer than the image (padding of some writers); more contradicts Rows and Columns."""

_BLOCK = 1 << 20
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT")
_ITEM_TAG = b"\xfe\xff\x00\xe0"
_STREAM_STARTS = (b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")


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
        raise _frames(name, frames)
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
    photometric = {"PALETTECOLOR": "PALETTE COLOR"}.get(close, close if close in _GREY else photometric)
    samples = elements.whole("SamplesPerPixel")
    if samples is None:
        samples = 3 if photometric in _COLOUR else 1
    if not photometric and samples == 1:
        photometric = "MONOCHROME2"
        elements.note("PhotometricInterpretation is missing; MONOCHROME2 was taken: high values are bright.")
    if (samples, photometric) not in {*((1, grey) for grey in (*_GREY, "PALETTE COLOR")), *((3, c) for c in _COLOUR)}:
        said = f"PhotometricInterpretation {photometric[:16]!r} with SamplesPerPixel {samples}"
        raise ImageError(f"{name} has {said}, which is not read; export it as MONOCHROME2.")
    return samples, photometric


def _frames(name: str, frames: int) -> ImageError:
    return ImageError(f"{name} holds {frames} frames; save the one of the hand as a file of its own.")


def read_words(elements: Elements, layout: Layout, syntax: pydicom.uid.UID, name: str) -> tuple[np.ndarray, bool]:
    """Decodes PixelData.

    Returns:
      The cells: (H, W), or (H, W, 3) RGB, of an integer type; and whether `layout.high` tells where their bits are, as
      it does for cells that are stored as they are, and does not for those that a codec wrote by their value.

    Raises:
      ImageError: the pixels are truncated, damaged, several frames, or compressed in a way that no decoder reads.
    """
    vr, data = elements.raw("PixelData")
    if syntax.is_compressed:
        native = not data.startswith(_ITEM_TAG) and 0 <= len(data) - layout.length <= 1
        if not native:
            return _decompressed(data, layout, syntax, elements, name), syntax == pydicom.uid.RLELossless
        elements.note(f"The file says it is compressed as {syntax.name}, but its pixels are not.")
        syntax = pydicom.uid.ExplicitVRLittleEndian
    elif data.startswith(_ITEM_TAG) and len(data) < layout.length:
        raise ImageError(f"{name} holds compressed pixels and does not say in which way; export it uncompressed.")
    if layout.photometric != "YBR_FULL_422":
        _check_length(len(data), elements, layout, name)
    if layout.samples == 3 or layout.photometric == "PALETTE COLOR":
        return _array(data, layout, syntax, elements, name, vr), True
    cells = np.frombuffer(data, np.uint8)
    if layout.allocated == 8:
        if vr == "OW" and elements.byte_order == ">" and len(cells) % 2 == 0:
            cells = cells.reshape(-1, 2)[:, ::-1].ravel()  # two pixels are one word, the first its low byte
    else:
        size = layout.allocated // 8
        cells = cells[: len(cells) // size * size].view(f"{elements.byte_order}u{size}")
    count = layout.rows * layout.columns
    return cells[:count].reshape(layout.rows, layout.columns), True


def _check_length(length: int, elements: Elements, layout: Layout, name: str) -> None:
    """Raises ImageError unless `length` bytes are one frame, which writers may pad."""
    spare = length - layout.length
    if spare < 0:
        cells = layout.rows * layout.columns * layout.samples
        for bits in (8, 16):
            if bits < layout.allocated and 0 <= length - cells * bits // 8 <= 1:
                raise ImageError(
                    f"{name} has BitsAllocated {layout.allocated}, but its PixelData {bits} bits a value, a "
                    "contradiction; export it again."
                )
        raise ImageError(f"{name} is truncated: PixelData holds {length} of {layout.length} bytes; copy it again.")
    frames, rest = divmod(length, layout.length)
    if frames > 1 and rest <= 1:
        raise _frames(name, frames)
    if spare > SPARE_BYTES:
        raise ImageError(
            f"{name} has PixelData of {length} bytes, but Rows, Columns and BitsAllocated make {layout.length}, a "
            "contradiction; export it again."
        )
    if spare > layout.length % 2:
        elements.note(
            f"PixelData is {spare} bytes longer than Rows x Columns make it; they were left out: check the overlay."
        )


def _decompressed(data: bytes, layout: Layout, syntax: pydicom.uid.UID, elements: Elements, name: str) -> np.ndarray:
    try:
        decoder = dicom_pixels.get_decoder(syntax)
    except NotImplementedError as error:
        raise ImageError(f"{name} is stored as {syntax.name}, which is not read; export it uncompressed.") from error
    stream = _stream(data, syntax, name) if decoder.is_available else b""
    precision = _check_stream(stream, layout, name)
    # Pillow reads 8 bits of JPEG, and of JPEG 2000 16 grey or 8 coloured ones; pydicom offers it for all.
    pillow_bits = 16 if syntax in (pydicom.uid.JPEG2000, pydicom.uid.JPEG2000Lossless) and layout.samples == 1 else 8
    only_pillow = decoder.available_plugins == ("pillow",)
    if not decoder.is_available or (only_pillow and max(precision, layout.stored) > pillow_bits):
        bits = f" with {precision} bits" if only_pillow and precision else ""
        raise ImageError(
            f"{name} is compressed as {syntax.name}{bits} and no decoder for it is installed; "
            f"run `pip install {_packages(decoder)}`, or export it uncompressed."
        )
    if precision == 8 and syntax in (pydicom.uid.JPEGBaseline8Bit, pydicom.uid.JPEGExtended12Bit):
        # Pillow, which pydicom asks, is silent about damage.
        heard = jpeg.read_jpeg(stream, name)
        for note in heard.notes:
            elements.note(note)
        if layout.samples == 1 and heard.values.shape == (layout.rows, layout.columns):
            return heard.values
    return _array(data, layout, syntax, elements, name)


def _packages(decoder: Decoder) -> str:
    """What pip installs to decode a transfer syntax, as pydicom names it."""
    needed = re.findall(r"(pylibjpeg[\w-]*)>=", " ".join(decoder.missing_dependencies))
    return " ".join(dict.fromkeys(needed)) or "pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"


def _stream(data: bytes, syntax: pydicom.uid.UID, name: str) -> bytes:
    """The compressed bytes of the only frame."""
    damaged = f"{name} holds pixels that cannot be decoded ({syntax.name}, damaged or truncated); export it again."
    try:
        fragments = list(encaps.generate_fragments(data))[1:]  # the first is the table of offsets
    except Exception as error:  # pydicom raises nearly anything on damaged bytes.
        raise ImageError(damaged) from error
    if not fragments:
        raise ImageError(damaged)
    if syntax == pydicom.uid.RLELossless:  # one fragment a frame, PS3.5 A.4.2
        frames = len(fragments)
    else:  # a frame may be split; each begins with its marker
        frames = sum(fragment.startswith(_STREAM_STARTS) for fragment in fragments)
    if frames > 1:
        raise _frames(name, frames)
    return b"".join(fragments)


def _check_stream(stream: bytes, layout: Layout, name: str) -> int:
    """Raises ImageError where a JPEG or JPEG 2000 stream has another size than the file; returns its bits, or 0."""
    precision, size = 0, None
    start = stream.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start >= 0 and len(stream) >= start + 50:  # SIZ of ISO/IEC 15444-1 A.5.1: extent less offset
        x1, y1, x0, y0 = np.frombuffer(stream, ">u4", 4, start + 8).astype(int)
        precision, size = get_j2k_parameters(stream).get("precision", 0), (y1 - y0, x1 - x0)
    elif header := _jpeg_header(stream):
        precision, size = header[0], header[1:]
    if precision > layout.allocated:
        raise ImageError(
            f"{name} has BitsAllocated {layout.allocated}, but its compressed image {precision} bits, a contradiction; "
            "export it again."
        )
    if size is not None and size[0] and size != (layout.rows, layout.columns):
        raise ImageError(
            f"{name} says {layout.columns} x {layout.rows} pixels, but its compressed image has {size[1]} x {size[0]}, "
            "a contradiction; export it again."
        )
    return precision


def _jpeg_header(stream: bytes) -> tuple[int, int, int] | None:
    """Bits, rows and columns of the frame header of a JPEG or JPEG-LS stream, ISO/IEC 10918-1 B.2.2."""
    position = 2 if stream.startswith(b"\xff\xd8") else len(stream)
    while position + 9 < len(stream) and stream[position] == 0xFF:
        marker = stream[position + 1]
        if marker == 0xFF:  # fill
            position += 1
            continue
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            rows, columns = np.frombuffer(stream, ">u2", 2, position + 5).astype(int)
            return stream[position + 4], int(rows), int(columns)
        position += 2 + int.from_bytes(stream[position + 2 : position + 4], "big")
    return None


def _array(
    data: bytes, layout: Layout, syntax: pydicom.uid.UID, elements: Elements, name: str, vr: str = "OW"
) -> np.ndarray:
    """What pydicom decodes: (H, W), or RGB (H, W, 3). That it warns is noted."""
    decoder = dicom_pixels.get_decoder(syntax)
    options = dict(
        rows=layout.rows,
        columns=layout.columns,
        samples_per_pixel=layout.samples,
        photometric_interpretation=layout.photometric,
        planar_configuration=layout.planar,
        bits_allocated=layout.allocated,
        bits_stored=layout.stored,
        pixel_representation=int(layout.signed),
        number_of_frames=1,
        pixel_keyword="PixelData",
        pixel_vr=vr,
        correct_unused_bits=layout.photometric not in _GREY,  # of grey values, `stored_values` does it
    )
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            array, _ = decoder.as_array(data, **options)
        if array.shape[:2] != (layout.rows, layout.columns):
            raise ValueError("another size than Rows x Columns")
    except Exception as error:  # decoders raise nearly anything on damaged bytes.
        what = f"{name} holds pixels that cannot be decoded ({syntax.name}, damaged or truncated"
        if syntax.is_compressed and decoder.available_plugins == ("pillow",):
            remedy = f", or beyond Pillow); export it again, or run `pip install {_packages(decoder)}`."
        else:
            remedy = "); export it again."
        raise ImageError(what + remedy) from error
    if heard:
        elements.note(f"The decoder of {syntax.name} warned while decoding; the image may be damaged.")
    return array


def stored_values(words: np.ndarray, layout: Layout, placed: bool, elements: Elements) -> Stored:
    """Takes the stored values out of their cells (H, W): the `BitsStored` bits that end at `HighBit`, with their sign.

    Bits beside them are not part of a value (once they held overlays). But there are files whose values are larger
    than `BitsStored` says. Where other bits are in use, the reading with the smaller sum of differences between
    neighbours is taken: values that wrap round, as bits of something else, add to it. `placed`: see `read_words`.
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

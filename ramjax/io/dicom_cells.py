"""The cells of a DICOM image's pixels: uncompressed in the right byte order, or what a decoder makes of them.

PS3.5 section 8 and annex A. Lengths are compared before anything is decoded.
"""

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
from ramjax.io.dicom_stored import GREY, Layout, several_frames
from ramjax.io.radiograph import ImageError

SPARE_BYTES = 1024
"""PixelData may be this much longer than the image (padding of some writers); more contradicts Rows and Columns."""

_ITEM_TAG = b"\xfe\xff\x00\xe0"
_STREAM_STARTS = (b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")


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
        raise several_frames(name, frames)
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
    if precision in (0, 8) and syntax in (pydicom.uid.JPEGBaseline8Bit, pydicom.uid.JPEGExtended12Bit):
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
        raise several_frames(name, frames)
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
        correct_unused_bits=layout.photometric not in GREY,  # of grey values, `stored_values` does it
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

"""JPEG of 8 bits, baseline and progressive, whose decoder's warnings are heard: a damaged one is never a picture."""

import dataclasses
import io
import re
import struct

import numpy as np
import simplejpeg
from PIL import Image

from ramjax.io.decoders import decoding
from ramjax.io.radiograph import ImageError, check_size, damaged, unread
from ramjax.io.samples import Samples, converted, exif_orientation

END = b"\xff\xd9"
_FRAMES = {
    0xC0: "", 0xC1: "", 0xC2: "", 0xC3: "lossless JPEG", 0xC5: "hierarchical JPEG", 0xC6: "hierarchical JPEG",
    0xC7: "hierarchical JPEG", 0xC9: "arithmetic-coded JPEG", 0xCA: "arithmetic-coded JPEG",
    0xCB: "lossless JPEG", 0xCD: "hierarchical JPEG", 0xCE: "hierarchical JPEG", 0xCF: "hierarchical JPEG",
    0xF7: "JPEG-LS file",
}  # fmt: skip
"""What the start-of-frame marker says (ITU-T T.81, table B.1); '' is read."""
_PROGRESSIVE = 0xC2
_SCAN = 0xDA
_COLOURS = {1: "GRAY", 3: "RGB", 4: "CMYK"}
_XMP = b"http://ns.adobe.com/xap/"
_MAX_SCANS = 64
"""A progressive file of a real encoder has about ten; thousands would be decoded for hours."""


@dataclasses.dataclass(frozen=True)
class _Header:
    width: int
    height: int
    components: tuple[int, ...]
    progressive: bool
    adobe: bool = False
    exif: bytes | None = None
    scans: tuple[int, ...] = ()


def read_jpeg(data: bytes, name: str) -> Samples:
    """Decodes a JPEG file: grey, YCbCr, RGB, CMYK or YCCK.

    Raises:
      ImageError: the file is damaged, holds several images, has too many pixels, or is of a kind that is not read (12
        bits, lossless, arithmetic coding).
    """
    header = check_jpeg(data, name)
    with decoding(name), Image.open(io.BytesIO(data), formats=("JPEG", "MPO")) as image:
        frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise ImageError(f"{name} holds {frames} images; save the one of the hand as a file of its own.")
    notes: tuple[str, ...] = ()
    with decoding(name):
        try:
            values = decode_strictly(data, header, name)
        except ImageError:
            # The warning may be about bytes after the last pixel, which harm nothing.
            values = decode_strictly(_mended(data), header, name)
            notes += ("The end marker of the JPEG is missing, or stands after empty bytes.",)
    if not _complete(data, header):
        notes += ("The JPEG lacks its last scans: fine detail is missing.",)
    if len(header.components) == 4:
        # Adobe's files store ink upside down.
        values = converted(255 - values if header.adobe else values, "CMYK")
    orientation, more = 1, ()
    if header.exif or _XMP in data[: header.scans[0]]:
        orientation, more = exif_orientation(data, header.exif)
    return Samples(values[..., 0] if values.shape[2] == 1 else values, None, orientation, (*notes, *more))


def check_jpeg(data: bytes, name: str) -> _Header:
    """The header of a JPEG stream that can be decoded.

    Raises:
      ImageError: it is damaged, too large, or of a kind that is not read.
    """
    frame, adobe, exif, at = None, False, None, 2
    while True:
        while data[at : at + 2] == b"\xff\xff":
            at += 1
        if data[at : at + 1] != b"\xff" or at + 4 > len(data):
            raise damaged(name, "its header is broken")
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        content = data[at + 4 : at + 2 + length]
        if marker == _SCAN:
            break
        adobe |= marker == 0xEE and content.startswith(b"Adobe")
        if marker == 0xE1 and content.startswith(b"Exif"):
            exif = exif or content
        if marker in _FRAMES:
            frame = _checked_frame(marker, content, name)
        at += 2 + length
    if frame is None:
        raise damaged(name, "its header is broken")
    end = data.find(END, at)
    scans = tuple(match.start() for match in re.finditer(rb"\xff\xda", data[at : end if end > 0 else None]))
    if len(scans) > _MAX_SCANS:
        raise damaged(name, f"it has {len(scans)} scans")
    return dataclasses.replace(frame, adobe=adobe, exif=exif, scans=tuple(at + place for place in scans))


def _checked_frame(marker: int, content: bytes, name: str) -> _Header:
    if kind := _FRAMES[marker]:
        raise unread(name, kind)
    if len(content) < 6 or len(content) != 6 + 3 * content[5]:
        raise damaged(name, "its header is broken")
    bits, height, width, count = struct.unpack(">BHHB", content[:6])
    if bits != 8:
        raise unread(name, f"{bits}-bit JPEG")
    if count not in _COLOURS:
        raise unread(name, f"JPEG of {count} channels")
    check_size(width, height, name)
    return _Header(width, height, tuple(content[6::3]), marker == _PROGRESSIVE)


def decode_strictly(data: bytes, header: _Header, name: str) -> np.ndarray:
    """Grey, RGB or ink, uint8 (H, W, 1, 3 or 4).

    Raises:
      ImageError: libjpeg stops or warns.
    """
    try:
        return simplejpeg.decode_jpeg(data, _COLOURS[len(header.components)], strict=True)
    except ValueError as error:
        if "subsampling level" in str(error):
            raise unread(name, "JPEG of unusual colour sampling") from error
        raise damaged(name, f"its JPEG decoder says: {error}") from error


def _mended(data: bytes) -> bytes:
    """The stream without zeros around its end marker, and with one where it is missing."""
    return data.rstrip(b"\0").removesuffix(END).rstrip(b"\0") + END


def _complete(data: bytes, header: _Header) -> bool:
    """Whether the scans carry every coefficient of every component to its last bit."""
    missing = np.full((256, 64), 16, np.uint8)
    for at in header.scans:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        content = data[at + 4 : at + 2 + length]
        if len(content) < 4 or len(content) != 4 + 2 * content[0]:
            continue  # two bytes inside another part that look like a scan's
        first, last, approximation = content[-3:]
        for component in content[1:-3:2]:
            missing[component, first : last + 1] = approximation & 15
    return not header.progressive or not missing[list(header.components)].any()

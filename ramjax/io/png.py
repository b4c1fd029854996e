"""PNG of every bit depth and colour type: every checksum and the length of its pixels are checked before decoding."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
from PIL import Image

from ramjax.io.decoders import decoding
from ramjax.io.radiograph import ImageError, check_size, damaged, unread
from ramjax.io.samples import Samples, exif_orientation

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PALETTE = 3
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and steps between columns and rows, of the passes of an interlaced image (PNG, 8.2)."""
_ORIENTATION_ELSEWHERE = (b"Raw profile type exif", b"Raw profile type APP1", b"XML:com.adobe.xmp")
"""Texts in which older programs keep EXIF, and XMP."""

_PIECE = 1 << 20


def read_png(data: bytes, name: str) -> Samples:
    """Decodes a PNG file: grey, RGB or palette of 1 to 16 bits, with or without transparency.

    gAMA and colour profiles are left out: they describe a screen, not the film.

    Raises:
      ImageError: the file is damaged, holds several images, has too many pixels, or is of a kind that is not read.
    """
    parts, tail = _parts(data, name)
    if "IHDR" not in parts or len(parts["IHDR"]) != 13:
        raise damaged(name, "its header is missing")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", parts["IHDR"])
    check_size(width, height, name)
    if depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise damaged(name, "its header names no kind of PNG")
    if len(parts.get("acTL", b"")) == 8 and (frames := struct.unpack(">I", parts["acTL"][:4])[0]) > 1:
        raise ImageError(f"{name} holds {frames} images; save the one of the hand as a file of its own.")
    _check_length(parts.get("IDAT", b""), _bytes(width, height, depth * _CHANNELS[colour], interlace), name)
    with decoding(name) as heard:
        values = _indexed(data, parts, name) if colour == _PALETTE else imagecodecs.png_decode(data)
    if values.shape[:2] != (height, width):
        raise damaged(name, "its decoder finds another size than its header says")
    notes = tuple(f"The PNG decoder warns: {' '.join(warning.split())}." for warning in heard)
    if tail:
        notes += (f"{tail} bytes after the end of the PNG image were left out.",)
    alpha = values[..., -1] if values.ndim == 3 and values.shape[2] in (2, 4) else None
    if values.ndim == 3:
        values = values[..., 0] if values.shape[2] == 2 else values[..., :3]
    orientation, more = 1, ()
    if "eXIf" in parts or any(word in data for word in _ORIENTATION_ELSEWHERE):
        orientation, more = exif_orientation(data, parts.get("eXIf"))
    return Samples(values, alpha, orientation, (*notes, *more))


def _parts(data: bytes, name: str) -> tuple[dict[str, bytes], int]:
    """The content of the chunks by type, IDAT joined, and how many bytes follow the last one."""
    parts: dict[str, bytes] = {}
    pixels: list[bytes] = []
    at = len(SIGNATURE)
    while "IEND" not in parts:
        if at + 12 > len(data):
            raise damaged(name, "it ends early")
        length, kind = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + 8 + length]
        check = data[at + 8 + length : at + 12 + length]
        if len(check) < 4:
            raise damaged(name, "it ends early")
        if int.from_bytes(check, "big") != zlib.crc32(content, zlib.crc32(kind)):
            raise damaged(name, f"the checksum of its {kind.decode('latin-1')!a} part is wrong")
        text = kind.decode("latin-1")
        if text == "CgBI":
            raise unread(name, "PNG in Apple's own form (CgBI)")
        if text == "IDAT":
            pixels.append(content)
        elif text in parts and text in ("IHDR", "PLTE", "tRNS", "acTL"):
            raise damaged(name, f"it has two {text} parts")
        else:
            parts[text] = content
        at += 12 + length
    return parts | {"IDAT": b"".join(pixels)}, len(data) - at


def _bytes(width: int, height: int, bits: int, interlace: int) -> int:
    """How many bytes the rows unfold to, each with its filter byte, at `bits` a pixel."""
    passes = [(width, height)]
    if interlace:
        passes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in _ADAM7]
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in passes if columns > 0 and rows > 0)


def _check_length(packed: bytes, expected: int, name: str) -> None:
    """Unfolds the pixels piece by piece, keeping none: a bomb costs no memory, and zlib's own checksum is heard."""
    stream, found = zlib.decompressobj(), 0
    try:
        piece = stream.decompress(packed, _PIECE)
        while piece and found <= expected:
            found += len(piece)
            piece = stream.decompress(stream.unconsumed_tail, _PIECE)
    except zlib.error as error:
        raise damaged(name, "its compressed pixels are broken") from error
    if found != expected or not stream.eof:
        raise damaged(name, f"its header promises {expected:,} bytes of pixels and it holds {found:,} or more")


def _indexed(data: bytes, parts: dict[str, bytes], name: str) -> np.ndarray:
    """RGB, or RGB and alpha, uint8 (H, W, 3 or 4), of an image whose pixels are places in a palette."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        places = np.asarray(image)
    palette = parts.get("PLTE", b"")
    if len(palette) % 3 or not palette:
        raise damaged(name, "its palette is missing")
    colours = np.frombuffer(palette, np.uint8).reshape(-1, 3)
    if places.max() >= len(colours):
        raise damaged(name, "its pixels name colours that its palette lacks")
    if opacity := parts.get("tRNS"):
        alpha = np.full((len(colours), 1), 255, np.uint8)
        alpha[: len(opacity), 0] = np.frombuffer(opacity, np.uint8)[: len(colours)]
        colours = np.concatenate([colours, alpha], axis=1)
    return colours[places]

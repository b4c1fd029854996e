"""A PNG writer that shares no code with the reader: what is asked for is written, whether it makes sense or not."""

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def part(kind: bytes, content: bytes, check: int | None = None) -> bytes:
    check = zlib.crc32(kind + content) if check is None else check
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def header(width: int, height: int, depth: int, colour: int, interlaced: bool = False) -> bytes:
    return part(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))


def rows(samples: np.ndarray, depth: int) -> bytes:
    """The bytes of samples (H, W) or (H, W, C) of `depth` bits, each row without a filter."""
    if depth == 16:
        packed = samples.astype(">u2").reshape(len(samples), -1).view(np.uint8)
    else:
        bits = np.unpackbits(samples.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
        packed = np.packbits(bits.reshape(len(samples), -1), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in packed)


def png(samples: np.ndarray, depth: int, colour: int, *before: bytes, interlaced: bool = False) -> bytes:
    """The bytes of a file; `before` are parts that stand before the pixels."""
    if interlaced:
        passes = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7]
        raw = b"".join(rows(one, depth) for one in passes if one.size)
    else:
        raw = rows(samples, depth)
    height, width = samples.shape[:2]
    head = header(width, height, depth, colour, interlaced)
    return SIGNATURE + head + b"".join(before) + part(b"IDAT", zlib.compress(raw)) + part(b"IEND", b"")

"""BMP of 1 to 32 bits, uncompressed or run-length coded, either way up."""

import io
import struct

import numpy as np
from PIL import Image

from ramjax.io.decoders import decoding
from ramjax.io.radiograph import check_size, damaged, unread
from ramjax.io.samples import Samples

_COMPRESSIONS = {4: "BMP that holds a JPEG", 5: "BMP that holds a PNG", 11: "CMYK BMP", 12: "CMYK BMP", 13: "CMYK BMP"}
_RUN_LENGTH = (1, 2)
_OS2_HEADER = 12


def read_bmp(data: bytes, name: str) -> Samples:
    """Decodes a BMP file: palette of 1 to 8 bits, RGB of 16, 24 and 32 bits, with or without transparency.

    Raises:
      ImageError: the file is damaged, has too many pixels, or is of a kind that is not read.
    """
    if len(data) < 26:
        raise damaged(name, "its header is broken")
    (size,), (offset, header) = struct.unpack_from("<I", data, 2), struct.unpack_from("<II", data, 10)
    if header == _OS2_HEADER:
        (width, height, _, bits), compression = struct.unpack_from("<HHHH", data, 18), 0
    elif header >= 40 and len(data) >= 54:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    else:
        raise damaged(name, "its header is broken")
    if kind := _COMPRESSIONS.get(compression):
        raise unread(name, kind)
    if bits not in (1, 4, 8, 16, 24, 32):
        raise unread(name, f"BMP of {bits} bits a pixel")
    check_size(width, abs(height), name)
    needed = (width * bits + 31) // 32 * 4 * abs(height)
    if compression not in _RUN_LENGTH and len(data) - offset < needed:
        raise damaged(name, f"its header promises {needed:,} bytes of pixels and it holds {len(data) - offset:,}")
    # Headers up to 40 bytes allow nothing behind the pixels; bytes after the length that the file states are another's.
    surplus = min(len(data), size) - offset - needed
    if compression not in _RUN_LENGTH and header <= 40 and surplus >= needed // abs(height):
        raise damaged(name, f"its header promises {needed:,} bytes of pixels and it holds {surplus:,} more")
    with decoding(name), Image.open(io.BytesIO(data), formats=("BMP",)) as image:
        values = np.asarray(image.convert("RGB") if image.mode == "RGBX" else image)
        if image.mode == "P":
            colours = np.asarray(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
            if values.max() >= len(colours):
                raise damaged(name, "its pixels name colours that its palette lacks")
            values = colours[values]
    if values.dtype == bool:
        values = values.astype(np.uint8) * 255
    if values.shape[:2] != (abs(height), width):
        raise damaged(name, "its decoder finds another size than its header says")
    if values.ndim == 3 and values.shape[2] == 4:
        return Samples(values[..., :3], values[..., 3])
    return Samples(values)

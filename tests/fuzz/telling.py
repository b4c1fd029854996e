"""Whether a file tells that it is damaged: by its checksums, its lengths or a decoder's warning.

These are checks of their own, which share nothing with the readers. They may be strict: they are asked only where a
reader returned other content than the whole file has.
"""

import io
import json as json_lib
import math
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom
import simplejpeg

from tests.fuzz.mutate import png_chunks

_ENTRY = struct.Struct("<HHI4s")
_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
"""Layouts of whole numbers by their type (TIFF 6.0, section 2)."""


def always(content: bytes) -> bool:
    """A file of the project's own whose checksums cover all of it."""
    return True


def never(content: bytes) -> bool:
    """Text without any structure that a change would break."""
    return False


def _raises(check: Callable[[bytes], Any]) -> Callable[[bytes], bool]:
    """Whether the check raises, or returns False."""

    def damaged(content: bytes) -> bool:
        try:
            return check(content) is False
        except Exception:  # of whatever kind: the file is not whole
            return True

    return damaged


@_raises
def png(content: bytes) -> bool:
    """Checksums of the chunks, that of the pixels, and how many those are."""
    chunks = png_chunks(content)
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", dict(chunks)[b"IHDR"])
    pixels = zlib.decompress(b"".join(data for name, data in chunks if name == b"IDAT"))
    row = 1 + math.ceil(width * depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] / 8)
    return interlaced == 1 or len(pixels) == row * height


@_raises
def bmp(content: bytes) -> bool:
    """Pixels for each row."""
    start, _, width, height, _, bits = struct.unpack_from("<IIiiHH", content, 10)
    return len(content) >= start + (width * bits + 31) // 32 * 4 * abs(height)


@_raises
def jpeg(content: bytes) -> None:
    """The warnings of libjpeg-turbo, which are errors here."""
    simplejpeg.decode_jpeg(content, strict=True)


@_raises
def tiff(content: bytes) -> bool:
    """Strips within the file, each of the bytes that its rows take."""
    (directory,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, directory)
    tags = {}
    for n in range(count):
        tag, kind, size, value = _ENTRY.unpack_from(content, directory + 2 + 12 * n)
        if kind in _TYPES:
            layout = f"<{size}{_TYPES[kind]}"
            value = value if struct.calcsize(layout) <= 4 else content[struct.unpack("<I", value)[0] :]
            tags[tag] = struct.unpack_from(layout, value)
    (width,), (height,), bits = tags[256], tags[257], tags.get(258, (1,))
    rows = min(tags.get(278, (height,))[0], height)
    row = math.ceil(width * sum(bits[: tags.get(277, (1,))[0]]) / 8)
    decode = {1: bytes, 5: _lzw, 8: zlib.decompress, 32946: zlib.decompress}[tags.get(259, (1,))[0]]
    strips = list(zip(tags[273], tags[279], strict=True))
    decoded = [len(decode(content[at : at + size])) for at, size in strips if at + size <= len(content)]
    return decoded == [row * min(rows, height - n * rows) for n in range(math.ceil(height / rows))]


def _lzw(data: bytes) -> bytes:
    """The bytes of a TIFF strip (TIFF 6.0, section 13); ValueError where a code cannot stand where it stands."""
    words, bits, width, out, last = [], int.from_bytes(data, "big"), 9, [], None
    at = 8 * len(data)
    while at >= width:
        at -= width
        code = bits >> at & ((1 << width) - 1)
        if code == 257:
            return b"".join(out)
        if code == 256:
            words, width, last = [bytes([n]) for n in range(256)] + [b"", b""], 9, None
            continue
        if last is None:
            word = words[code]
        else:
            word = words[code] if code < len(words) else last + last[:1]
            if code > len(words):
                raise ValueError("a code that is not there yet")
            words.append(last + word[:1])
        width = 9 + (len(words) > 510) + (len(words) > 1022) + (len(words) > 2046)
        out.append(word)
        last = word
    raise ValueError("no end")


@_raises
def dicom(content: bytes) -> bool:
    """Pixels for each row; of compressed ones, the warnings of their decoder."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    data, syntax = dataset.PixelData, dataset.file_meta.TransferSyntaxUID
    if syntax == pydicom.uid.JPEGBaseline8Bit:
        (frame,) = pydicom.encaps.generate_frames(data, number_of_frames=1)
        simplejpeg.decode_jpeg(frame, strict=True)
        return True
    # An empty element is an absent one.
    whole = dataset.Rows * dataset.Columns * (dataset.get("SamplesPerPixel") or 1) * dataset.BitsAllocated // 8
    if syntax == pydicom.uid.RLELossless:
        (frame,) = pydicom.encaps.generate_frames(data, number_of_frames=1)
        return _rle(frame) == whole
    return len(data) == whole + whole % 2


def _rle(frame: bytes) -> int:
    """How many bytes an RLE frame holds (DICOM PS3.5, annex G)."""
    count, *offsets = struct.unpack_from("<16I", frame)
    total = 0
    for start, stop in zip(offsets[:count], [*offsets[1:count], len(frame)], strict=True):
        at = start
        while at < stop - 1:
            code = frame[at]
            if code < 128:
                at, total = at + 2 + code, total + 1 + code
            elif code > 128:
                at, total = at + 2, total + 257 - code
            else:
                at += 1
    return total


def _strict(text: bytes, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The value of JSON as its standard has it, which knows no NaN."""

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is no number of JSON")

    return json_lib.loads(text.decode("utf-8-sig"), parse_constant=refuse, object_pairs_hook=pairs_hook)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A group of JSON none of whose keys comes twice."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key comes twice")
    return values


json = _raises(lambda content: _strict(content) is not None)
"""Whether a file is no JSON; of a key that comes twice, the last value counts, as everywhere."""


@_raises
def checked_json(content: bytes) -> bool:
    """JSON whose ``crc32``, where it has one, is that of the other values, as they are written on one line."""
    values = _strict(content)
    stored = values.pop("crc32", None)
    return stored in (None, f"{zlib.crc32(json_lib.dumps(values).encode()):08x}")


def rows(content: bytes) -> bool:
    """Lines of `checked_json`; what a kill leaves of the last one counts for nothing."""
    lines = content.split(b"\n")
    if b"}" not in lines[-1]:
        lines.pop()
    return any(checked_json(line) for line in lines)


@_raises
def coco(content: bytes) -> bool:
    """JSON whose masks, or boxes where there are none, are numbers near an image, and whose run lengths cover it."""
    values = _strict(content, _once)
    sizes = {image["id"]: (image["height"], image["width"]) for image in values["images"]}
    for annotation in values["annotations"]:
        height, width = sizes[annotation["image_id"]]
        segmentation = annotation.get("segmentation") or annotation.get("bbox") or []
        numbers = segmentation if isinstance(segmentation, list) else []
        if isinstance(segmentation, dict) and isinstance(segmentation["counts"], list):
            if min(segmentation["counts"]) < 0 or sum(segmentation["counts"]) != height * width:
                return False
        elif numbers and annotation.get("segmentation"):
            numbers = [number for polygon in segmentation for number in polygon]
            if any(len(polygon) % 2 for polygon in segmentation):
                return False
        if any(isinstance(n, bool) or not abs(n) < 4 * max(height, width) for n in numbers):
            return False
    return True


@_raises
def archive(content: bytes) -> bool:
    """The checksums of what is in it."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return file.testzip() is None


@_raises
def npy(content: bytes) -> bool:
    """As many zeros and ones as the header says."""
    file = io.BytesIO(content)
    values = np.load(file, allow_pickle=False)
    return not file.read(1) and bool(np.isin(values, (0, 1)).all())

"""TIFF and BigTIFF of every sample format, strip by strip: what is short, missing or contradictory is damage."""

import io
import itertools
import math
import pathlib
import zlib

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from ramjax.io.decoders import decoding
from ramjax.io.jpeg import END, check_jpeg, decode_strictly
from ramjax.io.radiograph import ImageError, check_size, damaged, unread
from ramjax.io.samples import Samples, converted

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_NO_IMAGE_OF_ITS_OWN = 1 | 4
"""Bits of NewSubfileType: a smaller copy of another page, and its transparency mask (TIFF 6.0, tag 254)."""

_OLD_THUMBNAIL = 2
"""Value of SubfileType (tag 255), which NewSubfileType replaced."""

_COMPRESSIONS = {
    1: "none", 5: "LZW", 7: "JPEG", 8: "deflate", 32946: "deflate",
    32773: "PackBits", 34925: "LZMA", 34926: "zstd", 50000: "zstd", 34927: "WebP", 50001: "WebP",
}  # fmt: skip
"""Those that are read. Of the others, fax (CCITT) is black and white and its decoders are silent about damage; the
rest may unfold to a size that nothing tells before they are decoded."""

_UNPACK = {
    "LZW": lambda data, most: imagecodecs.lzw_decode(data, out=most),
    "deflate": lambda data, most: zlib.decompressobj().decompress(data, most),
}
"""How a strip or tile becomes its rows: at most so many bytes."""

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
"""Channels that a photometric interpretation has, beside extra ones."""

_PREMULTIPLIED = 1
_SMALL = 1024
"""A side, in pixels, that a tile may have in any image."""
_MAX_PAGES = 1000
"""Pages that are looked at; a file that lists more holds several images or is an attack."""


def read_tiff(path: pathlib.Path, name: str) -> Samples:
    """Decodes the only image of a TIFF file.

    Grey of 1 to 64 bits, signed, unsigned or floating, either polarity; RGB, CMYK and YCbCr; palettes; strips, tiles
    and planes. Pages that are thumbnails or masks of it are left out.

    Raises:
      ImageError: the file is damaged, holds several images, has too many pixels, or is of a kind that is not read.
    """
    notes: tuple[str, ...] = ()
    with decoding(name) as heard, tifffile.TiffFile(path) as file:
        page = _only_page(file, name)
        check_size(page.imagewidth, page.imagelength, name)
        if 262 not in page.tags:
            page.photometric = _RGB if page.samplesperpixel >= 3 else _BLACK_IS_ZERO
            notes += ("The TIFF does not say whether 0 is black or white; it was taken as black.",)
        _check_kind(page, name)
        values = _decoded(file, page, name)
        samples = _as_samples(page, values, name)
        notes += _surplus(file, page)
        orientation = page.tags.valueof(274, 1)
    if heard:
        notes += ("Parts of the TIFF header are damaged; they were left out.",)
    return Samples(samples.values, samples.alpha, orientation, (*samples.notes, *notes))


def _only_page(file: tifffile.TiffFile, name: str) -> tifffile.TiffPage:
    file.pages.useframes = False
    # A page without a size is none: to look for others behind it may take for ever.
    there = itertools.takewhile(lambda page: page.imagewidth > 0, file.pages)
    first = itertools.islice(there, _MAX_PAGES)
    pages = [page for page in first if not _belongs_to_another(page)]
    count = len(pages)
    if count == 1:
        # ImageJ stores a stack behind one page.
        count = max(pages[0].imagedepth, int((file.imagej_metadata or {}).get("images", 1)))
    if count > 1:
        raise ImageError(f"{name} holds {count} images; save the one of the hand as a file of its own.")
    return pages[0] if pages else file.pages.first


def _belongs_to_another(page: tifffile.TiffPage) -> bool:
    return bool(int(page.subfiletype) & _NO_IMAGE_OF_ITS_OWN) or page.tags.valueof(255) == _OLD_THUMBNAIL


def _check_kind(page: tifffile.TiffPage, name: str) -> None:
    """Raises where the page is of a kind that is not read."""
    if page.compression not in _COMPRESSIONS:
        raise unread(name, f"TIFF compressed as {_named(tifffile.COMPRESSION, page.compression)}")
    if page.photometric not in _COLOURS:
        raise unread(name, f"TIFF with {_named(tifffile.PHOTOMETRIC, page.photometric)} colours")
    bits = page.bitspersample
    if page.dtype is None or isinstance(bits, tuple) or page.dtype.kind not in "buif":
        raise unread(name, f"TIFF of {bits} bits and sample format {page.sampleformat}")
    if page.samplesperpixel > 1 and (bits not in (8, 16) or page.dtype.kind not in "u"):
        raise unread(name, f"TIFF of {page.samplesperpixel} channels of {page.dtype.name}")
    if page.samplesperpixel > max(_COLOURS[page.photometric], 3) + 1:
        raise unread(name, f"TIFF of {page.samplesperpixel} channels")
    if page.samplesperpixel < _COLOURS[page.photometric]:
        raise damaged(name, "it has fewer channels than its colours need")
    if page.photometric in (_CMYK, _YCBCR) and bits != 8:
        raise unread(name, f"TIFF of {bits} bits with {_named(tifffile.PHOTOMETRIC, page.photometric)} colours")
    if page.photometric == _CMYK and page.compression == 7:
        raise unread(name, "TIFF with CMYK colours in JPEG")
    if page.photometric == _YCBCR and page.compression != 7 and page.is_subsampled:
        raise unread(name, "TIFF with subsampled YCbCr colours outside JPEG")


def _named(kinds: type, value: int) -> str:
    try:
        return kinds(value).name
    except ValueError:
        return f"number {value}"


def _decoded(file: tifffile.TiffFile, page: tifffile.TiffPage, name: str) -> np.ndarray:
    """The samples (H, W, C) as they are stored, each strip or tile checked to be whole."""
    height, width, channels = page.imagelength, page.imagewidth, page.samplesperpixel
    planes = channels if page.planarconfig == 2 else 1
    across, down = (page.tilewidth, page.tilelength) if page.is_tiled else (width, page.rowsperstrip)
    if across < 1 or down < 1:
        raise damaged(name, "its strips have no size")
    expected = math.ceil(width / across) * math.ceil(height / down) * planes
    if len(page.dataoffsets) != expected or len(page.databytecounts) != expected:
        raise damaged(name, f"{expected} strips or tiles make the image and it lists {len(page.dataoffsets)}")
    if across * down > 2 * max(width, _SMALL) * max(height, _SMALL):
        raise damaged(name, "its tiles are far larger than the image")
    canvas = None
    for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        data = _read(file, offset, count)
        if not data or (len(data) < count and page.compression != 1):
            raise damaged(name, f"strip or tile {index} is missing or reaches beyond the end of the file")
        _check_stream(page, data, (across, down), name)
        segment, (plane, _, top, left, _), _ = page.decode(data, index, jpegtables=page.jpegtables)
        if canvas is None:
            canvas = np.empty((planes, height, width, segment.shape[-1]), segment.dtype)
        rows, columns = min(height - top, segment.shape[1]), min(width - left, segment.shape[2])
        canvas[plane, top : top + rows, left : left + columns] = segment[0, :rows, :columns]
    return np.moveaxis(canvas[..., 0], 0, -1) if planes > 1 else canvas[0]


def _read(file: tifffile.TiffFile, offset: int, count: int) -> bytes:
    handle = file.filehandle
    handle.seek(min(offset, handle.size))
    return handle.read(min(count, handle.size - handle.tell()))


def _surplus(file: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[str, ...]:
    """A note where uncompressed strips hold at least a row more than the header says, which may be wrong then."""
    if page.is_tiled or page.compression != 1:
        return ()
    row = math.ceil(page.imagewidth * page.samplesperpixel * page.bitspersample / 8)
    strips = zip(page.dataoffsets, page.databytecounts, strict=True)
    held = sum(min(count, file.filehandle.size - offset) for offset, count in strips)
    if held < row * (page.imagelength + 1):
        return ()
    return ("The strips of the TIFF hold more than its header says; what is more was left out.",)


def _check_stream(page: tifffile.TiffPage, data: bytes, size: tuple[int, int], name: str) -> None:
    """Hears the warnings of JPEG, and refuses a strip whose own header claims to be far larger than the strip."""
    kind = _COMPRESSIONS[page.compression]
    if kind == "JPEG":
        tables = page.jpegtables
        whole = tables[:-2] + data[2:] if tables else data
        header = check_jpeg(whole, name)
        claimed = header.width, header.height
    elif kind in _UNPACK:
        whole = math.ceil(size[0] * page.samplesperpixel * page.bitspersample / 8) * size[1]
        if len(_UNPACK[kind](_in_order(page, data), whole + 1)) > whole:
            raise damaged(name, "a strip or tile holds more than its rows")
        return
    elif kind == "WebP":
        with Image.open(io.BytesIO(data), formats=("WEBP",)) as image:
            claimed = image.size
    else:
        return
    if claimed[0] > size[0] or claimed[1] > size[1]:
        raise damaged(name, "a strip or tile claims to be larger than it is")
    if kind == "JPEG":
        if not data.rstrip(b"\0").endswith(END):
            raise damaged(name, "a JPEG strip or tile has no end")
        decode_strictly(whole, header, name)


def _in_order(page: tifffile.TiffPage, data: bytes) -> bytes:
    return imagecodecs.bitorder_decode(data) if page.fillorder == 2 else data


def _as_samples(page: tifffile.TiffPage, values: np.ndarray, name: str) -> Samples:
    photometric, colours = page.photometric, _COLOURS[page.photometric]
    extra = values.shape[-1] - colours
    if colours == 1 and extra >= 2:
        colours, extra = 3, extra - 2  # three greys that are not called RGB
    alpha = values[..., -1] if extra == 1 else None
    values = values[..., :colours]
    if alpha is not None and page.extrasamples and page.extrasamples[0] == _PREMULTIPLIED:
        values = _unmultiplied(values, alpha)
    if photometric == _PALETTE:
        values = _looked_up(values[..., 0], page.colormap, name)
    elif photometric == _CMYK:
        values = converted(values, "CMYK")
    elif photometric == _YCBCR and page.compression != 7:
        values = converted(values, "YCbCr")
    elif page.bitspersample < 8:
        values = np.rint(values.astype(np.float32) * (255 / (2**page.bitspersample - 1))).astype(np.uint8)
    if photometric == _WHITE_IS_ZERO:
        values = -values if values.dtype.kind == "f" else ~values
    return Samples(values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values, alpha)


def _unmultiplied(values: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    full = np.iinfo(values.dtype).max
    share = np.maximum(alpha, 1).astype(np.float32) / full
    colours = np.empty_like(values)
    for channel in range(values.shape[-1]):
        colours[..., channel] = np.minimum(np.rint(values[..., channel] / share), full)
    return colours


def _looked_up(places: np.ndarray, table: np.ndarray | None, name: str) -> np.ndarray:
    if table is None or table.ndim != 2 or len(table) != 3 or places.max() >= table.shape[1]:
        raise damaged(name, "its palette is missing or too short")
    # The table has 16 bits; some writers leave the upper eight empty.
    return (table.T >> (8 if table.max() > 255 else 0)).astype(np.uint8)[places]

"""What reading costs at most, whatever a file says of itself: bytes a pixel, and nothing before a refusal."""

import pathlib
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.io.png_files import GREY, RGBA, SIGNATURE, header, part, png
from tests.io.tiff_files import image, tiff

BYTES_A_PIXEL = 32
"""The bound that docs/predicting.md states."""

_MEASURE = """
import sys
from ramjax.io.images import read_radiograph
from ramjax.io.radiograph import ImageError

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024

before = peak()
for path in sys.argv[1:]:
    try:
        read_radiograph(path)
    except ImageError as error:
        print(error)
print(peak() - before)
"""

pytestmark = pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="needs Linux's /proc")


def _grown(*paths: pathlib.Path) -> tuple[list[str], int]:
    """What was refused, and by how many bytes the peak of a fresh process grew over reading `paths`."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, *map(str, paths)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    *refused, grown = done.stdout.splitlines()
    return refused, int(grown)


def test_bytes_a_pixel(tmp_path):
    side = 1500
    y, x = np.mgrid[:side, :side]
    grey = ((x + y) * 255 // (2 * side)).astype(np.uint8)
    wide = grey.astype(np.uint16) * 257
    (tmp_path / "a.png").write_bytes(png(np.stack([wide] * 4, -1), 16, RGBA))
    Image.fromarray(grey).convert("P").save(tmp_path / "b.png", transparency=3)
    Image.fromarray(grey).convert("CMYK").save(tmp_path / "c.jpg", progressive=True)
    Image.fromarray(grey).convert("RGBA").save(tmp_path / "d.bmp")
    tifffile.imwrite(tmp_path / "e.tif", grey.astype(np.float64), rowsperstrip=side, compression="deflate")
    tifffile.imwrite(
        tmp_path / "f.tif", np.stack([wide] * 4, -1), photometric="rgb", extrasamples=["assocalpha"],
        rowsperstrip=side, compression="lzw", predictor=2,
    )  # fmt: skip
    refused, grown = _grown(*sorted(tmp_path.iterdir()))
    assert not refused and grown < BYTES_A_PIXEL * side * side


def test_bombs_cost_nothing(tmp_path):
    def png_bomb(side: int, claimed: int, depth: int) -> bytes:
        squeeze = zlib.compressobj(9)
        row = bytes(1 + side * depth // 8)
        packed = b"".join(squeeze.compress(row) for _ in range(side)) + squeeze.flush()
        return SIGNATURE + header(claimed, claimed, depth, GREY) + part(b"IDAT", packed) + part(b"IEND", b"")

    empty = zlib.compress(bytes(50_000_000), 9)
    page = image([empty], 100, 100, COMPRESSION=8)
    bitmap = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 60, 0, 0, 54, 40, 30_000, 30_000, 1, 8, 1, 0, 0, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(png_bomb(4_000, 12_000, 16))
    (tmp_path / "b.png").write_bytes(png_bomb(6_000, 100, 8))
    (tmp_path / "c.tif").write_bytes(tiff(page))
    (tmp_path / "d.tif").write_bytes(tiff(image([empty], 90_000, 90_000, COMPRESSION=8)))
    (tmp_path / "e.bmp").write_bytes(bitmap + bytes(40))
    refused, grown = _grown(*sorted(tmp_path.iterdir()))
    assert len(refused) == 5 and grown < 20_000_000, refused

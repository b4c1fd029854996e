"""BMP of every depth, either way up, run-length coded or not, and headers that promise more than there is."""

import struct

import numpy as np
import pytest
from PIL import Image

from ramjax.io.images import read_bmp, read_radiograph
from ramjax.io.radiograph import ImageError
from tests.io.films import film

FILM = film(90, 71)
HEIGHT, WIDTH = FILM.shape
RAMP = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(256, 3)


def bmp(
    rows: list[bytes], bits: int, palette: np.ndarray | None = None, compression: int = 0, masks: tuple = (), **more
) -> bytes:
    """The bytes of a file of padded rows from the bottom up; `more`: width, height and used (colours) of the header."""
    table = b"" if palette is None else np.pad(palette[:, ::-1], ((0, 0), (0, 1))).astype(np.uint8).tobytes()
    extra = struct.pack(f"<{len(masks)}I", *masks)
    pixels = b"".join(row.ljust(-(-len(row) // 4) * 4, b"\0") if compression not in (1, 2) else row for row in rows)
    offset = 54 + len(extra) + len(table)
    head = struct.pack("<2sIHHI", b"BM", offset + len(pixels), 0, 0, offset)
    size = more.get("width", WIDTH), more.get("height", HEIGHT)
    used = more.get("used", 0 if palette is None else len(palette))
    info = struct.pack("<IiiHHIIiiII", 40, *size, 1, bits, compression, len(pixels), 2835, 2835, used, 0)
    return head + info + extra + table + pixels


def _rows(samples: np.ndarray, bits: int) -> list[bytes]:
    if bits < 8:
        places = np.unpackbits(samples.astype(np.uint8)[..., None], axis=-1)[..., 8 - bits :]
        samples = np.packbits(places.reshape(len(samples), -1), axis=1)
    return [row.tobytes() for row in samples[::-1]]


def _read(path, data: bytes):
    path = path / "film.bmp"
    path.write_bytes(data)
    radiograph = read_radiograph(path)
    np.testing.assert_array_equal(read_bmp(path), radiograph.pixels)
    return radiograph


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("upside_down", [False, True])
def test_palettes(tmp_path, bits, upside_down):
    top = 2**bits - 1
    levels = np.rint(FILM / 255 * top).astype(np.uint8)
    shades = np.rint(RAMP[: top + 1][::-1] * (255 / top)).astype(np.uint8)
    for places, palette in ((levels, shades[::-1]), (top - levels, shades)):
        rows = _rows(places[::-1] if upside_down else places, bits)
        data = bmp(rows, bits, palette, height=-HEIGHT if upside_down else HEIGHT)
        np.testing.assert_allclose(_read(tmp_path, data).pixels.astype(int), levels / top * 255, atol=1)


def test_sixteen_bits_a_pixel(tmp_path):
    five = (FILM >> 3).astype("<u2")
    found = _read(tmp_path, bmp(_rows(five << 10 | five << 5 | five, 16), 16)).pixels
    np.testing.assert_allclose(found.astype(int), five / 31 * 255, atol=1)
    masks = (0xF800, 0x07E0, 0x001F)
    values = five << 11 | (FILM >> 2).astype("<u2") << 5 | five
    found = _read(tmp_path, bmp(_rows(values, 16), 16, compression=3, masks=masks)).pixels
    np.testing.assert_allclose(found.astype(int), FILM, atol=8)


@pytest.mark.parametrize("channels", [3, 4])
def test_twenty_four_and_thirty_two_bits(tmp_path, channels):
    values = np.repeat(FILM[..., None], channels, -1)
    values[..., 3:] = 0
    radiograph = _read(tmp_path, bmp(_rows(values, 8), 8 * channels))
    np.testing.assert_array_equal(radiograph.pixels, FILM)


def test_run_lengths(tmp_path):
    rows = []
    for row in FILM[::-1]:
        rows.append(b"".join(bytes((1, value)) for value in row) + b"\0\0")
    whole = bmp([*rows[:-1], rows[-1][:-2] + b"\0\1"], 8, RAMP, compression=1)
    np.testing.assert_array_equal(_read(tmp_path, whole).pixels, FILM)
    for length in range(1100, len(whole) - 2, 997):
        with pytest.raises(ImageError, match="damaged"):
            _read(tmp_path, whole[:length])


@pytest.mark.parametrize(
    "data, words",
    [
        (bmp(_rows(FILM, 8), 8, RAMP, height=HEIGHT + 1), "promises"),
        (bmp(_rows(FILM, 8), 8, RAMP, height=-HEIGHT - 1), "promises"),
        (bmp(_rows(FILM, 8), 8, RAMP, width=WIDTH + 8), "promises"),
        (bmp(_rows(FILM, 8), 8, RAMP, height=HEIGHT - 1), "more"),
        (bmp(_rows(FILM, 8), 8, RAMP, width=WIDTH - 8), "more"),
        (bmp(_rows(FILM, 8), 8, RAMP[::-1][:100]), "colours that its palette lacks"),
        (bmp(_rows(FILM, 8), 8, RAMP, width=0), "no size"),
        (bmp(_rows(FILM, 8), 8, RAMP, width=20_000, height=20_000), "too many"),
        (bmp(_rows(FILM, 8), 8, compression=4), "holds a JPEG, which is not read"),
        (bmp(_rows(FILM, 8), 5, RAMP), "5 bits a pixel, which is not read"),
    ],
)
def test_headers_that_promise_what_is_not_there(tmp_path, data, words, capfd):
    with pytest.raises(ImageError, match=words):
        _read(tmp_path, data)
    (tmp_path / "film.bmp").write_bytes(data)
    with pytest.raises(ImageError, match=words):
        read_bmp(tmp_path / "film.bmp")
    assert capfd.readouterr() == ("", "")


def test_bytes_behind_the_file_harm_nothing(tmp_path):
    data = bmp(_rows(FILM, 8), 8, RAMP)
    for more in (b"\0\0", bytes(5000)):
        np.testing.assert_array_equal(_read(tmp_path, data + more).pixels, FILM)


def test_every_cut_is_heard(tmp_path):
    Image.fromarray(FILM).save(tmp_path / "whole.bmp")
    whole = (tmp_path / "whole.bmp").read_bytes()
    for length in [*range(1, 80), *range(80, len(whole), 211), len(whole) - 1]:
        (tmp_path / "cut.bmp").write_bytes(whole[:length])
        for read in (read_bmp, read_radiograph):
            with pytest.raises(ImageError):
                read(tmp_path / "cut.bmp")

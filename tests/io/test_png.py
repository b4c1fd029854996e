"""PNG: one known film in every bit depth and colour type, and every damage that a checksum or a length can tell."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ramjax.io.images import read_radiograph
from ramjax.io.radiograph import ImageError
from tests.io.films import film
from tests.io.png_files import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, SIGNATURE, header, part, png, rows

FILM = film(90, 71)
HEIGHT, WIDTH = FILM.shape
GAMMA = part(b"gAMA", struct.pack(">I", 45455))


def _read(path, data: bytes):
    path = path / "film.png"
    path.write_bytes(data)
    return read_radiograph(path)


def _levels(depth: int) -> np.ndarray:
    return np.rint(FILM / 255 * (2**depth - 1)).astype(np.uint16)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(
        [(GREY, depth) for depth in (1, 2, 4, 8, 16)]
        + [(PALETTE, depth) for depth in (1, 2, 4, 8)]
        + [(colour, depth) for colour in (RGB, GREY_ALPHA, RGBA) for depth in (8, 16)]
    ),
    interlaced=st.booleans(),
    veiled=st.booleans(),
    gamma=st.booleans(),
)
def test_every_kind_is_the_film(tmp_path_factory, kind, interlaced, veiled, gamma):
    colour, depth = kind
    levels = _levels(depth)
    top = 2**depth - 1
    alpha = np.where(levels > top // 2, top, top // 3) if veiled else np.full_like(levels, top)
    before = [GAMMA] if gamma else []
    samples = {
        GREY: levels, PALETTE: top - levels, RGB: np.stack([levels] * 3, -1), GREY_ALPHA: np.stack([levels, alpha], -1),
        RGBA: np.stack([levels, levels, levels, alpha], -1),
    }[colour]  # fmt: skip
    if colour == PALETTE:
        shades = np.repeat(np.rint(np.arange(top, -1, -1) * (255 / top)).astype(np.uint8), 3)
        before.append(part(b"PLTE", shades.tobytes()))
    if veiled and colour in (GREY, RGB):
        before.append(part(b"tRNS", struct.pack(">H", 0) * (3 if colour == RGB else 1)))
    if veiled and colour == PALETTE:
        before.append(part(b"tRNS", bytes([0])))
    radiograph = _read(tmp_path_factory.getbasetemp(), png(samples, depth, colour, *before, interlaced=interlaced))
    np.testing.assert_allclose(radiograph.pixels.astype(int), levels / top * 255, atol=1)
    assert any("ransparen" in note for note in radiograph.notes) == veiled
    assert any("scaled" in note for note in radiograph.notes) == (depth == 16)


def test_a_picture_in_the_transparency_alone(tmp_path):
    radiograph = _read(tmp_path, png(np.stack([FILM * 0, FILM], -1), 8, GREY_ALPHA))
    np.testing.assert_array_equal(radiograph.pixels, FILM)
    assert "transparency was read as grey" in radiograph.notes[0]


def test_twelve_bits_in_sixteen_keep_their_levels_in_every_colour_type(tmp_path):
    wide = np.rint(FILM / 255 * 4095).astype(np.uint16)
    full = np.full_like(wide, 65535)
    one = _read(tmp_path, png(wide, 16, GREY))
    for samples, colour in (([wide] * 3, RGB), ([wide, full], GREY_ALPHA), ([wide] * 3 + [full], RGBA)):
        found = _read(tmp_path, png(np.stack(samples, -1), 16, colour))
        np.testing.assert_array_equal(found.pixels, one.pixels)
        assert found.notes == one.notes
    np.testing.assert_allclose(one.pixels.astype(int), FILM, atol=1)


def test_coloured_marks_on_sixteen_bits(tmp_path):
    rgb = np.stack([FILM.astype(np.uint16) * 257] * 3, -1)
    rgb[:5, :5] = (65535, 0, 0)
    radiograph = _read(tmp_path, png(rgb, 16, RGB))
    np.testing.assert_allclose(radiograph.pixels[5:].astype(int), FILM[5:], atol=1)
    assert any("Coloured marks" in note for note in radiograph.notes)
    with pytest.raises(ImageError, match="colour photograph"):
        _read(tmp_path, png(np.random.default_rng(0).integers(0, 65535, (90, 70, 3)), 16, RGB))


def test_orientation_before_or_after_the_pixels(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    block = part(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    whole = png(FILM, 8, GREY)
    for data in (png(FILM, 8, GREY, block), whole[:-12] + block + whole[-12:]):
        radiograph = _read(tmp_path, data)
        np.testing.assert_array_equal(radiograph.pixels, np.rot90(FILM, -1))
        assert "upright" in radiograph.notes[0]
    junk = part(b"eXIf", b"II*\0" + b"\xff" * 20)
    radiograph = _read(tmp_path, png(FILM, 8, GREY, junk))
    np.testing.assert_array_equal(radiograph.pixels, FILM)
    assert "EXIF data of the image is damaged" in radiograph.notes[0]


def test_several_frames(tmp_path):
    file = io.BytesIO()
    Image.fromarray(FILM).save(file, "PNG", save_all=True, append_images=[Image.fromarray(255 - FILM)])
    with pytest.raises(ImageError, match="holds 2 images"):
        _read(tmp_path, file.getvalue())


def _file(head: bytes, packed: bytes, *before: bytes) -> bytes:
    return SIGNATURE + head + b"".join(before) + part(b"IDAT", packed) + part(b"IEND", b"")


RAW = rows(FILM, 8)
HEAD = header(WIDTH, HEIGHT, 8, GREY)
PACKED = zlib.compress(RAW)


@pytest.mark.parametrize(
    "data, words",
    [
        (_file(header(WIDTH, HEIGHT + 1, 8, GREY), PACKED), "promises"),
        (_file(header(WIDTH, HEIGHT - 1, 8, GREY), PACKED), "promises"),
        (_file(header(WIDTH + 1, HEIGHT, 8, GREY), PACKED), "promises"),
        (_file(header(WIDTH, HEIGHT, 16, GREY), PACKED), "promises"),
        (_file(HEAD, PACKED[:-4] + b"abcd"), "compressed pixels are broken"),
        (_file(HEAD, PACKED[:-4]), "promises"),
        (_file(HEAD, PACKED, part(b"tEXt", b"a\0b", check=1)), "checksum of its 'tEXt' part"),
        (SIGNATURE + HEAD + part(b"IDAT", PACKED, check=5), "checksum of its 'IDAT' part"),
        (SIGNATURE + HEAD + part(b"IDAT", PACKED), "ends early"),
        (SIGNATURE + part(b"IDAT", PACKED) + part(b"IEND", b""), "header is missing"),
        (_file(HEAD, PACKED, HEAD), "two IHDR"),
        (_file(header(WIDTH, HEIGHT, 3, GREY), PACKED), "names no kind"),
        (_file(header(WIDTH, HEIGHT, 8, PALETTE), PACKED), "palette is missing"),
        (_file(header(WIDTH, HEIGHT, 8, PALETTE), PACKED, part(b"PLTE", bytes(30))), "colours that its palette lacks"),
        (_file(header(0, HEIGHT, 8, GREY), PACKED), "no size"),
        (_file(header(30_000, 30_000, 1, GREY), PACKED), "too many"),
        (_file(HEAD, PACKED, part(b"CgBI", bytes(4))), "CgBI.*not read"),
        (_file(HEAD, zlib.compress(b"\x09" + RAW[1:])), "damaged"),
    ],
)
def test_damage_is_named(tmp_path, data, words, capfd):
    with pytest.raises(ImageError, match=words):
        _read(tmp_path, data)
    assert capfd.readouterr() == ("", "")


def test_bytes_after_the_end_are_said(tmp_path):
    radiograph = _read(tmp_path, png(FILM, 8, GREY) + b"more")
    np.testing.assert_array_equal(radiograph.pixels, FILM)
    assert "4 bytes after the end" in radiograph.notes[0]


def test_no_seeded_damage_passes_unheard(tmp_path, capfd):
    data = png(FILM, 8, GREY, GAMMA, part(b"tEXt", b"Comment\0a hand"))
    random = np.random.default_rng(5)
    for number in range(300):
        damage = bytearray(data)
        place = int(random.integers(len(data) - 16))
        match number % 3:
            case 0:
                damage[place] ^= 1 << int(random.integers(8))
            case 1:
                del damage[place : place + 1 + number % 16]
            case _:
                damage[place:place] = random.bytes(1 + number % 16)
        with pytest.raises(ImageError):
            _read(tmp_path, bytes(damage))
    assert capfd.readouterr() == ("", "")

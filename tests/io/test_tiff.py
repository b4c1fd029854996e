"""TIFF: one known film in every way that the format can store it, and what is damaged or of another kind."""

import itertools
import struct
import time
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ramjax.io.images import read_radiograph
from ramjax.io.radiograph import MAX_PIXELS, ImageError
from tests.io.films import BITS, film, stored
from tests.io.tiff_files import PHOTOMETRIC, image, tiff

FILM = film()
HEIGHT, WIDTH = FILM.shape
UNSIGNED = ("uint8", "uint16")


def _read(path, data: bytes):
    path = path / "film.tif"
    path.write_bytes(data)
    return read_radiograph(path)


def _strips(rows: np.ndarray, height: int = 20) -> list[bytes]:
    return [rows[top : top + height].tobytes() for top in range(0, len(rows), height)]


def _assert_film(radiograph, atol: int = 1) -> None:
    assert radiograph.pixels.shape == FILM.shape
    np.testing.assert_allclose(radiograph.pixels.astype(int), FILM, atol=atol)


def _lying(values: np.ndarray, orientation: int) -> np.ndarray:
    """The film as a scanner stores it that states `orientation` (TIFF 6.0, tag 274)."""
    turns = {
        1: values, 2: np.fliplr(values), 3: np.rot90(values, 2), 4: np.flipud(values), 5: np.swapaxes(values, 0, 1),
        6: np.rot90(values, 1), 7: np.rot90(np.swapaxes(values, 0, 1), 2), 8: np.rot90(values, -1),
    }  # fmt: skip
    return np.ascontiguousarray(turns[orientation])


@settings(max_examples=150, deadline=None)
@given(
    dtype=st.sampled_from(sorted(BITS)),
    colours=st.sampled_from(["black", "white", "rgb", "rgba", "grey and alpha"]),
    compression=st.sampled_from([None, "lzw", "deflate", "packbits", "zstd", "lzma", "webp", "jpeg"]),
    predictor=st.sampled_from([None, 2, 3]),
    orientation=st.integers(1, 8),
    order=st.sampled_from("<>"),
    big=st.booleans(),
    planes=st.booleans(),
    tiles=st.booleans(),
)
def test_every_combination_is_the_film_or_a_kind_that_is_not_read(
    tmp_path_factory, dtype, colours, compression, predictor, orientation, order, big, planes, tiles
):
    path = tmp_path_factory.getbasetemp() / "film.tif"
    values = _lying(stored(FILM, dtype), orientation)
    full = np.full_like(values, 1 if dtype.startswith("float") else np.iinfo(dtype).max)
    extra = {"extrasamples": ["unassalpha"]} if colours in ("rgba", "grey and alpha") else {}
    if colours == "white":
        values = 1 - values if dtype.startswith("float") else ~values
    elif colours != "black":
        channels = {"rgb": [values] * 3, "rgba": [*[values] * 3, full], "grey and alpha": [values, full]}[colours]
        values = np.stack(channels, 0 if planes else -1)
    photometric = {"black": "minisblack", "white": "miniswhite", "grey and alpha": "minisblack"}.get(colours, "rgb")
    try:
        tifffile.imwrite(
            path, values, byteorder=order, bigtiff=big, compression=compression, predictor=predictor, metadata=None,
            photometric=photometric, planarconfig=("separate" if planes else "contig") if values.ndim == 3 else None,
            tile=(32, 48) if tiles else None, rowsperstrip=None if tiles else 20,
            extratags=[(274, "H", 1, orientation, True)], **extra,
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, RuntimeError, NotImplementedError):
        return  # the writer knows no such file
    try:
        radiograph = read_radiograph(path)
    except ImageError as error:
        assert "is not read" in str(error)
        assert compression == "jpeg" or (values.ndim == 3 and dtype not in UNSIGNED), error
        return
    _assert_film(radiograph, atol=40 if compression in ("jpeg", "webp") else 1)
    assert ("upright" in radiograph.notes[0] if radiograph.notes else False) == (orientation > 1)
    assert any("scaled" in note for note in radiograph.notes) == (dtype != "uint8")


@pytest.mark.parametrize("order, big, white", list(itertools.product("<>", (False, True), (False, True))))
@pytest.mark.parametrize("dtype", sorted(BITS))
def test_every_sample_format_by_another_writer(tmp_path, dtype, order, big, white):
    values = stored(FILM, dtype)
    if white:
        values = 1 - values if dtype.startswith("float") else ~values
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    strips = _strips(values.astype(values.dtype.newbyteorder(order)))
    data = tiff(image(strips, WIDTH, HEIGHT, BITS[dtype], FORMAT=kind, PHOTOMETRIC=1 - white), order=order, big=big)
    _assert_film(_read(tmp_path, data))


@pytest.mark.parametrize("white", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 6, 10, 12, 14])
def test_bits_that_fill_no_byte(tmp_path, bits, white):
    levels = np.rint(FILM / 255 * (2**bits - 1)).astype(np.uint16)
    places = np.unpackbits((levels.astype(">u2") if not white else (2**bits - 1 - levels).astype(">u2")).view(np.uint8))
    rows = np.packbits(places.reshape(HEIGHT, WIDTH, 16)[..., 16 - bits :].reshape(HEIGHT, -1), axis=1)
    found = _read(tmp_path, tiff(image(_strips(rows), WIDTH, HEIGHT, bits, PHOTOMETRIC=1 - white))).pixels
    np.testing.assert_allclose(found.astype(int), levels / (2**bits - 1) * 255, atol=1)


def test_bits_of_a_byte_the_other_way_round(tmp_path):
    turned = np.packbits(np.unpackbits(FILM, bitorder="little").reshape(HEIGHT, -1), axis=1)
    _assert_film(_read(tmp_path, tiff(image(_strips(turned), WIDTH, HEIGHT, FILL_ORDER=2))))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", UNSIGNED)
def test_planes_and_the_byte_order_of_three_equal_channels(tmp_path, dtype, order):
    strips = _strips(stored(FILM, dtype).astype(np.dtype(dtype).newbyteorder(order))) * 3
    page = image(strips, WIDTH, HEIGHT, [BITS[dtype]] * 3, PLANAR=2, PHOTOMETRIC=2, ROWS=20)
    _assert_film(_read(tmp_path, tiff(page, order=order)))


def test_twelve_bits_in_three_channels_are_scaled_like_one(tmp_path):
    values = np.rint(FILM / 255 * 4095).astype("<u2")
    one = _read(tmp_path, tiff(image(_strips(values), WIDTH, HEIGHT, 16)))
    three = _read(tmp_path, tiff(image(_strips(np.stack([values] * 3, -1)), WIDTH, HEIGHT, [16] * 3, PHOTOMETRIC=2)))
    np.testing.assert_array_equal(three.pixels, one.pixels)
    assert three.notes == one.notes and len(np.unique(one.pixels)) > 200
    _assert_film(one)


def test_small_differences_on_a_large_offset_survive(tmp_path):
    for offset, bits in ((2**60, 64), (2**31, 32)):
        values = (np.uint64(offset) + FILM).astype(f"<u{bits // 8}")
        _assert_film(_read(tmp_path, tiff(image(_strips(values), WIDTH, HEIGHT, bits))))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_compressions_of_another_writer(tmp_path, compression):
    Image.fromarray(FILM).save(tmp_path / "a.tif", compression=compression)
    _assert_film(read_radiograph(tmp_path / "a.tif"), atol=40 if compression == "jpeg" else 0)


def test_colours_inside_jpeg(tmp_path):
    Image.fromarray(FILM).convert("RGB").save(tmp_path / "a.tif", compression="jpeg", quality=95)
    _assert_film(read_radiograph(tmp_path / "a.tif"), atol=40)
    with pytest.raises(ImageError, match="CMYK colours in JPEG, which is not read"):
        _read(tmp_path, tiff(image(_strips(FILM), WIDTH, HEIGHT, [8] * 4, COMPRESSION=7, PHOTOMETRIC=5)))


def test_no_word_about_black_and_white_is_said(tmp_path):
    tags, strips = image(_strips(FILM), WIDTH, HEIGHT)
    radiograph = _read(tmp_path, tiff(({key: tags[key] for key in tags if key != PHOTOMETRIC}, strips)))
    _assert_film(radiograph)
    assert "does not say whether 0 is black" in radiograph.notes[0]


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "P", "LA", "RGBA", "I;16", "F"])
def test_modes_of_another_writer(tmp_path, mode):
    shown = Image.fromarray(stored(FILM, "uint16")) if mode == "I;16" else Image.fromarray(FILM).convert(mode)
    shown.save(tmp_path / "a.tif")
    _assert_film(read_radiograph(tmp_path / "a.tif"))


@pytest.mark.parametrize("scale", [1, 256, 257])
def test_a_palette_of_eight_or_sixteen_bits(tmp_path, scale):
    table = [int(255 - level) * scale for level in range(256)] * 3
    page = image(_strips(255 - FILM), WIDTH, HEIGHT, PHOTOMETRIC=3, COLOUR_MAP=table)
    _assert_film(_read(tmp_path, tiff(page)))


def test_a_thumbnail_and_a_mask_are_no_other_images(tmp_path):
    small = image(_strips(FILM[::4, ::4].copy()), WIDTH // 4, HEIGHT // 4, SUBFILE=1)
    mask = image(_strips(np.packbits(FILM > 0, axis=1)), WIDTH, HEIGHT, 1, SUBFILE=4, PHOTOMETRIC=4)
    page = image(_strips(FILM), WIDTH, HEIGHT)
    _assert_film(_read(tmp_path, tiff(small, page, mask)))
    with pytest.raises(ImageError, match="holds 2 images"):
        _read(tmp_path, tiff(page, small, page))


def test_alpha_is_said(tmp_path):
    full = np.full_like(FILM, 255)
    half = np.where(FILM > 100, 255, 30).astype(np.uint8)

    def read(value, alpha, **more):
        page = image(_strips(np.stack([value, alpha], -1)), WIDTH, HEIGHT, [8, 8], **({"EXTRA": 2} | more))
        return _read(tmp_path, tiff(page))

    assert read(FILM, full).notes == ()
    content = read(full * 0, FILM)
    _assert_film(content)
    assert "transparency was read as grey" in content.notes[0]
    veiled = read(FILM, half)
    _assert_film(veiled)
    assert "Transparency was left out" in veiled.notes[0]
    gone = read(FILM, full * 0)
    _assert_film(gone)
    assert "transparent all over" in gone.notes[0]
    _assert_film(read(np.rint(FILM / 255.0 * half).astype(np.uint8), half, EXTRA=1), atol=5)


def test_pixels_without_a_number_are_said(tmp_path):
    values = stored(FILM, "float32")
    values[::2] = np.nan
    radiograph = _read(tmp_path, tiff(image(_strips(values), WIDTH, HEIGHT, 32, FORMAT=3)))
    np.testing.assert_allclose(radiograph.pixels[1::2].astype(int), FILM[1::2], atol=1)
    assert "50.0% of the pixels are NaN" in " ".join(radiograph.notes)
    with pytest.raises(ImageError, match="no numbers"):
        _read(tmp_path, tiff(image(_strips(values * np.nan), WIDTH, HEIGHT, 32, FORMAT=3)))


@pytest.mark.parametrize(
    "page, words",
    [
        (image(_strips(FILM), WIDTH, HEIGHT + 20), "damaged"),
        (image(_strips(FILM), WIDTH, HEIGHT, ROWS=10), "strips"),
        (image(_strips(FILM), WIDTH + 9, HEIGHT), "damaged"),
        (image(_strips(FILM), WIDTH, HEIGHT, 16), "damaged"),
        (image([*_strips(FILM)[:-1], b""], WIDTH, HEIGHT, ROWS=20), "strip or tile 4 is missing"),
        (image(_strips(FILM), WIDTH, HEIGHT, COUNTS=[1] * 5), "damaged"),
        (image(_strips(FILM), WIDTH, HEIGHT, OFFSETS=[10**6] * 5), "damaged"),
        (image([b"\x80" * 999], WIDTH, HEIGHT, COMPRESSION=8), "damaged"),
        (image(_strips(FILM), WIDTH, HEIGHT, PHOTOMETRIC=2), "fewer channels"),
        (image(_strips(FILM), WIDTH, HEIGHT, PHOTOMETRIC=3), "palette"),
        (image(_strips(FILM), 0, HEIGHT), "no size"),
        (image(_strips(FILM), 20_000, 20_000), f"at most {MAX_PIXELS:,}"),
        (image(_strips(FILM), WIDTH, HEIGHT, COMPRESSION=34712), "JPEG2000, which is not read"),
        (image(_strips(FILM), WIDTH, HEIGHT, 1, COMPRESSION=4), "CCITTFAX4, which is not read"),
        (image(_strips(FILM), WIDTH, HEIGHT, COMPRESSION=6), "OJPEG, which is not read"),
        (image(_strips(FILM), WIDTH, HEIGHT, COMPRESSION=60606), "number 60606, which is not read"),
        (image(_strips(FILM), WIDTH, HEIGHT, PHOTOMETRIC=8), "CIELAB colours, which is not read"),
        (image(_strips(FILM), WIDTH, HEIGHT, PHOTOMETRIC=32803), "CFA colours, which is not read"),
        (image(_strips(FILM), WIDTH, HEIGHT, 64, FORMAT=6), "sample format 6, which is not read"),
        (image(_strips(FILM), WIDTH, HEIGHT, [5, 6, 5], PHOTOMETRIC=2), "which is not read"),
        (image(_strips(FILM), WIDTH, HEIGHT, [8] * 6), "6 channels, which is not read"),
        (image(_strips(FILM), WIDTH, HEIGHT, [32] * 3, FORMAT=[3] * 3), "3 channels of float32, which is not read"),
    ],
)  # fmt: skip
def test_damage_and_kinds_are_told_apart(tmp_path, page, words, capfd):
    with pytest.raises(ImageError, match=words) as caught:
        _read(tmp_path, tiff(page))
    assert str(caught.value).endswith(".") and "film.tif" in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_one_strip_of_any_height(tmp_path):
    for rows in (HEIGHT, HEIGHT + 1, 2**32 - 1):
        _assert_film(_read(tmp_path, tiff(image([FILM.tobytes()], WIDTH, HEIGHT, ROWS=rows))))


def test_strips_that_hold_more_than_the_header_says_are_said(tmp_path):
    for width, height in ((WIDTH, HEIGHT - 6), (WIDTH - 2, HEIGHT)):
        radiograph = _read(tmp_path, tiff(image([FILM.tobytes()], width, height, ROWS=HEIGHT)))
        assert "hold more than its header says" in radiograph.notes[0]
    assert _read(tmp_path, tiff(image([FILM.tobytes() + bytes(9)], WIDTH, HEIGHT))).notes == ()


def test_byte_counts_that_are_too_large_harm_nothing_and_are_said(tmp_path):
    radiograph = _read(tmp_path, tiff(image(_strips(FILM), WIDTH, HEIGHT, COUNTS=[2**32 - 1] * 5)))
    _assert_film(radiograph)
    assert "hold more than its header says" in radiograph.notes[0]


@pytest.mark.parametrize("more", [1, 3000])
def test_a_deflated_strip_that_holds_more_than_its_rows_is_damage(tmp_path, more):
    strips = [zlib.compress(strip) for strip in _strips(FILM)]
    _assert_film(_read(tmp_path, tiff(image(strips, WIDTH, HEIGHT, COMPRESSION=8))))
    strips[2] = zlib.compress(_strips(FILM)[2] + bytes(more))
    with pytest.raises(ImageError, match="more than its rows"):
        _read(tmp_path, tiff(image(strips, WIDTH, HEIGHT, COMPRESSION=8)))


def test_what_follows_a_page_without_a_size_is_not_looked_for(tmp_path):
    whole = bytearray(tiff(image(_strips(FILM), WIDTH, HEIGHT)))
    (count,) = struct.unpack_from("<H", whole, 8)
    start, size = len(whole), 2 + 12 * 4000 + 4
    whole[10 + 12 * count : 14 + 12 * count] = struct.pack("<I", start)  # where the next page is
    for number in range(1, 301):  # pages of tags of a type that there is not
        whole += struct.pack("<H", 4000) + b"\1\0\0\0" * 3 * 4000 + struct.pack("<I", start + number * size)
    started = time.process_time()
    radiograph = _read(tmp_path, bytes(whole))
    assert time.process_time() - started < 10
    _assert_film(radiograph)
    assert "Parts of the TIFF header are damaged; they were left out." in radiograph.notes


@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "zstd", "jpeg"])
def test_seeded_damage_never_ends_in_a_foreign_error(tmp_path, compression, capfd):
    tifffile.imwrite(tmp_path / "whole.tif", FILM, compression=compression, rowsperstrip=32, metadata=None)
    with tifffile.TiffFile(tmp_path / "whole.tif") as file:
        start = file.pages.first.dataoffsets[0]
    whole = (tmp_path / "whole.tif").read_bytes()
    random = np.random.default_rng(7)
    silent = {"flipped bit": 0, "16 bytes missing": 0}
    for number in range(200):
        data = bytearray(whole)
        place = int(random.integers(8, len(data) - 16))
        kind = list(silent)[number % 2]
        if kind == "flipped bit":
            data[place] ^= 1 << int(random.integers(8))
        else:
            del data[place : place + 16]
        try:
            radiograph = _read(tmp_path, bytes(data))
        except ImageError:
            continue
        changed = radiograph.pixels.shape != FILM.shape or np.abs(radiograph.pixels.astype(int) - FILM).max() > 40
        silent[kind] += place >= start and changed and not radiograph.notes
    # Only deflate has a checksum; what is missing shows by the length of the last strip.
    assert silent["16 bytes missing"] == 0
    assert compression != "deflate" or silent["flipped bit"] == 0
    assert capfd.readouterr() == ("", "")

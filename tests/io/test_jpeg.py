"""JPEG: every kind that is read is the film, every other kind is named, and damage is heard."""

import io
import os
import pathlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from ramjax.io.images import read_radiograph
from ramjax.io.radiograph import ImageError
from tests.io.films import film

FILM = film(480, 360)
RADIOGRAPHS = os.environ.get("RAMJAX_RADIOGRAPHS", "")


def _jpeg(grey: np.ndarray = FILM, mode: str = "L", **more) -> bytes:
    file = io.BytesIO()
    Image.fromarray(grey).convert(mode).save(file, "JPEG", **({"quality": 92} | more))
    return file.getvalue()


def _read(path, data: bytes):
    path = path / "film.jpg"
    path.write_bytes(data)
    return read_radiograph(path)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize(
    "more", [{}, {"progressive": True}, {"restart_marker_rows": 2}, {"optimize": True}, {"subsampling": 0}]
)
def test_what_is_read_is_what_another_decoder_reads(tmp_path, mode, more):
    data = _jpeg(mode=mode, **more)
    radiograph = _read(tmp_path, data)
    shown = np.median(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), axis=-1)
    np.testing.assert_allclose(radiograph.pixels.astype(int), shown, atol=1)
    assert radiograph.notes == ()


def test_ink_without_adobes_mark_is_not_upside_down(tmp_path):
    ink = np.repeat((255 - FILM)[..., None], 4, -1) // 2
    file = io.BytesIO()
    Image.fromarray(255 - ink, "CMYK").save(file, "JPEG", quality=92)
    data = file.getvalue()
    adobe = data.index(b"\xff\xee\x00\x0eAdobe")
    bare = data[:adobe] + data[adobe + 16 :]
    found = _read(tmp_path, bare).pixels.astype(int)
    assert np.corrcoef(found.ravel(), FILM.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = _jpeg(exif=exif)
    shown = Image.open(io.BytesIO(data))
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    expected = shown.transpose(Image.Transpose(turns[orientation])) if orientation > 1 else shown
    radiograph = _read(tmp_path, data)
    np.testing.assert_array_equal(radiograph.pixels, np.asarray(expected))
    assert any("upright" in note for note in radiograph.notes) == (orientation > 1)


def test_damaged_exif_refuses_nothing(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 1
    data = bytearray(_jpeg(exif=exif))
    place = data.index(b"Exif\0\0") + 6
    data[place : place + 14] = b"\xff" * 14
    radiograph = _read(tmp_path, bytes(data))
    np.testing.assert_array_equal(radiograph.pixels, _read(tmp_path, _jpeg()).pixels)
    assert "EXIF data of the image is damaged" in radiograph.notes[0]


def test_bytes_around_the_end_marker_harm_nothing(tmp_path):
    data = _jpeg()
    whole = _read(tmp_path, data)
    cut, end = data[:-2], data[-2:]
    for other in (cut, cut + bytes(40), cut + bytes(3) + end, data + bytes(99), data + b"x" * 9):
        radiograph = _read(tmp_path, other)
        np.testing.assert_array_equal(radiograph.pixels, whole.pixels)
    assert "end marker" in _read(tmp_path, data[:-2]).notes[0]


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda data: imagecodecs.jpeg8_encode(FILM.astype(np.uint16) * 16, 90, bitspersample=12), "12-bit JPEG"),
        (lambda data: imagecodecs.jpeg8_encode(FILM, lossless=True), "lossless JPEG"),
        (lambda data: data.replace(b"\xff\xc0", b"\xff\xc9", 1), "arithmetic-coded JPEG"),
        (lambda data: data.replace(b"\xff\xc0", b"\xff\xc5", 1), "hierarchical JPEG"),
        (lambda data: _jpeg(mode="CMYK", subsampling=2), "JPEG of unusual colour sampling"),
    ],
)
def test_other_kinds_are_named(tmp_path, change, words):
    with pytest.raises(ImageError, match=f"is a {words}, which is not read; save it as 8 or 16-bit grey"):
        _read(tmp_path, change(_jpeg()))


def _with_size(data: bytes, height: int, width: int) -> bytes:
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + data[place + 4 :]


@pytest.mark.parametrize(
    "size, words",
    [
        ((960, 360), "damaged"), ((240, 360), "damaged"), ((480, 400), "damaged"), ((480, 320), "damaged"),
        ((0, 360), "no size"), ((65500, 65500), "too many"),
    ],
)  # fmt: skip
def test_a_header_that_claims_another_size(tmp_path, size, words, capfd):
    with pytest.raises(ImageError, match=words):
        _read(tmp_path, _with_size(_jpeg(), *size))
    assert capfd.readouterr() == ("", "")


def test_missing_and_endless_scans(tmp_path):
    data = _jpeg(progressive=True)
    last = data.rindex(b"\xff\xda")
    cut = data.rindex(b"\xff\xc4", 0, last)
    radiograph = _read(tmp_path, data[:cut] + b"\xff\xd9")
    assert "lacks its last scans" in radiograph.notes[0]
    with pytest.raises(ImageError, match="scans"):
        _read(tmp_path, data[:-2] + data[last:-2] * 300 + data[-2:])


@pytest.mark.parametrize("more", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_seeded_damage_is_heard(tmp_path, more, capfd):
    data = _jpeg(**more)
    whole = _read(tmp_path, data).pixels.astype(int)
    random = np.random.default_rng(3)
    wrong = {"flipped bit": 0, "16 bytes missing": 0, "64 zeros": 0}
    for number in range(240):
        kind = list(wrong)[number % 3]
        place = int(random.integers(700, len(data) - 100))
        damage = bytearray(data)
        if kind == "flipped bit":
            damage[place] ^= 1 << int(random.integers(8))
        elif kind == "64 zeros":
            damage[place : place + 64] = bytes(64)
        else:
            del damage[place : place + 16]
        try:
            radiograph = _read(tmp_path, bytes(damage))
        except ImageError:
            continue
        found = radiograph.pixels.astype(int)
        share = np.mean(np.abs(found - whole) > 30) if found.shape == whole.shape else 1.0
        wrong[kind] += share > 0.05 and not radiograph.notes
    # Huffman codes have no checksum: a stream that falls into step again is a valid one. Without hearing libjpeg's
    # warnings, 50 to 80 of each 80 would be wrong without a word.
    assert wrong["16 bytes missing"] <= 6 and wrong["64 zeros"] <= 6 and wrong["flipped bit"] <= 16, wrong
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not RADIOGRAPHS, reason="RAMJAX_RADIOGRAPHS names no folder of real radiographs")
def test_real_radiographs_are_read_without_a_warning():
    for path in pathlib.Path(RADIOGRAPHS).rglob("*.jpg"):
        np.testing.assert_array_equal(read_radiograph(path).pixels, np.asarray(Image.open(path).convert("L")))

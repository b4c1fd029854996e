"""PNG, BMP, JPEG and TIFF files of every kind, and everything that is none of them."""

import os
import pathlib

import cv2
import numpy as np
import pytest
from PIL import Image

from ramjax.io.images import ImageError, is_candidate, read_bmp, read_radiograph
from tests.io import dicom_files

RADIOGRAPHS = os.environ.get("RAMJAX_RADIOGRAPHS", "")


@pytest.fixture
def grey() -> np.ndarray:
    """uint8 (90, 70), smooth, from 0 to 255."""
    y, x = np.mgrid[:90, :70]
    return np.rint((y + x) / 158 * 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "wrong_suffix.jpg.png"])
def test_eight_bit_grey_is_kept(tmp_path, grey, name):
    Image.fromarray(grey).save(tmp_path / name)
    radiograph = read_radiograph(tmp_path / name)
    np.testing.assert_array_equal(radiograph.pixels, grey)
    assert radiograph.pixels.dtype == np.uint8 and radiograph.side == "" and np.isnan(radiograph.pixel_spacing_mm)


def test_content_counts_not_the_suffix(tmp_path, grey):
    Image.fromarray(grey).save(tmp_path / "a.bmp")
    (tmp_path / "a.bmp").rename(tmp_path / "a.png")
    np.testing.assert_array_equal(read_radiograph(tmp_path / "a.png").pixels, grey)


def test_palette_and_24_bit_bitmaps(tmp_path, grey):
    palette = Image.fromarray(grey).convert("P")
    palette.putpalette([value for value in range(255, -1, -1) for _ in range(3)])
    palette.putdata(list(255 - grey.ravel()))
    palette.save(tmp_path / "palette.bmp")
    Image.fromarray(np.repeat(grey[..., None], 3, -1)).save(tmp_path / "rgb.bmp")
    np.testing.assert_array_equal(read_radiograph(tmp_path / "palette.bmp").pixels, grey)
    np.testing.assert_array_equal(read_radiograph(tmp_path / "rgb.bmp").pixels, grey)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg(tmp_path, grey, mode):
    Image.fromarray(grey).convert(mode).save(tmp_path / "a.jpg", quality=95)
    np.testing.assert_allclose(read_radiograph(tmp_path / "a.jpg").pixels, grey, atol=8)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_ignored(tmp_path, grey, mode):
    image = Image.fromarray(grey).convert(mode)
    image.putalpha(128)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_radiograph(tmp_path / "a.png").pixels, grey)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled(tmp_path, grey, name):
    wide = 1000 + grey.astype(np.uint16) * 12
    wide[0, 0] = 65535
    cv2.imwrite(str(tmp_path / name), wide)
    found = read_radiograph(tmp_path / name).pixels
    np.testing.assert_allclose(found[1:], grey[1:], atol=7)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_with_white_as_zero(tmp_path, grey, dtype):
    stored = (255 - grey).astype(dtype) * (1 if dtype == np.uint8 else 16)
    Image.fromarray(stored).save(tmp_path / "a.tif", tiffinfo={262: 0})
    with Image.open(tmp_path / "a.tif") as image:
        assert image.tag_v2[262] == 0
    found = read_radiograph(tmp_path / "a.tif").pixels
    # Pillow may invert 8-bit values on writing; what it then shows is the truth.
    expected = np.asarray(Image.open(tmp_path / "a.tif")) if dtype == np.uint8 else grey
    np.testing.assert_allclose(found, expected, atol=7)


def test_exif_orientation_is_followed(tmp_path, grey):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(grey).save(tmp_path / "a.png", exif=exif)
    radiograph = read_radiograph(tmp_path / "a.png")
    np.testing.assert_array_equal(radiograph.pixels, np.rot90(grey, -1))
    assert "upright" in radiograph.notes[0]


def test_small_coloured_marks_are_grey(tmp_path, grey):
    rgb = np.repeat(grey[..., None], 3, -1)
    rgb[:6, :6] = (255, 0, 0)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    radiograph = read_radiograph(tmp_path / "a.png")
    np.testing.assert_array_equal(radiograph.pixels[6:], grey[6:])
    assert radiograph.notes


def _photograph(path):
    rgb = np.random.default_rng(0).integers(0, 255, (90, 70, 3), np.uint8)
    Image.fromarray(rgb).save(path)


def _pages(path, grey):
    page = Image.fromarray(grey)
    page.save(path, format="TIFF", save_all=True, append_images=[page])


@pytest.mark.parametrize(
    "write, words",
    [
        (lambda path, grey: None, "does not exist"),
        (lambda path, grey: path.mkdir(), "not a file"),
        (lambda path, grey: path.write_bytes(b""), "is empty"),
        (lambda path, grey: path.write_text("hello, this is text"), "not an image"),
        (lambda path, grey: path.write_text("version https://git-lfs.github.com/spec/v1\noid x"), "git lfs pull"),
        (lambda path, grey: path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 30), "damaged or truncated"),
        (lambda path, grey: path.write_bytes(b"BM" + b"\0" * 60), "damaged or truncated"),
        (lambda path, grey: _photograph(path), "colour photograph"),
        (_pages, "2 images"),
        (lambda path, grey: Image.fromarray(grey * 0 + 7).save(path), "one grey value"),
        (lambda path, grey: Image.fromarray(grey[:10]).save(path), "70 x 10 pixels"),
        (lambda path, grey: Image.fromarray(grey).save(path, format="GIF"), "not an image"),
    ],
)
def test_bad_files_get_a_sentence(tmp_path, grey, write, words):
    path = tmp_path / "bad.png"
    write(path, grey)
    with pytest.raises(ImageError, match=words) as caught:
        read_radiograph(path)
    message = str(caught.value)
    assert "bad.png" in message and message.endswith(".") and "\n" not in message


@pytest.mark.parametrize("suffix", ["png", "bmp", "jpg", "tif"])
def test_truncated_anywhere(tmp_path, grey, suffix):
    Image.fromarray(grey).save(tmp_path / f"whole.{suffix}")
    whole = (tmp_path / f"whole.{suffix}").read_bytes()
    for length in np.linspace(1, len(whole) * 0.8, 12).astype(int):
        (tmp_path / f"cut.{suffix}").write_bytes(whole[:length])
        with pytest.raises(ImageError, match="cut"):
            read_radiograph(tmp_path / f"cut.{suffix}")


def test_candidates_of_a_folder(tmp_path, grey):
    for name in ("a.PNG", "b.jpeg", "notes.txt", ".hidden.png", "DICOMDIR"):
        (tmp_path / name).write_bytes(b"x")
    dicom_files.write(tmp_path / "IM0001", grey)
    dicom_files.write(tmp_path / "1.2.840.1", grey)
    found = sorted(path.name for path in tmp_path.iterdir() if is_candidate(path))
    assert found == ["1.2.840.1", "IM0001", "a.PNG", "b.jpeg"]


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_a_released_bitmap_of_any_size_is_grey(tmp_path, mode):
    grey = np.arange(35, dtype=np.uint8).reshape(5, 7) * 7
    image = Image.fromarray(grey)
    if mode == "P":
        image = image.convert("P")
        image.putpalette([value for level in range(256) for value in (255 - level,) * 3])
        grey = 255 - grey
    (image.convert("RGB") if mode == "RGB" else image).save(tmp_path / "MCP-T.bmp")
    np.testing.assert_array_equal(read_bmp(tmp_path / "MCP-T.bmp"), grey)


@pytest.mark.parametrize(
    "content, words",
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"), (b"", "empty"), (b"BM", "damaged"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "no BMP"), (None, "does not exist"),
    ],
)  # fmt: skip
def test_a_released_bitmap_that_is_none_is_named(tmp_path, content, words):
    if content is not None:
        (tmp_path / "x.bmp").write_bytes(content)
    with pytest.raises(ImageError, match=words) as error:
        read_bmp(tmp_path / "x.bmp")
    assert "x.bmp" in str(error.value)


@pytest.mark.skipif(not RADIOGRAPHS, reason="RAMJAX_RADIOGRAPHS names no folder of real radiographs")
def test_real_radiographs():
    files = [path for path in sorted(pathlib.Path(RADIOGRAPHS).rglob("*")) if path.is_file() and is_candidate(path)]
    assert files
    for path in files:
        radiograph = read_radiograph(path)
        assert radiograph.pixels.ndim == 2 and 30 < radiograph.pixels.mean() < 220, path

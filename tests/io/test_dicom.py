"""DICOM files of every kind, written with pydicom, read back against the pixels they were made from."""

import dataclasses
import math

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from ramjax.io.images import ImageError, read_radiograph
from tests.io import dicom_files


@pytest.fixture
def ramp() -> np.ndarray:
    """float (80, 70) from 0 to 1, growing to the lower right."""
    y, x = np.mgrid[:80, :70]
    return (y + x) / 148


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_bone_is_bright_at_every_depth(tmp_path, ramp, bits, photometric):
    stored = np.rint(ramp * (2**bits - 1))
    if photometric == "MONOCHROME1":
        stored = 2**bits - 1 - stored
    radiograph = read_radiograph(dicom_files.write(tmp_path / "a.dcm", stored, bits, photometric))
    assert radiograph.pixels.dtype == np.uint8 and radiograph.pixels.shape == (80, 70)
    np.testing.assert_allclose(radiograph.pixels, ramp * 255, atol=7)


def test_eight_bits_without_window_are_kept(tmp_path):
    stored = np.random.default_rng(0).integers(40, 200, (70, 70))
    radiograph = read_radiograph(dicom_files.write(tmp_path / "a.dcm", stored))
    np.testing.assert_array_equal(radiograph.pixels, stored)


def test_window_is_applied(tmp_path, ramp):
    stored = np.rint(ramp * 4095)
    path = dicom_files.write(tmp_path / "a.dcm", stored, 12, WindowCenter=2048, WindowWidth=1024)
    expected = np.clip((stored - 1536) / 1024, 0, 1) * 255
    np.testing.assert_allclose(read_radiograph(path).pixels, expected, atol=7)


def test_window_is_applied_before_inversion(tmp_path, ramp):
    stored = 4095 - np.rint(ramp * 4095)
    path = dicom_files.write(tmp_path / "a.dcm", stored, 12, "MONOCHROME1", WindowCenter=3072, WindowWidth=2048)
    expected = 255 - np.clip((stored - 2048) / 2048, 0, 1) * 255
    np.testing.assert_allclose(read_radiograph(path).pixels, expected, atol=7)


def test_lookup_table_is_applied(tmp_path, ramp):
    table = pydicom.Dataset()
    table.LUTDescriptor = [256, 0, 16]
    table.LUTData = ((np.arange(256) / 255) ** 3 * 65535).astype(np.uint16).tobytes()
    table["LUTData"].VR = "OW"
    table["LUTDescriptor"].VR = "US"
    path = dicom_files.write(tmp_path / "a.dcm", np.rint(ramp * 255), VOILUTSequence=[table])
    np.testing.assert_allclose(read_radiograph(path).pixels, ramp**3 * 255, atol=7)


def test_window_that_hides_everything_is_left_out(tmp_path, ramp):
    path = dicom_files.write(tmp_path / "a.dcm", np.rint(ramp * 4095), 12, WindowCenter=30000, WindowWidth=10)
    radiograph = read_radiograph(path)
    np.testing.assert_allclose(radiograph.pixels, ramp * 255, atol=7)
    assert any("window" in note for note in radiograph.notes)


def test_padding_is_black_and_does_not_set_the_range(tmp_path, ramp):
    stored = np.rint(1000 + ramp * 1000)
    stored[:, :10] = 65535
    radiograph = read_radiograph(dicom_files.write(tmp_path / "a.dcm", stored, 16, PixelPaddingValue=65535))
    assert (radiograph.pixels[:, :10] == 0).all()
    assert np.ptp(radiograph.pixels[:, 10:]) == 255


@pytest.mark.parametrize(
    "elements, spacing",
    [
        ({"PixelSpacing": [0.2, 0.2]}, 0.2),
        ({"ImagerPixelSpacing": [0.15, 0.15], "PixelSpacing": [0.2, 0.2]}, 0.15),
        ({"NominalScannedPixelSpacing": [0.1, 0.1]}, 0.1),
        ({"PixelSpacing": [0.0, 0.0]}, math.nan),
        ({"PixelSpacing": [0.1, 0.2]}, 0.1),  # resampled to square pixels
        ({}, math.nan),
    ],
)
def test_spacing(tmp_path, ramp, elements, spacing):
    found = read_radiograph(dicom_files.write(tmp_path / "a.dcm", ramp * 255, **elements)).pixel_spacing_mm
    assert found == pytest.approx(spacing, nan_ok=True)


@pytest.mark.parametrize(
    "elements, side",
    [({"ImageLaterality": "L"}, "L"), ({"Laterality": "R"}, "R"), ({"ImageLaterality": "U"}, ""), ({}, "")],
)
def test_side(tmp_path, ramp, elements, side):
    assert read_radiograph(dicom_files.write(tmp_path / "a.dcm", ramp * 255, **elements)).side == side


@pytest.mark.parametrize("part, view", [("HAND", "hand"), ("WRIST", "wrist"), ("CHEST", "")])
def test_view(tmp_path, ramp, part, view):
    path = dicom_files.write(tmp_path / "a.dcm", ramp * 255, BodyPartExamined=part)
    assert read_radiograph(path).view == view


def test_nothing_identifying_is_passed_on(tmp_path, ramp, capfd):
    path = dicom_files.write(tmp_path / "a.dcm", ramp * 255, WindowCenter=100, WindowWidth=0)
    text = repr(dataclasses.asdict(read_radiograph(path))) + "".join(capfd.readouterr())
    assert "Secret" not in text and "SECRET" not in text and "1901" not in text


def test_file_under_any_name_and_without_preamble(tmp_path, ramp):
    named = dicom_files.write(tmp_path / "IM0001", ramp * 255)
    bare = tmp_path / "bare.dcm"
    bare.write_bytes(named.read_bytes()[132:])
    np.testing.assert_array_equal(read_radiograph(bare).pixels, read_radiograph(named).pixels)


def test_run_length_compression(tmp_path, ramp):
    plain = dicom_files.make(np.rint(ramp * 4095), 12)
    plain.save_as(tmp_path / "plain.dcm", enforce_file_format=True)
    plain.compress(RLELossless)
    plain.save_as(tmp_path / "rle.dcm", enforce_file_format=True)
    expected = read_radiograph(tmp_path / "plain.dcm").pixels
    np.testing.assert_array_equal(read_radiograph(tmp_path / "rle.dcm").pixels, expected)


def test_missing_decoder_is_named(tmp_path, ramp, monkeypatch):
    dataset = dicom_files.make(ramp * 255)
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xf7 not decoded"])
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    monkeypatch.setattr(pydicom.pixels.get_decoder(JPEGLSLossless), "_available", {})
    with pytest.raises(ImageError, match=r"a\.dcm is compressed as JPEG-LS.*pip install pylibjpeg"):
        read_radiograph(tmp_path / "a.dcm")


def test_bad_compressed_bytes(tmp_path, ramp):
    dataset = dicom_files.make(ramp * 255)
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PixelData = pydicom.encaps.encapsulate([b"no codestream"])
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(ImageError, match=r"a\.dcm"):
        read_radiograph(tmp_path / "a.dcm")


def test_grey_stored_as_colour(tmp_path, ramp):
    rgb = np.repeat(np.rint(ramp * 255)[..., None], 3, axis=-1)
    radiograph = read_radiograph(dicom_files.write(tmp_path / "a.dcm", rgb, 8, "RGB"))
    assert _correlation(radiograph.pixels, ramp) > 0.999


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda r: dicom_files.make(None), "without an image"),
        (lambda r: dicom_files.make(np.stack([r * 255] * 2).reshape(160, 70)[:80], NumberOfFrames=2), "2 frames"),
        (lambda r: dicom_files.make(r * 255, ImageLaterality="B"), "both hands"),
        (lambda r: dicom_files.make(r * 0), "one grey value"),
        (lambda r: dicom_files.make(r * 255, Rows=0), "no size"),
        (lambda r: dicom_files.make(r[:20, :20] * 255), "20 x 20"),
        (lambda r: dicom_files.make(np.random.default_rng(0).integers(0, 255, (80, 70, 3)), 8, "RGB"), "colour"),
        (lambda r: dicom_files.make(r * 255, PixelData=b"\0" * 100), "truncated"),
    ],
)
def test_bad_files_get_a_sentence(tmp_path, ramp, make, words):
    make(ramp).save_as(tmp_path / "bad.dcm", enforce_file_format=True)
    with pytest.raises(ImageError, match=words) as caught:
        read_radiograph(tmp_path / "bad.dcm")
    message = str(caught.value)
    assert "bad.dcm" in message and message.endswith((".", "`.")) and "\n" not in message


@pytest.mark.parametrize("content", [b"no dicom at all " * 50, b"\0" * 500, b"\0" * 128 + b"DICM" + b"\xff" * 300])
def test_garbage_named_dicom(tmp_path, content):
    (tmp_path / "bad.dcm").write_bytes(content)
    with pytest.raises(ImageError, match=r"bad\.dcm"):
        read_radiograph(tmp_path / "bad.dcm")


def test_truncated_anywhere(tmp_path, ramp):
    whole = dicom_files.write(tmp_path / "whole.dcm", ramp * 255).read_bytes()
    for length in range(1, len(whole) - 1, 301):
        (tmp_path / "cut.dcm").write_bytes(whole[:length])
        with pytest.raises(ImageError, match=r"cut\.dcm"):
            read_radiograph(tmp_path / "cut.dcm")

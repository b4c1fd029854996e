"""One known film, stored in every way that DICOM permits, comes out as that film, or as another with a word."""

import dataclasses
import io
import math
import pathlib
import struct
import tempfile

import hypothesis
import numpy as np
import pydicom
import pytest
from hypothesis import strategies as st
from PIL import Image
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from ramjax.io.images import ImageError, read_radiograph
from tests.io import dicom_files

WHOLE = (None, 1, -1)
"""Rescale slopes that keep values whole, as tables need them."""

_y, _x = np.mgrid[:96, :80]
FILM = np.clip(300 - 5.6 * np.hypot((_x - 40) * 1.3, _y - 48), 0, 255).astype(np.uint8)
"""Bright oblong on a dark ground; more than 0.1 % of the pixels at either end, so that no stretching changes it."""

SYNTAXES = {
    "implicit": (ImplicitVRLittleEndian, True),
    "explicit": (ExplicitVRLittleEndian, True),
    "big endian": (ExplicitVRBigEndian, True),
    "deflated": (DeflatedExplicitVRLittleEndian, True),
    "implicit, no header": (ImplicitVRLittleEndian, False),
    "explicit, no header": (ExplicitVRLittleEndian, False),
    "big endian, no header": (ExplicitVRBigEndian, False),
}


def test_the_film_has_both_ends():
    assert np.mean(FILM == 0) > 0.002 and np.mean(FILM == 255) > 0.002


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to store the film. Tables: (bits, falling, packed); `None` for none."""

    syntax: str = "explicit"
    allocated: int = 16
    stored: int = 12
    high: int = 11
    signed: bool = False
    photometric: str = "MONOCHROME2"
    shape: str = ""
    slope: float | None = None
    intercept: float = 0.0
    modality: tuple[int, bool, bool] | None = None
    window: str = ""
    voi: tuple[int, bool, bool] | None = None
    presentation: tuple[int, bool, bool] | None = None


@st.composite
def ways(draw) -> Way:
    allocated = draw(st.sampled_from((8, 16, 16, 16, 32)))
    stored = draw(st.integers(8, allocated))
    photometric = draw(st.sampled_from(("MONOCHROME1", "MONOCHROME2")))
    bits = st.integers(8, 16)
    tables = st.one_of(st.none(), bits.flatmap(lambda b: st.tuples(st.just(b), st.booleans(), st.just(b == 8))))
    narrow = stored <= 16  # tables have at most 65536 entries
    voi = draw(tables) if narrow else None
    modality = draw(tables) if narrow else None
    # The first value that a table maps has 16 bits with its sign.
    slopes = (*WHOLE, 0.1, -10, 2.5, -1e-4) if voi is None else WHOLE if stored <= 14 else (None,)
    presentation = draw(tables) if photometric == "MONOCHROME2" else None
    windows = ["", "LINEAR", "LINEAR_EXACT", "default"]
    if min(stored, modality[0] if modality else 16) > 9 and presentation is None:
        windows.append("SIGMOID")  # its middle is steep, and its ends, which are never reached, are stretched away
    return Way(
        syntax=draw(st.sampled_from(sorted(SYNTAXES))),
        allocated=allocated,
        stored=stored,
        high=draw(st.integers(stored - 1, allocated - 1)),
        signed=draw(st.booleans()),
        photometric=photometric,
        shape=draw(st.sampled_from(("", {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}[photometric])))
        if presentation is None
        else "",
        slope=None if modality else draw(st.sampled_from(slopes)),
        intercept=draw(st.sampled_from((0, -1024, 300) if voi else (0, -1024, 3000.5))),
        modality=modality,
        window="" if voi else draw(st.sampled_from(windows)),
        voi=voi,
        presentation=presentation,
    )


def _table(table: tuple[int, bool, bool], first: int, count: int, way: Way, signed: bool) -> pydicom.Dataset:
    """An item of a sequence: a table over `count` values from `first`, over the whole range of its bits."""
    bits, falling, packed = table
    entries = np.rint(np.linspace(0, 2**bits - 1, count))
    entries = entries[::-1] if falling else entries
    order = ">" if way.syntax.startswith("big") else "<"
    item = pydicom.Dataset()
    vr = "SS" if signed and first < 0 and count < 2**15 else "US"
    item.add_new("LUTDescriptor", vr, [count % 2**16, first if vr == "SS" else first % 2**16, bits])
    data = entries.astype("u1" if packed else f"{order}u2").tobytes()
    data += b"\0" * (len(data) % 2)
    if packed and order == ">":
        data = np.frombuffer(data, "u2").byteswap().tobytes()
    item.add_new("LUTData", "OW", data)
    return item


def _store(way: Way, film: np.ndarray = FILM) -> pydicom.Dataset:
    """Undoes the chain stage by stage, from what is to be seen back to stored bytes."""
    seen = film / 255.0
    if way.presentation and way.presentation[1]:
        seen = 1 - seen
    if way.photometric == "MONOCHROME1":
        seen = 1 - seen
    if way.voi and way.voi[1]:
        seen = 1 - seen
    if way.window == "SIGMOID":  # 5 % to 95 % of it
        seen = 0.5 - np.log(1 / (0.05 + 0.9 * seen) - 1) / (2 * math.log(19))
    if way.modality[1] if way.modality else (way.slope or 1) < 0:
        seen = 1 - seen
    low = -(2 ** (way.stored - 1)) if way.signed else 0
    high = low + 2**way.stored - 1
    stored = np.rint(low + seen * (high - low)).astype(np.int64)
    dataset = dicom_files.make(None)
    ends = [low, high]
    if way.modality:
        dataset.ModalityLUTSequence = [_table(way.modality, low, high - low + 1, way, way.signed)]
        dataset.ModalityLUTSequence[0].add_new("ModalityLUTType", "LO", "US")
        ends = [0, 2 ** way.modality[0] - 1]
    elif way.slope is not None:
        dataset.RescaleSlope, dataset.RescaleIntercept = f"{way.slope:g}", f"{way.intercept:g}"
        ends = sorted(end * way.slope + way.intercept for end in ends)
    if way.voi:
        first, last = (int(end) for end in ends)
        dataset.VOILUTSequence = [_table(way.voi, first, last - first + 1, way, first < 0)]
    elif way.window:
        centre, width = sum(ends) / 2, ends[1] - ends[0]
        if way.window == "SIGMOID":  # 4 (x - centre) / width is ln 19 at 95 %
            width *= 2 / math.log(19)
        if way.window in ("LINEAR", "default"):
            centre, width = centre + 0.5, width + 1
        dataset.WindowCenter, dataset.WindowWidth = f"{centre:.10g}", f"{width:.10g}"
        if way.window != "default":
            dataset.VOILUTFunction = way.window
    if way.presentation:
        dataset.PresentationLUTSequence = [_table(way.presentation, 0, 4096, way, False)]
    if way.shape:
        dataset.PresentationLUTShape = way.shape
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *film.shape, 1
    dataset.PhotometricInterpretation = way.photometric
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = way.allocated, way.stored, way.high
    dataset.PixelRepresentation = int(way.signed)
    cells = (stored % 2**way.stored) << (way.high + 1 - way.stored)
    order = ">" if way.syntax.startswith("big") else "<"
    data = cells.astype(f"{order}u{way.allocated // 8}").tobytes()
    dataset.add_new("PixelData", "OB" if way.allocated == 8 else "OW", data)
    return dataset


def _write(dataset: pydicom.Dataset, syntax: str, path: pathlib.Path) -> pathlib.Path:
    uid, header = SYNTAXES[syntax]
    dataset.set_original_encoding(uid.is_implicit_VR, uid.is_little_endian)  # the bytes are in this order already
    if header:
        dataset.file_meta.TransferSyntaxUID = uid
        dataset.save_as(path, enforce_file_format=True)
    else:
        del dataset.file_meta
        dataset.preamble = None
        dataset.save_as(path, implicit_vr=uid.is_implicit_VR, little_endian=uid.is_little_endian)
    return path


@pytest.fixture(scope="module")
def path():
    with tempfile.TemporaryDirectory() as folder:
        yield pathlib.Path(folder) / "film.dcm"


def _read(dataset: pydicom.Dataset, path: pathlib.Path, syntax: str = "explicit"):
    return read_radiograph(_write(dataset, syntax, path))


def _error(pixels: np.ndarray, film: np.ndarray = FILM) -> int:
    return int(np.abs(pixels.astype(int) - film).max())


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(way=ways())
def test_every_way_to_store_the_film_gives_the_film(path, way):
    """Within one level: stored values and the last rounding are each half a level off, as is every table's entry."""
    radiograph = _read(_store(way), path, way.syntax)
    tables = sum(table is not None for table in (way.modality, way.voi, way.presentation))
    assert _error(radiograph.pixels) <= 1 + (tables + 1) // 2
    assert not radiograph.notes


@pytest.mark.parametrize(
    "slope, modality", [(None, None), (3, None), (-3, None), (None, (12, False, False)), (None, (12, True, False))]
)
@pytest.mark.parametrize("voi", [None, (8, False, True), (8, True, True), (16, True, False)])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("window", ["", "LINEAR", "SIGMOID"])
def test_each_falling_stage_turns_the_picture_once(path, slope, modality, voi, photometric, window):
    """The stored values stay; only elements change. So the sign of the correlation counts the turns."""
    plain = _store(Way())
    if modality:
        plain.ModalityLUTSequence = [_table(modality, 0, 4096, Way(), False)]
    elif slope:
        plain.RescaleSlope, plain.RescaleIntercept = slope, 0
    top = 4095 * abs(slope or 1)
    ends = (-top, 0) if slope == -3 else (0, top)
    if voi:
        plain.VOILUTSequence = [_table(voi, ends[0], top + 1, Way(), ends[0] < 0)]
    if window:
        plain.WindowCenter, plain.WindowWidth, plain.VOILUTFunction = sum(ends) / 2, top, window
    plain.PhotometricInterpretation = photometric
    falling = [modality[1] if modality else slope == -3, bool(voi and voi[1]), photometric == "MONOCHROME1"]
    pixels = _read(plain, path).pixels
    assert np.sign(np.corrcoef(pixels.ravel(), FILM.ravel())[0, 1]) == (-1) ** sum(falling)


@pytest.mark.parametrize(
    "photometric, shape, turned, noted",
    [
        ("MONOCHROME2", "IDENTITY", False, False),
        ("MONOCHROME1", "INVERSE", True, False),  # one statement in two elements: PS3.3 C.7.6.1
        ("MONOCHROME2", "INVERSE", True, True),
        ("MONOCHROME1", "IDENTITY", True, True),
        (" MONOCHROME1", "", True, False),
    ],
)
def test_presentation_shape_and_photometric_interpretation(path, photometric, shape, turned, noted):
    dataset = _store(Way(stored=8, high=7))
    dataset.PhotometricInterpretation, dataset.PresentationLUTShape = photometric, shape
    radiograph = _read(dataset, path)
    assert _error(radiograph.pixels, 255 - FILM if turned else FILM) == 0
    assert bool(radiograph.notes) == noted


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("allocated, stored, high", [(8, 8, 7), (16, 12, 11), (16, 12, 15), (16, 16, 15)])
def test_run_length(path, signed, allocated, stored, high):
    dataset = _store(Way(allocated=allocated, stored=stored, high=high, signed=signed))
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.set_original_encoding(False, True)
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = allocated, allocated - 1, 0  # the cells whole
    dataset.compress(RLELossless)
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = stored, high, int(signed)
    dataset.save_as(path, enforce_file_format=True)
    assert _error(read_radiograph(path).pixels) <= 1


def _encapsulated(way: Way, stream: bytes, syntax) -> pydicom.Dataset:
    dataset = _store(way)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.add_new("PixelData", "OB", pydicom.encaps.encapsulate([stream]))
    dataset["PixelData"].is_undefined_length = True
    return dataset


def _coded(values: np.ndarray, kind: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_jpeg_2000(path, bits, photometric):
    seen = 255 - FILM if photometric == "MONOCHROME1" else FILM
    values = seen if bits == 8 else seen.astype(np.uint16) * 257
    way = Way(allocated=bits, stored=bits, high=bits - 1, photometric=photometric)
    _encapsulated(way, _coded(values, "JPEG2000", no_jp2=True), JPEG2000Lossless).save_as(
        path, enforce_file_format=True
    )
    assert _error(read_radiograph(path).pixels) <= 1


def test_a_compressed_stream_of_another_size_is_refused_before_it_is_decoded(path):
    stream = _coded(FILM[:90], "JPEG2000", no_jp2=True)
    way = Way(allocated=8, stored=8, high=7)
    _encapsulated(way, stream, JPEG2000Lossless).save_as(path, enforce_file_format=True)
    with pytest.raises(ImageError, match="says 80 x 96 pixels, but its compressed image has 80 x 90"):
        read_radiograph(path)


def _spoken_of(radiograph, words: str) -> bool:
    return any(words in note for note in radiograph.notes)


def _changed(way: Way = Way(), **elements) -> pydicom.Dataset:
    dataset = _store(way)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def _read_raw(dataset: pydicom.Dataset, path: pathlib.Path, **elements: tuple[str, bytes]):
    """Reads a file with elements that pydicom would not write: (value representation, bytes)."""
    for keyword, (vr, value) in elements.items():
        tag = pydicom.tag.Tag(keyword)
        dataset.pop(tag, None)
        content = _write(dataset, "explicit", path).read_bytes()
        written = pydicom.dcmread(path)
        nearest = min((element for element in written if element.tag > tag), key=lambda element: element.tag)
        at = nearest.file_tell - (12 if nearest.VR in ("OB", "OW", "SQ") else 8)
        length = struct.pack("<HI", 0, len(value)) if vr == "SQ" else struct.pack("<H", len(value))
        element = struct.pack("<HH", tag.group, tag.element) + vr.encode() + length + value
        path.write_bytes(content[:at] + element + content[at:])
    return read_radiograph(path)


def _as_the_film(radiograph, within: int = 1) -> bool:
    return radiograph.pixels.shape == FILM.shape and _error(radiograph.pixels) <= within


@pytest.mark.parametrize(
    "keyword",
    ["RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction", "PresentationLUTShape",
     "ModalityLUTSequence", "VOILUTSequence", "PresentationLUTSequence", "PixelSpacing", "ImagerPixelSpacing",
     "PixelAspectRatio", "NumberOfFrames", "PixelPaddingValue", "ImageLaterality", "BodyPartExamined",
     "EstimatedRadiographicMagnificationFactor", "PixelSpacingCalibrationType"],
)  # fmt: skip
@pytest.mark.parametrize("items", [0, 2])
def test_an_element_that_is_empty_is_absent(path, keyword, items):
    radiograph = _read(_changed(**{keyword: [pydicom.Dataset()] * items if "Sequence" in keyword else None}), path)
    assert _as_the_film(radiograph) and not radiograph.notes


BROKEN = {
    "PixelSpacing": ("DS", b"0.1 mm\\a "),
    "ImagerPixelSpacing": ("DS", b"0.1 "),
    "PixelAspectRatio": ("IS", b"1\\zero"),
    "EstimatedRadiographicMagnificationFactor": ("DS", b"ca. 1 "),
    "NumberOfFrames": ("IS", b"one "),
    "PixelPaddingValue": ("US", b"\1"),
    "WindowCenter": ("DS", b"2O48"),
    "RescaleIntercept": ("DS", b"none"),
    "VOILUTSequence": ("SQ", b"\xfe\xff\x00\xe0\xff\0\0\0rubb"),
    "PresentationLUTShape": ("CS", b"IDENTIT\xc9"),
    "VOILUTFunction": ("CS", b"LIN\xe9AIRE"),
    "PixelSpacingCalibrationType": ("CS", b"\xff\xfe"),
}


@pytest.mark.parametrize("keyword", BROKEN)
def test_one_broken_element_that_is_not_needed_refuses_no_film(path, keyword):
    dataset = _changed(WindowCenter="2048", WindowWidth="4096", ImagerPixelSpacing=[0.8, 0.8])
    radiograph = _read_raw(dataset, path, **{keyword: BROKEN[keyword]})
    assert _as_the_film(radiograph)
    assert _spoken_of(radiograph, keyword)


def test_broken_text_about_the_patient_is_passed_over(path):
    radiograph = _read_raw(_store(Way()), path, BodyPartExamined=("CS", b"HAND \xe4\x00"))
    assert _as_the_film(radiograph) and radiograph.view == "hand" and not radiograph.notes
    radiograph = _read_raw(_store(Way()), path, ImageLaterality=("CS", b"\xfc "))
    assert _as_the_film(radiograph) and radiograph.side == "" and not radiograph.notes
    radiograph = _read_raw(_store(Way()), path, PatientName=("PN", b"M\xfcller\\\\\x1b"))
    assert _as_the_film(radiograph) and not radiograph.notes


def test_a_decimal_comma_is_read(path):
    assert _as_the_film(_read_raw(_store(Way(slope=-10)), path, RescaleSlope=("DS", b"-10,0 ")))
    assert _read_raw(_store(Way()), path, PixelSpacing=("DS", b"0,75\\0,75 ")).pixel_spacing_mm == 0.75


@pytest.mark.parametrize(
    "elements, spacing, words",
    [
        ({"PixelSpacing": [0.7, 0.7]}, 0.7, "as stored in PixelSpacing"),
        ({"ImagerPixelSpacing": [0.8, 0.8], "PixelSpacing": [0.7, 0.7]}, 0.8, "does not say how it was calibrated"),
        (
            {"ImagerPixelSpacing": [0.8, 0.8], "PixelSpacing": [0.7, 0.7], "PixelSpacingCalibrationType": "FIDUCIAL"},
            0.7,
            "as calibrated (FIDUCIAL)",
        ),
        (
            {"ImagerPixelSpacing": [0.8, 0.8], "EstimatedRadiographicMagnificationFactor": "1.25"},
            0.64,
            "divided by the magnification 1.25",
        ),
        (
            {"ImagerPixelSpacing": [0.8, 0.8], "EstimatedRadiographicMagnificationFactor": "0.1"},
            0.8,
            "absurd for a hand",
        ),
        ({"PixelSpacing": [0.01, 0.01]}, 0.01, "0.96 mm long, absurd"),
        ({"PixelSpacing": [150, 150]}, 150, "1.44e+04 mm long, absurd"),
        ({"PixelSpacing": [-0.7, 0.7]}, math.nan, "no pair of numbers above 0"),
        ({"PixelSpacing": [0.7, 0.7], "PixelAspectRatio": [1, 2]}, 0.7, "contradicts the pixel spacing"),
        ({"PixelSpacing": [0.1, 15]}, math.nan, "are a mistake"),
    ],
)
def test_spacing_follows_calibration_and_magnification(path, elements, spacing, words):
    radiograph = _read(_changed(**elements), path)
    assert _as_the_film(radiograph)
    assert radiograph.pixel_spacing_mm == pytest.approx(spacing, nan_ok=True) and _spoken_of(radiograph, words)


@pytest.mark.parametrize(
    "elements, shape, spacing",
    [
        ({"PixelSpacing": [0.8, 0.4]}, (192, 80), 0.4),
        ({"PixelSpacing": [0.4, 0.8]}, (96, 160), 0.4),
        ({"PixelAspectRatio": [1, 2]}, (96, 160), math.nan),
    ],
)
def test_pixels_become_square(path, elements, shape, spacing):
    """The film comes out stretched along the longer side of its pixels: every second pixel is the stored one."""
    radiograph = _read(_changed(Way(stored=8, high=7), **elements), path)
    assert radiograph.pixels.shape == shape and radiograph.pixel_spacing_mm == pytest.approx(spacing, nan_ok=True)
    again = radiograph.pixels[:: shape[0] // 96, :: shape[1] // 80]
    assert np.corrcoef(again.ravel(), FILM.ravel())[0, 1] > 0.999 and _spoken_of(radiograph, "not square")


@pytest.mark.parametrize("signed, padding, limit", [
    (False, 4095, None), (False, 60000, None), (True, -2048, None), (True, 2047, 2000), (True, -2000, None),
])  # fmt: skip
@pytest.mark.parametrize("as_unsigned", [False, True])
def test_padding_is_black_whatever_the_sign_of_its_vr(path, signed, padding, limit, as_unsigned):
    """A border of padding leaves the film within it as it is."""
    low = -2048 if signed else 0
    values = np.rint(low + 10 + FILM * (1900 / 255)).astype(int)
    values[:, :6] = padding
    dataset = _changed(Way(signed=signed))
    dataset.PixelData = (values % 65536).astype("<u2").tobytes()
    vr = "US" if as_unsigned or not signed else "SS"
    dataset.add_new("PixelPaddingValue", vr, padding % 65536 if vr == "US" else padding)
    if limit is not None:
        dataset.add_new("PixelPaddingRangeLimit", vr, limit % 65536 if vr == "US" else limit)
    radiograph = _read(dataset, path)
    assert (radiograph.pixels[:, :6] == 0).all() and _error(radiograph.pixels[:, 6:], FILM[:, 6:]) <= 1
    assert not radiograph.notes


def test_padding_that_were_nearly_everything_is_not_used(path):
    dataset = _store(Way())
    dataset.add_new("PixelPaddingValue", "US", 0)
    dataset.add_new("PixelPaddingRangeLimit", "US", 4090)
    radiograph = _read(dataset, path)
    assert _as_the_film(radiograph) and _spoken_of(radiograph, "it was not used")


@pytest.mark.parametrize(
    "elements, words",
    [
        ({"WindowCenter": "30000", "WindowWidth": "10"}, "hides 100.0 %"),
        ({"WindowCenter": "40", "WindowWidth": "80"}, "hides 98.1 %"),
        ({"WindowCenter": "2048", "WindowWidth": "0"}, "not allowed"),
        ({"WindowCenter": "2048", "WindowWidth": "-4096"}, "not allowed"),
        ({"WindowCenter": "2048", "WindowWidth": "0.5"}, "not allowed"),
        ({"WindowCenter": "2048", "WindowWidth": "0", "VOILUTFunction": "LINEAR_EXACT"}, "not allowed"),
        ({"WindowCenter": "2048"}, "only pairs"),
    ],
)
def test_a_window_that_hides_nearly_everything_is_not_used(path, elements, words):
    radiograph = _read(_changed(**elements), path)
    assert _as_the_film(radiograph) and _spoken_of(radiograph, words)


def test_the_first_window_that_can_be_used_is(path):
    dataset = _changed(WindowCenter=["30000", "2048", "1000"], WindowWidth=["10", "4096", "100"])
    radiograph = _read(dataset, path)
    assert _as_the_film(radiograph) and _spoken_of(radiograph, "3 windows; number 2 was used")


def test_a_window_that_whitens_half_the_film_is_noted(path):
    assert _spoken_of(_read(_changed(WindowCenter="200", WindowWidth="400"), path), "% of the pixels white")


def test_the_first_table_that_can_be_used_is(path):
    good = _table((12, True, False), 0, 4096, Way(), False)
    short = _table((12, False, False), 0, 4096, Way(), False)
    short.LUTData = short.LUTData[:4096]
    beside = _table((12, False, False), 60000, 100, Way(), False)
    dataset = _changed(VOILUTSequence=[short, beside, good], WindowCenter="5", WindowWidth="5")
    radiograph = _read(dataset, path)
    assert _error(radiograph.pixels, 255 - FILM) <= 1
    assert _spoken_of(radiograph, "number 3 was used") and _spoken_of(radiograph, "4096 bytes for 4096 entries")
    assert _spoken_of(radiograph, "hides 100.0 %") and _spoken_of(radiograph, "a value-of-interest table and a window")


def test_a_table_in_the_wrong_byte_order_is_noted(path):
    item = _table((16, False, False), 0, 4096, Way(), False)
    item.LUTData = np.frombuffer(item.LUTData, "u2").byteswap().tobytes()
    assert _spoken_of(_read(_changed(VOILUTSequence=[item]), path), "both rises and falls")


def test_a_modality_table_that_is_too_short_for_the_film_is_noted_and_then_refused(path):
    some = _table((12, False, False), 0, 2000, Way(), False)
    assert _spoken_of(_read(_changed(ModalityLUTSequence=[some]), path), "has no entries for")
    few = _table((12, False, False), 5000, 2000, Way(), False)
    with pytest.raises(ImageError, match="has no entries for 100 %"):
        _read(_changed(ModalityLUTSequence=[few]), path)


@pytest.mark.parametrize("keyword", ["ModalityLUTSequence", "PresentationLUTSequence"])
@pytest.mark.parametrize("fault", ["data", "descriptor", "short", "sequence"])
def test_a_table_that_may_invert_and_cannot_be_applied_is_an_error(path, keyword, fault):
    item = _table((12, True, False), 0, 4096, Way(), False)
    if fault == "data":
        del item.LUTData
    elif fault == "descriptor":
        item.LUTDescriptor = [4096, 0]
    elif fault == "short":
        item.LUTData = item.LUTData[:4096]
    with pytest.raises(ImageError, match=rf"film\.dcm .*{keyword}.*export"):
        if fault == "sequence":
            _read_raw(_store(Way()), path, **{keyword: BROKEN["VOILUTSequence"]})
        else:
            _read(_changed(**{keyword: [item]}), path)


def test_a_slope_that_is_no_number_is_an_error_as_it_may_be_negative(path):
    with pytest.raises(ImageError, match=r"film\.dcm .*RescaleSlope"):
        _read_raw(_changed(RescaleIntercept="0"), path, RescaleSlope=("DS", b"minus one "))


def test_a_modality_table_of_65536_entries(path):
    """0 in the descriptor says so."""
    way = Way(stored=16, high=15, signed=True, modality=(16, True, False))
    dataset = _store(way)
    assert dataset.ModalityLUTSequence[0].LUTDescriptor[0] == 0
    assert _as_the_film(_read(dataset, path))


@pytest.mark.parametrize(
    "elements, words",
    [
        ({"HighBit": 5}, "HighBit 5 contradicts"),
        ({"HighBit": 16}, "HighBit 16 contradicts"),
        ({"HighBit": 15}, "HighBit 15 says"),
        ({"HighBit": None}, "HighBit is missing"),
        ({"BitsStored": None, "HighBit": None}, "BitsStored is missing"),
        ({"BitsStored": 10, "HighBit": 9}, "BitsStored is 10, but values use more bits"),
        ({"BitsAllocated": None}, "BitsAllocated is missing; 16"),
        ({"PixelRepresentation": None}, "PixelRepresentation is missing"),
        ({"PhotometricInterpretation": None}, "PhotometricInterpretation is missing"),
        ({"RescaleSlope": "0", "RescaleIntercept": "0"}, "RescaleSlope is 0"),
        ({"RescaleIntercept": "-100"}, "RescaleSlope is missing"),
        ({"RescaleSlope": "2"}, "RescaleIntercept is missing"),
        (
            {"PixelData": (FILM * np.uint16(16)).astype("<u2").tobytes() + b"\0" * 100},
            "100 bytes longer than Rows x Columns",
        ),
        ({"Laterality": "R", "ImageLaterality": "L"}, "Laterality contradicts"),
    ],
)
def test_contradictions_that_are_settled_are_noted(path, elements, words):
    radiograph = _read(_changed(**elements), path)
    assert _as_the_film(radiograph, within=16 if "PixelData" in elements else 1) and _spoken_of(radiograph, words)


def test_bits_beside_the_value_are_cut_off(path):
    cells = np.frombuffer(_store(Way()).PixelData, "<u2").reshape(FILM.shape).copy()
    cells[20:30, 10:60] |= 0x8000  # an overlay, as it was once stored
    cells[::7, ::5] |= 0x1000
    radiograph = _read(_changed(PixelData=cells.tobytes()), path)
    assert _as_the_film(radiograph) and _spoken_of(radiograph, "they were cut off")


@pytest.mark.parametrize(
    "elements, words",
    [
        ({"PixelData": _store(Way()).PixelData * 3}, "holds 3 frames; save the one of the hand"),
        ({"NumberOfFrames": 4}, "holds 4 frames"),
        ({"BitsAllocated": 12}, "BitsAllocated 12"),
        ({"BitsStored": 20}, "BitsStored 20 in BitsAllocated 16"),
        ({"BitsAllocated": 32}, "BitsAllocated 32, but its PixelData 16 bits"),
        ({"PixelData": _store(Way()).PixelData[:-300]}, "is truncated"),
        ({"Columns": 64}, "a contradiction"),
        ({"Rows": 65535, "Columns": 65535}, "too many for one radiograph"),
        ({"SamplesPerPixel": 3}, "SamplesPerPixel 3"),
        ({"PhotometricInterpretation": "RGB"}, "SamplesPerPixel 1"),
        ({"Laterality": "B"}, "both hands"),
    ],
)
def test_contradictions_that_cannot_be_settled_are_refused(path, elements, words):
    with pytest.raises(ImageError, match=words) as caught:
        _read(_changed(**elements), path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


ODD = {
    "BitsAllocated": (8, 16, 32), "BitsStored": (1, 8, 10, 12, 16, 17), "HighBit": (0, 7, 9, 11, 15, 16),
    "PixelRepresentation": (0, 1, 2), "PhotometricInterpretation": ("MONOCHROME1", "GREY", "RGB", "PALETTE COLOR"),
    "RescaleSlope": ("0", "-1", "1e308", "-1e-30"), "RescaleIntercept": ("-1024", "1e300"),
    "WindowCenter": ("0", "4095", "1e9"), "WindowWidth": ("1", "-5", "2000", "1e9"), "VOILUTFunction": ("SIGMOID", "X"),
    "PresentationLUTShape": ("INVERSE", "LIN OD"), "NumberOfFrames": (0, 1, 2), "Rows": (0, 48, 95, 192, 65535),
    "Columns": (1, 40, 79, 160), "SamplesPerPixel": (0, 3, 4), "PixelPaddingValue": (0, 4095),
    "PixelPaddingRangeLimit": (0, 4095), "PixelSpacing": ([0.5, 0.25], [0, 0]), "PixelAspectRatio": ([1, 1], [9, 1]),
}  # fmt: skip

CONTRADICTING = {"BitsAllocated", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "PixelAspectRatio"}
"""Of these, values that differ from what was written say something untrue."""


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(
    way=ways(),
    odd=st.lists(st.sampled_from(sorted(ODD)), max_size=3, unique=True).flatmap(
        lambda keys: st.fixed_dictionaries({key: st.sampled_from(ODD[key]) for key in keys})
    ),
)
def test_whatever_contradicts_ends_in_a_film_or_an_error_of_the_project(path, way, odd):
    try:
        radiograph = _read(_changed(way, **odd), path, way.syntax)
    except ImageError as error:
        assert "film.dcm" in str(error) and "\n" not in str(error)
    else:
        assert radiograph.pixels.dtype == np.uint8 and np.ptp(radiograph.pixels) > 0
        if odd.keys() <= CONTRADICTING and not radiograph.notes:
            assert _as_the_film(radiograph, within=2)


def test_the_odd_files_that_pydicom_is_tested_with():
    """None of them gives an exception that is not the project's own, and what pydicom's README calls good is read."""
    folder = pathlib.Path(pydicom.data.__file__).parent / "test_files"
    read = set()
    for file in sorted(folder.glob("*.dcm")):
        try:
            radiograph = read_radiograph(file)
        except ImageError as error:
            assert file.name in str(error) and "\n" not in str(error)
        else:
            read.add(file.name)
            assert radiograph.pixels.ndim == 2
    assert read >= {"CT_small.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm",
                    "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "examples_overlay.dcm"}  # fmt: skip


def test_one_film_in_many_encodings_reads_the_same():
    """pydicom's MR_small, as others wrote it: big endian, implicit, run-length, JPEG 2000, with padding behind it."""
    expected = read_radiograph(pydicom.data.get_testdata_file("MR_small.dcm")).pixels
    for other in ("bigendian", "implicit", "expb", "RLE", "jp2klossless", "padded"):
        found = read_radiograph(pydicom.data.get_testdata_file(f"MR_small_{other}.dcm")).pixels
        np.testing.assert_array_equal(found, expected, err_msg=other)


@pytest.mark.parametrize("file, packages", [
    ("JPGExtended.dcm", "pylibjpeg pylibjpeg-libjpeg"),  # 12 bits: Pillow reads 8
    ("MR_small_jpeg_ls_lossless.dcm", "pylibjpeg pylibjpeg-libjpeg"),
    ("SC_rgb_jpeg_gdcm.dcm", "pylibjpeg pylibjpeg-libjpeg"),
])  # fmt: skip
def test_a_decoder_that_is_missing_is_named_with_its_packages(file, packages):
    found = pydicom.data.get_testdata_file(file)
    syntax = pydicom.dcmread(found, stop_before_pixels=True).file_meta.TransferSyntaxUID
    if {"pylibjpeg", "gdcm", "pyjpegls"} & set(pydicom.pixels.get_decoder(syntax).available_plugins):
        pytest.skip("a decoder is installed")
    with pytest.raises(ImageError, match=rf"no decoder for it is installed; run `pip install {packages}`"):
        read_radiograph(found)


def test_a_deflated_file_that_unpacks_without_end_is_refused(path, monkeypatch):
    monkeypatch.setattr("ramjax.io.dicom.MAX_BYTES", 100_000)
    dataset = _changed(Way(stored=8, high=7), PixelData=b"\0" * 200_000)
    _write(dataset, "deflated", path)
    assert path.stat().st_size < 10_000
    with pytest.raises(ImageError, match="unpacks to more than 100,000 bytes"):
        read_radiograph(path)


def test_a_damaged_jpeg_stream_is_heard_of(path):
    """Whole, it reads as Pillow reads it; cut short, never; with 16 bytes missing, its decoder may warn."""
    noisy = np.clip(FILM + np.random.default_rng(0).normal(0, 9, FILM.shape), 0, 255).astype(np.uint8)
    stream = _coded(noisy, "JPEG", quality=90)

    def read(damaged: bytes) -> np.ndarray:
        dataset = _encapsulated(Way(allocated=8, stored=8, high=7), damaged, JPEGBaseline8Bit)
        dataset.save_as(path, enforce_file_format=True)
        return read_radiograph(path).pixels

    assert _error(read(stream), np.asarray(Image.open(io.BytesIO(stream)))) <= 1
    refused = 0
    for place in range(1000, len(stream) - 20, len(stream) // 24):
        with pytest.raises(ImageError, match=r"film\.dcm .*damaged"):
            read(stream[:place])
        try:
            read(stream[:place] + stream[place + 16 :])
        except ImageError as error:
            refused += "damaged" in str(error)
    assert refused > 2
    frame = stream.index(b"\xff\xc0")
    with pytest.raises(ImageError, match="header is broken"):  # a byte more in a table before the frame
        read(stream[:frame] + b"\0" + stream[frame:])


def test_a_film_is_looked_up_not_computed(path):
    """Levels, counts and percentiles agree with what NumPy makes of the pixels."""
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 4096, (90, 70))
    radiograph = read_radiograph(dicom_files.write(path, stored, 12))
    low, high = np.percentile(stored, (0.1, 99.9))
    assert _error(radiograph.pixels, np.rint(np.clip((stored - low) / (high - low), 0, 1) * 255)) == 0

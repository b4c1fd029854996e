"""One known film, stored in every way that DICOM permits, comes out as that film, or as another with a word."""

import dataclasses
import io
import math
import pathlib
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
        window="" if voi else draw(st.sampled_from(("", "LINEAR", "LINEAR_EXACT", "SIGMOID", "default"))),
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


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(way=ways())
def test_every_way_to_store_the_film_gives_the_film(path, way):
    """Within one level: stored values and the last rounding are each half a level off, as is every table's entry."""
    radiograph = _read(_store(way), path, way.syntax)
    tables = sum(table is not None for table in (way.modality, way.voi, way.presentation))
    assert _error(radiograph.pixels) <= 1 + (tables + 1) // 2
    assert not radiograph.notes


@pytest.mark.parametrize("slope", [None, 3, -3])
@pytest.mark.parametrize("modality", [None, (12, False, False), (12, True, False)])
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
    top = 4095 * abs(slope or 1) if not modality else 4095
    ends = (-top, 0) if slope == -3 and not modality else (0, top)
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

"""The mask files of wrists: 14 planes of two values, whatever else a .npy file may hold."""

import subprocess
import sys

import numpy as np
import pytest

from ramjax import anatomy
from ramjax.io.errors import ReleaseError
from ramjax.record import unpack_bones
from tfds_builders.ram_w600.masks import read_mask

SHAPE = (9, 7)
PLANES = np.random.default_rng(0).integers(0, 2, (14, *SHAPE)).astype(bool)


@pytest.mark.parametrize(
    ("dtype", "top"),
    [(bool, 1), ("i1", 1), *((dtype, top) for dtype in ("u1", "i8", "f2", "f8", ">u2", ">f4") for top in (1, 255))],
)
@pytest.mark.parametrize("layout", ["first", "last", "fortran"])
def test_two_values_are_a_mask_whatever_their_type(tmp_path, dtype, top, layout):
    stored = (PLANES * top).astype(dtype)
    stored = {"first": stored, "last": stored.transpose(1, 2, 0), "fortran": np.asfortranarray(stored)}[layout]
    np.save(tmp_path / "a.npy", stored)
    found = unpack_bones(read_mask(tmp_path / "a.npy", SHAPE))
    expected = np.zeros((*SHAPE, anatomy.NUM_BONES), bool)
    for plane, name in zip(PLANES, anatomy.WRIST_BONES, strict=True):
        expected[..., anatomy.BONE_INDEX[name]] = plane
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("top", [0, 1])
def test_masks_of_one_value_are_masks(tmp_path, top):
    np.save(tmp_path / "a.npy", np.full((14, *SHAPE), top, np.uint8))
    assert unpack_bones(read_mask(tmp_path / "a.npy", SHAPE)).sum() == 14 * 63 * top


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (128, "such as 128"), (0.5, "such as 0.5"), (-1, "such as -1"), (float("nan"), "such as nan"),
        (float("inf"), "such as inf"), (2, "such as 2"), (254.0, "such as 254"), (255, "such as 0, 1, 255"),
    ],
)  # fmt: skip
def test_other_values_are_named(tmp_path, value, words):
    stored = PLANES.astype(float)
    stored[3, 4, 5] = value
    np.save(tmp_path / "a.npy", stored)
    with pytest.raises(ReleaseError, match=r"a\.npy holds values such as") as error:
        read_mask(tmp_path / "a.npy", SHAPE)
    assert words in str(error.value) and "0 and 1 or 0 and 255" in str(error.value)


@pytest.mark.parametrize("dtype", ["c8", "U1", "S1", "M8[s]", [("a", "u1")]], ids=str)
def test_what_is_no_number_is_named(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.zeros((14, *SHAPE), dtype))
    with pytest.raises(ReleaseError, match=r"a\.npy holds .*whole numbers"):
        read_mask(tmp_path / "a.npy", SHAPE)


def header(shape: str, descr: str = "'|u1'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(14 * 63)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x93NUMPY", header("(14, 9, 8)"), header("(14, 9, 6)"), header("(14, 1000000000, 1000000000)"),
        header("(14, 10**99, 1)"), header("(-14, -9, 7)"), header("(14, 9.0, 7)"), header("(" * 60), header("9" * 50),
        header("(14, 9, 7)", "'|O'"), header("(14, 9, 7)", "'spam'"), header("(14, 9, 7)") + b"more",
        b"\x93NUMPY\x09\x00" + bytes(99), header(f"(14, 63, {2**64 + 1})"),
    ],
    ids=range(15),
)  # fmt: skip
def test_damaged_files_are_named_and_take_no_memory(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ReleaseError, match=r"a\.npy is no whole \.npy file"):
        read_mask(tmp_path / "a.npy", SHAPE)


def test_the_size_that_a_header_claims_takes_no_memory(tmp_path):
    (tmp_path / "a.npy").write_bytes(header("(14, 30000, 30000)"))
    code = (
        "import resource, sys, pathlib\n"
        "from tfds_builders.ram_w600.masks import read_mask, ReleaseError\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (1 << 30),) * 2)\n"
        "try:\n"
        "    read_mask(pathlib.Path(sys.argv[1]), (30000, 30000))\n"
        "except ReleaseError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "a.npy is no whole .npy file" in done.stdout and "Unable to allocate" not in done.stdout, done.stderr

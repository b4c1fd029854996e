"""COCO files with odd numbers in them: an error that names the file, or the masks that a slow reader gives."""

import copy
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ramjax.io import coco, json_file
from ramjax.io.errors import ReleaseError

ROOT = pathlib.Path(__file__).parents[2]
HEIGHT, WIDTH = 6, 5


def slow_runs(counts: list[int], height: int, width: int) -> np.ndarray | None:
    """The mask of run lengths, pixel by pixel down the columns; None where they do not cover the image."""
    if any(run < 0 for run in counts) or sum(counts) != height * width:
        return None
    pixels = [value % 2 for value, run in enumerate(counts) for _ in range(run)]
    return np.array(pixels, bool).reshape(width, height).T


def slow_text(text: str) -> list[int] | None:
    """Compressed run lengths by the letter, as the COCO reference code defines them; None where they are cut off."""
    runs: list[int] = []
    value, place = 0, 0
    for letter in text:
        code = ord(letter) - 48
        value |= (code & 31) << place
        place += 5
        if not code & 32:
            value -= (1 << place) if code & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value, place = 0, 0
    return runs if place == 0 else None


def even_odd(polygon: list[float], height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Which pixel centres lie inside by the even-odd rule, and which are so far from the outline that it must count."""
    corners = list(zip(polygon[0::2], polygon[1::2], strict=True))
    edges = list(zip(corners, corners[1:] + corners[:1], strict=True))
    inside, sure = np.zeros((height, width), bool), np.zeros((height, width), bool)
    for row, column in np.ndindex(height, width):
        x, y = column + 0.5, row + 0.5
        crossed = sum(
            (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0) for (x0, y0), (x1, y1) in edges
        )
        inside[row, column] = crossed % 2
        sure[row, column] = min(_distance(x, y, *edge) for edge in edges) > 1.0
    return inside, sure


def _distance(x: float, y: float, start: tuple[float, float], end: tuple[float, float]) -> float:
    along = np.subtract(end, start)
    length = float(along @ along)
    share = min(max(float(np.subtract((x, y), start) @ along) / length, 0.0), 1.0) if length > 1e-12 else 0.0
    return math.hypot(*(np.subtract((x, y), start) - share * along))


def decode(segmentation, height=HEIGHT, width=WIDTH) -> np.ndarray:
    rows, columns, cut = coco.decode_mask(segmentation, height, width, "x.json, a.bmp")
    mask = np.zeros((height, width), bool)
    mask[rows, columns] = cut
    return mask


RUNS = st.lists(st.integers(0, 9), max_size=12).map(lambda runs: [*runs, max(HEIGHT * WIDTH - sum(runs), 0)])


@settings(max_examples=200, deadline=None)
@given(RUNS | st.lists(st.integers(-3, 40), max_size=6))
def test_run_lengths_are_read_as_a_slow_reader_does_or_refused(counts):
    """Empty runs included, which the reference code's boxes do not take."""
    expected = slow_runs(counts, HEIGHT, WIDTH)
    if expected is None:
        with pytest.raises(ReleaseError, match=r"^x\.json, a\.bmp: a mask is damaged"):
            decode({"size": [HEIGHT, WIDTH], "counts": counts})
    else:
        np.testing.assert_array_equal(decode({"size": [HEIGHT, WIDTH], "counts": counts}), expected)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=14))
def test_text_of_run_lengths_is_read_as_a_slow_reader_does_or_refused(text):
    runs = slow_text(text)
    expected = None if runs is None else slow_runs(runs, HEIGHT, WIDTH)
    if expected is None:
        with pytest.raises(ReleaseError, match=r"^x\.json, a\.bmp: a mask is damaged"):
            decode({"size": [HEIGHT, WIDTH], "counts": text})
    else:
        np.testing.assert_array_equal(decode({"size": [HEIGHT, WIDTH], "counts": text}), expected)


def test_the_slow_reader_reads_what_the_reference_code_writes():
    for seed in range(20):
        mask = np.random.default_rng(seed).random((HEIGHT, WIDTH)) < 0.4
        text = coco.encode_mask(mask, "compressed")["counts"]
        np.testing.assert_array_equal(slow_runs(slow_text(text), HEIGHT, WIDTH), mask)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_polygons_are_filled_by_the_even_odd_rule(data):
    """Up to an image size outside; a pixel's breadth along the outline is the reference code's own matter."""
    height, width = 20, 30
    xs, ys = st.floats(-width, 2 * width, width=32), st.floats(-height, 2 * height, width=32)
    corners = data.draw(st.lists(st.tuples(xs, ys), min_size=3, max_size=7))
    polygon = [v for corner in corners for v in corner]
    inside, sure = even_odd(polygon, height, width)
    np.testing.assert_array_equal(decode([polygon], height, width)[sure], inside[sure])


FAR = [float("nan"), float("inf"), -float("inf"), 4e8, 1e9, 2.0**31, 2.0**63, 1e12, 1e308, 10**400, -1e5]


@pytest.mark.parametrize("value", FAR, ids=str)
@pytest.mark.parametrize("place", [0, 1, 5])
def test_coordinates_that_are_not_finite_or_far_outside_are_refused(value, place):
    polygon = [0, 0, 4, 0, 4, 5]
    polygon[place] = value
    with pytest.raises(ReleaseError, match="coordinates that are not finite or far outside the image"):
        decode([polygon])


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ([[1, 1, 4, 1, 4, 4, 1]], "a polygon has 7 numbers, an odd count"),
        ([[1, 1, 4, 1, 4, "4"]], "coordinates that are no numbers"),
        ([[1, 1, 4, 1, 4, True]], "coordinates that are no numbers"),
        ([[1, 1, 4, 1, 4, None]], "coordinates that are no numbers"),
        ([[[1, 1], [4, 1], [4, 4]]], "coordinates that are no numbers"),
        ([1, 1, 4, 1, 4, 4], "1 is no polygon"),
        (["1,1,4,1,4,4"], "is no polygon"),
        (None, "neither run lengths nor a list of polygons"),
        ("0000", "neither run lengths nor a list of polygons"),
        ({"size": 5, "counts": "04"}, "a mask is 5, the image [6, 5]"),
        ({"size": "65", "counts": "04"}, "a mask is '65'"),
        ({"size": [6], "counts": [30]}, "a mask is [6]"),
        ({"size": [6, 5, 1], "counts": [30]}, "a mask is [6, 5, 1]"),
        ({"size": ["6", "5"], "counts": [30]}, "a mask is ['6', '5']"),
        ({"size": [10**400, 5], "counts": [30]}, "the image [6, 5]"),
        ({"size": [6, 5], "counts": 30}, "its run lengths are 30"),
        ({"size": [6, 5], "counts": {}}, "its run lengths are {}"),
        ({"size": [6, 5], "counts": [15.5, 14.5]}, "the run length 15.5 is no whole number in 0..30"),
        ({"size": [6, 5], "counts": ["30"]}, "the run length '30'"),
        ({"size": [6, 5], "counts": [True, 29]}, "the run length True"),
        ({"size": [6, 5], "counts": [float("nan")]}, "the run length nan"),
        ({"size": [6, 5], "counts": [2**32, 30]}, "the run length 4294967296"),
        ({"size": [6, 5], "counts": [10**400]}, "the run length 1000"),
        ({"size": [6, 5], "counts": [-1, 31]}, "the run length -1"),
        ({"size": [6, 5], "counts": "N" * 9}, "it has a run"),
        ({"size": [6, 5], "counts": "PPPPPPPP0"}, "beyond 32 bits"),
        ({"size": [6, 5], "counts": "nP"}, "its last run is cut off"),
        ({"size": [6, 5], "counts": "\ud800"}, "characters that no run lengths have"),
    ],
    ids=str,
)
def test_segmentations_of_another_form_are_named(segmentation, words):
    with pytest.raises(ReleaseError) as error:
        decode(segmentation)
    assert str(error.value).startswith("x.json, a.bmp: a mask is ") and words in str(error.value)
    assert len(str(error.value)) < 250


def test_whole_numbers_may_be_written_as_decimals():
    assert decode({"size": [6.0, 5.0], "counts": [12.0, 18.0]}).sum() == 18


def test_what_crashed_or_took_all_memory_is_refused_within_little_memory():
    """In a process that may take 2 GB of address space more than it starts with."""
    code = (
        "import resource\n"
        "from ramjax.io import coco\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (2 << 30),) * 2)\n"
        "nan, inf = float('nan'), float('inf')\n"
        "polygons = [[0, 0, v, 0, 5, 5] for v in (nan, inf, 4e8, 1e9, 2**31, 1e12, 10**400)]\n"
        "polygons.append([0, 0, 2000, 1500] * 60000)\n"  # 15 GB of outline
        "runs = [[2**31] * 2, [2**32 + 3_000_000], [-1] * 9, 'o' * 99, 'PPPPPPPP1' * 9]\n"
        "masks = [[p] for p in polygons] + [{'size': [1500, 2000], 'counts': r} for r in runs]\n"
        "for mask in masks:\n"
        "    try:\n"
        "        coco.decode_mask(mask, 1500, 2000, 'x.json')\n"
        "    except coco.ReleaseError as error:\n"
        "        print(str(error)[:24])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, (done.returncode, done.stderr[-500:])
    assert done.stdout.splitlines() == ["x.json: a mask is damaged"[:24]] * 13


SOUND = {
    "images": [{"id": 1, "file_name": "a.bmp", "height": HEIGHT, "width": WIDTH}, {"id": 2, "file_name": "b.bmp"}],
    "categories": [{"id": 0, "name": "Tool"}, {"id": 7, "name": "Radius"}, {"id": 8, "name": "Ulna"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 1, 3, 3], "segmentation": [[1, 1, 4, 1, 4, 4, 1, 4]]},
        {"id": 2, "image_id": 1, "category_id": 8, "bbox": [], "segmentation": {"size": [6, 5], "counts": [12, 6, 12]}},
        {"id": 3, "image_id": 2, "category_id": 8, "segmentation": {"size": [6, 5], "counts": "<2l01O"}},
    ],
}


def places(values, path=()) -> list[tuple]:
    """The path of every value in nested lists and dicts."""
    inner = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def put(values, path, value):
    """`values` with `value` at a path."""
    if not path:
        return value
    changed = copy.copy(values)
    changed[path[0]] = put(values[path[0]], path[1:], value)
    return changed


NUMBERS = st.sampled_from([0, -1, 1, 2, 3, 6, 7, 30, 2.0, 2.5, 1e9, 2**31, 2**63, 1e308, 10**400, *FAR[:3]])
LEAVES = (
    st.none() | st.booleans() | NUMBERS | st.sampled_from(["", "1", "a.bmp", "Radius", "\ud800", "\x1b[31m", "é\0"])
)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(places(SOUND)), ANYTHING)
def test_any_value_in_place_of_any_other_is_refused_or_read_as_it_stands(path, value):
    values = put(SOUND, path, value)
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "x.json"
        file.write_text(json.dumps(values))
        try:
            found = coco.read_coco(file)
            masks = [[decode(a.segmentation) for a in image.annotations] for image in found.images]
        except ReleaseError as error:
            assert "x.json" in str(error) and len(str(error)) < 320
            return
    assert len(found.images) == len(values["images"])
    for image, stated, of_image in zip(found.images, values["images"], masks, strict=True):
        assert (image.names[0], image.height) == (stated["file_name"], stated.get("height"))
        mine = [a for a in values["annotations"] if a["image_id"] == stated["id"]]
        names = {category["id"]: category["name"] for category in values["categories"]}
        assert [a.category for a in image.annotations] == [names[a["category_id"]] for a in mine]
        for mask, annotation in zip(of_image, mine, strict=True):
            assert_is(mask, annotation["segmentation"])


def assert_is(mask: np.ndarray, segmentation) -> None:
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        runs = slow_text(counts) if isinstance(counts, str) else [int(run) for run in counts]
        np.testing.assert_array_equal(mask, slow_runs(runs, *mask.shape))
        return
    expected, sure = np.zeros(mask.shape, bool), np.ones(mask.shape, bool)
    for polygon in segmentation:
        if len(polygon) >= 6:
            inside, certain = even_odd(polygon, *mask.shape)
            expected, sure = expected | inside, sure & certain
    np.testing.assert_array_equal(mask[sure], expected[sure])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "Expecting value"),
        (b"[" * 100000, "nested"),
        (b'{"a":' * 100000, "nested"),
        (b"[" * 40 + b"]" * 40, "nested more than 32 levels deep"),
        (b'{"a": ' + b"9" * 6000 + b"}", "a number of thousands of digits"),
        (b'{"a": 1, "a": 2}', "the key 'a' is there twice, as 1 and 2"),
        (b'{"a": 1, "a": true}', "the key 'a' is there twice"),
        ('{"a": "é"}'.encode("latin-1"), "it is not utf-8 text from byte 7 on"),
        (b'{"a": 1}\0\0', "Extra data"),
        (b'{"a": 1} {"b": 2}', "Extra data"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_json_that_no_reader_expects_is_named(tmp_path, content, words):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(ReleaseError) as error:
        json_file.read_json(path)
    assert str(error.value).startswith(f"{path} is no whole JSON file (") and words in str(error.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_is_read_in_every_encoding_that_its_standards_have(tmp_path, encoding):
    path = tmp_path / "x.json"
    path.write_bytes('{"name": "Ulnä", "twice": 1, "twice": 1, "area": NaN}'.encode(encoding))
    values = json_file.read_json(path)
    assert (values["name"], values["twice"]) == ("Ulnä", 1) and math.isnan(values["area"])


def test_odd_and_harmless_things_are_findings(tmp_path):
    values = copy.deepcopy(SOUND)
    values["annotations"][1]["id"] = 1
    values["categories"][2]["name"] = "Radius"
    found = coco.parse_coco(values, tmp_path / "x.json").findings
    assert {(f.what, f.where) for f in found} == {
        ("annotation ids that x.json has twice", "1"),
        ("category names that x.json has twice", "'Radius'"),
    }
    assert coco.parse_coco(SOUND, tmp_path / "x.json").findings == ()


@given(st.integers(-(10**40), 10**40) | st.floats() | st.text() | st.booleans() | st.none())
def test_whole_and_finite_numbers_are_what_they_say(value):
    number = isinstance(value, int | float) and not isinstance(value, bool)
    assert (json_file.whole(value) is not None) == (number and math.isfinite(value) and value == int(value))
    assume(not number or not abs(value) > 3e38)
    assert json_file.finite(value) == (value if number and math.isfinite(value) else None)

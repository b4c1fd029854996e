import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ramjax import anatomy
from ramjax.metrics import cases as cases_lib

PARTS = {"bones": anatomy.BONES, "be": anatomy.SITE_NAMES}


def attributes(index: int) -> dict:
    return {
        "dataset": "ram_phantom", "id": f"p{index:03}-L", "patient": f"p{index:03}", "visit": "", "center": "A",
        "side": "L", "view": "hand", "is_ra": index % 2, "pixel_spacing_mm": 0.15 if index else float("nan"),
        "picture": "",
    }  # fmt: skip


def some_cases(count: int = 3, about: dict | None = None) -> cases_lib.Cases:
    rng = np.random.default_rng(0)
    cases = []
    for index in range(count):
        bones = {name: rng.random((2, anatomy.NUM_BONES)) for name in ("dsc", "msd")}
        bones["msd"][1, 3] = np.inf
        scores = {"predicted": rng.integers(0, 5, (2, anatomy.NUM_SITES)).astype(float)}
        cases.append(cases_lib.Case(attributes(index), {"bones": bones, "be": scores}))
    return cases_lib.collect(cases, about or {"run": "x", "tolerance": 2.0}, PARTS)


def assert_same(a: cases_lib.Cases, b: cases_lib.Cases) -> None:
    assert a.about == b.about and a.parts == b.parts
    for name in cases_lib.ATTRIBUTES:
        np.testing.assert_array_equal(a.attributes[name], b.attributes[name])
        assert a.attributes[name].dtype == b.attributes[name].dtype
    assert {task: list(metrics) for task, metrics in a.values.items()} == {t: list(m) for t, m in b.values.items()}
    for task, metrics in a.values.items():
        for metric in metrics:
            np.testing.assert_array_equal(a.values[task][metric], b.values[task][metric])


def test_cases_come_back_from_the_file_bit_for_bit(tmp_path):
    cases = some_cases()
    cases_lib.write(tmp_path / "cases.parquet", cases)
    assert_same(cases_lib.read(tmp_path / "cases.parquet"), cases)


def test_the_file_tells_its_parts(tmp_path):
    """Of a group that no task of ramjax measures, and of a single case."""
    values = {"hand": {"predicted": np.array([[1.0, np.nan]] * 2)}, "be": {"p0": np.zeros((2, 22))}}
    parts = {"be": anatomy.SITE_NAMES, "unused": ("one",), "hand": ("side", "age in years")}
    cases = cases_lib.collect([cases_lib.Case(attributes(0), values)], {}, parts)
    cases_lib.write(tmp_path / "cases.parquet", cases)
    again = cases_lib.read(tmp_path / "cases.parquet")
    assert_same(again, cases)
    assert again.parts == {"be": anatomy.SITE_NAMES, "hand": ("side", "age in years")}
    np.testing.assert_array_equal(again.of_parts("hand", "predicted", ["age in years", "side"]), [[np.nan, 1.0]])


def test_the_file_has_one_value_a_row_for_other_tools(tmp_path):
    cases_lib.write(tmp_path / "cases.parquet", some_cases(), {"run": "a"})
    rows = pq.read_table(tmp_path / "cases.parquet").to_pylist()
    assert len(rows) == 3 * (2 * 30 + 22)
    (row,) = [r for r in rows if (r["id"], r["part"], r["metric"]) == ("p002-L", "Ulna", "msd")]
    expected = some_cases().get("bones", "msd")[2, anatomy.BONE_INDEX["Ulna"]]
    assert (row["run"], row["task"], row["strict"], row["is_ra"]) == ("a", "bones", expected, 0)


def test_a_metric_some_cases_lack_is_nan_there():
    one = cases_lib.Case(attributes(0), {"bones": {"dsc": np.ones((2, 30))}})
    other = cases_lib.Case(attributes(1), {"be": {"predicted": np.zeros((2, 22))}})
    cases = cases_lib.collect([one, other], {}, PARTS)
    assert np.isnan(cases.get("bones", "dsc")[1]).all() and (cases.get("bones", "dsc")[0] == 1).all()
    assert np.isnan(cases.get("be", "predicted")[0]).all() and (cases.get("be", "predicted")[1] == 0).all()


@pytest.mark.parametrize("which", [np.array([3, 1]), np.array([False, True, False, True, False])])
def test_cases_are_taken_by_number_or_by_choice(which):
    cases, picked = some_cases(5), some_cases(5).take(which)
    numbers = np.arange(5)[which]
    assert list(picked.attributes["id"]) == [f"p{number:03}-L" for number in numbers]
    np.testing.assert_array_equal(picked.get("bones", "dsc"), cases.get("bones", "dsc")[numbers])


def test_what_was_not_measured_is_named():
    with pytest.raises(ValueError, match=r"'nsd' of 'bones' was not measured; known are bones: dsc, msd"):
        some_cases().get("bones", "nsd")


def test_a_table_of_another_program_is_one_sentence(tmp_path):
    pq.write_table(pa.table({"x": [1]}), tmp_path / "cases.parquet")
    with pytest.raises(ValueError, match=r"cases.parquet cannot be read as cases"):
        cases_lib.read(tmp_path / "cases.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1 nonsense", None])
def test_a_damaged_file_is_one_sentence(tmp_path, content):
    path = tmp_path / "cases.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cases.parquet cannot be read as cases of an evaluation .*evaluate the run"):
        cases_lib.read(path)


def test_every_bit_that_changes_is_noticed(tmp_path):
    path, content = tmp_path / "cases.parquet", cases_lib.encode(some_cases(1))
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="it has changed since it was written: its checksum differs"):
            cases_lib.decode(bytes(damaged))
    for damaged in (content[:-1], content + b"\n", content[1:], b"", content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"cases.parquet cannot be read as cases of an evaluation .*evaluate the"):
            cases_lib.read(path)


def test_a_file_of_an_older_version_is_read_and_named_once(tmp_path, caplog):
    caplog.set_level("INFO", "ramjax")
    cases, path = some_cases(), tmp_path / "cases.parquet"
    metadata = {"ramjax": json.dumps(cases.about)}
    pq.write_table(cases_lib.table(cases).replace_schema_metadata(metadata), path, compression="zstd")
    for _ in range(2):
        assert_same(cases_lib.read(path), cases)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} is of an older version and has no checksum; damage to it may go unnoticed."
    ]

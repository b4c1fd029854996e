"""No damaged or odd file crashes, hangs, fills the memory, ends in a traceback, or is silently read as another."""

import random

import numpy as np
import pytest

from tests.fuzz import telling
from tests.fuzz.formats import FORMATS
from tests.fuzz.mutate import mutant
from tests.fuzz.run import fuzz, main
from tests.fuzz.trying import FORBIDDEN, Outcome, digest, make

COUNT = 200
"""Files of each format; `python -m tests.fuzz.run` tries thousands."""

TELLABLE = [name for name, of in FORMATS.items() if of.damaged not in (telling.always, telling.never)]


@pytest.mark.parametrize("name", FORMATS)
def test_no_damaged_file_is_worse_than_refused(name, tmp_path):
    tried = list(fuzz(name, COUNT, 0, tmp_path))
    assert [one.index for one in tried] == list(range(COUNT))
    assert [one for one in tried if one.outcome in FORBIDDEN] == []
    assert any(one.outcome not in (Outcome.SAME, Outcome.NOTED) for one in tried) or name in ("metrics", "summary")


@pytest.mark.parametrize(
    ("name", "outcomes"),
    [
        ("refuses", {Outcome.REFUSED}),
        ("raises", {Outcome.FOREIGN}),
        ("crashes", {Outcome.CRASH}),
        ("ends", {Outcome.CRASH}),
        ("waits", {Outcome.HANG}),
        ("works", {Outcome.HANG}),
        ("fills", {Outcome.MEMORY}),
        ("hides", {Outcome.MEMORY}),
        ("changes", {Outcome.CHANGED, Outcome.SILENT}),
        ("notes", {Outcome.NOTED}),
        ("ignores", {Outcome.SAME}),
    ],
)
def test_what_a_reader_does_is_found(name, outcomes, tmp_path):
    count = {"waits": 2, "works": 3, "crashes": 8, "ends": 8}.get(name, 30)
    tried = list(fuzz(name, count, 0, tmp_path, "tests.fuzz.misbehaving"))
    assert [one.index for one in tried] == list(range(count))
    assert {one.outcome for one in tried} == outcomes
    kept = {path.name for path in tmp_path.glob("kept/*/*/*") if not path.suffix}
    assert kept == {str(one.index) for one in tried if one.outcome in FORBIDDEN}


def test_a_seed_tells_the_files(tmp_path):
    of = FORMATS["png8"]
    _, contents = of.build(tmp_path)
    made = [make(of, contents, 5, index) for index in range(100)]
    assert made == [make(of, contents, 5, index) for index in range(100)]
    assert made != [make(of, contents, 6, index) for index in range(100)]
    assert all(one.content != contents[one.seed] for one in made)
    assert len({one.content for one in made}) > 90


@pytest.mark.parametrize(
    "name", [name for name, of in FORMATS.items() if of.damaged not in (telling.always, telling.never)]
)
def test_whole_files_are_told_from_damaged_ones(name, tmp_path):
    of = FORMATS[name]
    _, contents = of.build(tmp_path)
    for content in contents:
        assert not of.damaged(content)
        assert of.damaged(content[: len(content) // 2] + (b"}" if name == "metrics" else b""))


def test_every_mutation_changes_files(tmp_path):
    unseen = {mutation.__name__ for of in FORMATS.values() for mutation in of.mutations}
    for name in ("png8", "tiff", "dicom", "coco_boxes", "summary", "xlsx_w600"):
        (tmp_path / name).mkdir()
        _, contents = FORMATS[name].build(tmp_path / name)
        for mutation in FORMATS[name].mutations:
            unseen -= {mutant(contents, [mutation], random.Random(n)).kind for n in range(30)}
    assert not unseen


def test_a_digest_tells_values_and_types_and_knows_nan():
    assert digest({"a": [np.nan, 1.0]}) == digest({"a": [float("nan"), 1.0]})
    different = [1, 1.0, "1", [1], [[1]], [1, 1], {1: 1}, None, np.ones(1), np.ones(1, np.uint8), np.ones((1, 1))]
    assert len({digest(value) for value in different}) == len(different)


def test_the_command_counts_and_fails_where_something_must_not_be(tmp_path, capsys):
    assert main(["--count=3", "--formats=eval_test", f"--output={tmp_path / 'a'}"]) == 0
    header, _, row = capsys.readouterr().out.splitlines()
    assert header.startswith("|  | files | refused |")
    assert row.startswith("| eval_test | 3 | ")
    assert main(["--count=3", "--formats=eval_test", "--json", f"--output={tmp_path / 'b'}"]) == 0
    assert '"eval_test"' in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["--formats=doc"])

import errno
import json
import math
import os

import pytest

from ramjax import files
from ramjax.config import Config
from ramjax.data import source
from ramjax.errors import RunError
from ramjax.runs import run_dir


def test_json_has_null_for_what_is_not_finite(tmp_path):
    files.write_json(tmp_path / "a.json", {"x": math.nan, "y": [1.5, math.inf], "z": {"w": 2}})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": None, "y": [1.5, None], "z": {"w": 2}}


def test_a_failed_write_leaves_all_files_and_nothing_beside_and_names_the_file(tmp_path, monkeypatch):
    one, two = tmp_path / "a.bin", tmp_path / "b.bin"
    files.write_bytes(one, b"before")
    written = []

    def fsync(number):
        written.append(number)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left") as caught:
        files.write_whole({one: b"after", two: b"new"})
    assert caught.value.filename == str(two)
    assert one.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("r\xf6n \n\x1b", ""), ("r\udcf6n", "give the folder a name"), ("r\udcc3\udcb6n", "set PYTHONUTF8=1")],
)
def test_a_folder_that_checkpoints_cannot_have_is_told_at_once(tmp_path, name, remedy):
    if not remedy:
        files.check_utf8(tmp_path / name, "--workdir")
        return
    with pytest.raises(RunError, match=f"--workdir=.*{remedy}"):
        run_dir.prepare(tmp_path / name, Config())
    with pytest.raises(RunError, match=remedy):
        run_dir.load_config(tmp_path / name)
    with pytest.raises(RunError, match=f"data_dir=.*{remedy}"):
        source.make_builder("ram_phantom/tiny", str(tmp_path / name))
    assert not list(tmp_path.iterdir())


def test_names_of_full_length_can_be_written(tmp_path):
    files.write_text(tmp_path / ("x" * 255), "x")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]


def test_a_folder_that_is_missing_keeps_its_kind_of_error(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        files.write_text(tmp_path / "none" / "a.txt", "x")
    assert caught.value.filename == str(tmp_path / "none" / "a.txt")


@pytest.mark.parametrize("text", ["NaN", '{"a": [-Infinity]}', "{", b"\xff", "[" * 100_000, "9" * 5000])
def test_what_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError):
        files.parse_json(text)

import errno
import json
import math
import os

import pytest

from ramjax import files


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


def test_a_folder_that_is_missing_keeps_its_kind_of_error(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        files.write_text(tmp_path / "none" / "a.txt", "x")
    assert caught.value.filename == str(tmp_path / "none" / "a.txt")

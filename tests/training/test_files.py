import json
import math

import pytest

from ramjax.training import files


def test_json_has_null_for_what_is_not_finite(tmp_path):
    files.write_json(tmp_path / "a.json", {"x": math.nan, "y": [1.5, math.inf], "z": {"w": 2}})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": None, "y": [1.5, None], "z": {"w": 2}}


def test_a_failed_write_leaves_the_file_and_nothing_beside(tmp_path):
    files.write_text(tmp_path / "a.txt", "before")
    with pytest.raises(UnicodeEncodeError):
        files.write_text(tmp_path / "a.txt", "after \ud800")
    assert (tmp_path / "a.txt").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]

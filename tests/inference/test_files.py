"""What is predicted, and what the results are called."""

import json
import pathlib
import sys

import pytest

from ramjax.inference import files
from ramjax.notice import NOTE
from ramjax.written import Written


def _touch(folder: pathlib.Path, *names: str) -> list[pathlib.Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return paths


def test_commas_separate_paths_unless_the_path_exists(tmp_path):
    [odd] = _touch(tmp_path, "a,b.png")
    assert files.split_commas(str(odd)) == [str(odd)]
    assert files.split_commas("x.png, y.png,") == ["x.png", "y.png"]


def test_folders_are_walked_and_files_taken_once(tmp_path):
    _touch(tmp_path, "in/b.png", "in/deep/a.jpg", "in/notes.txt", "out/old_overlay.png", "c_overlay.png")
    (tmp_path / "out" / "old.json").write_text(json.dumps({"note": NOTE, "input": "old.png", "model": {}}))
    found = files.find_files([tmp_path / "in" / "b.png", tmp_path, tmp_path / "in"], tmp_path / "out")
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["in/b.png", "c_overlay.png", "in/deep/a.jpg"]


def test_only_what_is_recorded_or_has_its_report_is_taken_for_a_result(tmp_path):
    _touch(tmp_path, "a_overlay.png", "b_overlay.png", "b.json", "c.png", "d.png")
    written = Written(tmp_path)
    with written.locked():
        written.write({"d.png": b"result"})
    found = files.find_files([tmp_path], tmp_path)
    assert [path.name for path in found] == ["a_overlay.png", "b_overlay.png", "c.png"]


def test_a_named_file_is_taken_even_where_it_is_missing(tmp_path):
    assert files.find_files([tmp_path / "gone.png"], tmp_path) == [tmp_path / "gone.png"]


def test_names_never_collide(tmp_path):
    paths = _touch(
        tmp_path, "a/hand.png", "b/hand.png", "b/hand.dcm", "b/HAND.bmp", "c/x/hand.png", "d/x/hand.png", "lone.png"
    )
    names = files.choose_names(paths, tmp_path / "out")
    assert len({name.casefold() for name in names}) == len(paths)
    assert names[0] == "a__hand" and names[1] == "b__hand" and names[-1] == "lone"
    assert names == files.choose_names(paths, tmp_path / "out")


def test_results_of_another_file_are_left_alone(tmp_path, caplog):
    one, two = _touch(tmp_path, "a/hand.png", "b/hand.png")
    output = tmp_path / "out"
    output.mkdir()
    written = Written(output)
    with written.locked():
        written.write({"hand.json": b"{}"}, files.source_of(one, output))
    assert files.choose_names([one], output) == ["hand"]
    assert files.choose_names([two], output) == ["b__hand"] and not caplog.text
    (output / "hand.json").write_text("somebody's")
    assert files.choose_names([one], output) == ["a__hand"]
    assert "hand.json was not written" in caplog.text


@pytest.mark.parametrize("content", ["not a report", '{"input": 5}', "[" * 5000, '{"input": "' + "9" * 6000])
def test_a_file_of_another_tool_is_never_a_result(tmp_path, content):
    [one] = _touch(tmp_path, "a/hand.png")
    (tmp_path / "hand.json").write_text(content)
    assert files.choose_names([one], tmp_path) == ["a__hand"]


def test_naming_takes_steps_in_proportion_to_the_files(tmp_path):
    """Ten times the files of one name, in folders of one name, take ten times the calls."""

    def calls(count: int) -> int:
        paths = [tmp_path / str(i) / "a" / "b" / "c" / "d" / "hand.png" for i in range(count)]
        made = []
        sys.setprofile(lambda frame, event, argument: made.append(event) if event in ("call", "c_call") else None)
        try:
            names = files.choose_names(paths, tmp_path / "out")
        finally:
            sys.setprofile(None)
        assert len({name.casefold() for name in names}) == count
        return len(made)

    assert calls(300) < 13 * calls(30)

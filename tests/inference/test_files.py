"""What is predicted, and what the results are called."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramjax.inference import files
from ramjax.notice import NOTE
from ramjax.printable import controls
from ramjax.written import Written, fold


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


STEMS = st.one_of(
    st.binary(min_size=1, max_size=251).filter(lambda stem: b"/" not in stem and b"\0" not in stem),
    st.text(st.sampled_from("aA\xe4\u0308\xc4 .-~=\n\x1b"), min_size=1, max_size=5).map(str.encode),
    st.sampled_from(
        [b"con", b"NUL.x", b"L" * 251, b"l" * 251, "\xfc".encode() * 125, b"hand_overlay", b"hand", b".ramjax"]
    ),
)


@given(st.lists(STEMS, max_size=8))
def test_any_names_get_results_of_distinct_legal_names(stems):
    """Distinct where a file system knows no case, of at most 255 bytes, and the same each time."""
    paths = [pathlib.Path("/nowhere", os.fsdecode(stem + b".png")) for stem in stems]
    masks = ["bones", "bones_overlay"]
    names = files.choose_names(paths, pathlib.Path("/nowhere/out"), masks)
    assert names == files.choose_names(paths, pathlib.Path("/nowhere/out"), masks)
    results = [name + suffix for name in names for suffix in files.suffixes(masks)]
    assert len({fold(result) for result in results}) == len(results)
    for result in results:
        assert 0 < len(result.encode()) <= 255
        assert not any(controls(letter) or letter == "/" for letter in result)
        assert result.partition(".")[0].lower() not in ("con", "nul")


def test_a_plain_name_stays_as_it_is(tmp_path):
    for name in ("hand", "R\xf6ntgen 手", "-rf", "~x", "=1+1", "1.2.840", "a:b", "x" * 200):
        path = tmp_path / f"{name}.png"
        assert files.choose_names([path], tmp_path / "out") == [name]


def test_a_name_is_shortened_to_what_the_file_system_takes(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(os, "pathconf", lambda folder, what: 143)  # as eCryptfs
    [name] = files.choose_names([tmp_path / f"{'x' * 140}.png"], tmp_path)
    assert len(f"{name}{files.OVERLAY}") == 143 and f"called {name}." in caplog.text


@pytest.mark.parametrize("theirs", ["hand.json", "hand_overlay.png", "hand_bones.png"])
def test_a_name_is_passed_over_for_any_file_of_the_users(tmp_path, theirs, caplog):
    paths = _touch(tmp_path, "films/hand.png", f"out/{theirs}")
    assert files.choose_names(paths[:1], tmp_path / "out", ["bones"]) == ["films__hand"]
    assert f"{theirs} was not written by this program" in caplog.text


def test_links_are_followed_once_and_loops_end(tmp_path):
    _touch(tmp_path, "real/a.png", "in/b.png", "in/z/c.png")
    (tmp_path / "in" / "linked").symlink_to("../real")
    (tmp_path / "in" / "again").symlink_to("../real")
    (tmp_path / "in" / "self").symlink_to(".")
    (tmp_path / "in" / "a_link").symlink_to("z")
    (tmp_path / "real" / "back").symlink_to("../in")
    found = files.find_files([tmp_path / "in"], tmp_path / "out")
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["in/b.png", "in/z/c.png", "in/again/a.png"]


def test_what_is_named_as_an_image_and_is_none_is_among_the_files(tmp_path, monkeypatch):
    _touch(tmp_path, "ok.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "gone.dcm").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.tif")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # for a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.png")
        found = files.find_files([tmp_path], tmp_path / "out")
    assert [path.name for path in found] == ["gone.dcm", "loop.png", "ok.png", "pipe.tif", "socket.png"]
    assert files.choose_names(found, tmp_path / "out") == ["gone", "loop", "ok", "pipe", "socket"]


def test_a_folder_that_cannot_be_read_is_among_the_files(tmp_path, monkeypatch):
    _touch(tmp_path, "a/x.png", "b/y.png")
    plain = os.listdir

    def listdir(path):
        if path == tmp_path / "a":
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(os, "listdir", listdir)
    found = files.find_files([tmp_path], tmp_path / "out")
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a", "b/y.png"]


def test_folders_may_be_nested_deeply(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(1200):
        os.mkdir("d")
        os.chdir("d")
    pathlib.Path("deep.png").write_bytes(b"x")
    os.chdir(tmp_path)
    found = files.find_files([tmp_path], tmp_path / "out")
    subprocess.run(["rm", "-r", str(tmp_path / "d")], check=True)  # which Python cannot, of this depth
    assert [path.name for path in found] == ["deep.png"]


def test_a_path_that_is_too_long_is_among_the_files(tmp_path):
    long = tmp_path / ("x" * 300 + ".png")
    assert files.find_files([long], tmp_path) == [long]
    listed = ",".join(["x" * 100] * 50)
    assert len(files.split_commas(listed)) == 50

"""The record of what was written into a folder: damage, kills and races never make another's file our own."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading

import pytest

from ramjax import written as module
from ramjax.written import RECORD, Written, fold


def write(folder, source="", **contents):
    of = Written(folder)
    with of.locked():
        of.write({name: content.encode() for name, content in contents.items()}, source)
    return of


def test_own_is_what_was_written_and_not_changed_since(tmp_path):
    write(tmp_path, "film", a="one", b="two")
    (tmp_path / "b").write_text("changed")
    (tmp_path / "c").write_text("somebody's")
    of = Written(tmp_path)
    assert [of.is_own(name) for name in "abcd"] == [True, False, False, False]
    assert [of.is_free(name, "film") for name in "abcd"] == [True, False, False, True]
    assert [of.is_free(name, "other film") for name in "abcd"] == [False, False, False, True]
    assert ["a" in of, "b" in of, "c" in of] == [True, True, False]


def test_a_name_stands_for_all_that_a_file_system_may_take_for_it(tmp_path):
    write(tmp_path, **{"H\xe4nd.json": "x"})
    assert "HA\u0308ND.JSON" in Written(tmp_path)
    assert fold("H\xc4ND") == fold("ha\u0308nd")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("a", path)])
def test_what_is_no_plain_file_is_never_own(tmp_path, make):
    write(tmp_path, a="one", b="two")
    (tmp_path / "b").unlink()
    make(tmp_path / "b")
    assert not Written(tmp_path).is_own("b") and not Written(tmp_path).is_free("b")


def test_a_kill_after_the_record_and_before_the_file_keeps_both_contents_own(tmp_path, monkeypatch):
    write(tmp_path, a="old")
    monkeypatch.setattr(module, "write_whole", lambda contents: None)
    write(tmp_path, a="new")
    assert Written(tmp_path).is_own("a")
    (tmp_path / "a").write_text("new")
    assert Written(tmp_path).is_own("a")


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"\xff\xfe\n", b'{"file": 5}\n', b"[" * 5000 + b"\n", b'"x"\n', b"null\n"]
)
def test_a_damaged_line_costs_its_file_alone(tmp_path, damage):
    write(tmp_path, a="one")
    with (tmp_path / RECORD).open("ab") as file:
        file.write(damage)
    write(tmp_path, b="two")
    assert Written(tmp_path).is_own("a") and Written(tmp_path).is_own("b")


def test_every_cut_of_the_record_leaves_own_what_its_whole_lines_name(tmp_path):
    write(tmp_path, a="one", b="two")
    content = (tmp_path / RECORD).read_bytes()
    for length in range(len(content)):
        (tmp_path / RECORD).write_bytes(content[:length])
        lines = content[:length].splitlines(keepends=True)
        whole = {json.loads(line)["file"] for line in lines if line.endswith((b"\n", b"}"))}
        assert {name for name in "ab" if Written(tmp_path).is_own(name)} <= whole
        write(tmp_path, c="three")
        assert Written(tmp_path).is_own("c") and (tmp_path / "a").read_text() == "one"


def test_without_the_record_everything_is_the_users(tmp_path):
    of = write(tmp_path, a="one")
    (tmp_path / RECORD).unlink()
    assert not Written(tmp_path).is_own("a")
    with of.locked():
        assert not of.is_own("a")


def test_a_record_that_is_a_folder_or_a_pipe_is_an_error_and_nothing_waits(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / RECORD).mkdir()
    (tmp_path / "two").mkdir()
    os.mkfifo(tmp_path / "two" / RECORD)
    for name in ("one", "two"):
        with pytest.raises(OSError):
            write(tmp_path / name, a="x")


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch, caplog):
    def refused(*arguments):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refused)
    write(tmp_path, a="one")
    assert Written(tmp_path).is_own("a") and "cannot lock files" in caplog.text


def test_who_waits_says_so_and_knows_what_was_written_meanwhile(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    one, two, seen = Written(tmp_path), Written(tmp_path), []

    def second():
        with two.locked():
            seen.append(two.is_own("a"))

    with one.locked():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive() and not seen
        one.write({"a": b"one"})
    thread.join(10)
    assert seen == [True] and "Waiting for another command" in caplog.text


KILLED = """
import os, sys
from ramjax.written import Written
with Written(sys.argv[1]).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_leaves_no_lock(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"locked\n"
        process.kill()
    write(tmp_path, a="one")
    assert Written(tmp_path).is_own("a")


RACING = """
import sys
from ramjax.written import Written
folder, me = sys.argv[1:]
written = Written(folder)
for i in range(40):
    with written.locked():
        name = next(name for name in (f"{i}", f"{i}-{me}") if written.is_free(name, me))
        written.write({name: f"{me} {i}".encode(), f"{name}.more": f"{me} {i}".encode()}, me)
"""


def test_processes_that_write_at_once_neither_mix_nor_lose(tmp_path):
    racing = [subprocess.Popen([sys.executable, "-c", RACING, str(tmp_path), me]) for me in "abc"]
    assert [process.wait(120) for process in racing] == [0, 0, 0]
    found = [path.read_text() for path in tmp_path.iterdir() if path.suffix != ".more" and path.name != RECORD]
    assert sorted(found) == sorted(f"{me} {i}" for me in "abc" for i in range(40))
    for path in tmp_path.glob("*.more"):
        assert path.read_text() == path.with_suffix("").read_text()
    of = Written(tmp_path)
    assert all(of.is_own(path.name) for path in tmp_path.iterdir() if path.name != RECORD)

"""Folders of strangers: odd names and files, earlier files of the user, two predictions at once, a C locale."""

import csv
import hashlib
import json
import logging
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ramjax import csv_text
from ramjax.errors import RunError
from ramjax.inference import batch, report
from ramjax.inference.batch import predict_all
from ramjax.inference.reading import Options, read
from ramjax.io.radiograph import Radiograph
from ramjax.written import RECORD
from tests.inference import fakes

OPTIONS = Options(view="hand")
FILM = fakes.disc_image(200, 150, 40, 90, 15)


def save(path: pathlib.Path, pixels: np.ndarray = FILM) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        Image.fromarray(pixels).save(file, "PNG")
    return path


def digests(folder: pathlib.Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def rows_of(output: pathlib.Path, name: str = "summary.csv") -> list[dict[str, str]]:
    header, *rows = csv_text.read((output / name).read_text(encoding="utf-8"))
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_results_beside_the_radiographs_replace_none_of_them(tmp_path):
    for name in ("hand.png", "hand_bones.png", "hand_overlay.png", "hand_erosions.png", "summary.csv", "hand.json"):
        save(tmp_path / name)
    before = digests(tmp_path)
    predict_all([tmp_path], tmp_path, fakes.network(), OPTIONS, masks=True)
    after = digests(tmp_path)
    assert before.items() <= after.items()
    inputs = {pathlib.Path(row["input"]).name for row in rows_of(tmp_path, "summary-2.csv")}
    assert inputs == {name for name in before if name.endswith(".png")}
    predict_all([tmp_path], tmp_path, fakes.network(), OPTIONS, masks=True)
    assert set(digests(tmp_path)) == set(after) and before.items() <= digests(tmp_path).items()


@pytest.mark.parametrize("edited", ["a.json", "a_overlay.png", "a_bones.png"])
def test_a_result_that_was_edited_is_kept_and_the_new_one_told(tmp_path, caplog, edited):
    path, output = save(tmp_path / "films" / "a.png"), tmp_path / "out"
    predict_all([path], output, fakes.network(), OPTIONS, masks=True)
    (output / edited).write_bytes((output / edited).read_bytes() + b"\n")
    before = digests(output)
    for _ in range(2):
        predict_all([path], output, fakes.network(), Options(view="hand", side="L"), masks=True)
        after = digests(output)
        assert {name: after[name] for name in before if name[:2] in ("a.", "a_")} == {
            name: digest for name, digest in before.items() if name[:2] in ("a.", "a_")
        }
        assert json.loads((output / "films__a.json").read_text())["side"] == "L"
        assert edited in caplog.text and "films__a" in caplog.text
    assert [(row["name"], row["side"]) for row in rows_of(output)] == [("a", "R"), ("films__a", "L")]


def test_results_of_a_version_without_a_record_are_kept(tmp_path):
    path, output = save(tmp_path / "films" / "a.png"), tmp_path / "out"
    predict_all([path], output, fakes.network(), OPTIONS)
    (output / RECORD).unlink()
    before = digests(output)
    predict_all([tmp_path], output, fakes.network(), OPTIONS)
    after = digests(output)
    assert {name: after[name] for name in before if name != "summary.csv"} == {
        name: digest for name, digest in before.items() if name != "summary.csv"
    }
    assert [row["name"] for row in rows_of(output)] == ["a", "films__a"]


OLD = [{"name": f"old{i}", "input": f"/x/old{i}.png", "error": "", "be_total": i} for i in range(3)]
TEXT = report.merged_summary(fakes.network().tasks, OLD, "")
LINES = TEXT.splitlines()


@pytest.mark.parametrize(
    "edited, goes_on",
    [
        (TEXT, True),
        ("\n".join([LINES[0] + ",comment", *(line + ",checked" for line in LINES[1:])]) + "\n", True),
        (TEXT.replace(",2,", ",-2,"), True),
        (TEXT.replace(",", ";"), False),
        (TEXT.replace(",", "\t"), False),
        ("\n".join([LINES[0], LINES[1] + ",checked", *LINES[2:]]) + "\n", False),
        ("\n".join(f'"{line}"'.replace(",", '","') for line in LINES) + "\n", False),
        ("\ufeff" + TEXT, False),
        (TEXT.replace("\n", "\r\n"), False),
        ("sep=,\n" + TEXT, False),
        (TEXT + LINES[1] + "\n", False),
        (TEXT + '"unfinished', False),
        (TEXT.replace("old1.png", "r\xf6ntgen.png").encode("cp1252"), False),
        (TEXT.encode("utf-16"), False),
        ("name,age\nold0,50\nold1,51\nold2,52\n", False),
        (b"\x00\xff", False),
        (b"", True),
    ],
)
def test_a_summary_that_somebody_changed_keeps_every_byte_or_every_cell(tmp_path, edited, goes_on, caplog):
    edited = edited if isinstance(edited, bytes) else edited.encode()
    path = tmp_path / "summary.csv"
    path.write_bytes(edited)
    new = {"name": "new", "input": "/x/new.png", "error": "unreadable"}
    batch._write_summary(path, fakes.network(), [new])
    if not goes_on:
        assert path.read_bytes() == edited and "summary-2.csv" in caplog.text
        assert [row["name"] for row in rows_of(tmp_path, "summary-2.csv")] == ["new"]
        return
    assert not (tmp_path / "summary-2.csv").exists() and rows_of(tmp_path)[-1]["error"] == "unreadable"
    before = list(csv.DictReader(edited.decode().splitlines()))
    assert [{key: row[key] for key in of} for of, row in zip(before, rows_of(tmp_path)[:-1], strict=True)] == before


def test_a_row_that_somebody_changed_is_not_replaced(tmp_path):
    path, output = save(tmp_path / "a.png"), tmp_path / "out"
    predict_all([path], output, fakes.network(), OPTIONS)
    changed = (output / "summary.csv").read_text().replace(",32,", ",31,")
    (output / "summary.csv").write_text(changed)
    predict_all([path], output, fakes.network(), OPTIONS)
    assert (output / "summary.csv").read_text() == changed
    assert [row["be_total"] for row in rows_of(output, "summary-2.csv")] == ["32"]


def test_failures_of_two_radiographs_of_one_name_are_two_rows(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(b"")
        predict_all([tmp_path / folder / "a.png"], tmp_path / "out", fakes.network(), OPTIONS)
    assert [row["input"] for row in rows_of(tmp_path / "out")] == [
        f"{tmp_path}/{name}/a.png" for name in ("one", "two")
    ]


def test_a_file_that_vanishes_meanwhile_is_named_and_the_others_are_done(tmp_path, monkeypatch):
    for name in "abc":
        save(tmp_path / "in" / f"{name}.png")
    plain = batch.read_radiograph

    def reading(path):
        if path.name == "a.png":
            (tmp_path / "in" / "b.png").unlink()
        return plain(path)

    monkeypatch.setattr(batch, "read_radiograph", reading)
    [failure] = predict_all([tmp_path / "in"], tmp_path / "out", fakes.network(), OPTIONS)
    assert "b.png does not exist" in failure
    assert [bool(row["error"]) for row in rows_of(tmp_path / "out")] == [False, True, False]


def test_a_name_that_the_file_system_refuses_costs_its_file_alone(tmp_path, monkeypatch):
    for name in "abc":
        save(tmp_path / "in" / f"{name}.png")
    plain = batch.Written.write

    def write(self, contents, source=""):
        if "b.json" in contents:
            raise OSError(22, "Invalid argument", "b.json")
        plain(self, contents, source)

    monkeypatch.setattr(batch.Written, "write", write)
    [failure] = predict_all([tmp_path / "in"], tmp_path / "out", fakes.network(), OPTIONS)
    assert "b.png cannot be predicted" in failure and "invalid argument" in failure
    assert [bool(row["error"]) for row in rows_of(tmp_path / "out")] == [False, True, False]


def test_a_radiograph_that_came_meanwhile_to_the_name_of_a_result_is_kept(tmp_path, monkeypatch):
    path, output = save(tmp_path / "films" / "a.png"), tmp_path / "out"
    plain = batch.read_radiograph

    def reading(path):
        save(output / "a_overlay.png")
        return plain(path)

    monkeypatch.setattr(batch, "read_radiograph", reading)
    predict_all([path], output, fakes.network(), OPTIONS)
    assert (output / "a_overlay.png").read_bytes() == path.read_bytes()
    assert (output / "films__a.json").exists() and not (output / "a.json").exists()


def test_an_output_that_cannot_be_locked_or_recorded_is_a_sentence(tmp_path):
    (tmp_path / "out" / RECORD).mkdir(parents=True)
    with pytest.raises(RunError, match="cannot be written"):
        predict_all([save(tmp_path / "a.png")], tmp_path / "out", fakes.network(), OPTIONS)


PROGRAM = """
import pathlib, sys, time
from ramjax import predict
from ramjax.inference import batch
from tests.inference import fakes
import ramjax.inference.network as networks
networks.load = lambda workdir: fakes.network()
if sys.argv[1] == "race":  # until the other one has chosen its names too
    plain, here, there = batch.read_radiograph, *map(pathlib.Path, sys.argv[2:4])
    def read(path):
        here.touch()
        while not there.exists():
            time.sleep(0.01)
        return plain(path)
    batch.read_radiograph = read
    del sys.argv[2:4]
sys.exit(predict.main([sys.argv[0], *sys.argv[2:]]))
"""


def named(left: str, name: bytes) -> str:
    """What is left of a name, with a digest of it."""
    return f"{left}-{hashlib.sha256(name).hexdigest()[:8]}"


ODD = {
    b"ok": "ok",
    b"R\xf6ntgen": named("R_ntgen", b"R\xf6ntgen"),
    "R\xf6ntgen 手".encode(): "R\xf6ntgen 手",
    b"\x1b[31mred": named("_[31mred", b"\x1b[31mred"),
    b"new\nline": named("new_line", b"new\nline"),
    b"-rf": "-rf",
    b"~x": "~x",
    b"=1+1": "=1+1",
    b"@x": "@x",
    b"CON": named("_CON", b"CON"),
    b"L" * 245: named("L" * 233, b"L" * 245),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "locale", [{}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}]
)
def test_odd_names_in_any_locale_end_no_folder(tmp_path, locale):
    inputs, output = tmp_path / "in", tmp_path / "out"
    save(inputs / "ok.png")
    for name in ODD:
        pathlib.Path(os.fsdecode(os.fsencode(inputs) + b"/" + name + b".png")).write_bytes(
            (inputs / "ok.png").read_bytes()
        )
    (inputs / "loop.png").symlink_to("loop.png")
    (inputs / "\x1bbad.png").write_bytes(b"\x89PNG broken")
    flags = [f"--workdir={tmp_path}", f"--input={inputs}", f"--output={output}", "--view=hand"]
    environment = {**os.environ, **locale, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "plain", *flags], capture_output=True, env=environment, timeout=300
    )
    assert done.returncode == 1, done.stderr
    assert b"loop.png" in done.stderr and b"\\x1bbad.png" in done.stderr
    shown = done.stdout + done.stderr
    assert b"\x1b" not in shown and b"Traceback" not in shown
    if locale:
        shown.decode("ascii")
    names = {row["name"] for row in rows_of(output) if not row["error"]}
    assert names == set(ODD.values())
    assert {row["name"] for row in rows_of(output) if row["error"]} == {"loop", named("_bad", b"\x1bbad")}
    for name in names:
        assert json.loads((output / f"{name}.json").read_text())["totals"]["be"] == 32
        assert (output / f"{name}_overlay.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_two_predictions_at_once_into_one_folder_lose_nothing(tmp_path):
    marks = [str(tmp_path / f"started{i}") for i in range(2)]
    started = []
    for i, pixels in enumerate((FILM, np.ascontiguousarray(FILM[:, ::-1]))):
        path = save(tmp_path / f"in{i}" / "same.png", pixels)
        flags = ["--workdir=w", f"--input={path}", f"--output={tmp_path / 'out'}", "--view=hand"]
        command = [sys.executable, "-c", PROGRAM, "race", marks[i], marks[1 - i], *flags]
        started.append(subprocess.Popen(command, env={**os.environ, "JAX_PLATFORMS": "cpu"}))
    assert [process.wait(300) for process in started] == [0, 0]
    rows = {pathlib.Path(row["input"]).parent.name: row for row in rows_of(tmp_path / "out")}
    assert {folder: row["side"] for folder, row in rows.items()} == {"in0": "R", "in1": "L"}
    for row in rows.values():
        written = json.loads((tmp_path / "out" / f"{row['name']}.json").read_text())
        assert (written["input"], written["side"]) == (row["input"], row["side"])
        assert (tmp_path / "out" / f"{row['name']}_overlay.png").exists()


def test_the_row_is_of_the_report_that_stayed(tmp_path, monkeypatch):
    """Another prediction of the same radiograph, with the other side, ends while this one is at its last film."""
    for name in "ab":
        save(tmp_path / "in" / f"{name}.png")
    plain = batch.read_radiograph

    def reading(path):
        if path.name == "b.png":
            monkeypatch.setattr(batch, "read_radiograph", plain)
            predict_all([tmp_path / "in" / "a.png"], tmp_path / "out", fakes.network(), Options(view="hand", side="L"))
        return plain(path)

    monkeypatch.setattr(batch, "read_radiograph", reading)
    predict_all([tmp_path / "in"], tmp_path / "out", fakes.network(), OPTIONS)
    for row in rows_of(tmp_path / "out"):
        assert json.loads((tmp_path / "out" / f"{row['name']}.json").read_text())["side"] == row["side"]
    assert [(row["name"], row["side"]) for row in rows_of(tmp_path / "out")] == [("a", "L"), ("b", "R")]


def test_what_is_told_of_a_name_does_not_control_the_terminal(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    (tmp_path / "a\n\x1b[2Jb.png").write_bytes(b"")
    [failure] = predict_all([tmp_path], tmp_path / "out", fakes.network(), OPTIONS)
    assert "a\\n\\x1b[2Jb.png is empty" in failure
    assert "\x1b" not in caplog.text and "\x1b" not in (tmp_path / "out" / "summary.csv").read_text()


def test_a_picture_is_saved_where_python_says_and_as_png_alone(tmp_path, monkeypatch):
    reading = read(Radiograph(FILM), fakes.network(), OPTIONS)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (tmp_path / "a.png", str(tmp_path / "a.png"), "~/b.PNG"):
        reading.save(path)
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.PNG"}
    with pytest.raises(ValueError, match=r"c\.jpg is written as PNG"):
        reading.save(tmp_path / "c.jpg")


def test_an_empty_path_is_no_input(tmp_path):
    with pytest.raises(RunError, match="empty path"):
        predict_all([""], tmp_path / "out", fakes.network(), OPTIONS)
    assert not (tmp_path / "out").exists()

"""The command: files in, report, picture and summary out, with a fake network and once with a real one."""

import csv
import dataclasses
import json
import math
import os
import pathlib
import re

import cv2
import numpy as np
import pytest
from PIL import Image

from ramjax import anatomy, command_line, predict
from ramjax.errors import RunError
from ramjax.inference import files, sheet
from ramjax.inference import report as reports
from ramjax.inference.batch import predict_all
from ramjax.inference.network import load
from ramjax.inference.reading import Options, read
from ramjax.io.images import read_radiograph
from ramjax.io.radiograph import Radiograph
from ramjax.record import unpack_bones
from ramjax.tasks import image
from ramjax.tasks.bones import finding as bones
from ramjax.tasks.erosions import finding as erosions
from ramjax.tasks.joints import finding as joints
from ramjax.tasks.scores import finding as scores
from ramjax.written import RECORD
from tests.inference import fakes
from tests.io import dicom_files

RADIOGRAPHS = os.environ.get("RAMJAX_RADIOGRAPHS", "")
OPTIONS = Options(view="hand")


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    """A disc on the left of a film 200 x 150: to the fake network, a right hand."""
    return fakes.disc_image(200, 150, 40, 90, 15)


def _write(path: pathlib.Path, pixels: np.ndarray) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def _report(path: pathlib.Path) -> dict:
    return json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def _rows(output: pathlib.Path) -> list[dict]:
    with (output / "summary.csv").open() as file:
        return list(csv.DictReader(file))


def test_report(film):
    report = read(Radiograph(film, pixel_spacing_mm=0.5), fakes.network(), OPTIONS).report
    assert "Research use only" in report["note"]
    assert (report["height"], report["width"], report["pixel_spacing_mm"]) == (200, 150, 0.5)
    assert (report["side"], report["side_source"], report["view"]) == ("R", "estimated", "hand")
    assert report["totals"] == {"be": 32, "jsn": 15, "be_sites": 16, "jsn_sites": 15}
    assert [joint["site"] for joint in report["joints"]] == list(anatomy.SITE_NAMES)
    for joint in report["joints"]:
        ymin, xmin, ymax, xmax = joint["bbox"]
        assert ((xmin + xmax) / 2, (ymin + ymax) / 2) == (pytest.approx(40, abs=1), pytest.approx(90, abs=1))
        assert 0 <= joint["confidence"] <= 1
        for scale, top in (("be", 5), ("jsn", 4)):
            if joint[scale] is not None:
                assert len(joint[scale]["probabilities"]) == top + 1
                assert sum(joint[scale]["probabilities"]) == pytest.approx(1)
    [bone] = report["bones"]
    truth = (film > 128).sum()
    assert bone["name"] == "Radius" and bone["area_px"] == pytest.approx(truth, rel=0.1)
    assert bone["area_mm2"] == pytest.approx(bone["area_px"] * 0.25, abs=1e-3)
    assert report["erosions"]["area_px"] == pytest.approx(truth, rel=0.1)
    assert [label["area_px"] > 0 for label in report["erosions"]["labels"]] == [False, True, False]
    assert {entry["kind"] for entry in report["not_judged"]} == {"bone"}
    assert report["model"] == {"workdir": "fake", "step": 7}
    json.dumps(report, allow_nan=False)


def test_the_report_has_the_keys_that_are_documented(film):
    documented = set()
    for module in (reports, bones, erosions, joints, scores, image):
        for row in re.findall(r"^\| ([\w.\[\], ]+) \|", module.__doc__, re.MULTILINE):
            documented |= set(row.split(", ")) - {"key"}
    radiograph = Radiograph(film, pixel_spacing_mm=0.5, notes=("A note.",))
    report = read(radiograph, fakes.patient_network(), OPTIONS).report
    probabilities = report["patient"]["sex"].pop("probabilities")
    assert set(probabilities) == {"F", "M"}
    assert _keys(report) | {"patient.sex.probabilities", "chance_right", "chance_hand"} == documented


def _keys(values, prefix: str = "") -> set[str]:
    """Paths of all keys; a dictionary is named itself only where it may be null instead."""
    keys = set()
    for key, value in values.items():
        entries = value if isinstance(value, list) and value and isinstance(value[0], dict | str) else [value]
        name = f"{prefix}{key}[]" if entries is value else prefix + key
        for entry in entries:
            if not isinstance(entry, dict):
                keys |= {name} if entry is not None else set()
            else:
                nullable = key in ("be", "jsn", "erosions")
                keys |= _keys(entry, f"{name}.") | ({name} if nullable else set())
    return keys


def test_unknown_spacing_leaves_areas_in_pixels(film):
    report = read(Radiograph(film), fakes.network(), OPTIONS).report
    assert report["pixel_spacing_mm"] is None and report["bones"][0]["area_mm2"] is None
    assert report["erosions"]["area_px"] > 0 and report["erosions"]["area_mm2"] is None


@pytest.mark.parametrize(
    "file_side, option, side, source",
    [("", "", "R", "estimated"), ("L", "", "L", "file"), ("L", "R", "R", "argument"), ("", "L", "L", "argument")],
)
def test_where_the_side_comes_from(film, file_side, option, side, source):
    options = Options(side=option, view="hand")
    report = read(Radiograph(film, side=file_side), fakes.network(), options).report
    assert (report["side"], report["side_source"]) == (side, source)
    assert report["placement"]["mirrored"] == (side == "L")


def test_side_stays_unknown_where_the_network_cannot_tell(film):
    report = read(Radiograph(film), fakes.network(mirror_left=False), OPTIONS).report
    assert (report["side"], report["side_source"]) == ("", "unknown")


def test_stated_spacing_wins(film):
    options = Options(view="hand", spacing_mm=0.25)
    report = read(Radiograph(film, pixel_spacing_mm=0.5), fakes.network(), options).report
    assert report["pixel_spacing_mm"] == 0.25


def test_lists_of_numbers_stay_on_a_line(tmp_path, film):
    predict_all([_write(tmp_path / "a.png", film)], tmp_path, fakes.network(), OPTIONS)
    text = (tmp_path / "a.json").read_text()
    assert '"probabilities": [ 0.0, 0.0, 1.0, 0.0, 0.0, 0.0 ]' in text
    assert len(_report(tmp_path / "a.json")["joints"]) == 22


def test_masks_are_those_of_the_report(tmp_path, film):
    path = _write(tmp_path / "a.png", film)
    predict_all([path], tmp_path / "out", fakes.network(), OPTIONS, masks=True)
    report = _report(tmp_path / "out" / "a.json")
    bones = unpack_bones(np.asarray(Image.open(tmp_path / "out" / "a_bones.png")))
    assert bones.shape == (*film.shape, anatomy.NUM_BONES)
    radius = bones[..., anatomy.BONE_INDEX["Radius"]]
    assert radius.sum() == report["bones"][0]["area_px"] == bones.sum()
    assert (radius & (film > 128)).sum() > 0.9 * (film > 128).sum()
    erosions = np.asarray(Image.open(tmp_path / "out" / "a_erosions.png"))
    assert (erosions == 2).sum() == report["erosions"]["area_px"]
    assert files.find_files([tmp_path], tmp_path / "out", ["bones", "erosions"]) == [path]


def test_doubt_is_said(film):
    def unsure(images):
        return {**fakes.predict_discs(images), "confidence": np.full((len(images), 22), 0.1)}

    report = read(Radiograph(film), fakes.network(unsure), OPTIONS).report
    assert report["joints"] == [] and report["totals"]["be"] is None
    assert any("Few joint sites" in note for note in report["notes"])
    assert len([entry for entry in report["not_judged"] if entry["kind"] == "site"]) == 22


def test_folder_goes_on_past_bad_files(tmp_path, film, caplog):
    _write(tmp_path / "in" / "a.png", film)
    (tmp_path / "in" / "b.png").write_bytes(b"\x89PNG broken")
    dicom_files.write(tmp_path / "in" / "c.dcm", film, ImageLaterality="L", PixelSpacing=[0.2, 0.2])
    (tmp_path / "in" / "d.bmp").write_bytes(b"")
    output = tmp_path / "out"
    failures = predict_all([tmp_path / "in", tmp_path / "gone.png"], output, fakes.network(), OPTIONS)
    assert len(failures) == 3
    for name, failure in zip(("b.png", "d.bmp", "gone.png"), failures, strict=True):
        assert name in failure
    written = {path.name for path in output.iterdir()}
    assert written == {"a.json", "a_overlay.png", "c.json", "c_overlay.png", "summary.csv", RECORD}
    rows = {row["name"]: row for row in _rows(output)}
    assert set(rows) == {"a", "b", "c", "d", "gone"}
    assert rows["a"]["BE MCP-T"] == "2" and rows["a"]["be_total"] == "32" and rows["a"]["error"] == ""
    assert rows["b"]["be_total"] == "" and "damaged" in rows["b"]["error"]
    assert (rows["c"]["side"], rows["c"]["side_source"], rows["c"]["pixel_spacing_mm"]) == ("L", "file", "0.2")
    text = "".join(path.read_text() for path in output.glob("*.json"))
    assert "Secret" not in text and "SECRET" not in text and "1901" not in text


@pytest.mark.parametrize("error", [cv2.error("OpenCV(5) error:\n(-215) failed"), MemoryError(), OSError(5, "I/O")])
def test_folder_goes_on_past_what_nobody_foresaw(tmp_path, film, monkeypatch, caplog, error):
    for name in ("a.png", "b.png", "c.png"):
        _write(tmp_path / "in" / name, film)
    plain = sheet.sheet

    def failing(*arguments, title):
        if title == "b":
            raise error
        return plain(*arguments, title)

    monkeypatch.setattr(sheet, "sheet", failing)
    inputs, output = [tmp_path / "in"], tmp_path / "out"
    [failure] = predict_all(inputs, output, fakes.network(), OPTIONS)
    assert "b.png cannot be predicted" in failure and "\n" not in failure and "--debug" in failure
    assert {path.stem for path in output.glob("*.json")} == {"a", "c"}
    assert [bool(row["error"]) for row in _rows(output)] == [False, True, False]
    with pytest.raises(type(error)):
        predict_all(inputs, output, fakes.network(), Options(view="hand"), debug=True)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8-sig"])
def test_a_summary_saved_by_a_spreadsheet_is_kept_and_another_is_gone_on_with(tmp_path, film, caplog, encoding):
    predict_all([_write(tmp_path / "a.png", film)], tmp_path / "out", fakes.network(), OPTIONS)
    summary, second = tmp_path / "out" / "summary.csv", tmp_path / "out" / "summary-2.csv"
    summary.write_text(summary.read_text().replace("a.png", "\xe4.png"), encoding=encoding)
    saved = summary.read_bytes()
    for name, rows in (("b", ["b"]), ("c", ["b", "c"])):
        predict_all([_write(tmp_path / f"{name}.png", film)], tmp_path / "out", fakes.network(), OPTIONS)
        assert summary.read_bytes() == saved
        assert [row["name"] for row in csv.DictReader(second.open())] == rows
        assert "summary-2.csv" in caplog.text


def test_same_stems_are_all_kept(tmp_path, film):
    left = np.ascontiguousarray(film[:, ::-1])
    _write(tmp_path / "in" / "one" / "hand.png", film)
    _write(tmp_path / "in" / "two" / "hand.png", left)
    output = tmp_path / "out"
    predict_all([tmp_path / "in"], output, fakes.network(), OPTIONS)
    assert _report(output / "one__hand.json")["side"] == "R"
    assert _report(output / "two__hand.json")["side"] == "L"


def test_a_second_run_adds_and_a_repeated_one_replaces(tmp_path, film):
    one, two = _write(tmp_path / "a" / "hand.png", film), _write(tmp_path / "b" / "hand.png", film)
    output = tmp_path / "out"
    predict_all([one], output, fakes.network(), OPTIONS)
    first = (output / "hand.json").read_bytes()
    predict_all([two], output, fakes.network(), Options(view="hand", side="L"))
    assert (output / "hand.json").read_bytes() == first
    assert [row["name"] for row in _rows(output)] == ["hand", "b__hand"]
    predict_all([one], output, fakes.network(), Options(view="hand", side="L"))
    assert _report(output / "hand.json")["side"] == "L"
    assert [(row["name"], row["side"]) for row in _rows(output)] == [("hand", "L"), ("b__hand", "L")]


def test_a_failure_leaves_earlier_results(tmp_path, film):
    path = _write(tmp_path / "hand.png", film)
    output = tmp_path / "out"
    predict_all([path], output, fakes.network(), OPTIONS)
    before = {file.name: file.read_bytes() for file in output.glob("hand*")}
    path.write_bytes(b"")
    assert predict_all([path], output, fakes.network(), OPTIONS)
    assert {file.name: file.read_bytes() for file in output.glob("hand*")} == before


def test_interrupted_runs_keep_what_is_done(tmp_path, film, monkeypatch):
    for name in ("a.png", "b.png"):
        _write(tmp_path / "in" / name, film)

    def interrupted(path):
        if path.name == "b.png":
            raise KeyboardInterrupt
        return read_radiograph(path)

    monkeypatch.setattr("ramjax.inference.batch.read_radiograph", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict_all([tmp_path / "in"], tmp_path / "out", fakes.network(), OPTIONS)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.json", "a_overlay.png", "summary.csv", RECORD}
    assert [row["name"] for row in _rows(tmp_path / "out")] == ["a"]


@pytest.mark.parametrize(
    "argv, words",
    [
        (["--workdir=w", "--output=o"], "--input is missing"),
        (["--workdir=", "--input=a.png", "--output=o"], "--workdir is missing"),
        (["--workdir=w", "--input=a.png"], "--output is missing"),
        (["--workdir=w", "--input=a.png", "--output=o", "--side=left"], "side"),
        (["--workdir=w", "--input=a.png", "--output=o", "--spacing_mm=-1"], "spacing_mm"),
        (["--workdir=w", "--input=a.png", "--output=o", "--spacing=1"], "spacing"),
    ],
)
def test_wrong_usage_is_a_sentence(argv, words, capsys):
    assert predict.main(["predict", *argv]) == 2
    errors = capsys.readouterr().err
    assert words in errors and "Traceback" not in errors


def test_help(capsys):
    assert predict.main(["predict", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--workdir" in shown and "--spacing_mm" in shown and "Research use only" in shown
    assert "keep names of patients" in shown


def test_inputs_from_everywhere():
    argv = ["predict", "--workdir=w", "--output=o", "--input=a.png,b.png", "--input=c", "d.png", "e.png"]
    values = command_line.parse(predict.__doc__, predict.define, argv, check=predict.check, positional="input")
    assert values.input == ["a.png", "b.png", "c", "d.png", "e.png"]


def test_no_run_and_no_radiographs(tmp_path, film, run, capsys):
    _write(tmp_path / "a.png", film)
    argv = ["predict", f"--output={tmp_path / 'out'}"]
    assert predict.main([*argv, f"--workdir={tmp_path}", f"--input={tmp_path / 'a.png'}"]) == 1
    assert "no run of ramjax" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert predict.main([*argv, f"--workdir={run}", f"--input={tmp_path / 'empty'}"]) == 1
    assert "No radiographs" in capsys.readouterr().err
    (tmp_path / "taken").write_text("")
    argv = ["predict", f"--workdir={run}", f"--input={tmp_path / 'a.png'}", f"--output={tmp_path / 'taken'}"]
    assert predict.main(argv) == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> pathlib.Path:
    """The run directory of a network with random weights."""
    return fakes.save_run(tmp_path_factory.mktemp("runs") / "untrained", fakes.config())


@pytest.mark.parametrize("task", ["bones", "erosions", "joints"])
def test_a_run_of_one_task_answers_that_one(tmp_path, film, task):
    config = dataclasses.replace(fakes.config(), tasks=(task,))
    network = load(fakes.save_run(tmp_path / task, config))
    reading = read(Radiograph(film), network, Options(min_confidence=0.0))
    findings, report = reading.findings, reading.report
    untrained = {entry["name"] for entry in report["not_judged"] if entry["kind"] == "task"}
    assert untrained == {"bones", "erosions", "joints", "scores"} - {task}
    assert set(findings.by_task) == {task}
    assert report["joints"] or task != "joints"
    assert (report["erosions"] is None) == (task != "erosions")
    assert report["totals"]["be"] is None
    assert sheet.sheet(film, network.tasks, findings, report, title=task).ndim == 3


def test_a_run_of_scores_alone_is_refused(tmp_path, film, capsys):
    workdir = fakes.save_run(tmp_path / "scores", dataclasses.replace(fakes.config(), tasks=("scores",)))
    with pytest.raises(RunError, match="only scores and cannot find joints"):
        load(workdir)
    path = _write(tmp_path / "a.png", film)
    assert predict.main(["predict", f"--workdir={workdir}", f"--input={path}", f"--output={tmp_path / 'out'}"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("Error: ") and shown.count("\n") == 1 and "include joints" in shown


def test_what_nobody_foresaw_is_one_sentence(tmp_path, film, monkeypatch, capsys):
    path = _write(tmp_path / "a.png", film)
    monkeypatch.setattr("ramjax.inference.network.load", lambda workdir: {}["two\nlines"])
    argv = ["predict", f"--workdir={tmp_path}", f"--input={path}", f"--output={tmp_path / 'out'}"]
    assert predict.main(argv) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("Error: KeyError") and shown.count("\n") == 1
    with pytest.raises(KeyError):
        predict.main([*argv, "--debug"])


def test_end_to_end_with_a_real_network(tmp_path, film, run, capsys):
    _write(tmp_path / "in" / "hand.png", cv2.GaussianBlur(film, (0, 0), 4))
    (tmp_path / "in" / "bad.png").write_bytes(b"")
    output = tmp_path / "out"
    argv = ["predict", f"--workdir={run}", f"--input={tmp_path / 'in'}", f"--output={output}", "--min_confidence=0"]
    assert predict.main(argv) == 1
    shown = capsys.readouterr()
    assert "bad.png is empty" in shown.err and str(output) in shown.out.splitlines()[-1]
    report = _report(output / "hand.json")
    assert report["model"] == {"workdir": "untrained", "step": 0}
    placed = {entry["name"] for entry in report["not_judged"] if entry["kind"] == "site"}
    assert placed | {joint["site"] for joint in report["joints"]} == set(anatomy.SITE_NAMES)
    assert math.isfinite(report["certainty"])
    assert read_radiograph(tmp_path / "in" / "hand.png").pixels.shape == (report["height"], report["width"])
    assert cv2.imread(str(output / "hand_overlay.png")) is not None


@pytest.mark.skipif(not RADIOGRAPHS, reason="RAMJAX_RADIOGRAPHS names no folder of real radiographs")
def test_real_radiographs_end_to_end(tmp_path, run):
    inputs = files.find_files([RADIOGRAPHS], tmp_path)[:3]
    argv = ["predict", f"--workdir={run}", f"--output={tmp_path}", *map(str, inputs)]
    assert predict.main(argv) == 0
    assert len(list(tmp_path.glob("*_overlay.png"))) == len(inputs) == len(_rows(tmp_path))

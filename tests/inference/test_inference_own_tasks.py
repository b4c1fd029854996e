"""A task from outside the package, and the patient task, in the report, the summary and the picture."""

import csv
import dataclasses
import json
import math

import numpy as np
import pytest
from PIL import Image

from ramjax import anatomy, predict
from ramjax.inference import report as reports
from ramjax.inference import sheet as sheets
from ramjax.inference.batch import predict_all
from ramjax.inference.network import load
from ramjax.inference.reading import Options, read
from ramjax.io.radiograph import Radiograph
from ramjax.tasks import make_tasks
from ramjax.tasks.findings import find, reported
from ramjax.tasks.patient import Patient
from tests.inference import fakes

FILM = fakes.disc_image(200, 150, 40, 90, 15)
OPTIONS = Options(view="hand")

SOURCE = '''
"""Three tasks of somebody's own."""

import dataclasses
from typing import ClassVar

from ramjax.tasks import Task
from ramjax.tasks.base import Kind
from ramjax.tasks.image import Classes, ImageTask, Number


@dataclasses.dataclass(frozen=True)
class Settings:
    weight: float = 1.0


def side(record):
    return ("L", "R").index(record.side) if record.side in ("L", "R") else -1


def spacing(record):
    return record.pixel_spacing_mm


@dataclasses.dataclass(frozen=True)
class Acquisition(ImageTask):
    """All by the defaults of tasks of the image as a whole."""

    config: Settings = dataclasses.field(default_factory=Settings)
    name = "acquisition"
    targets: ClassVar = {
        "side": Classes(("left", "right"), side, "Side"),
        "spacing": Number("mm", spacing, "Spacing", usual=0.2, spread=0.05),
    }


@dataclasses.dataclass(frozen=True)
class Swelling(Task):
    """Nothing for people defined: numbers of the image and of the sites."""

    config: Settings = dataclasses.field(default_factory=Settings)
    name = "swelling"
    needs = ("boxes",)
    predictions: ClassVar = {"swollen": Kind.IMAGE, "grades": Kind.IMAGE, "by_site": Kind.SITE}


@dataclasses.dataclass(frozen=True)
class Veins(Task):
    """Nothing for people defined, and maps alone."""

    config: Settings = dataclasses.field(default_factory=Settings)
    name = "veins"
    predictions: ClassVar = {"veins": Kind.DENSE}
'''


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """The module `tasks_of_mine`, in a folder outside the package."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "tasks_of_mine.py").write_text(SOURCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        import tasks_of_mine

        yield tasks_of_mine


def predict_own(images: np.ndarray) -> dict[str, np.ndarray]:
    b = len(images)
    return {
        **fakes.predict_patients(images),
        "acquisition_side": np.tile(np.float32((0.25, 0.75)), (b, 1)),
        "acquisition_spacing": np.full(b, 0.15171, np.float32),
        "swollen": np.full(b, 7.123456, np.float32),
        "grades": np.tile(np.float32((0.5, math.nan)), (b, 1)),
        "by_site": np.tile(np.arange(anatomy.NUM_SITES, dtype=np.float32), (b, 1)),
        "veins": np.zeros((b, 64, 48, 1), np.float32),
    }


@pytest.fixture
def network(outside):
    own = (Patient(), outside.Acquisition(), outside.Swelling(), outside.Veins())
    return fakes.network(predict_own, (*make_tasks(fakes.config()), *own))


def rows_of(output, name: str = "summary.csv") -> list[dict]:
    with (output / name).open() as file:
        return list(csv.DictReader(file))


def test_all_tasks_are_in_the_report_after_those_that_are_always_there(network):
    report = read(Radiograph(FILM), network, OPTIONS).report
    of_tasks = list(report)[list(report).index("pixel_spacing_mm") + 1 :]
    assert of_tasks == [
        *("totals", "joints", "bones", "erosions", "patient", "acquisition", "swelling", "veins", "not_judged")
    ]
    assert report["patient"] == {"sex": {"value": "F", "probabilities": {"F": 0.8, "M": 0.2}}, "age": 54.1}
    assert report["acquisition"] == {
        "side": {"value": "right", "probabilities": {"left": 0.25, "right": 0.75}},
        "spacing": 0.1517,
    }
    by_site = dict(zip(anatomy.SITE_NAMES, map(float, range(22)), strict=True))
    assert report["swelling"] == {"swollen": 7.1235, "grades": [0.5, None], "by_site": by_site}
    assert report["veins"] is None
    assert [entry["name"] for entry in report["not_judged"] if entry["kind"] == "task"] == ["veins"]
    json.dumps(report, allow_nan=False)


def test_all_tasks_are_in_the_summary(network, tmp_path):
    Image.fromarray(FILM).save(tmp_path / "a.png")
    predict_all([tmp_path / "a.png"], tmp_path / "out", network, OPTIONS)
    [row] = rows_of(tmp_path / "out")
    own = ["patient_sex", "patient_age", "acquisition_side", "acquisition_spacing", "swollen", "grades"]
    assert list(row) == [*reports.summary_columns(make_tasks(fakes.config())), *own]
    assert [row[column] for column in own] == ["F", "54.1", "right", "0.1517", "7.123", "0.5 unknown"]
    assert row["be_total"] == "32"


def test_all_tasks_are_on_the_picture(network):
    reading = read(Radiograph(FILM), network, OPTIONS)
    findings, report = reading.findings, reading.report
    blocks = []
    for task in network.tasks:
        if (finding := findings.of(task)) is not None:
            blocks = task.panel(finding, report, blocks)
    said = {block.heading: [(e.name, e.value) for e in block.entries] for block in blocks[3:]}
    assert said["Patient"] == [("Sex", "F (0.80)"), ("Age", "54.1 years")]
    assert said["Acquisition"] == [("Side", "right (0.75)"), ("Spacing", "0.1517 mm")]
    assert said["Swelling"][:2] == [("swollen", "7.123"), ("grades", "0.5 unknown")]
    picture = sheets.sheet(FILM, network.tasks, findings, report, "hand")
    fewer = sheets.sheet(FILM, network.tasks[:4], findings, report, "hand")
    assert (picture[:, -500:] != fewer[:, -500:]).any() or picture.shape != fewer.shape


def test_a_task_that_needs_boxes_nobody_finds_is_said_not_to_be_judged(outside):
    tasks = (Patient(), outside.Swelling())
    kept = {name: value for name, value in predict_own(np.zeros((1, 128, 96, 1))).items() if "patient" in name}
    network = fakes.network(lambda images: {name: np.repeat(of, len(images), 0) for name, of in kept.items()}, tasks)
    reading = read(Radiograph(FILM), network, OPTIONS)
    findings, report = reading.findings, reading.report
    reasons = {entry["name"]: entry["reason"] for entry in report["not_judged"]}
    assert set(reasons) == {"bones", "erosions", "joints", "scores", "swelling"}
    assert reasons["swelling"] == "no task of the model finds the boxes that it needs"
    assert report["swelling"] is None and report["patient"]["age"] == 54.1
    assert reports.summary_row(tasks, "a", report)["patient_sex"] == "F"
    assert sheets.sheet(FILM, tasks, findings, report, "hand").ndim == 3


def test_the_patient_is_not_missed_where_it_was_not_trained():
    network = fakes.network()
    report = read(Radiograph(FILM), network, OPTIONS).report
    assert "patient" not in report
    assert not any("patient" in column for column in reports.summary_columns(network.tasks))
    assert [task.name for task in reported(network.tasks[:1])] == ["bones", "erosions", "joints", "scores"]


def test_a_number_that_is_not_finite_is_null(outside):
    finding, _ = Patient().find({"patient_sex": np.float32((0.5, 0.5)), "patient_age": np.nan}, None, 0.3, {})
    assert finding["age"] is None and Patient().cells({"patient": finding}) == {
        "patient_sex": "F",
        "patient_age": None,
    }
    [block] = Patient().panel(finding, {}, [])
    assert [entry.value for entry in block.entries] == ["F (0.50)", "unknown"]


def predicted(tmp_path, name: str, network) -> list[dict]:
    """Predicts one more film into the same folder; returns the rows of its summary."""
    Image.fromarray(FILM).save(tmp_path / f"{name}.png")
    predict_all([tmp_path / f"{name}.png"], tmp_path / "out", network, OPTIONS)
    return rows_of(tmp_path / "out")


def test_summaries_of_networks_with_other_tasks_grow_together(tmp_path, network):
    [plain] = predicted(tmp_path, "a", fakes.network())
    one, two = predicted(tmp_path, "b", fakes.patient_network())
    assert {column: one[column] for column in plain} == plain
    assert (one["patient_age"], two["patient_age"]) == ("", "54.1")
    *earlier, three = predicted(tmp_path, "c", fakes.network())
    assert earlier == [one, two] and list(three) == list(two) and three["patient_age"] == ""
    assert three["be_total"] == "32"
    *earlier, four = predicted(tmp_path, "d", network)
    assert [row["name"] for row in earlier] == ["a", "b", "c"] and earlier[1]["patient_age"] == "54.1"
    assert four["acquisition_side"] == "right" and earlier[2]["acquisition_side"] == ""


def test_a_table_of_somebody_else_is_not_taken_for_a_summary(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.csv").write_text("name,age\nx,3\n")
    assert predicted(tmp_path, "a", fakes.network()) == [{"name": "x", "age": "3"}]
    [row] = rows_of(tmp_path / "out", "summary-2.csv")
    assert row["name"] == "a" and tuple(row) == reports.summary_columns(fakes.network().tasks)


def test_a_trained_network_of_own_tasks_predicts(tmp_path, outside):
    tasks = ("bones", "joints", "scores", "patient", "tasks_of_mine.Acquisition")
    config = dataclasses.replace(fakes.config(), tasks=tasks)
    workdir = fakes.save_run(tmp_path / "run", config)
    Image.fromarray(FILM).save(tmp_path / "a.png")
    argv = ["predict", f"--workdir={workdir}", f"--input={tmp_path / 'a.png'}", f"--output={tmp_path / 'out'}"]
    assert predict.main([*argv, "--min_confidence=0"]) == 0
    report = json.loads((tmp_path / "out" / "a.json").read_text())
    assert report["patient"]["sex"]["value"] in ("F", "M") and math.isfinite(report["patient"]["age"])
    assert sum(report["acquisition"]["side"]["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert {entry["name"] for entry in report["not_judged"] if entry["kind"] == "task"} == {"erosions"}
    [row] = rows_of(tmp_path / "out")
    assert row["acquisition_side"] == report["acquisition"]["side"]["value"]
    network = load(workdir)
    assert [task.name for task in network.tasks] == ["bones", "joints", "scores", "patient", "acquisition"]
    assert set(network.state.ema_params["heads"]) == {task.name for task in network.tasks}


def test_annotated_boxes_are_given_to_those_that_find_none(outside):
    """Findings that are given count as found, and are handed to the tasks after them."""
    seen = {}

    class Looks(outside.Swelling):
        def find(self, maps, grid, min_confidence, found):
            seen.update(found)
            return super().find(maps, grid, min_confidence, found)

    maps = {name: of[0] for name, of in predict_own(np.zeros((1, 128, 96, 1))).items() if name in Looks.predictions}
    findings = find((Looks(),), maps, None, 0.3, {"joints": ("a joint",)})
    assert seen == {"joints": ("a joint",)}
    assert findings.by_task["joints"] == ("a joint",) and findings.by_task["swelling"]["swollen"] == 7.1235
    assert "joints" not in {entry.name for entry in findings.not_judged}

"""A fifth task, of one file, and a sixth from outside the package: seen wherever the four are seen."""

import csv
import json
import os
import pathlib
import subprocess
import sys

import cv2
import pytest

from ramjax import phantom
from ramjax.files import read_json_lines

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parent.parent
HANDEDNESS = '''
"""Which hand it is, from an image that is not mirrored."""

import dataclasses
from typing import ClassVar

from ramjax.tasks.image import Classes, ImageTask

SIDES = ("L", "R")


@dataclasses.dataclass(frozen=True)
class HandednessConfig:
    weight: float = 1.0


def _side(record):
    return SIDES.index(record.side) if record.side else -1


@dataclasses.dataclass(frozen=True)
class Handedness(ImageTask):
    config: HandednessConfig
    name = "handedness"
    targets: ClassVar = {"side": Classes(SIDES, _side, "Side")}
'''


def call(folder: pathlib.Path, *words: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(folder), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Where the laboratory has its own code; the run is in ``run``."""
    made = tmp_path_factory.mktemp("laboratory")
    package = made / "laboratory"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "handedness.py").write_text(HANDEDNESS)
    return made


@pytest.fixture(scope="module")
def run(folder, data_dir) -> pathlib.Path:
    workdir = folder / "run"
    done = call(
        folder, "-m", "ramjax.main", "--config=experiments/debug.py", f"--workdir={workdir}",
        f"--config.data.data_dir={data_dir}", "--config.data.canvas.mirror_left=False",
        "--config.data.test_split=train",
        "--config.tasks=('bones','joints','scores','patient','laboratory.handedness.Handedness')",
        "--config.own={'handedness': {'weight': 0.5}}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "patient/sex_acc" in done.stdout and "handedness/side_acc" in done.stdout
    return workdir


NAMES = ("patient/sex_acc", "patient/sex_auroc", "patient/age_mae", "patient/age_r2", "handedness/side_acc")


def test_training_validation_and_test(run):
    test = json.loads((run / "eval_test.json").read_text())
    rows = read_json_lines(run / "metrics.jsonl")
    for name in NAMES:
        assert test[f"{name}/n"] == test["records"], name
        assert any(f"validation/canvas/{name}" in row for row in rows), name
    for task in ("patient", "handedness"):
        assert any(row.get(f"train/loss/{task}", 0) > 0 for row in rows)
    assert "heads/handedness" in (run / "parameters.txt").read_text()


def test_a_report(folder, run):
    done = call(folder, "-m", "ramjax.report", f"--workdir={run}", "--replicates=100")
    assert done.returncode == 0, done.stderr
    page = (run / "report" / "report.html").read_text()
    assert "Sex, accuracy" in page and "Side, accuracy" in page
    with (run / "report" / "tables.csv").open() as file:
        cells = list(csv.DictReader(file))
    accuracy = [cell for cell in cells if "Side, accuracy" in (cell["row"], cell["column"])]
    assert accuracy and any(cell["low"] and cell["high"] for cell in accuracy)


def test_a_prediction(folder, run, tmp_path):
    hands = phantom.PhantomConfig(patients=1, scale=0.2)
    cv2.imwrite(str(tmp_path / "hand.png"), phantom.render(hands, phantom.cases(hands)[0]).record.image)
    done = call(
        folder, "-m", "ramjax.predict", f"--workdir={run}", f"--input={tmp_path / 'hand.png'}",
        f"--output={tmp_path / 'out'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "out" / "hand.json").read_text())
    assert written["patient"]["sex"]["value"] in ("F", "M") and isinstance(written["patient"]["age"], float)
    assert sum(written["handedness"]["side"]["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    with (tmp_path / "out" / "summary.csv").open() as file:
        [row] = csv.DictReader(file)
    assert row["handedness_side"] in ("L", "R") and float(row["patient_age"]) == written["patient"]["age"]
    assert cv2.imread(str(tmp_path / "out" / "hand_overlay.png")) is not None


def test_a_sweeps_table(folder, run, tmp_path):
    """The table of a sweep is made where the runs' own code can be found."""
    code = f"""
import pathlib
from ramjax.runs import run_dir
from ramjax.sweep import table
from ramjax.sweep.plan import Run
config = run_dir.load_config({str(run)!r})
print(table.write([Run("a", pathlib.Path({str(run)!r}), {{"seed": 0}}, (), config)], pathlib.Path({str(tmp_path)!r})))
"""
    done = call(folder, "-c", code)
    assert done.returncode == 0, done.stderr
    assert "patient/age_mae" in done.stdout and "handedness/side_acc" in done.stdout


def test_a_path_that_leads_nowhere_is_named(folder, data_dir):
    done = call(
        folder, "-m", "ramjax.main", "--config=experiments/debug.py", f"--workdir={folder / 'none'}",
        f"--config.data.data_dir={data_dir}", "--config.tasks=('bones','laboratory.handedness.Missing')",
    )  # fmt: skip
    assert done.returncode == 1
    assert "laboratory.handedness.Missing" in done.stderr and "cannot be imported" in done.stderr


def test_a_task_from_outside_alone(folder, data_dir):
    """Without masks, boxes or scores: tested, averaged over mirror images and scales, and shown."""
    workdir = folder / "alone"
    done = call(
        folder, "-m", "ramjax.main", "--config=experiments/debug.py", f"--workdir={workdir}",
        f"--config.data.data_dir={data_dir}", "--config.tasks=('laboratory.handedness.Handedness',)",
        "--config.train.steps=2", "--config.evaluation.mirror=True", "--config.evaluation.scales=(1.0,0.9)",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    test = json.loads((workdir / "eval_test.json").read_text())
    assert test["handedness/side_acc/n"] == test["records"] and "handedness/side_acc" in done.stdout
    assert (workdir / "test_grid.png").read_bytes().startswith(b"\x89PNG")
    windows = call(
        folder, "-m", "ramjax.main", "--config=experiments/debug.py", f"--workdir={folder / 'windows'}",
        f"--config.data.data_dir={data_dir}", "--config.tasks=('laboratory.handedness.Handedness',)",
        "--config.train.steps=1", "--config.data.canvas.sizing=scale", "--config.data.canvas.scale=1.0",
    )  # fmt: skip
    assert windows.returncode == 0, windows.stderr
    assert json.loads((folder / "windows" / "eval_test.json").read_text())["handedness/side_acc/n"] == test["records"]

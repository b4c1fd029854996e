"""The table of a sweep, against numbers worked by hand."""

import csv
import io
import json
import shlex

import pytest

from ramjax import command_line, report
from ramjax import config as config_lib
from ramjax.sweep import plan, table


@pytest.fixture
def runs(tmp_path):
    return plan.make_runs("experiments/debug.py", tmp_path, grid=["train.steps=5,6", "seed=0,1,2"])


def finish(run, **metrics):
    run.workdir.mkdir(parents=True, exist_ok=True)
    (run.workdir / "config.json").write_text(json.dumps(config_lib.to_dict(run.config)))
    (run.workdir / "eval_test.json").write_text(json.dumps({"note": "a", "step": 3, **metrics}))


def rows(markdown):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in markdown.splitlines() if line.startswith("|")]


def test_a_row_a_run_and_means_over_seeds(runs, tmp_path):
    for run, dsc in zip(runs[:4], (0.5, 0.6, 0.7, 0.25), strict=True):
        finish(run, **{"bones/dsc": dsc, "bones/dsc/n": 8, "scores/be_qwk": None, "bones/voe": 0.1})
    (runs[4].workdir).mkdir()
    (runs[4].workdir / "config.json").write_text(json.dumps(config_lib.to_dict(runs[4].config)))
    markdown = table.write(runs, tmp_path)
    assert (tmp_path / "results.md").read_text() == markdown
    means, each = markdown.split("Each run:")
    assert rows(means) == [
        ["train.steps", "runs", "bones/dsc"],
        ["---", "---", "---"],
        ["5", "3", "0.600 ± 0.100"],  # of 0.5, 0.6, 0.7 with n - 1
        ["6", "1", "0.250"],
    ]
    assert rows(each)[2] == ["5", "0", "done", "0.500"]
    assert rows(each)[6:] == [["6", "1", "unfinished", ""], ["6", "2", "not started", ""]]
    of_csv = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert len(of_csv) == 6
    assert of_csv[3] == {
        "run": "train.steps=6,seed=0", "train.steps": "6", "seed": "0", "state": "done", "bones/dsc": "0.25",
    }  # fmt: skip
    assert "Research use only" in markdown


def test_the_report_of_the_finished_runs_is_pointed_at(runs, tmp_path):
    finish(runs[1], **{"bones/dsc": 0.5})
    assert "ramjax.report" not in table.write(runs, tmp_path)
    finish(runs[2], **{"bones/dsc": 0.5})
    (line,) = [line for line in table.write(runs, tmp_path).splitlines() if "ramjax.report" in line]
    words = shlex.split(line)
    assert [word for word in words if "--workdir" in word] == [f"--workdir={run.workdir}" for run in runs[1:3]]
    assert words[-1] == f"--output={tmp_path / 'report' / 'report.html'}"


def test_without_seeds_there_are_no_means(tmp_path):
    runs = plan.make_runs("experiments/debug.py", tmp_path, grid=["tasks=('bones',),('bones','joints')"])
    finish(runs[1], **{"joints/recall_50": 0.75})
    markdown = table.write(runs, tmp_path)
    assert "Mean" not in markdown
    assert rows(markdown) == [
        ["tasks", "state", "joints/recall_50"],
        ["---", "---", "---"],
        ["bones", "not started", ""],
        ["bones, joints", "done", "0.750"],
    ]


def test_headlines_are_those_of_the_runs_tasks(tmp_path):
    """Also of a task from outside; in the order of the tasks, whichever run comes first."""
    own = "tests.reporting.own.Sharpness"
    runs = plan.make_runs("experiments/debug.py", tmp_path, grid=[f"tasks=('{own}','bones'),('patient','bones')"])
    finish(runs[0], **{"sharpness/error": 0.5, "sharpness/offset": 0.25, "bones/dsc": 0.125, "joints/iou": 0.75})
    finish(runs[1], **{"patient/sex_acc": 0.5, "patient/age_mae": 7.0, "bones/dsc": 0.25, "sharpness/error": None})
    (header, _, *values) = rows(table.write(runs, tmp_path))
    assert header[2:] == ["bones/dsc", "patient/sex_acc", "patient/age_mae", "sharpness/error"]
    assert [row[1:] for row in values] == [
        ["done", "0.125", "", "", "0.500"],
        ["done", "0.250", "0.500", "7.000", ""],
    ]


def test_several_data_sets_stand_apart(tmp_path):
    fixed = ["--config.data.datasets=('ram_phantom/tiny','ram_w600/joint')", "--config.data.weights=(1.0,1.0)"]
    (run,) = plan.make_runs("experiments/debug.py", tmp_path, grid=["seed=0"], fixed=fixed)
    finish(run, **{"ram_w600/bones/dsc": 0.5, "ram_phantom/bones/dsc": 0.25, "compat/ram_w600/bones/dsc": 0.75})
    header, _, values = rows(table.write([run], tmp_path).split("Each run:")[1])
    assert header[2:] == ["ram_phantom/bones/dsc", "ram_w600/bones/dsc"]
    assert values[2:] == ["0.250", "0.500"]


def test_a_plan_read_from_its_folder_makes_the_same_table(runs, tmp_path):
    finish(runs[0], **{"bones/dsc": 0.5})
    plan.save(runs, tmp_path)
    assert table.write(plan.load(tmp_path), tmp_path) == table.write(runs, tmp_path)


def test_damaged_results_are_named(runs, tmp_path):
    finish(runs[0])
    (runs[0].workdir / "eval_test.json").write_text("{")
    with pytest.raises(ValueError, match=r"eval_test\.json is damaged"):
        table.write(runs, tmp_path)


@pytest.mark.parametrize(
    ("label", "of_means"), [("{train.steps} steps", True), ("{train.steps} steps, seed {seed}", False)]
)
def test_labels_stand_in_the_tables_and_in_the_command(tmp_path, label, of_means):
    runs = plan.make_runs("experiments/debug.py", tmp_path, grid=["train.steps=5,6", "seed=0,1"], label=label)
    for run in runs[:3]:
        finish(run, **{"bones/dsc": 0.5})
    plan.save(runs, tmp_path)
    markdown = table.write(plan.load(tmp_path), tmp_path)
    means, each = (rows(part) for part in markdown.split("Each run:"))
    assert means[0] == [*(["name"] if of_means else []), "train.steps", "runs", "bones/dsc"]
    assert means[2] == [*(["5 steps"] if of_means else []), "5", "2", "0.500 ± 0.000"]
    assert each[0] == ["name", "train.steps", "seed", "state", "bones/dsc"]
    assert [row[0] for row in each[2:]] == [run.label for run in runs]
    of_csv = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert [row["name"] for row in of_csv] == [run.label for run in runs]
    (line,) = [line for line in markdown.splitlines() if "ramjax.report" in line]
    words = shlex.split(line)
    assert [word for word in words if "--name" in word] == [f"--name={run.label}" for run in runs[:3]]
    values = command_line.parse(report.__doc__, report.define, words[2:], check=report.check)
    assert len(values.workdir) == len(values.name) == 3

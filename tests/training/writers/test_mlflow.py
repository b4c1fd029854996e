"""MLflow itself, with a database in a file."""

import dataclasses
import json
import math

import pytest

from ramjax.config import TrackingConfig
from ramjax.devices.preemption import Preempted
from ramjax.training.writers import Writer
from tests.training import tiny_job

mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed: pip install 'ramjax[mlflow]'")
pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'ramjax[mlflow]'")


@pytest.fixture
def config(monkeypatch, debug_config, tmp_path):
    monkeypatch.chdir(tmp_path)  # where MLflow puts the files of a database that is one
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("DO_NOT_TRACK", "true")
    tiny_job.install(monkeypatch)
    config = tiny_job.tiny(debug_config, steps=9, log_every=2, eval_every=4, checkpoint_every=3, keep_checkpoints=2)
    return dataclasses.replace(config, tracking=TrackingConfig(("mlflow",), "hands"))


def found():
    client = mlflow.MlflowClient()
    return client, client.search_runs([client.get_experiment_by_name("hands").experiment_id])


def points(client, run, name):
    return [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]


def test_a_run_has_its_settings_metrics_test_and_picture(config, tmp_path):
    tiny_job.go(config, tmp_path / "first")
    client, (run,) = found()
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert run.data.params["train.steps"] == "9" and run.data.params["tasks"] == "('bones',)"
    rows = [json.loads(line) for line in (tmp_path / "first" / "metrics.jsonl").read_text().splitlines()]
    expected = [(row["step"], row["train/loss"]) for row in rows if "train/loss" in row]
    assert len(expected) == 5 and points(client, run, "train/loss") == expected
    assert [step for step, _ in points(client, run, "validation/selection")] == [4, 8, 9]
    test = json.loads((tmp_path / "first" / "eval_test.json").read_text())
    assert points(client, run, "test/bones/dsc") == [(test["step"], test["bones/dsc"])]
    assert [file.path for file in client.list_artifacts(run.info.run_id, "pictures")] == ["pictures/test_grid.png"]


def test_a_run_that_was_interrupted_goes_on_in_the_same_run(config, tmp_path):
    with pytest.raises(Preempted):
        tiny_job.go(config, tmp_path / "run", 8)
    client, (run,) = found()
    assert run.info.status == "FAILED"
    more = dataclasses.replace(config, train=dataclasses.replace(config.train, log_every=1))  # it may change
    tiny_job.go(more, tmp_path / "run")
    client, (run,) = found()
    assert run.info.status == "FINISHED" and run.data.params["train.log_every"] == "2"
    steps = [step for step, _ in points(client, run, "train/loss")]
    assert len(set(steps)) == len(steps) and steps[-1] == 9


def test_a_run_that_was_deleted_there_begins_anew_with_all_its_rows(config, tmp_path):
    (tmp_path / "run").mkdir()
    with Writer(tmp_path / "run", config) as writer:
        writer.start(0)
        writer.write(2, {"train/loss": 0.5, "erosions@labels/×": 0.25, "train/nan": math.nan})
    client, (run,) = found()
    assert points(client, run, "erosions_labels/_") == [(2, 0.25)]
    client.delete_run(run.info.run_id)
    with Writer(tmp_path / "run", config) as writer:
        writer.start(2)
        writer.write(4, {"train/loss": 0.25})
    client, (other,) = found()
    assert other.info.run_id != run.info.run_id and points(client, other, "train/loss") == [(2, 0.5), (4, 0.25)]


def test_a_store_that_cannot_be_had_is_a_warning(config, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/mlflow.db")
    tiny_job.go(config, tmp_path / "run", mode="train")
    assert "Warning: MLflow does not take the run's metrics" in capsys.readouterr().err
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 8

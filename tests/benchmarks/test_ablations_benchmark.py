"""Many small runs for several questions: which there are, and what of them is packed."""

import dataclasses
import json
import zipfile

import pytest

from benchmarks import ablations
from ramjax import config as config_lib
from ramjax.runs import questions
from ramjax.sweep import plan


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    output = tmp_path_factory.mktemp("sweep")
    return output, ablations.make_runs(output, ablations.QUESTIONS, 3, 400, "data", "accelerator")


def test_the_cpus_budget_suits_every_arm(tmp_path):
    runs = ablations.make_runs(tmp_path, ablations.QUESTIONS, 1, 400, "data", "cpu")
    assert {(run.config.data.canvas.height, run.config.data.canvas.width) for run in runs} == {(192, 128)}


def test_every_arm_has_every_seed_and_the_baseline_is_shared(planned):
    output, runs = planned
    asked = {of.name: of.arms for of in questions.load(output)}
    assert tuple(asked) == ablations.QUESTIONS
    assert {name: tuple(arms) for name, arms in asked.items() if name in ablations.ARMS} == ablations.ARMS
    assert all(len(names) == 3 for arms in asked.values() for names in arms.values())
    baselines = {names for arms in asked.values() for names in list(arms.values())[:1]}
    assert len(baselines) == 1
    arms = 1 + sum(len(of) - 1 for of in asked.values())
    assert len(runs) == 3 * arms and [run.config.seed for run in runs] == [0] * arms + [1] * arms + [2] * arms
    assert [run.name for run in plan.load(output)] == [run.name for run in runs]


def test_all_runs_have_the_same_budget(planned):
    for run in planned[1]:
        data, train = run.config.data, run.config.train
        assert (data.canvas.height, data.canvas.width, data.batch_size, data.cache) == (256, 192, 16, "device")
        assert train.steps == train.eval_every == train.checkpoint_every == 400
        assert bool(run.config.affinity.every) == (run.settings.get("joint_or_single") == "joint")


def test_what_the_report_needs_is_packed_in_parts(planned, tmp_path, monkeypatch):
    output, runs = planned
    monkeypatch.setattr(ablations, "PART_BYTES", 25_000)
    for run in runs[:3]:
        run.workdir.mkdir(parents=True)
        (run.workdir / "config.json").write_text(json.dumps(config_lib.to_dict(run.config)))
        (run.workdir / "eval_test.json").write_text("{}")
        (run.workdir / "cases.parquet").write_bytes(bytes(10_000))
        (run.workdir / "checkpoint").write_bytes(bytes(10_000))
    (runs[2].workdir / "eval_test.json").unlink()  # not done
    parts = ablations.pack(runs, output, tmp_path / "packed")
    assert len(parts) > 1
    for part in parts:
        with zipfile.ZipFile(part) as file:
            file.extractall(tmp_path / "there")
    packed = {str(path.relative_to(tmp_path / "there")) for path in (tmp_path / "there").rglob("*") if path.is_file()}
    done = {f"{run.name}/{name}" for run in runs[:2] for name in ("config.json", "eval_test.json", "cases.parquet")}
    assert packed == done | {"sweep.json", "questions.json"}
    unpacked = [dataclasses.replace(run, workdir=tmp_path / "there" / run.name) for run in runs]
    assert [run.state for run in unpacked[:3]] == ["done", "done", "not started"]


def test_unknown_questions_are_named(capsys):
    assert ablations.main(["ablations", "--questions=enconder"]) == 2
    assert "--questions=enconder is unknown; name any of joint_or_single" in capsys.readouterr().err

"""Which runs a sweep has, and what is refused before any starts."""

import json
import shlex
import subprocess
import sys

import pytest

from ramjax import config as config_lib
from ramjax.errors import RunError
from ramjax.experiment import parse_experiment
from ramjax.sweep import plan
from tests.commands import assert_one_sentence

CONFIG = "experiments/debug.py"


def make(tmp_path, **more):
    return plan.make_runs(CONFIG, tmp_path, **more)


def finish(run, **changed):
    """Leaves what a run leaves that was done, with some top keys of its config changed."""
    run.workdir.mkdir(parents=True, exist_ok=True)
    (run.workdir / "config.json").write_text(json.dumps(config_lib.to_dict(run.config) | changed))
    (run.workdir / "eval_test.json").write_text("{}")


def test_all_combinations_of_lines_and_axes_in_order(tmp_path):
    lines = [
        "# two models",
        "",
        "model.decoder_width=8",
        "model.decoder_width=16 tasks=\"('bones', 'joints')\"  # both",
    ]
    runs = make(tmp_path, lines=lines, grid=["seed=1,2"], fixed=["--config.train.steps=3"])
    assert [run.name for run in runs] == [
        "model.decoder_width=8,seed=1",
        "model.decoder_width=8,seed=2",
        "model.decoder_width=16,tasks=bones+joints,seed=1",
        "model.decoder_width=16,tasks=bones+joints,seed=2",
    ]
    assert runs[3].settings == {"model.decoder_width": 16, "tasks": ("bones", "joints"), "seed": 2}
    assert {run.config.train.steps for run in runs} == {3}
    assert runs[2].config.seed == 1 and runs[2].config.tasks == ("bones", "joints")
    assert runs[0].workdir == tmp_path / runs[0].name
    assert runs[0].flags[:2] == (f"--config={CONFIG}", f"--workdir={runs[0].workdir}")
    assert "--config.train.steps=3" in runs[0].flags


def test_names_are_of_values_not_of_how_they_are_written(tmp_path):
    assert [run.name for run in make(tmp_path, grid=["optimizer.learning_rate=1e-3"])] == [
        "optimizer.learning_rate=0.001"
    ]
    with pytest.raises(ValueError, match=r"Two runs are optimizer.learning_rate=0\.001"):
        make(tmp_path, grid=["optimizer.learning_rate=1e-3,.001"])


def test_names_are_names_of_folders(tmp_path):
    (run,) = make(tmp_path, grid=["data.datasets=('ram_phantom/tiny',)"])
    assert run.name == "data.datasets=ram_phantom-tiny"
    axes = [f"evaluation.ensemble=('{'a' * 70}','{'b' * 70}{end}')" for end in "cd"]
    first, second = (make(tmp_path, grid=[axis])[0].name for axis in axes)
    assert first != second and len(first.encode()) <= 120


def test_values_may_hold_commas_in_brackets_and_quotes(tmp_path):
    runs = make(tmp_path, grid=["tasks=('bones',),('bones','joints')"])
    assert [run.config.tasks for run in runs] == [("bones",), ("bones", "joints")]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"grid": ["optimizer.learnin_rate=1e-3"]}, ["learnin_rate", "did you mean 'learning_rate'"]),
        ({"grid": ["seed=1,two"]}, ["--config.seed=two"]),
        ({"grid": ["optimizer.learning_rate=-1"]}, ["optimizer.learning_rate is -1.0"]),
        ({"grid": ["seed=1", "seed=2"]}, ["seed is set twice"]),
        ({"grid": ["seed=1"], "lines": ["seed=2"]}, ["seed is set twice"]),
        ({"lines": ["seed=1 seed=2"]}, ["a key twice"]),
        ({"grid": ["seed=1"], "fixed": ["--config.seed=2"]}, ["seed is set twice"]),
        ({"folds": 2, "fixed": ["--config.data.test_split=test"]}, ["data.test_split is set twice"]),
        ({"grid": ["seed"]}, ["'seed' must be KEY=VALUE"]),
        ({"grid": ["seed="]}, ["'seed=' must be KEY=VALUE"]),
        ({"grid": ["seed=1,"]}, ["'1,'"]),
        ({"grid": ["tasks=('bones'"]}, ["bracket or quote is open"]),
        ({"grid": ["seed=1"], "fixed": ["--config.sead=1"]}, ["sead"]),
        ({}, ["nothing to sweep over"]),
        ({"lines": ["# nothing"]}, ["nothing to sweep over"]),
        ({"folds": 1}, ["folds is 1"]),
    ],
)
def test_what_cannot_be_is_named(tmp_path, given, named):
    with pytest.raises(ValueError) as error:
        make(tmp_path, **given)
    for word in named:
        assert word in str(error.value)
    assert not list(tmp_path.iterdir())


def test_an_experiment_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        plan.make_runs("experiments/nowhere.py", tmp_path, grid=["seed=1"])


def test_a_run_is_done_when_it_was_evaluated_with_its_config(tmp_path):
    (run,) = make(tmp_path, grid=["seed=1"])
    assert run.state == "not started"
    finish(run)
    assert run.state == "done"
    finish(run, data=config_lib.to_dict(run.config)["data"] | {"data_dir": "elsewhere", "workers": 9})
    assert run.state == "done"  # these say where, not what
    for changed in (
        {"seed": 2},
        {"evaluation": config_lib.to_dict(run.config)["evaluation"] | {"grid": "square512"}},
        {"unknown": 1},
    ):
        finish(run, **changed)
        assert run.state == "unfinished"
    finish(run)
    (run.workdir / "eval_test.json").unlink()
    assert run.state == "unfinished"


def test_the_plan_is_known_again_from_its_folder(tmp_path):
    runs = make(tmp_path, grid=["tasks=('bones',),('bones','joints')", "seed=0"])
    plan.save(runs, tmp_path)
    loaded = plan.load(tmp_path)
    assert [(run.name, run.workdir, run.flags, run.config) for run in loaded] == [
        (run.name, run.workdir, run.flags, run.config) for run in runs
    ]
    with pytest.raises(ValueError, match="holds no sweep"):
        plan.load(tmp_path / "other")
    (tmp_path / "sweep.json").write_text('[{"name": "a"}]')
    with pytest.raises(ValueError, match=r"sweep\.json is damaged"):
        plan.load(tmp_path)


def test_a_plan_and_a_run_of_an_older_version_are_read_and_of_a_newer_one_refused(tmp_path):
    (run,) = runs = make(tmp_path, grid=["seed=1"])
    plan.save(runs, tmp_path)
    (content,) = json.loads((tmp_path / "sweep.json").read_text())
    del content["config"]["patient"], content["config"]["model"]["remat"]
    (tmp_path / "sweep.json").write_text(json.dumps([content]))
    finish(run)
    (run.workdir / "config.json").write_text(json.dumps(content["config"]))
    (loaded,) = plan.load(tmp_path)
    assert loaded.config == run.config and loaded.state == run.state == "done"
    content["config"]["grokking"] = True
    (tmp_path / "sweep.json").write_text(json.dumps([content]))
    with pytest.raises(RunError, match=r"sweep\.json has the key grokking, which .*a newer version wrote it"):
        plan.load(tmp_path)
    command = [sys.executable, "-m", "ramjax.sweep", f"--output={tmp_path}", "--collect"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert_one_sentence(done, 1, "grokking", "a newer version wrote it")


def test_settings_of_own_tasks_can_be_swept_over(tmp_path):
    (tmp_path / "own.py").write_text(
        "from experiments import debug\n\ndef get_config():\n    config = debug.get_config()\n"
        "    config.own.handedness = {'weight': 1.0}\n    return config\n"
    )
    runs = plan.make_runs(str(tmp_path / "own.py"), tmp_path, grid=["own.handedness.weight=0.5,2.0"])
    assert [run.settings for run in runs] == [{"own.handedness.weight": 0.5}, {"own.handedness.weight": 2.0}]
    assert [run.config.own["handedness"]["weight"] for run in runs] == [0.5, 2.0]


def test_flags_survive_a_shell(tmp_path):
    (run,) = make(tmp_path, grid=["tasks=('bones', 'joints')"])
    assert tuple(shlex.split(shlex.join(run.flags))) == run.flags


def test_labels_are_made_of_the_config_and_go_to_the_trackers(tmp_path):
    lines = ["model.decoder_width=8", "name='Wide & {seed:02}' model.decoder_width=16"]
    runs = make(tmp_path, lines=lines, grid=["seed=1,2"], label="{model.decoder_width} wide")
    assert [run.label for run in runs] == ["8 wide", "8 wide", "Wide & 01", "Wide & 02"]
    assert [run.config.tracking.name for run in runs] == [run.label for run in runs]
    assert runs[2].name == "model.decoder_width=16,seed=1" and "name" not in runs[2].settings
    for run in runs:
        assert parse_experiment(CONFIG, run.flags[2:]) == run.config
    finish(runs[0])
    (unnamed,) = make(tmp_path, grid=["model.decoder_width=8"], fixed=["--config.seed=1"])
    assert runs[0].state == "done" and unnamed.label == ""


def test_a_sweep_from_before_there_were_labels_is_read(tmp_path):
    plan.save(make(tmp_path, grid=["seed=1"], label="first"), tmp_path)
    content = json.loads((tmp_path / "sweep.json").read_text())
    assert plan.load(tmp_path)[0].label == "first"
    (tmp_path / "sweep.json").write_text(json.dumps([{k: v for k, v in of.items() if k != "label"} for of in content]))
    assert plan.load(tmp_path)[0].label == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"grid": ["seed=1"], "label": "{model.width}"}, "'{model.width}' cannot be made .*no attribute 'width'"),
        ({"grid": ["seed=1"], "label": "{width}"}, "'{width}' cannot be made .unknown key 'width'"),
        ({"grid": ["seed=1"], "label": "{fold}"}, "unknown key 'fold'"),
        ({"grid": ["seed=1"], "label": "{seed"}, "cannot be made"),
        ({"grid": ["seed=1"], "label": "{tracking.name}"}, "is empty for seed=1"),
        ({"grid": ["seed=1"], "label": "x", "fixed": ["--config.tracking.name=y"]}, "tracking.name is set twice"),
        (
            {"grid": ["seed=1,2", "model.decoder_width=8,16"], "label": "x"},
            "would both be named 'x'; put what tells them apart into the name, such as {model.decoder_width}",
        ),
    ],
)
def test_labels_that_cannot_be(tmp_path, given, words):
    with pytest.raises(ValueError, match=words):
        make(tmp_path, **given)

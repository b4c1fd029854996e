"""Sweeps over the arms of questions."""

import json

import pytest

from ramjax import config as config_lib
from ramjax.errors import RunError
from ramjax.experiment import parse_experiment
from ramjax.runs import questions
from ramjax.sweep import plan, table

ABLATION = """
\"\"\"{asks}

Expected time: 1 minute a run. All of it.

More
about it.
\"\"\"

from experiments.ablations import with_arm

ARMS = {arms}


def get_config(preset=""):
    return with_arm(preset, ARMS)
"""


@pytest.fixture
def width(tmp_path):
    file = tmp_path / "width.py"
    file.write_text(ABLATION.format(asks="How wide?", arms={"usual": {}, "thin": {"model.decoder_width": 8}}))
    return file


@pytest.fixture
def rate(tmp_path):
    file = tmp_path / "rate.py"
    arms = {"fast": {}, "slow": {"optimizer.learning_rate": 1e-4}, "thin": {"model.decoder_width": 8}}
    file.write_text(ABLATION.format(asks="How\nfast?", arms=arms))
    return file


def test_every_arm_is_run_with_every_seed_and_a_seed_of_each_comes_first(width, tmp_path):
    runs = plan.make_runs(f"{width}:debug", tmp_path, grid=["seed=0,1"], fixed=["--config.train.steps=3"])
    names = ["width=usual,seed=0", "width=thin,seed=0", "width=usual,seed=1", "width=thin,seed=1"]
    assert [run.name for run in runs] == names
    assert [run.config.model.decoder_width for run in runs] == [16, 8, 16, 8]
    assert runs[1].settings == {"width": "thin", "seed": 0} and runs[1].flags[0] == f"--config={width}:debug+thin"
    assert {run.config.train.steps for run in runs} == {3}
    for run in runs:
        flags = [flag for flag in run.flags if flag.startswith("--config.")]
        assert parse_experiment(run.flags[0].removeprefix("--config="), flags) == run.config


def test_an_arm_of_several_questions_is_run_once(width, rate, tmp_path):
    configs = [str(width), str(rate)]
    runs = plan.make_runs(configs, tmp_path, grid=["seed=0"])
    assert [run.settings for run in runs] == [
        {"width": "usual", "rate": "fast", "seed": 0},
        {"width": "thin", "rate": "thin", "seed": 0},
        {"rate": "slow", "seed": 0},
    ]
    asked = plan.find_questions(configs, runs)
    assert [(of.name, of.asks) for of in asked] == [("width", "How wide?"), ("rate", "How fast?")]
    assert [of.about for of in asked] == ["More about it."] * 2
    assert asked[0].arms == {"usual": (runs[0].name,), "thin": (runs[1].name,)}
    assert asked[1].arms == {"fast": (runs[0].name,), "slow": (runs[2].name,), "thin": (runs[1].name,)}
    questions.save(asked, tmp_path)
    assert questions.load(tmp_path) == asked
    plan.save(runs, tmp_path)
    assert [(run.name, run.settings) for run in plan.load(tmp_path)] == [(run.name, run.settings) for run in runs]


def test_one_arm_is_an_ordinary_experiment(width, tmp_path):
    (run,) = plan.make_runs(f"{width}:thin", tmp_path, grid=["seed=0"])
    assert run.settings == {"seed": 0} and run.config.model.decoder_width == 8
    assert plan.find_questions([f"{width}:thin"], [run]) == []


def test_questions_that_cannot_be_are_named(width, rate, tmp_path):
    with pytest.raises(ValueError, match=r"multitask\.py has no arms"):
        plan.make_runs([str(width), "experiments/multitask.py"], tmp_path, grid=["seed=0"])
    with pytest.raises(ValueError, match="arms usual and thin of width are the same experiment"):
        plan.make_runs(str(width), tmp_path, fixed=["--config.model.decoder_width=8"])
    with pytest.raises(ValueError, match="named width, like another one or a key"):
        plan.make_runs([str(width), str(width)], tmp_path)
    clash = tmp_path / "tasks.py"
    clash.write_text(width.read_text())
    with pytest.raises(ValueError, match="named tasks, like another one or a key"):
        plan.make_runs(str(clash), tmp_path)
    width.write_text("ARMS = {}[1]")
    with pytest.raises(ValueError, match=r"width\.py: "):
        plan.make_runs(str(width), tmp_path)


def test_a_sweep_without_questions_says_so(tmp_path):
    with pytest.raises(RunError, match=r"has no questions\.json"):
        questions.load(tmp_path)
    for content in ("[1]", "{", json.dumps([{"name": "a", "asks": "b", "arms": [1]}])):
        (tmp_path / questions.FILE).write_text(content)
        with pytest.raises(RunError, match=r"questions\.json is damaged"):
            questions.load(tmp_path)


def test_the_table_names_the_report_of_the_questions(width, tmp_path):
    runs = plan.make_runs(f"{width}:debug", tmp_path / "sweep", grid=["seed=0"])
    for run in runs:
        run.workdir.mkdir(parents=True)
        (run.workdir / "config.json").write_text(json.dumps(config_lib.to_dict(run.config)))
        (run.workdir / "eval_test.json").write_text('{"bones/dsc": 0.5}')
    asked = plan.find_questions([f"{width}:debug"], runs)
    questions.save(asked, tmp_path / "sweep")
    assert f"python -m ramjax.report --sweep={tmp_path / 'sweep'}\n" in table.write(runs, tmp_path / "sweep")
    questions.save([], tmp_path / "sweep")  # another sweep in the folder, without questions
    assert f"--workdir={runs[0].workdir} --workdir={runs[1].workdir}" in table.write(runs, tmp_path / "sweep")

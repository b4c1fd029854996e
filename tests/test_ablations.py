"""Every arm of every ablation is an experiment that differs from the baseline in what its question is about."""

import importlib
import pathlib
import re

import pytest

from experiments import ablations, debug, multitask
from ramjax import config as config_lib
from ramjax.experiment import find_ablation, load_experiment

FOLDER = pathlib.Path(ablations.__file__).parent

ABOUT = {
    "balancing": {"balance.method", "balance.curves"},
    "data_fraction": {"data.fraction"},
    "decoder": {"model.decoder"},
    "encoder": {"model.encoder"},
    "joint_loss": {"joints.loss"},
    "joint_or_single": {"tasks", "affinity.every"},
    "loss": {"bones.losses", "erosions.losses"},
    "ordinal_head": {"scores.ordinal"},
    "pretraining": {"init.source", "model.batch_norm", "optimizer.frozen", "optimizer.rates"},
    "resolution": {"data.canvas.height", "data.canvas.width"},
    "score_source": {
        "data.cache", "data.canvas.detail", "data.other_hand", "scores.attention", "scores.maps", "scores.roi_size",
        "scores.source",
    },
    "sharing": {"model.sharing"},
    "synthetic_pretraining": {"init.source", "init.leave_out"},
    "task_sets": {"tasks"},
}  # fmt: skip
"""The keys in which the arms of each file may differ."""

NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
ARMS = [(name, arm) for name in NAMES for arm in importlib.import_module(f"experiments.ablations.{name}").ARMS]


def settings(name: str, preset: str = "") -> dict:
    values = importlib.import_module(f"experiments.ablations.{name}").get_config(preset)
    return config_lib.by_path(config_lib.to_dict(config_lib.from_config_dict(values)))


def difference(these: dict, those: dict) -> set[str]:
    return {key for key in these | those if these.get(key) != those.get(key)}


def test_every_question_says_what_it_is_about():
    assert sorted(ABOUT) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_arms_of_a_question_differ_in_what_it_is_about(name):
    arms = importlib.import_module(f"experiments.ablations.{name}").ARMS
    baseline, *others = [settings(name, arm) for arm in arms]
    assert baseline == settings(name)
    changed = [difference(baseline, other) for other in others]
    assert all(changed) and set.union(*changed) <= ABOUT[name]
    assert len({repr(of) for of in [baseline, *others]}) == len(arms)


@pytest.mark.parametrize("name", NAMES)
def test_a_question_says_how_it_is_asked(name):
    file = FOLDER / f"{name}.py"
    text = importlib.import_module(f"experiments.ablations.{name}").__doc__
    asks, command = text.partition("\n\n")[::2]
    assert "?" in asks
    assert f"python launch/sweep.py --config=experiments/ablations/{name}.py" in command and "--grid seed=0,1,2" in text
    assert re.search(r"Expected time: \d+ minutes? a run", " ".join(text.split()))
    found = find_ablation(str(file))
    assert found.name == name and found.asks == " ".join(asks.partition("?")[0].split()) + "?"


@pytest.mark.parametrize("preset", ["", "accelerator", "h1200", "debug"])
def test_a_preset_holds_for_all_arms(preset):
    job = debug.get_config() if preset == "debug" else multitask.get_config(preset)
    wanted = config_lib.by_path(config_lib.to_dict(config_lib.from_config_dict(job)))
    found = find_ablation(f"{FOLDER / 'joint_or_single.py'}:{preset}".rstrip(":"))
    for arm, file in found.arms.items():
        experiment = config_lib.by_path(config_lib.to_dict(load_experiment(file)))
        assert difference(experiment, wanted) == ({"affinity.every"} if arm == "joint" else {"tasks"})


def test_one_arm_alone_is_no_ablation_and_wrong_words_are_named():
    file = str(FOLDER / "encoder.py")
    assert find_ablation(f"{file}:h1200+resnet18") is None
    assert find_ablation("experiments/multitask.py") is None and find_ablation("experiments/nowhere.py") is None
    arms = {"wide": {}, "thin": {}}
    with pytest.raises(ValueError, match=r"'wide.thin' names the arms wide and thin; name one of wide, thin"):
        ablations.with_arm("wide+thin", arms)
    with pytest.raises(ValueError, match=r"\('narrow'\).*Or name an arm: wide, thin"):
        ablations.with_arm("narrow", arms)

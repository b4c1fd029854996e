import importlib
import json

import pytest

from experiments import debug, multitask
from ramjax import config as config_lib
from ramjax.config import ConfigError


def test_json_round_trip():
    config = config_lib.from_config_dict(multitask.get_config())
    assert config_lib.from_dict(json.loads(json.dumps(config_lib.to_dict(config)))) == config


@pytest.mark.parametrize("name", ["multitask", "bones", "erosions", "joints", "scores"])
@pytest.mark.parametrize("preset", multitask.PRESETS)
def test_every_experiment_is_a_valid_config_in_both_presets(name, preset):
    config = config_lib.from_config_dict(importlib.import_module(f"experiments.{name}").get_config(preset))
    assert config.tasks == (config_lib.TASKS if name == "multitask" else (name,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["optimizer"].update(learning_rat=1.0), r"optimizer\.learning_rat;"),
        (lambda c: c["data"]["canvas"].pop("height"), r"data\.canvas\.height"),
        (lambda c: c["train"].update(steps="many"), r"train\.steps is 'many' \(str\); it must be int"),
        (lambda c: c["train"].update(steps=True), r"train\.steps is True \(bool\)"),
        (lambda c: c["model"].update(dtype="float16"), r"model\.dtype is 'float16'; use one of"),
        (lambda c: c["model"].update(widths=(8, "wide", 24)), r"model\.widths\[1\]"),
        (lambda c: c.update(tasks=("bones", "joint")), "joint"),
        (lambda c: c.update(tasks=()), "tasks"),
        (lambda c: c["data"]["canvas"].update(height=100), r"data\.canvas\.height is 100; .* multiple of 16, such as 96"),
        (lambda c: c["train"].update(steps=0), "steps is 0"),
        (lambda c: c.update(data=3), r"config\.data is 3"),
    ],
)
def test_bad_configs_name_the_key(change, message):
    values = debug.get_config().to_dict()
    change(values)
    with pytest.raises(ConfigError, match=message):
        config_lib.from_dict(values)


def test_integers_pass_for_floats_but_not_the_reverse():
    values = debug.get_config().to_dict()
    values["optimizer"]["learning_rate"] = 1
    assert config_lib.from_dict(values).optimizer.learning_rate == 1.0
    values["seed"] = 0.5
    with pytest.raises(ConfigError, match="seed"):
        config_lib.from_dict(values)

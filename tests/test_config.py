import importlib
import json
import re

import jax
import pytest

from experiments import debug, multitask
from ramjax import config as config_lib
from ramjax.config import ConfigError
from ramjax.steps.predict import make_predict_step
from ramjax.steps.state import init_state


def test_json_round_trip():
    config = config_lib.from_config_dict(multitask.get_config())
    assert config_lib.from_dict(json.loads(json.dumps(config_lib.to_dict(config)))) == config


@pytest.mark.parametrize("name", ["multitask", "bones", "erosions", "joints", "scores"])
@pytest.mark.parametrize("preset", ["cpu", "accelerator", "h1200+w600+phantom", "accelerator+w600"])
def test_every_experiment_is_a_valid_config_in_its_presets(name, preset):
    config = config_lib.from_config_dict(importlib.import_module(f"experiments.{name}").get_config(preset))
    wrists = config.data.datasets == ("ram_w600/joint",)  # which have no erosion masks
    every = tuple(task for task in config_lib.TASKS if not (wrists and task == "erosions"))
    assert config.tasks == (every if name == "multitask" else (name,))


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
        (
            lambda c: c["data"]["canvas"].update(height=100),
            r"data\.canvas\.height is 100; .* multiple of 16, such as 96",
        ),
        (lambda c: c["model"].update(blocks=(1, 1)), r"^model\.blocks is \(1, 1\); it must be as long as widths"),
        (lambda c: c.update(data=3), r"^data is 3"),
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


INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", -1),
        ("data.workers", -1), ("data.batch_size", 0), ("data.prefetch", 0),
        ("data.canvas.scale", 0.0), ("data.canvas.mm_per_pixel", NAN),
        ("data.augment.rotation", -1.0), ("data.augment.mirror", 1.5), ("data.augment.blur", INF),
        ("data.augment.stretch", 1.0),
        ("model.stem_stride", 3), ("model.widths", (8,)), ("model.widths[1]", 0), ("model.widths[2]", 20),
        ("model.blocks[0]", -1), ("model.decoder_width", 0), ("model.decoder_width", 17),
        ("bones.weight", -0.5), ("erosions.weight", NAN), ("erosions.positive_weight", INF),
        ("joints.weight", -1.0), ("joints.sigma", 0.0),
        ("scores.weight", INF), ("scores.roi_size", 0), ("scores.roi_size", 18), ("scores.roi_size", -16),
        ("scores.roi_margin", 0.0), ("scores.jitter", -0.1), ("scores.width", 0), ("scores.width", 13),
        ("scores.be_weights", (1.0,) * 5), ("scores.be_weights", (1.0,) * 5 + (-1.0,)),
        ("scores.jsn_weights", (0.0,) * 5), ("scores.jsn_weights", (1.0,) * 4 + (INF,)),
        ("data.datasets", ()), ("data.datasets", ("ram_phantom/tiny",) * 2),
        ("data.weights", (1.0, 1.0)), ("data.weights", (0.0,)), ("data.crops", 0), ("data.crops", 3),
        ("optimizer.learning_rate", 0.0), ("optimizer.warmup_steps", -1), ("optimizer.final_fraction", 1.5),
        ("optimizer.weight_decay", -1e-4), ("optimizer.clip_norm", NAN), ("optimizer.ema_decay", 1.0),
        ("mesh.data", 0), ("mesh.data", -2), ("mesh.space", 0), ("mesh.split_from", -1),
        ("train.accumulation_steps", 0), ("profile.steps", "10"), ("profile.steps", "15:10"), ("profile.steps", "0:3"),
        ("train.steps", 0), ("train.keep_checkpoints", 0),
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_named_by_their_whole_path(path, value):
    values = debug.get_config().to_dict()
    *groups, name = path.split(".")
    group = values
    for part in groups:
        group = group[part]
    if name.endswith("]"):
        name, index = name[:-1].split("[")
        items = list(group[name])
        items[int(index)] = value
        group[name] = tuple(items)
    else:
        group[name] = value
    with pytest.raises(ConfigError, match=rf"^{re.escape(path)} is {re.escape(str(value))}[;,] .*\.$"):
        config_lib.from_dict(values)


@pytest.mark.parametrize("width", [1, 8, 12, 15, 16, 24])
def test_widths_that_are_allowed_can_be_normalised(width):
    """The rule of the config is the one the layers need."""
    values = debug.get_config().to_dict()
    values["model"].update(widths=(width, 8, width), decoder_width=width)
    values["scores"].update(width=min(width, 7) if width % 8 else width)
    config = config_lib.from_dict(values)
    canvas = config.data.canvas
    image = jax.ShapeDtypeStruct((1, canvas.height, canvas.width, 1), "float32")
    state = jax.eval_shape(lambda: init_state(config))
    assert jax.eval_shape(make_predict_step(config), state, image)["bones"].shape[0] == 1

"""The published protocols, beside the numbers of the papers' code taken down by hand; and the ways of fine-tuning."""

import importlib
import re

import jax
import pytest

from experiments import fine_tuning, official
from ramjax import config as config_lib
from ramjax.steps.state import init_state
from ramjax.trees import name_of

PROTOCOLS = {
    ("bones", "h1200"): {
        "tasks": ("bones",), "data.datasets": ("ram_h1200",), "data.canvas.height": 512, "data.canvas.scale": 1.0,
        "data.batch_size": 32, "data.crops": 16, "train.steps": 200 * 396, "optimizer.weight_decay": 1e-3,
        "bones.losses": ("mse_bce_dice",), "evaluation.grid": "native",
    },
    ("bones", "w600"): {
        "tasks": ("bones",), "data.datasets": ("ram_w600/bones",), "data.canvas.width": 512, "data.batch_size": 4,
        "train.steps": 100 * 106, "optimizer.weight_decay": 0.01, "bones.losses": ("dice_squared",),
        "evaluation.grid": "square512", "data.canvas.mirror_left": True,
    },
    ("erosions", ""): {
        "tasks": ("erosions",), "data.canvas.height": 256, "data.canvas.scale": 2 / 3, "data.batch_size": 64,
        "train.steps": 100 * 297, "erosions.losses": ("dice_ce",), "data.augment.scale_error": 0.5,
    },
    ("be", "h1200"): {
        "tasks": ("scores",), "scores.scales": ("be",), "scores.ordinal": "thresholds", "train.steps": 200 * 396,
        "optimizer.learning_rate": 1e-4, "model.encoder": "resnet34", "model.dtype": "float32",
        "data.augment.scale_error": 0.0, "scores.source": "crops", "scores.crop_size": 224,
    },
    ("be", "w600+convnextv2_tiny"): {
        "data.datasets": ("ram_w600/joint",), "optimizer.learning_rate": 1e-6, "train.steps": 100 * 140,
        "scores.be_weights": (1.0, 6.0, 6.0, 6.0, 6.0, 6.0), "model.encoder": "convnextv2_tiny",
    },
    ("jsn", "residual"): {"scores.scales": ("jsn",), "data.datasets": ("ram_h1200",), "model.encoder": "residual"},
    ("scores", ""): {"scores.scales": ("be", "jsn"), "optimizer.weight_decay": 1e-3},
}  # fmt: skip
"""By file and preset."""

COMMON = {
    "optimizer.name": "adamw", "optimizer.schedule": "cosine", "optimizer.final_fraction": 0.01,
    "optimizer.warmup_steps": 0, "optimizer.ema_decay": 0.0, "data.augment.rotation": 10.0, "data.augment.noise": 0.0,
    "data.train_split": "train", "data.validation_split": "validation", "data.test_split": "test",
}  # fmt: skip


def settings(name: str, preset: str) -> dict:
    values = importlib.import_module(f"experiments.official.{name}").get_config(preset)
    return config_lib.by_path(config_lib.to_dict(config_lib.from_config_dict(values)))


@pytest.mark.parametrize(("name", "preset"), PROTOCOLS)
def test_a_protocol_is_that_of_the_paper(name, preset):
    wanted, found = COMMON | PROTOCOLS[name, preset], settings(name, preset)
    assert {key: found[key] for key in wanted} == wanted
    assert found["train.steps"] % found["train.eval_every"] == 0  # validated after every epoch


@pytest.mark.parametrize("preset", ["h1200+w600", "resnet99", "segformer+residual"])
def test_unknown_presets_are_named(preset):
    with pytest.raises(ValueError, match=rf"^Unknown preset '{re.escape(preset)}'; join one of h1200, w600 and one of"):
        settings("bones", preset)
    assert official.parse("", ("a", "b"), {"c": {}, "d": {}}) == ("a", {})


@pytest.mark.parametrize("way", fine_tuning.WAYS)
def test_a_way_of_fine_tuning_trains_what_it_says(way):
    config = config_lib.from_config_dict(fine_tuning.get_config(way))
    assert config.init.source == "default"
    params = jax.eval_shape(lambda: init_state(config)).params
    names = [name_of(path) for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]]
    kept = {name for name in names if any(re.search(of, name) for of in config.optimizer.frozen)}
    parts = {"full": (), "layerwise": (), "frozen": ("encoder",), "probe": ("encoder", "decoder")}[way]
    assert kept == {name for name in names if name.split("/")[0] in parts}
    rules = [rule.rpartition("=")[::2] for rule in config.optimizer.rates]
    rates = {name: next((float(rate) for pattern, rate in rules if re.search(pattern, name)), 1.0) for name in names}
    if way == "layerwise":
        levels = ["encoder/levels/4/", "encoder/levels/3/", "encoder/levels/2/", "encoder/levels/1/", "encoder/stem/"]
        found = [{rate for name, rate in rates.items() if name.startswith(level)} for level in levels]
        assert found == [{round(0.6**power, 4)} for power in (1, 2, 3, 4, 5)]
        assert {rate for name, rate in rates.items() if not name.startswith("encoder")} == {1.0}
        assert all(rate < 1 for name, rate in rates.items() if name.startswith("encoder"))
    else:
        assert set(rates.values()) == {1.0}


def test_two_ways_of_fine_tuning_are_one_too_many():
    with pytest.raises(ValueError, match="names the ways full and probe; name one of full, layerwise, frozen, probe"):
        fine_tuning.get_config("full+probe")

import dataclasses
import importlib
import json
import re

import grain
import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from experiments import debug
from ramjax import config as config_lib
from ramjax import main
from ramjax.config import ConfigError
from ramjax.errors import sentence
from ramjax.steps.predict import make_predict_step
from ramjax.steps.state import init_state
from ramjax.typed import build

INF, NAN = float("inf"), float("nan")

TASK_NAMES = st.sampled_from(config_lib.TASK_NAMES) | st.just("mine.tasks.Handedness")

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=3).map(tuple) | st.dictionaries(NAMES, values, max_size=3),
    max_leaves=6,
)
FACTORS = st.floats(0, 1e6)
CONFIGS = st.builds(
    config_lib.Config,
    seed=st.integers(0, 2**32 - 1),
    tasks=st.lists(TASK_NAMES, min_size=1, unique=True).map(tuple),
    own=st.dictionaries(NAMES, st.dictionaries(NAMES, PLAIN, max_size=3), max_size=3),
    patient=st.builds(config_lib.PatientConfig, FACTORS, FACTORS, FACTORS),
    positioning=st.builds(config_lib.PositioningConfig, FACTORS),
    evaluation=st.builds(
        config_lib.EvaluationConfig, mirror=st.booleans(), scales=st.lists(st.floats(0.5, 1), min_size=1).map(tuple)
    ),
)


@settings(max_examples=50, deadline=None)
@given(CONFIGS)
def test_a_config_comes_back_from_its_dict_from_json_and_from_a_config_dict(config):
    values = config_lib.to_dict(config)
    assert config_lib.from_dict(values) == config
    assert config_lib.from_dict(json.loads(json.dumps(values))) == config
    assert config_lib.from_config_dict(ConfigDict(values)) == config
    assert hash(config_lib.from_dict(values)) == hash(config)


def groups(cls: type) -> list[type]:
    """A dataclass and all that are groups in it."""
    below = [field.default for field in dataclasses.fields(cls) if dataclasses.is_dataclass(field.default)]
    return [cls, *(each for group in below for each in groups(type(group)))]


@pytest.mark.parametrize("group", groups(config_lib.Config))
def test_every_key_of_a_group_has_a_default_and_only_one(group):
    """A group that is not stated is the same as one that states nothing, and a default has its key's very type."""
    for field in dataclasses.fields(group):
        if dataclasses.is_dataclass(field.default):
            assert field.default == build(type(field.default), {})
    values = dataclasses.asdict(group())
    assert json.dumps(values) == json.dumps(dataclasses.asdict(build(group, values)))  # which tells 1 from 1.0


def test_the_tasks_are_the_groups_of_settings_of_tasks():
    assert config_lib.TASK_NAMES == (
        "bones",
        "erosions",
        "joints",
        "scores",
        "patient",
        "positioning",
        "reconstruction",
    )
    config = config_lib.Config()
    assert config.tasks == config_lib.TASK_NAMES[:4]
    weights = {task: getattr(config, task).weight for task in config_lib.TASK_NAMES}
    assert weights == {"bones": 2.0, "erosions": 6.0, "joints": 0.3, "scores": 1.5, "patient": 1.0, "positioning": 0.3,
        "reconstruction": 1.0,
    }  # fmt: skip
    assert config_lib.TaskConfig().weight == 1.0


def test_an_experiment_states_only_what_differs():
    stated = ConfigDict({"tasks": ("joints",), "data": {"canvas": {"height": 128}}})
    config = config_lib.from_config_dict(stated)
    canvas = dataclasses.replace(config_lib.CanvasConfig(), height=128)
    data = dataclasses.replace(config_lib.DataConfig(), canvas=canvas)
    assert config == dataclasses.replace(config_lib.Config(), tasks=("joints",), data=data)


OWN = """
from ramjax.config import defaults

def get_config():
    config = defaults()
    config.tasks = ("bones", "mine.tasks.Handedness")
    config.own.handedness = {"weight": 2.0, "sides": ["L", "R"]}
    return config
"""


def test_every_key_can_be_set_on_the_command_line_those_of_own_tasks_too(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    flags = ["--config.own.handedness.weight=3.5", "--config.patient.sex_weight=0.5", "--config.mesh.space=2"]
    argv = ["main", f"--config={tmp_path / 'own.py'}", "--workdir=unused"]
    config = config_lib.from_config_dict(main.parse([*argv, *flags]).config)
    assert config.tasks == ("bones", "mine.tasks.Handedness")
    assert config.own == {"handedness": {"weight": 3.5, "sides": ("L", "R")}}
    assert (config.patient.sex_weight, config.mesh.space) == (0.5, 2)
    for flag, words in {
        "--config.own.handedness.wieght=1": "unknown config key 'wieght', did you mean 'weight'?",
        "--config.train.zzz=1": "unknown config key 'zzz'.",
        "--config.own.teeth.weight=1": "unknown config key 'teeth'.",
    }.items():
        with pytest.raises((AttributeError, KeyError)) as caught:
            main.parse([*argv, flag])
        assert sentence(caught.value) == words


@pytest.mark.parametrize("name", ["multitask", "bones", "erosions", "joints", "scores"])
@pytest.mark.parametrize("preset", ["cpu", "accelerator", "h1200+w600+phantom", "accelerator+w600"])
def test_every_experiment_is_a_valid_config_in_its_presets(name, preset):
    config = config_lib.from_config_dict(importlib.import_module(f"experiments.{name}").get_config(preset))
    wrists = config.data.datasets == ("ram_w600/joint",)  # which have no erosion masks
    every = ("bones", "joints", "scores") if wrists else ("bones", "erosions", "joints", "scores")
    assert config.tasks == (every if name == "multitask" else (name,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["optimizer"].update(learning_rat=1.0), r"optimizer\.learning_rat;"),
        (lambda c: c["patient"].update(sex=1.0), r"^Unknown config key patient\.sex; known here: weight, sex_weight"),
        (lambda c: c.update(teeth={}), r"^Unknown config key teeth;"),
        (lambda c: c["train"].update(steps="many"), r"train\.steps is 'many' \(str\); it must be int"),
        (lambda c: c["train"].update(steps=True), r"train\.steps is True \(bool\)"),
        (lambda c: c["model"].update(dtype="float16"), r"model\.dtype is 'float16'; use one of"),
        (lambda c: c["model"].update(widths=(8, "wide", 24)), r"model\.widths\[1\]"),
        (lambda c: c.update(tasks=("bones", "joint")), "joint"),
        (lambda c: c.update(tasks=()), "tasks"),
        (lambda c: c.update(tasks=("mine.tasks.Handedness",) * 2), "tasks .* each once"),
        *(
            (lambda c, name=name: c.update(tasks=("bones", name)), "tasks .* of your own as package.module.Class")
            for name in ("mine.", ".Mine", "mine..Task", "mine/task.Task", "mine.3d.Task", "mine.class.Task", "a b.C")
        ),
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


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", -1), ("seed", 2**32), ("seed", 2**63), ("seed", 2**64),
        ("data.workers", 10**6), ("data.batch_size", 2**31), ("data.eval_batch_size", 2**63), ("data.prefetch", 2**31),
        ("data.crops", 2**31), ("data.canvas.height", 2**20), ("data.canvas.width", 2**31), ("data.canvas.scale", 1e30),
        ("data.canvas.mm_per_pixel", 1e39), ("data.augment.rotation", 1e4), ("data.augment.gamma", 1e39),
        ("data.weights", (NAN,)), ("data.weights", (1e300,)), ("evaluation.scales", (1.0, NAN)),
        ("evaluation.scales", (1e-9,)), ("evaluation.tolerance", 1e39), ("evaluation.tolerance", NAN),
        ("model.widths[1]", 2**32), ("model.blocks[0]", 2**31), ("model.decoder_width", 2**40),
        ("model.widths", (8,) * 40), ("scores.roi_size", 2**31), ("scores.width", 2**31), ("scores.roi_margin", INF),
        ("scores.be_weights", (1.0,) * 5 + (NAN,)), ("bones.weight", 1e39), ("joints.sigma", 1e39),
        ("optimizer.learning_rate", 1e39), ("optimizer.learning_rate", NAN), ("optimizer.warmup_steps", 2**31),
        ("optimizer.weight_decay", 1e39), ("mesh.data", 2**31), ("mesh.split_from", 2**63),
        ("train.steps", 2**31), ("train.log_every", 2**31), ("train.eval_every", 2**63),
        ("train.checkpoint_every", 2**64), ("train.accumulation_steps", 2**31), ("train.keep_checkpoints", 2**31),
        ("profile.steps", "1:" + "9" * 12),
        ("data.workers", -1), ("data.batch_size", 0), ("data.prefetch", 0),
        ("data.canvas.scale", 0.0), ("data.canvas.mm_per_pixel", NAN),
        ("data.augment.rotation", -1.0), ("data.augment.mirror", 1.5), ("data.augment.blur", INF),
        ("data.augment.stretch", 1.0),
        ("model.stem_stride", 3), ("model.encoder", "no_net"), ("model.decoder", "no_net"),
        ("model.widths", (8,)), ("model.widths[1]", 0), ("model.widths[2]", 20),
        ("model.blocks[0]", -1), ("model.decoder_width", 0), ("model.decoder_width", 17),
        ("bones.weight", -0.5), ("erosions.weight", NAN), ("erosions.positive_weight", INF),
        ("patient.weight", -1.0), ("patient.sex_weight", -0.5), ("patient.age_weight", NAN),
        ("joints.weight", -1.0), ("joints.sigma", 0.0),
        ("scores.weight", INF), ("scores.roi_size", 0), ("scores.roi_size", 18), ("scores.roi_size", -16),
        ("scores.roi_margin", 0.0), ("scores.jitter", -0.1), ("scores.width", 0), ("scores.width", 13),
        ("scores.be_weights", (1.0,) * 5), ("scores.be_weights", (1.0,) * 5 + (-1.0,)),
        ("scores.jsn_weights", (0.0,) * 5), ("scores.jsn_weights", (1.0,) * 4 + (INF,)),
        ("scores.scales", ()), ("scores.scales", ("be", "be")), ("scores.scales", ("be", "xy")),
        ("data.augment.scale_error", 1.5), ("data.augment.scale_error", -0.1),
        ("data.datasets", ()), ("data.datasets", ("ram_phantom/tiny",) * 2),
        ("data.weights", (1.0, 1.0)), ("data.weights", (0.0,)), ("data.crops", 0), ("data.crops", 3),
        ("optimizer.learning_rate", 0.0), ("optimizer.warmup_steps", -1), ("optimizer.final_fraction", 1.5),
        ("optimizer.weight_decay", -1e-4), ("optimizer.clip_norm", NAN), ("optimizer.ema_decay", 1.0),
        ("mesh.data", 0), ("mesh.data", -2), ("mesh.space", 0), ("mesh.split_from", -1),
        ("train.accumulation_steps", 0), ("profile.steps", "10"), ("profile.steps", "15:10"), ("profile.steps", "0:3"),
        ("train.steps", 0), ("train.keep_checkpoints", 0),
        ("tracking.writers", ("tensorbord",)), ("tracking.writers", ("wandb", "wandb")),
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


def numbers(cls: type, prefix: str = "") -> list[tuple[str, type]]:
    """The paths of all keys that are one number, and their types."""
    found = []
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(field.default):
            found += numbers(type(field.default), f"{prefix}{field.name}.")
        elif type(field.default) in (int, float):
            found.append((prefix + field.name, type(field.default)))
    return found


@pytest.mark.parametrize(("path", "kind"), numbers(config_lib.Config))
def test_no_number_is_without_bounds(path, kind):
    """Whatever key is added, too: no integer of 64 bits or more, nothing that single precision cannot hold."""
    wrong = [2**64, -(2**64), 10**400, 10**5000, True, "1"]
    wrong += [NAN, INF, -INF, 1e39, -1e39, 1e300] if kind is float else [1.5, NAN]
    for value in wrong:
        values = debug.get_config().to_dict()
        *groups, name = path.split(".")
        group = values
        for part in groups:
            group = group[part]
        group[name] = value
        with pytest.raises(ConfigError, match=rf"^{re.escape(path)} is .*\.$") as caught:
            config_lib.from_dict(values)
        assert len(str(caught.value)) < 250


def test_the_largest_seed_is_taken_by_all_that_draw():
    seed = config_lib.Config(seed=2**32 - 1).seed
    assert len(list(grain.MapDataset.range(4).shuffle(seed=seed))) == 4
    assert jax.random.key_data(jax.random.key(seed)).tolist() == [0, seed]


@pytest.mark.parametrize(
    ("value", "words"),
    [(10**400, "below 2"), (NAN, "finite number"), (INF, "finite number"), ([[[[]]]] * 3, ""), (None, "")],
)
def test_settings_of_own_tasks_are_what_json_can_hold(value, words):
    values = {"own": {"mine": {"x": value}}}
    if not words:
        assert json.dumps(config_lib.to_dict(config_lib.from_dict(values)))
        return
    with pytest.raises(ConfigError, match=rf"^own\.mine\.x is .*{words}"):
        config_lib.from_dict(values)


def test_own_settings_that_are_nested_without_end():
    value = []
    for _ in range(3000):
        value = [value]
    with pytest.raises(ConfigError, match=r"^own\.mine\.x.*nested too deeply"):
        config_lib.from_dict({"own": {"mine": {"x": value}}})
    with pytest.raises(ConfigError, match=r"^seed is a list"):
        config_lib.from_dict({"seed": value})


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

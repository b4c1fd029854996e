"""Configs of older, renamed and newer versions on disk; tests/config_golden has what released versions wrote."""

import copy
import dataclasses
import json
import logging
import pathlib

import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import debug
from ramjax import config as config_lib
from ramjax.errors import RunError
from ramjax.files import write_json
from ramjax.runs import run_dir, stored_config
from ramjax.typed import ConfigError
from tests.config_golden.make_configs import EXPERIMENTS, get_config

GOLDEN = sorted((pathlib.Path(__file__).parent.parent / "config_golden").glob("*/*.json"))
DEFAULTS = json.loads(json.dumps(config_lib.to_dict(config_lib.Config())))


def paths(values: dict, prefix: str = "") -> list[str]:
    """Of all keys and all groups of keys."""
    found = []
    for key, value in values.items():
        found.append(prefix + key)
        found += paths(value, f"{prefix}{key}.") if isinstance(value, dict) else []
    return found


def pop(values: dict, path: str):
    """Takes a key out, unless its group is gone already."""
    *groups, name = path.split(".")
    for group in groups:
        values = values.get(group, {})
    return values.pop(name, None)


@pytest.fixture
def stored() -> dict:
    """What config.json of the debug experiment holds."""
    return json.loads(json.dumps(config_lib.to_dict(config_lib.from_config_dict(debug.get_config()))))


def test_every_version_kept_every_experiment():
    stems = {f"{name}.{preset}".rstrip(".") for name, presets in EXPERIMENTS.items() for preset in presets}
    versions = {path.parent for path in GOLDEN}
    assert len(versions) >= 2
    assert all({path.stem for path in GOLDEN if path.parent == version} == stems for version in versions)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_run_of_a_released_version_is_read_and_gone_on_with(path, tmp_path):
    """The experiment of today is the one it was then, but for its new keys, whose defaults change nothing, and for
    where its records are kept."""
    (tmp_path / "config.json").write_bytes(path.read_bytes())
    config = get_config(path.stem)
    loaded = run_dir.load_config(tmp_path)
    assert dataclasses.replace(loaded, data=dataclasses.replace(loaded.data, cache=config.data.cache)) == config
    run_dir.prepare(tmp_path, config)
    run_dir.claim(tmp_path, config)
    now, then = json.loads((tmp_path / "config.json").read_text()), json.loads(path.read_text())
    assert set(paths(then)) <= set(paths(now))
    for key in set(paths(now)) - set(paths(then)):
        pop(now, key)
    assert json.dumps(now, sort_keys=True) == json.dumps(then, sort_keys=True)  # which tells 1 from 1.0


@settings(max_examples=100, deadline=None)
@given(st.sets(st.sampled_from(paths(DEFAULTS))))
def test_whatever_keys_the_defaults_lack_they_are_the_defaults(removed):
    values = copy.deepcopy(DEFAULTS)
    for path in removed:
        pop(values, path)
    if values:
        assert stored_config.read(values, "config.json") == config_lib.Config()
    else:
        with pytest.raises(ConfigError, match="no key"):
            stored_config.read(values, "config.json")


def test_what_was_filled_is_said_once_for_each_file(stored, tmp_path, caplog):
    caplog.set_level(logging.INFO, "ramjax")
    config = config_lib.from_dict(stored)
    for path in ("patient", "model.remat", "data.canvas.mirror_left"):
        pop(stored, path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "config.json", stored)
        for _ in range(3):
            assert run_dir.load_config(tmp_path / name) == config
        run_dir.prepare(tmp_path / name, config)
    keys = "data.canvas.mirror_left, model.remat, patient"
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "INFO",
            f"{tmp_path / name / 'config.json'} is of an older version; the keys that it lacks have their defaults: "
            f"{keys}.",
        )
        for name in ("a", "b")
    ]


def test_a_config_that_states_all_is_no_news(stored, tmp_path, caplog):
    caplog.set_level(logging.INFO, "ramjax")
    write_json(tmp_path / "config.json", stored)
    run_dir.load_config(tmp_path)
    assert not caplog.records


def test_other_values_than_the_filled_ones_are_another_config(stored, tmp_path):
    config = config_lib.from_dict(stored)
    pop(stored, "optimizer.clip_norm")
    write_json(tmp_path / "config.json", stored)
    run_dir.prepare(tmp_path, config)
    stored["optimizer"]["clip_norm"] = 2.0
    with pytest.raises(RunError, match=r"another config: optimizer\.clip_norm is 1\.0 there and 2\.0 here; name"):
        run_dir.prepare(tmp_path, config_lib.from_dict(stored))


def test_settings_of_own_tasks_are_part_of_the_config_of_a_run(stored, tmp_path):
    without = config_lib.from_dict(stored)
    config = config_lib.from_dict(stored | {"own": {"handedness": {"weight": 2.0, "sides": ("L", "R")}}})
    (tmp_path / "a").mkdir()
    run_dir.claim(tmp_path / "a", config)
    run_dir.prepare(tmp_path / "a", config)
    assert run_dir.load_config(tmp_path / "a") == config
    with pytest.raises(RunError, match=r"own\.handedness\.weight is 2\.0 there and not stated here; name another"):
        run_dir.prepare(tmp_path / "a", without)
    (tmp_path / "b").mkdir()
    run_dir.claim(tmp_path / "b", without)
    with pytest.raises(RunError, match=r"own\.handedness\.weight is not stated there and 2\.0 here; name another"):
        run_dir.prepare(tmp_path / "b", config)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("train.number_of_steps", "train.steps"),  # a key
        ("steps", "train.steps"),  # into a group
        ("data.picture.tall", "data.canvas.height"),  # out of a group that is no more
        ("devices", "mesh"),  # a group
        ("data.setup.mesh", "mesh"),  # a group out of groups
    ],
)
def test_a_renamed_key_is_read_under_its_old_name(stored, tmp_path, monkeypatch, caplog, old, new):
    caplog.set_level(logging.INFO, "ramjax")
    stored["train"]["steps"], stored["data"]["canvas"]["height"], stored["mesh"]["space"] = 7, 256, 3
    config = config_lib.from_dict(stored)
    *groups, name = old.split(".")
    place, value = stored, pop(stored, new)
    for group in groups:
        place = place.setdefault(group, {})
    place[name] = value
    write_json(tmp_path / "config.json", stored)
    with pytest.raises(RunError):
        run_dir.load_config(tmp_path)
    monkeypatch.setitem(stored_config.RENAMED, old, new)
    assert run_dir.load_config(tmp_path) == config
    assert not caplog.records  # nothing was filled
    run_dir.prepare(tmp_path, config)


def test_a_key_that_was_renamed_twice_is_followed(stored, monkeypatch):
    stored["train"]["length"] = stored["train"].pop("steps") + 1
    monkeypatch.setattr(stored_config, "RENAMED", {"train.length": "train.duration", "train.duration": "train.steps"})
    assert stored_config.read(stored, "config.json").train.steps == 7


def test_an_old_name_beside_the_new_one_is_unknown(stored, monkeypatch):
    stored["train"]["length"] = 3
    monkeypatch.setitem(stored_config.RENAMED, "train.length", "train.steps")
    with pytest.raises(RunError, match=r"has the key train\.length, which"):
        stored_config.read(stored, "config.json")


def test_an_experiment_that_states_an_old_name_is_wrong(monkeypatch):
    monkeypatch.setitem(stored_config.RENAMED, "train.length", "train.steps")
    values = debug.get_config()
    values.train.length = 3
    with pytest.raises(ConfigError, match=r"^Unknown config key train\.length; known here: steps"):
        config_lib.from_config_dict(values)


@pytest.mark.parametrize(("path", "value"), [("train.aim", True), ("model.norm", {"kind": "batch"}), ("teeth", {})])
def test_a_key_of_a_newer_version_says_so(stored, tmp_path, path, value):
    *groups, name = path.split(".")
    place = stored
    for group in groups:
        place = place[group]
    place[name] = value
    write_json(tmp_path / "config.json", stored)
    message = (
        f"{tmp_path / 'config.json'} has the key {path}, which this version of ramjax does not know: a newer version "
        "wrote it; use that one."
    )
    with pytest.raises(RunError) as caught:
        run_dir.load_config(tmp_path)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": 3}, r"config\.json cannot be read \(train is 3; a group of keys is needed: .*\); restore it"),
        ({"seed": "x"}, r"config\.json cannot be read \(seed is 'x' \(str\); it must be int\.\); restore it"),
        ({"data": {"canvas": {"height": 100}}}, r"cannot be read \(data\.canvas\.height is 100; .*\); restore it"),
    ],
)
def test_a_damaged_value_is_named_whatever_was_renamed(stored, tmp_path, monkeypatch, change, message):
    monkeypatch.setitem(stored_config.RENAMED, "train.length", "train.steps")
    write_json(tmp_path / "config.json", stored | change)
    with pytest.raises(RunError, match=message):
        run_dir.load_config(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        '{"seed": 1' + 400 * "0" + "}", '{"seed": 1' + 6000 * "0" + "}", '{"seed": ' + 5000 * "[" + 5000 * "]" + "}",
        5000 * '{"data": ' + "1" + 5000 * "}", '{"optimizer": {"learning_rate": 1' + 400 * "0" + "}}",
        '{"optimizer": {"learning_rate": NaN}}', '{"optimizer": {"learning_rate": 1e999}}', "null", "3", '"seed"', "[]",
        '{"own": {"mine": {"x": ' + 100 * "[" + 100 * "]" + "}}}", '{"seed": true}', '{"mesh": null}',
        "\ufeff{}", "\x00",
    ],
)  # fmt: skip
def test_whatever_config_json_holds_is_one_sentence(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RunError, match=r"config\.json cannot be read \(.*\); restore it from a copy\.$") as caught:
        run_dir.load_config(tmp_path)
    assert len(str(caught.value)) < 600


def test_a_config_that_is_no_utf_8_is_one_sentence(tmp_path):
    (tmp_path / "config.json").write_bytes(b'{"seed\xe9": 1}')
    with pytest.raises(RunError, match=r"config\.json cannot be read \(.*\); restore it from a copy\.$"):
        run_dir.load_config(tmp_path)


def test_a_config_that_was_changed_is_used_and_said_once(stored, tmp_path, caplog):
    config = config_lib.from_dict(stored)
    run_dir.claim(tmp_path, config)
    run_dir.write_about(tmp_path, {"w": jax.ShapeDtypeStruct((1,), "float32")}, {})
    assert run_dir.load_config(tmp_path) == config and not caplog.records
    path = tmp_path / "config.json"
    path.write_text(json.dumps(stored))  # written otherwise, with the same values
    assert run_dir.load_config(tmp_path) == config and not caplog.records
    path.write_text(json.dumps(stored | {"seed": 5}))
    for _ in range(2):
        assert run_dir.load_config(tmp_path).seed == 5
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == f"{path} was changed after its run wrote it; it is used as it is. Was it not you, restore it."

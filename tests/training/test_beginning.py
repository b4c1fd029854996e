"""A training that begins with another network: what is taken, what is frozen, and what is said of what does not fit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ramjax
from ramjax.config import ConfigError, InitConfig
from ramjax.devices import sharding
from ramjax.errors import RunError
from ramjax.inference import network as networks
from ramjax.steps.state import abstract_state, init_state, place_first_state
from ramjax.steps.train import make_train_step
from ramjax.training.beginning import TABLE, origins_of, start_from_source, summary, table
from tests.inference import fakes
from tests.tasks.batches import random_batch


@pytest.fixture(scope="module")
def config():
    values = fakes.config()
    model = dataclasses.replace(values.model, widths=(8, 16), blocks=(0, 1), decoder_width=8)
    return dataclasses.replace(values, tasks=("bones", "joints"), model=model, seed=5)


@pytest.fixture(scope="module")
def source(config, tmp_path_factory):
    """A run of other random parameters, whose tasks are erosions and joints."""
    other = dataclasses.replace(config, tasks=("erosions", "joints"), seed=6)
    return fakes.save_run(tmp_path_factory.mktemp("source") / "run", other)


def with_init(config, source, **keys):
    return dataclasses.replace(config, init=InitConfig(source=str(source), **keys))


def begin(config, workdir):
    abstract = abstract_state(config, sharding.make_mesh(config))
    return start_from_source(config, place_first_state(config, abstract), abstract, workdir)


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def differ(one, other) -> bool:
    return any(not np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_what_both_have_is_taken_and_the_rest_is_random(config, source, tmp_path, caplog):
    caplog.set_level("INFO")
    state, random = begin(with_init(config, source), tmp_path), init_state(config)
    there = ramjax.load(source).parameters
    for name in ("encoder", "decoder"):
        assert_same(state.params[name], there[name])
    assert_same(state.params["heads"]["joints"], there["heads"]["joints"])
    assert_same(state.params["heads"]["bones"], random.params["heads"]["bones"])
    assert differ(state.params["encoder"], random.params["encoder"])
    assert_same(state.ema_params, state.params)
    assert_same(state.opt_state, random.opt_state)
    lines = (tmp_path / TABLE).read_text().splitlines()
    assert len(lines) == len(jax.tree.leaves(state.params))
    assert any(line.split() == ["heads/bones/mix/conv/kernel", "random"] for line in lines)
    assert any(line.endswith(f"{source}: encoder/stem/conv/kernel") for line in lines)
    size = sum(leaf.size for leaf in jax.tree.leaves(there["encoder"]))
    assert f"encoder                  {size:,} of        {size:,}".split() in [
        line.split() for line in caplog.text.splitlines()
    ]


def test_a_file_of_weights_serves_as_well(config, source, tmp_path):
    ramjax.load(source).export(tmp_path / "network.safetensors")
    state = begin(with_init(config, tmp_path / "network.safetensors"), tmp_path)
    of_run = begin(with_init(config, source), tmp_path)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-3), state.params, of_run.params)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}


def test_a_source_need_not_find_joints(config, tmp_path):
    """A run of scores alone cannot predict, but its parameters serve."""
    source = fakes.save_run(tmp_path / "run", dataclasses.replace(config, tasks=("scores",), seed=6))
    with pytest.raises(RunError, match="cannot find joints"):
        networks.load(source)
    state = begin(with_init(config, source), tmp_path)
    assert_same(state.params["encoder"], networks.restore(source)[1].ema_params["encoder"])


ARRAY, OTHER = jax.ShapeDtypeStruct((2, 3), "float32"), jax.ShapeDtypeStruct((4,), "float32")


@pytest.mark.parametrize(
    ("keys", "there", "expected"),
    [
        ({}, {"e/a": ARRAY, "x": ARRAY}, {"e/a": "e/a", "e/b": "random", "h/c": "random"}),
        ({"load": ("^e/",)}, {"e/a": ARRAY, "h/c": ARRAY}, {"e/a": "e/a", "e/b": "random", "h/c": "random"}),
        ({"load": ("^old/=e/", "h")}, {"old/a": ARRAY, "h/c": ARRAY}, {"e/a": "old/a", "e/b": "random", "h/c": "h/c"}),
        ({"load": ("^e/a$=e/b",)}, {"e/a": ARRAY}, {"e/a": "random", "e/b": "e/a", "h/c": "random"}),
        ({"leave_out": ("^e/",)}, {"e/a": OTHER, "h/c": ARRAY}, {"e/a": "random", "e/b": "random", "h/c": "h/c"}),
    ],
)
def test_what_is_taken_by_name(config, keys, there, expected):
    here = dict.fromkeys(("e/a", "e/b", "h/c"), ARRAY)
    assert origins_of(with_init(config, "there", **keys), here, there) == expected
    assert "e/b" in table(expected, "there") and "e " in summary(expected, here, "there")


@pytest.mark.parametrize(
    ("keys", "there", "said"),
    [
        ({}, {"e/a": OTHER}, r"e/a is \(4,\) in there, but e/a is \(2, 3\) here; .*leave_out=\('\^e/a\$',\)"),
        ({}, {"f/a": ARRAY}, r"takes nothing of there: it has f/a and the like, this network e/a"),
        ({"load": ("^[xy]/=e/",)}, {"x/a": ARRAY, "y/a": ARRAY}, r"takes both x/a and y/a for e/a"),
    ],
)
def test_what_does_not_fit_is_named(config, keys, there, said):
    with pytest.raises(ConfigError, match=said):
        origins_of(with_init(config, "there", **keys), dict.fromkeys(("e/a", "e/b"), ARRAY), there)


@pytest.mark.parametrize(
    ("keys", "said"),
    [({"load": ("e",)}, "source, which is empty"), ({"source": "a", "leave_out": ("(",)}, "no regular expression")],
)
def test_settings_that_are_none(keys, said):
    with pytest.raises(ConfigError, match=said):
        InitConfig(**keys)


@pytest.fixture(scope="module")
def frozen(config):
    """A config that trains the head of bones alone."""
    optimizer = dataclasses.replace(
        config.optimizer, frozen=("^(encoder|decoder)/", "joints"), weight_decay=0.1, warmup_steps=0
    )
    return dataclasses.replace(config, optimizer=optimizer)


def test_what_is_frozen_keeps_its_bits_and_has_no_moments(config, frozen):
    state = init_state(frozen)
    step = jax.jit(make_train_step(frozen))
    after = state
    for seed in range(3):
        after, metrics = step(after, random_batch(2, seed=seed))
    for tree in ("params", "ema_params"):
        before, now = getattr(state, tree), getattr(after, tree)
        for name in ("encoder", "decoder"):
            assert_same(now[name], before[name])
        assert_same(now["heads"]["joints"], before["heads"]["joints"])
        assert differ(now["heads"]["bones"], before["heads"]["bones"])
    size = sum(leaf.size for leaf in jax.tree.leaves(state.params["heads"]["bones"]))
    assert size < sum(leaf.size for leaf in jax.tree.leaves(state.opt_state)) < 2 * size + 10
    assert float(metrics["grad_norm"]) > 0


def test_no_gradient_of_it_is_computed(config, frozen):
    """The step's program multiplies less: the forward pass of the network, both passes of a head."""

    def flops(of):
        lowered = jax.jit(make_train_step(of)).lower(jax.eval_shape(lambda: init_state(of)), random_batch(2))
        return lowered.compile().cost_analysis()["flops"]

    assert flops(frozen) < 0.7 * flops(config)


def test_a_network_of_which_nothing_trains(config):
    optimizer = dataclasses.replace(config.optimizer, frozen=(".",))
    with pytest.raises(ConfigError, match="leaves no parameter to train"):
        init_state(dataclasses.replace(config, optimizer=optimizer))

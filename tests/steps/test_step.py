"""The training step: parts of a batch add up, masters are float32, the state is donated, remat changes nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from experiments import debug
from ramjax import config as config_lib
from ramjax.devices import sharding
from ramjax.devices.compilation import compile_train_step
from ramjax.steps.state import init_state, place_seed
from ramjax.steps.train import make_train_step
from ramjax.tasks import Erosions
from tests.tasks.batches import random_batch

CONFIG = config_lib.from_config_dict(debug.get_config())
CONFIG = dataclasses.replace(
    CONFIG,
    tasks=("erosions", "joints"),
    data=dataclasses.replace(CONFIG.data, batch_size=4),
    model=dataclasses.replace(CONFIG.model, widths=(8, 16), blocks=(0, 2), decoder_width=8),
)


def changed(**groups):
    return dataclasses.replace(
        CONFIG, **{name: dataclasses.replace(getattr(CONFIG, name), **keys) for name, keys in groups.items()}
    )


@pytest.fixture(scope="module")
def batch():
    """Labels spread unevenly: one example of four has erosions, three have joints, one is padding."""
    batch = random_batch(4, seed=3)
    batch["has_erosions"] = np.array([False, True, False, False])
    batch["has_joints"] = np.array([True, True, True, False])
    batch["bones_known"][1, 5:] = False
    batch["valid"] = np.array([True, True, True, False])
    return batch


@pytest.fixture(scope="module")
def whole(batch):
    """The first two steps' metrics and the state after them, of the batch taken at once."""
    return train(CONFIG, batch)


def compiled(config, batch):
    """The step as the loop has it, and its state and batch on the devices."""
    mesh = sharding.make_mesh(config)
    state, placed = init_state(config), sharding.place_batch(batch, mesh)
    return compile_train_step(make_train_step(config), config, state, placed, mesh), state, placed


def train(config, batch):
    (train_step, state, placed), all_metrics = compiled(config, batch), []
    for _ in range(2):
        state, metrics = train_step(state, placed)
        all_metrics.append({name: float(value) for name, value in metrics.items()})
    return all_metrics, state


def assert_close(one, other, rtol=1e-5):
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_allclose(a[name], b[name], rtol=rtol, err_msg=name)


@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_taken_in_parts_gives_the_gradient_of_the_whole(batch, whole, parts):
    metrics, _ = train(changed(train={"accumulation_steps": parts}), batch)
    assert_close(metrics, whole[0], rtol=1e-4)
    assert metrics[0]["loss/erosions"] > 0


def test_the_mean_of_the_parts_means_would_be_another_loss(batch, whole):
    """The labels of the batch are uneven enough for the test above to tell."""
    parts = [{name: value[row : row + 1] for name, value in batch.items()} for row in range(4)]
    train_step, state = jax.jit(make_train_step(CONFIG)), init_state(CONFIG)
    means = [float(train_step(state, part)[1]["loss"]) for part in parts]
    assert abs(np.mean(means) / whole[0][0]["loss"] - 1) > 0.05


@pytest.mark.parametrize("remat", ["activations", "blocks"])
def test_what_is_computed_again_is_the_same(batch, whole, remat):
    metrics, _ = train(changed(model={"remat": remat}), batch)
    assert_close(metrics, whole[0], rtol=1e-4)


def test_bfloat16_computes_and_float32_learns(batch, whole):
    config = changed(model={"dtype": "bfloat16"}, optimizer={"learning_rate": 1e-5})
    metrics, state = train(config, batch)
    floats = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert {leaf.dtype for leaf in floats} == {jnp.dtype("float32")}
    assert {str(dtype) for dtype in of_convolutions(make_train_step(config), state, batch)} == {"bfloat16"}
    assert_close(metrics[:1], whole[0][:1], rtol=0.05)
    assert metrics[0]["loss"] != whole[0][0]["loss"]
    # An update far below the precision of bfloat16 is kept.
    before = init_state(config).params["encoder"]["stem"]["conv"]["kernel"]
    after = state.params["encoder"]["stem"]["conv"]["kernel"]
    assert np.any((after != before) & (np.abs(after - before) < np.abs(before) / 512))


def of_convolutions(function, *arguments) -> list[np.dtype]:
    """The dtypes of the operands and results of all convolutions, wherever in the function they are."""
    found = []

    def visit(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name == "conv_general_dilated":
                found.extend(variable.aval.dtype for variable in (*equation.invars, *equation.outvars))
            for inner in jaxprs_in_params(equation.params):
                visit(inner)

    visit(jax.make_jaxpr(function)(*arguments).jaxpr)
    return found


def test_the_default_network_has_no_variables():
    state = jax.eval_shape(lambda: init_state(CONFIG))
    assert state.variables == state.ema_variables == {}
    # The first parts of a checkpoint's paths, as they were before a state had variables.
    names = {path[0].name for path, _ in jax.tree.leaves_with_path(state)}
    assert names == {"step", "params", "opt_state", "ema_params"}


def test_the_state_is_donated_and_the_batch_is_not(batch):
    train_step, state, placed = compiled(CONFIG, batch)
    after, _ = train_step(state, placed)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((placed, after)))


def test_the_memory_of_a_step_falls_with_what_is_computed_again(batch):
    needs = []
    for remat in ("none", "blocks"):
        config = dataclasses.replace(changed(model={"blocks": (8, 0), "remat": remat}), tasks=("joints",))
        needs.append(compiled(config, batch)[0].memory_analysis().temp_size_in_bytes)
    assert needs[1] < 0.7 * needs[0]


@pytest.mark.parametrize("parts", [1, 2])
def test_what_a_loss_prints_is_printed_once(batch, monkeypatch, capsys, parts):
    """Also where the counts of a whole batch are taken beforehand, of outputs that are all zero."""
    loss = Erosions.loss

    def telling(self, outputs, batch):
        print("the loss is traced")
        return loss(self, outputs, batch)

    monkeypatch.setattr(Erosions, "loss", telling)
    config = changed(train={"accumulation_steps": parts})
    jax.jit(make_train_step(config)).lower(init_state(config), batch)
    assert capsys.readouterr().out.count("the loss is traced") == 1


def test_runs_of_different_seeds_share_a_program(batch):
    """Which is compiled once and kept; the seed without the argument is part of the program."""
    texts = {}
    for seed in (0, 3):
        config = dataclasses.replace(CONFIG, seed=seed, tasks=("scores",))  # whose boxes are jittered
        step, state = jax.jit(make_train_step(config)), jax.eval_shape(lambda config=config: init_state(config))
        argument = place_seed(config, sharding.make_mesh(config))
        texts[seed] = step.lower(state, batch, argument).as_text(), step.lower(state, batch).as_text()
    assert texts[0][0] == texts[3][0] and texts[0][1] != texts[3][1]


@pytest.mark.parametrize("seed", [0, 3, 2**31, 2**32 - 1])
def test_a_seed_that_is_an_argument_draws_the_same_numbers(seed):
    argument = place_seed(dataclasses.replace(CONFIG, seed=seed), sharding.make_mesh(CONFIG))
    draws = jax.jit(jax.random.key)(argument), jax.jit(lambda: jax.random.key(seed))()
    assert (jax.random.key_data(draws[0]) == jax.random.key_data(draws[1])).all()

"""A network that holds more than parameters, through the real steps, loop and checkpoints."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import debug
from ramjax import config as config_lib
from ramjax.devices import sharding
from ramjax.devices.preemption import Preempted
from ramjax.errors import RunError
from ramjax.models import layers
from ramjax.runs.checkpoints import Checkpoints
from ramjax.steps import state as states
from ramjax.steps.evaluate import make_eval_step
from ramjax.steps.predict import make_predict_step
from ramjax.steps.state import abstract_state, init_state, make_apply, make_train_apply
from ramjax.steps.train import make_train_step
from tests.models import stochastic
from tests.tasks.batches import random_batch
from tests.training import tiny_job

CONFIG = config_lib.from_config_dict(debug.get_config())
CONFIG = dataclasses.replace(
    CONFIG,
    tasks=("erosions", "joints"),
    data=dataclasses.replace(CONFIG.data, batch_size=4),
    model=dataclasses.replace(CONFIG.model, widths=(8, 16), blocks=(0, 2), decoder_width=8, encoder=stochastic.ENCODER),
)


class Counting(nnx.Module):
    """A head with a variable of its own."""

    def __init__(self, head):
        self.head, self.calls = head, stochastic.Calls(jnp.zeros((), jnp.int32))

    def __call__(self, features):
        self.calls[...] += 1
        self.made_in_the_call = stochastic.Calls(jnp.ones(()))  # not kept
        return self.head(features)


@pytest.fixture(scope="module", autouse=True)
def install():
    heads_of = states.heads_of

    def counting(tasks):
        return {
            name: lambda config, *, rngs, head=head: Counting(head(config, rngs=rngs))
            for name, head in heads_of(tasks).items()
        }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(states, "heads_of", counting)
        yield


@pytest.fixture(scope="module")
def start(install):
    return init_state(CONFIG)


@pytest.fixture(scope="module")
def train_step(install):
    return jax.jit(make_train_step(CONFIG))


@pytest.fixture(scope="module")
def batch():
    return random_batch(4, seed=3)


@pytest.fixture(scope="module")
def after(start, train_step, batch):
    """The states after 0, 1, 2 and 3 steps; the last knows nothing of joints."""
    unlabelled = {**batch, "has_joints": np.zeros(4, bool)}
    after = [start]
    for number in range(3):
        after.append(train_step(after[-1], unlabelled if number == 2 else batch)[0])
    return after


def changed(**groups):
    return dataclasses.replace(
        CONFIG, **{name: dataclasses.replace(getattr(CONFIG, name), **keys) for name, keys in groups.items()}
    )


def of_block(variables, number=0):
    return variables["encoder"]["levels"][1][number]


def assert_same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


def differ(one, other):
    return any(np.any(a != b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_the_state_holds_statistics_and_counts_and_nothing_random(start):
    assert of_block(start.variables).keys() == {"norm", "calls"}
    assert start.variables["heads"].keys() == {"erosions", "joints"}
    assert not any(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in jax.tree.leaves(start))
    assert_same(start.ema_variables, start.variables)


def test_a_step_takes_the_statistics_of_its_batch(after, batch):
    """Against XLA's own convolutions and NumPy's moments; half of the first values, mean 0 and variance 1, remains."""
    params = after[0].params["encoder"]
    x = layers.space_to_depth(batch["image"], CONFIG.model.stem_stride)
    kernels = [(of["kernel"], stride, 1) for of, stride in zip(params["down"].values(), (1, 2), strict=True)]
    for kernel, stride, groups in [*kernels, (params["levels"][1][0]["conv"]["kernel"], 1, 16)]:
        x = jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups
        )
    block = of_block(after[1].variables)
    np.testing.assert_allclose(block["norm"]["mean"], np.mean(x, (0, 1, 2)) / 2, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(block["norm"]["var"], np.var(x, (0, 1, 2)) / 2 + 0.5, rtol=1e-3)
    assert int(block["calls"]) == 1


def test_statistics_are_averaged_as_parameters_are_and_counts_taken_as_they_are(after):
    mean = of_block(after[0].variables)["norm"]["mean"]
    for step, state in enumerate(after[1:]):
        decay = min(CONFIG.optimizer.ema_decay, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * of_block(state.variables)["norm"]["mean"]
    averaged = of_block(after[3].ema_variables)
    np.testing.assert_allclose(averaged["norm"]["mean"], mean, rtol=1e-5)
    assert differ(averaged["norm"], of_block(after[3].variables)["norm"])
    assert int(averaged["calls"]) == 3


def test_a_head_without_labels_keeps_its_variables(after):
    for variables in (after[3].variables, after[3].ema_variables):
        calls = {name: int(head["calls"]) for name, head in variables["heads"].items()}
        assert calls == {"erosions": 3, "joints": 2}


def test_evaluation_takes_the_averaged_statistics_and_nothing_random(after, batch):
    eval_step, state = jax.jit(make_eval_step(CONFIG)), after[3]
    counts = eval_step(state, batch)
    assert_same(
        eval_step(dataclasses.replace(state, params=state.ema_params, variables=state.ema_variables), batch), counts
    )
    moved = jax.tree.map(lambda leaf: leaf + 1, state.ema_variables)
    assert differ(eval_step(dataclasses.replace(state, ema_variables=moved), batch), counts)
    # An example's prediction is its own: statistics of the batch would mix them.
    predict = jax.jit(make_predict_step(CONFIG))
    pair = np.stack([batch["image"][0], 1 - batch["image"][1]])
    one, other = predict(state, batch["image"][:2]), predict(state, pair)
    for name in one:
        np.testing.assert_array_equal(one[name][0], other[name][0], err_msg=name)


def test_variables_that_are_not_given_are_asked_for(start, batch):
    with pytest.raises(ValueError, match=r"variables .*TrainState\.variables"):
        make_apply(CONFIG)(start.params, batch["image"], batch["boxes"])


def test_random_numbers_are_those_of_the_seed_and_the_step(start, train_step, batch):
    def loss(step):
        return float(train_step(dataclasses.replace(start, step=jnp.int32(step)), batch)[1]["loss"])

    assert loss(0) == loss(0) != loss(1)
    seeded = jax.jit(make_train_step(dataclasses.replace(CONFIG, seed=CONFIG.seed + 1)))
    assert float(seeded(start, batch)[1]["loss"]) != loss(0)


def test_the_parts_of_a_batch_draw_numbers_of_their_own_and_set_variables_one_after_the_other(start, train_step, batch):
    """Two equal parts: of the same random numbers they would have the loss and the gradient of one."""
    whole = {name: np.repeat(value[:2], 2, 0) for name, value in batch.items()}  # rows 0 and 2 are the first part
    half = {name: value[:2] for name, value in batch.items()}
    of_parts, metrics = jax.jit(make_train_step(changed(train={"accumulation_steps": 2})))(start, whole)
    of_one, metrics_of_one = jax.jit(make_train_step(CONFIG))(start, half)
    assert abs(metrics["loss"] / metrics_of_one["loss"] - 1) > 1e-4
    block, of_first = (of_block(state.variables) for state in (of_parts, of_one))
    assert int(block["calls"]) == 2
    # The first block has no random number before it: each part halves the distance to the same mean.
    np.testing.assert_allclose(block["norm"]["mean"], 1.5 * of_first["norm"]["mean"], rtol=1e-4, atol=1e-6)
    assert int(of_parts.variables["heads"]["joints"]["calls"]) == 2


@pytest.mark.parametrize("remat", ["activations", "blocks"])
def test_what_is_computed_again_draws_the_same_numbers(start, batch, remat):
    def run(config):
        apply = make_train_apply(config)

        def loss(params):
            outputs, variables = apply(params, start.variables, jax.random.key(5), batch["image"], batch["boxes"])
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(outputs)) / 1e3, variables

        return jax.jit(jax.value_and_grad(loss, has_aux=True))(start.params)

    expected, other = run(CONFIG), run(changed(model={"remat": remat}))
    for a, b in zip(jax.tree.leaves(other), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * max(1e-3, float(np.abs(b).max())))
    assert [int(of_block(other[0][1], number)["calls"]) for number in range(2)] == [1, 1]


def test_variables_are_in_checkpoints_and_a_network_without_them_is_another(after, tmp_path):
    mesh = sharding.make_mesh(CONFIG)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save_latest(2, after[2])
    restored = Checkpoints(tmp_path, read_only=True).restore_latest(abstract_state(CONFIG, mesh))
    assert_same(restored, after[2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stochastic, "Calls", nnx.Param)
        other = abstract_state(CONFIG, mesh)
    with pytest.raises(RunError, match=r"another version of the network, which differs in .*calls"):
        Checkpoints(tmp_path, read_only=True).restore_latest(other)


@pytest.mark.slow
def test_a_run_that_was_interrupted_ends_with_the_same_bits(debug_config, tmp_path):
    config = dataclasses.replace(
        debug_config,
        tasks=("erosions", "joints"),
        model=CONFIG.model,
        train=dataclasses.replace(debug_config.train, steps=4, eval_every=2, checkpoint_every=2),
    )
    tiny_job.go(config, tmp_path / "whole", mode="train")
    with pytest.raises(Preempted):
        tiny_job.go(config, tmp_path / "stopped", look=3, mode="train")
    tiny_job.go(config, tmp_path / "stopped", mode="train")
    abstract = abstract_state(config, sharding.make_mesh(config))
    whole, stopped = (
        Checkpoints(tmp_path / name / "checkpoints", read_only=True).restore_latest(abstract)
        for name in ("whole", "stopped")
    )
    assert_same(whole, stopped)
    assert int(of_block(whole.variables)["calls"]) == int(whole.step) == 4

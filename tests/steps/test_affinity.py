"""Task affinity: beside gradients and losses that are computed one by one, and in a run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ramjax import anatomy
from ramjax.config import AffinityConfig, Config, ConfigError
from ramjax.steps.affinity import STEP, make_affinity
from ramjax.steps.state import init_state, make_apply
from ramjax.steps.train import make_gradient, make_losses, vary_boxes
from ramjax.tasks import make_tasks
from tests.steps.test_step import CONFIG
from tests.tasks.batches import random_batch


@pytest.fixture(scope="module")
def measured():
    batch = random_batch(4, seed=3)
    batch |= {"has_erosions": np.ones(4, bool), "has_joints": np.ones(4, bool)}
    state, measure = init_state(CONFIG), jax.jit(make_affinity(CONFIG))
    return state, batch, measure


def only(task):
    """The config with the loss of one task alone."""
    other = next(name for name in CONFIG.tasks if name != task)
    return dataclasses.replace(CONFIG, **{other: dataclasses.replace(getattr(CONFIG, other), weight=0.0)})


def test_cosine_and_transfer_are_those_of_tasks_taken_alone(measured):
    state, batch, measure = measured
    metrics = measure(state, batch)
    key = jax.random.fold_in(jax.random.key(CONFIG.seed), 0)
    shown = vary_boxes(make_tasks(CONFIG), key, batch)
    losses_of, flat = jax.jit(make_losses(CONFIG)), {}
    before, after = losses_of(state.params, state.variables, key, shown), {}
    for task in CONFIG.tasks:
        grads = jax.jit(make_gradient(only(task)))(state.params, state.variables, key, shown)[0]
        shared = {part: grads[part] for part in ("encoder", "decoder")}
        flat[task] = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(shared)]).astype(np.float64)
        length = STEP * optax.tree.norm({part: state.params[part] for part in shared}) / np.linalg.norm(flat[task])
        moved = {
            part: jax.tree.map(lambda leaf, grad, length=length: leaf - length * grad, state.params[part], shared[part])
            for part in shared
        }
        after[task] = losses_of(state.params | moved, state.variables, key, shown)
    a, b = CONFIG.tasks
    cosine = flat[a] @ flat[b] / np.linalg.norm(flat[a]) / np.linalg.norm(flat[b])
    assert float(metrics[f"cosine/{a}/{b}"]) == pytest.approx(cosine, abs=1e-4)
    for first in (a, b):
        for second in (a, b):
            expected = 1 - float(after[first][second]) / float(before[second])
            assert float(metrics[f"transfer/{first}/{second}"]) == pytest.approx(expected, abs=2e-5)
        assert metrics[f"transfer/{first}/{first}"] > 0  # a step of its own helps
    assert len(metrics) == 5


def test_a_task_without_labels_is_not_measured(measured):
    state, batch, measure = measured
    metrics = measure(state, batch | {"has_erosions": np.zeros(4, bool)})
    assert [name for name, value in metrics.items() if jnp.isfinite(value)] == ["transfer/joints/joints"]


def test_affinity_needs_two_tasks():
    with pytest.raises(ConfigError, match=r"affinity.every is 10, but tasks has joints alone; name two or more"):
        Config(tasks=("joints",), affinity=AffinityConfig(every=10))


def test_the_cosine_of_a_part_is_that_of_the_task_with_its_label_alone(measured):
    state, batch, measure = measured
    config = dataclasses.replace(CONFIG, affinity=AffinityConfig(every=1, parts=("joints",)))
    sites = anatomy.SITE_NAMES
    batch = batch | {"joints_known": batch["joints_known"] & (np.arange(len(sites)) != 3)}
    of_parts = jax.jit(make_affinity(config))(state, batch)
    for site in (0, 7):
        alone = measure(state, batch | {"joints_known": batch["joints_known"] & (np.arange(len(sites)) == site)})
        found = float(of_parts[f"cosine/joints.{sites[site]}/erosions"])
        assert found == pytest.approx(float(alone["cosine/erosions/joints"]), abs=1e-4)
        assert 0 < of_parts[f"cosine/joints.{sites[site]}/joints"] <= 1 + 1e-5
    assert all(jnp.isnan(of_parts[f"cosine/joints.{sites[3]}/{name}"]) for name in CONFIG.tasks)  # nowhere known
    assert sum("." in name for name in of_parts) == 2 * len(sites)


def test_the_sums_of_the_parts_add_up_to_that_of_the_task():
    config, batch = dataclasses.replace(CONFIG, tasks=("bones", "joints", "scores")), random_batch(3, seed=1)
    state = jax.eval_shape(lambda: init_state(config))
    shapes = jax.eval_shape(make_apply(config), state.params, batch["image"], batch["boxes"])
    outputs = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(0), leaf.shape, leaf.dtype), shapes)
    for task in make_tasks(config):

        @jax.jit
        def terms(batch, task=task):
            return [(term.total, term.count) for term in task.loss(outputs[task.name], batch)]

        kept = np.eye(len(task.learned_parts), dtype=bool)
        parts = np.array([terms(task.only(batch, jnp.asarray(only))) for only in kept])
        np.testing.assert_allclose(parts.sum(0), terms(batch), rtol=1e-4)
        assert (parts[:, :, 1] > 0).sum() >= len(parts)


def test_parts_that_cannot_be_measured_are_named():
    with pytest.raises(ConfigError, match=r"parts is \('joints',\), but every is 0"):
        AffinityConfig(parts=("joints",))
    config = dataclasses.replace(CONFIG, affinity=AffinityConfig(every=1, parts=("erosions",)))
    with pytest.raises(ConfigError, match=r"affinity.parts has erosions, .* those with parts are: joints; name some"):
        make_affinity(config)

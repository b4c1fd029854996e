"""Task affinity: beside gradients and losses that are computed one by one, and in a run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ramjax.config import AffinityConfig, Config, ConfigError
from ramjax.steps.affinity import STEP, make_affinity
from ramjax.steps.state import init_state
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

"""Ordinal scales against their definitions, by hand and by enumeration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jax.test_util import check_grads

from ramjax.tasks.scores.ordinal import BY_CLASS, OrdinalOutput, class_probabilities, ordinal_loss

TOP = 5
KINDS = ("thresholds", "coral", "corn", "softmax", "soft", "distance")
LOGITS = np.array([2.0, 1.0, -0.5])
SIGMOID = 1 / (1 + np.exp(-LOGITS))
SOFTMAX = np.exp(LOGITS) / np.exp(LOGITS).sum()


@pytest.mark.parametrize("kind", KINDS)
def test_class_probabilities_are_a_distribution(kind):
    logits = OrdinalOutput(7, TOP, kind, rngs=nnx.Rngs(0))(jax.random.normal(jax.random.key(1), (4, 22, 7)))
    assert logits.shape == (4, 22, TOP + (kind in BY_CLASS))
    probabilities = class_probabilities(3 * logits, kind)
    assert probabilities.shape == (4, 22, TOP + 1) and float(probabilities.min()) >= 0
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "top", "target", "expected"),
    [
        ("thresholds", 3, 1, -np.log(SIGMOID[0] * (1 - SIGMOID[1]) * (1 - SIGMOID[2]))),
        ("coral", 3, 1, -np.log(SIGMOID[0] * (1 - SIGMOID[1]) * (1 - SIGMOID[2]))),
        ("corn", 3, 0, -np.log(1 - SIGMOID[0])),
        ("corn", 3, 1, -np.log(SIGMOID[0] * (1 - SIGMOID[1]))),
        ("corn", 3, 3, -np.log(SIGMOID[0] * SIGMOID[1] * SIGMOID[2])),
        ("softmax", 2, 1, -np.log(SOFTMAX[1])),
        ("soft", 2, 1, -(np.log(SOFTMAX) * [np.exp(-1), 1, np.exp(-1)]).sum() / (1 + 2 * np.exp(-1))),
        ("soft", 2, 0, -(np.log(SOFTMAX) * [1, np.exp(-1), np.exp(-4)]).sum() / (1 + np.exp(-1) + np.exp(-4))),
        ("distance", 2, 1, -np.log((1 - SOFTMAX[0]) * (1 - SOFTMAX[2]))),
        ("distance", 2, 0, -np.log(1 - SOFTMAX[1]) - 4 * np.log(1 - SOFTMAX[2])),
    ],
)
def test_losses_by_hand(kind, top, target, expected):
    value = ordinal_loss(jnp.asarray(LOGITS)[None], jnp.array([target]), top, kind)
    assert value.shape == (1,) and float(value[0]) == pytest.approx(expected, rel=1e-5)


numbers = st.floats(-20, 20, width=32)
slow_at_first = settings(deadline=None, max_examples=50)  # JAX compiles each operation when it is first used


def loss_of(logits, target, kind):
    return float(ordinal_loss(jnp.asarray(logits), jnp.asarray(target), TOP, kind))


@slow_at_first
@given(arrays(np.float32, (TOP,), elements=numbers), st.integers(0, TOP))
def test_the_loss_of_a_chain_is_the_likelihood_of_the_score(logits, target):
    probabilities = np.asarray(class_probabilities(jnp.asarray(logits), "corn"))
    assert np.exp(-loss_of(logits, target, "corn")) == pytest.approx(probabilities[target], abs=1e-5)
    yes, no = -np.logaddexp(0, -logits.astype(float)), -np.logaddexp(0, logits.astype(float))
    expected = yes[:target].sum() + (no[target] if target < TOP else 0)
    assert loss_of(logits, target, "corn") == pytest.approx(-expected, rel=1e-4, abs=1e-5)


@slow_at_first
@given(arrays(np.float32, (TOP + 1,), elements=numbers), st.integers(0, TOP))
def test_soft_labels_ask_for_probabilities_that_are_theirs(logits, target):
    """No logits cost less than those of the labels themselves (Gibbs), and a far miss costs no less than a near one."""
    distance = np.abs(np.arange(TOP + 1) - target)
    least = loss_of(-(distance.astype(np.float32) ** 2), target, "soft")
    assert loss_of(logits, target, "soft") >= least - 1e-4
    sure = np.array(
        [loss_of(20 * np.eye(TOP + 1, dtype=np.float32)[score], target, "soft") for score in range(TOP + 1)]
    )
    assert np.all(np.diff(sure[np.argsort(distance, kind="stable")]) > -1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind):
    logits = jax.random.normal(jax.random.key(0), (6, TOP + (kind in BY_CLASS)))
    check_grads(lambda z: ordinal_loss(z, jnp.arange(6), TOP, kind).sum(), (logits,), 1, atol=1e-2, rtol=1e-2)


@slow_at_first
@given(arrays(np.float32, (TOP + 1,), elements=numbers), st.integers(0, TOP))
def test_the_weighted_distance_is_that_of_the_definition_and_finite(logits, target):
    shifted = logits.astype(float) - logits.max()
    rest = np.array([np.log(np.exp(np.delete(shifted, k)).sum()) for k in range(TOP + 1)])
    log_not = rest - np.log(np.exp(shifted).sum())
    expected = -(log_not * (np.arange(TOP + 1) - target) ** 2).sum()
    assert loss_of(logits, target, "distance") == pytest.approx(expected, rel=1e-4, abs=1e-4)
    sure = loss_of(1e4 * np.eye(TOP + 1, dtype=np.float32)[0], TOP, "distance")
    assert sure == pytest.approx(1e4 * TOP**2, rel=1e-3)


def test_coral_biases_are_ordered():
    logits = OrdinalOutput(4, TOP, "coral", rngs=nnx.Rngs(0))(jnp.ones((1, 4)))[0]
    assert np.all(np.diff(logits) < 0)

"""The selective scan beside a loop in numpy, and the order in which images are scanned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ramjax.models.encoders import vmamba
from ramjax.models.selective_scan import STEP_LEAST, STEP_MOST, StateSpace, selective_scan


def inputs(length, b=2, k=2, d=3, n=4):
    rng = np.random.default_rng(0)
    x, steps = rng.normal(size=(2, b, k, length, d))
    writes, reads = rng.normal(size=(2, b, k, length, n))
    return x, np.abs(steps), -np.exp(rng.normal(size=(k, d, n))), writes, reads


def in_a_loop(x, steps, decays, writes, reads):
    """The recurrence, place by place, float64."""
    state, read = np.zeros((*x.shape[:2], *decays.shape[1:])), []
    for place in range(x.shape[2]):
        step = steps[:, :, place, :, None]
        state = np.exp(step * decays) * state + step * writes[:, :, place, None] * x[:, :, place, :, None]
        read.append((state * reads[:, :, place, None]).sum(-1))
    return np.stack(read, 2)


@pytest.mark.parametrize(("length", "chunk"), [(1, 512), (7, 7), (12, 4), (13, 4), (5, 1)])
def test_the_scan_is_the_loop_whatever_the_chunk(length, chunk):
    given = inputs(length)
    found = selective_scan(*(jnp.asarray(array, jnp.float32) for array in given), chunk=chunk)
    np.testing.assert_allclose(found, in_a_loop(*given), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chunk", [3, 7])
def test_the_gradient_is_that_of_finite_differences(chunk):
    given, weights = inputs(7), np.random.default_rng(1).normal(size=(2, 2, 7, 3))
    found = jax.grad(lambda given: (selective_scan(*given, chunk=chunk) * weights.astype(np.float32)).sum())(
        tuple(jnp.asarray(array, jnp.float32) for array in given)
    )
    for number, array in enumerate(given):
        for place in [
            (0,) * array.ndim,
            tuple(side - 1 for side in array.shape),
            tuple(side // 2 for side in array.shape),
        ]:
            sums = []
            for change in (1e-5, -1e-5):
                moved = array.copy()
                moved[place] += change
                sums.append((in_a_loop(*given[:number], moved, *given[number + 1 :]) * weights).sum())
            np.testing.assert_allclose(found[number][place], (sums[0] - sums[1]) / 2e-5, rtol=1e-3, atol=1e-4)


def test_long_sequences_stay_finite_in_bfloat16():
    space = StateSpace(8, 4, 16, 2, rngs=nnx.Rngs(0))
    x = jnp.asarray(100 * np.random.default_rng(0).normal(size=(1, 4, 1500, 8)), jnp.bfloat16)
    value, grad = jax.jit(jax.value_and_grad(lambda x: jnp.square(space(x)).mean()))(x)
    assert np.isfinite(value)
    assert jnp.isfinite(grad.astype(jnp.float32)).all()


def test_steps_begin_within_their_bounds():
    space = StateSpace(64, 2, 4, 4, rngs=nnx.Rngs(0))
    steps = np.asarray(jax.nn.softplus(space.dt_projs_bias[...]))
    assert 0.99 * STEP_LEAST <= steps.min() < 3 * STEP_LEAST < STEP_MOST / 3 < steps.max() <= 1.01 * STEP_MOST
    np.testing.assert_allclose(np.exp(space.A_logs[...][0]), [1, 2, 3, 4], rtol=1e-6)


def test_an_image_is_scanned_in_four_directions_and_put_together_again():
    image = jnp.arange(6.0).reshape(1, 2, 3, 1)
    sequences = vmamba.to_sequences(image)
    np.testing.assert_array_equal(
        sequences[0, ..., 0], [[0, 1, 2, 3, 4, 5], [0, 3, 1, 4, 2, 5], [5, 4, 3, 2, 1, 0], [5, 2, 4, 1, 3, 0]]
    )
    np.testing.assert_array_equal(vmamba.from_sequences(sequences, 2, 3), 4 * image)
    alone = jnp.zeros((1, 4, 1, 1)).at[:, 1].set(1.0)
    np.testing.assert_array_equal(vmamba.from_sequences(sequences * alone, 2, 3), image)

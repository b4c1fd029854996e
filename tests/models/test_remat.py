"""Rematerialisation: the same gradients from less memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ramjax.models import layers

BLOCKS = 24


@pytest.fixture(scope="module")
def compiled():
    """By policy, the compiled gradient of a chain of blocks, of its parameters and its input."""
    graphdef, state = nnx.split(layers.residual_blocks(BLOCKS, 8, dtype=jnp.float32, rngs=nnx.Rngs(0)))
    x = jax.random.normal(jax.random.key(1), (2, 32, 32, 8))

    def loss(state, x, remat):
        return jnp.sum(jnp.square(layers.apply_all(nnx.merge(graphdef, state), x, remat)))

    return {
        remat: (
            jax.jit(jax.grad(functools.partial(loss, remat=remat), argnums=(0, 1))).lower(state, x).compile(),
            state,
            x,
        )
        for remat in ("none", "activations", "blocks")
    }


def test_the_gradients_are_the_same(compiled):
    expected, *others = (jax.tree.leaves(function(state, x)) for function, state, x in compiled.values())
    for other in others:
        for a, b in zip(other, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(np.abs(b).max()))


def test_the_memory_falls(compiled):
    """A block keeps four arrays; with ``activations`` three, of which one is its input, with ``blocks`` that alone."""
    arrays = {
        remat: function.memory_analysis().temp_size_in_bytes / (BLOCKS * x.nbytes)
        for remat, (function, _, x) in compiled.items()
    }
    assert 4 < arrays["none"] < 4.5
    assert 3 < arrays["activations"] < 3.5
    assert 1 < arrays["blocks"] < 1.5

"""Rematerialisation: the same gradients from less memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ramjax.models import layers
from tests.models.stochastic import Block

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


@pytest.mark.parametrize("share", [False, True])
def test_blocks_draw_numbers_of_their_own_and_leave_variables_as_without(share):
    """Also where one stream of random numbers is all the blocks'."""

    def make():
        rngs, stream = nnx.Rngs(0), nnx.Rngs(dropout=7).dropout
        blocks = [Block(8, dtype=jnp.float32, rngs=rngs) for _ in range(3)]
        for block in blocks if share else []:
            block.dropout.rngs = block.drop_path.rngs = stream
        return nnx.List(blocks)

    def run(remat):
        def loss(params):
            blocks = make()
            nnx.update(blocks, params)
            y = layers.apply_all(blocks, jax.random.normal(jax.random.key(1), (4, 8, 8, 8)), remat)
            return jnp.sum(jnp.sin(y)), (y, nnx.to_pure_dict(nnx.state(blocks, nnx.Not(nnx.Param))))

        return jax.jit(jax.value_and_grad(loss, has_aux=True))(nnx.state(make(), nnx.Param))

    results = [run(remat) for remat in ("none", "activations", "blocks")]
    for other in results[1:]:
        assert jax.tree.structure(other) == jax.tree.structure(results[0])
        for a, b in zip(*map(jax.tree.leaves, (other, results[0])), strict=True):
            if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
                a, b = map(jax.random.key_data, (a, b))
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_equal_blocks_in_a_loop_drop_other_values():
    class Drop(nnx.Module):
        def __init__(self, rngs):
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return x + self.dropout(jnp.ones_like(x))

    rngs = nnx.Rngs(0)
    out = layers.apply_all([Drop(rngs), Drop(rngs)], jnp.zeros(1000), "blocks")
    assert 400 < int(jnp.sum(out == 2)) < 600  # 0 of the same mask

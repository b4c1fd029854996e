import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ramjax.models import initializers, layers

FIRST, SECOND = initializers.LENGTHS[:2]
LIBRARY = {
    "he_normal": nnx.initializers.he_normal(),
    "lecun_normal": nnx.initializers.lecun_normal(),
    "embedding_normal": nnx.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0),
    "zeros": nnx.initializers.zeros_init(),
    "ones": nnx.initializers.ones_init(),
}


@pytest.mark.parametrize("name", LIBRARY)
@pytest.mark.parametrize("shape", [(1, 1), (3, 3, 5, 7), (4, FIRST // 4), (1, FIRST + 1), (3, 3, 96, 160)])
def test_the_numbers_are_those_of_the_library_to_the_last_bit(name, shape):
    if name == "embedding_normal" and len(shape) > 2:
        pytest.skip("a table has two axes")
    key = jax.random.key(shape[-1])
    expected = jax.jit(LIBRARY[name], static_argnums=(1, 2))(key, shape, jnp.float32)
    for given in (getattr(initializers, name), jax.jit(getattr(initializers, name), static_argnums=(1, 2))):
        values = given(key, shape, jnp.float32)
        assert isinstance(values, jax.Array) and values.dtype == jnp.float32
        np.testing.assert_array_equal(values, expected)


def test_more_numbers_than_the_longest_draw(monkeypatch):
    monkeypatch.setattr(initializers, "LENGTHS", (8, 32))
    key = jax.random.key(0)
    np.testing.assert_array_equal(
        initializers.he_normal(key, (3, 11)), jax.jit(lambda: LIBRARY["he_normal"](key, (3, 11), jnp.float32))()
    )


def test_half_precision():
    key = jax.random.key(0)
    expected = LIBRARY["he_normal"](key, (5, 40), jnp.bfloat16)
    given = initializers.he_normal(key, (5, 40), jnp.bfloat16)
    assert given.dtype == expected.dtype
    np.testing.assert_allclose(given.astype(np.float32), expected.astype(np.float32), rtol=2**-7)


def test_layers_of_many_shapes_share_the_programs(caplog):
    """A program for each shape took most of the time to a first step."""

    def make(widths):
        rngs = nnx.Rngs(0)
        for width in widths:
            layers.conv(width, width, 3, dtype=jnp.float32, bias=True, rngs=rngs)
            layers.Pointwise(width, 2 * width, rngs=rngs)
            layers.GroupNorm(8 * width, rngs=rngs)

    make([9])
    with jax.log_compiles():
        make(range(10, 30))
    assert [record.getMessage() for record in caplog.records if "Finished XLA compilation" in record.getMessage()] == []
    with jax.log_compiles():
        jax.random.truncated_normal(jax.random.key(0), -2, 2, (10, 10))
    assert any("Finished XLA compilation" in record.getMessage() for record in caplog.records)

"""First values of parameters: those of `jax.nn.initializers`, bit for bit, without a program compiled for each shape.

That would take half a minute: JAX compiles a random draw for its shape, and each constant too, and a network has dozens
of shapes. But the numbers of a draw depend on the key and on their place in the flat array alone, so those of a small
array are the first of a larger one, and a few lengths serve all shapes. This is done where keys are known, outside of
`jax.jit`; in a traced function the library draws.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

LENGTHS = (1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24)
"""How many numbers are drawn: the first of these that suffices; beyond the last, as many as are needed."""

Shape = tuple[int, ...]


def he_normal(key: jax.Array, shape: Shape, dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Kernels (..., inputs, outputs) before a ReLU: variance 2 / inputs of an output (He et al., arXiv 1502.01852)."""
    return _truncated_normal(2.0, key, shape, dtype)


def lecun_normal(key: jax.Array, shape: Shape, dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Kernels (..., inputs, outputs): variance 1 / inputs of an output (LeCun et al., Efficient BackProp, 1998)."""
    return _truncated_normal(1.0, key, shape, dtype)


def token_normal(key: jax.Array, shape: Shape, dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Learned tokens and positions (..., features): standard deviation 0.02 (Dosovitskiy et al., arXiv 2010.11929)."""
    return _truncated_normal(0.02**2 * math.prod(shape[:-1]), key, shape, dtype)


embedding_normal = jax.jit(
    nnx.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0), static_argnums=(1, 2)
)
"""Tables (entries, features), as `flax.nnx.Embed` begins with: variance 1 / features."""


def zeros(key: jax.Array | None, shape: Shape, dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Biases, mostly."""
    return jax.device_put(np.zeros(shape, dtype))


def ones(key: jax.Array | None, shape: Shape, dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Scales, mostly."""
    return jax.device_put(np.ones(shape, dtype))


def constant(*values: float) -> Callable[..., jax.Array]:
    """An initializer of biases that begin with these values: one each, or one for all."""
    return lambda key, shape, dtype=jnp.float32: jax.device_put(np.full(shape, values, dtype))


def _truncated_normal(scale: float, key: jax.Array, shape: Shape, dtype: jnp.dtype) -> jax.Array:
    """Normal numbers of variance scale / inputs, none of them further from 0 than two standard deviations."""
    if isinstance(key, jax.core.Tracer):
        return nnx.initializers.variance_scaling(scale, "fan_in", "truncated_normal")(key, shape, dtype)
    size = math.prod(shape)
    length = next((length for length in LENGTHS if length >= size), size)
    numbers = np.asarray(jax.random.truncated_normal(key, -2, 2, (length,), dtype))[:size].reshape(shape)
    # Cut off at -2 and 2, they have this standard deviation to begin with.
    deviation = np.sqrt(numbers.dtype.type(scale / math.prod(shape[:-1]))) / numbers.dtype.type(0.87962566103423978)
    return jax.device_put(numbers * deviation)

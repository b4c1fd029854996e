"""Attention (Vaswani et al., arXiv 1706.03762) and the block that transformers are made of."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ramjax.models import layers


def attend(
    queries: Float[Array, "b n c"],
    keys: Float[Array, "b m c"],
    values: Float[Array, "b m c"],
    heads: int,
    bias: Float[Array, "#b #h #n m"] | None = None,
) -> Float[Array, "b n c"]:
    """Attention in `heads` heads, each of c / heads channels; softmax in float32.

    Args:
      queries, keys, values: projected, the channels of a head side by side.
      heads: how many.
      bias: added to the scaled products of queries and keys.
    """
    split = (tokens.reshape(*tokens.shape[:2], heads, -1) for tokens in (queries, keys, values))
    return jax.nn.dot_product_attention(*split, bias=bias).reshape(queries.shape)


class Perceptron(nnx.Module):
    """Two matrices with GELU between them."""

    def __init__(self, width: int, hidden: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.fc1 = layers.Linear(width, hidden, dtype=dtype, rngs=rngs)
        self.fc2 = layers.Linear(hidden, width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        return self.fc2(jax.nn.gelu(self.fc1(x), approximate=False))


def drop_path(rate: float, rngs: nnx.Rngs) -> Callable[[Array], Array]:
    """`layers.drop_path` of a residual branch of tokens, (b, n, c)."""
    return nnx.Dropout(rate, broadcast_dims=(1, 2), rngs=rngs) if rate else layers.unchanged

"""Attention (Vaswani et al., arXiv 1706.03762) and the block that transformers are made of."""

import functools
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


gelu = functools.partial(jax.nn.gelu, approximate=False)


class Perceptron(nnx.Module):
    """Two matrices with an activation between them."""

    def __init__(
        self,
        width: int,
        hidden: int,
        *,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        activation: Callable[[Array], Array] = gelu,
    ):
        self.activation = activation
        self.fc1 = layers.Linear(width, hidden, dtype=dtype, rngs=rngs)
        self.fc2 = layers.Linear(hidden, width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        return self.fc2(self.activation(self.fc1(x)))


class TransformerBlock(nnx.Module):
    """Attention among all tokens and a perceptron, each normalised before and with a shortcut (Dosovitskiy et al.,
    arXiv 2010.11929).

    Args:
      width: channels of the tokens.
      heads: of the attention.
      hidden: channels of the perceptron; None for four times the width.
      activation: of the perceptron.
      epsilon: of the normalisations.
      dtype, rngs: as of all modules.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int | None = None,
        *,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        activation: Callable[[Array], Array] = gelu,
        epsilon: float = 1e-6,
    ):
        self.heads = heads
        self.norm1 = layers.layer_norm(width, epsilon, dtype=dtype, rngs=rngs)
        self.qkv = layers.Linear(width, 3 * width, dtype=dtype, rngs=rngs)
        self.proj = layers.Linear(width, width, dtype=dtype, rngs=rngs)
        self.norm2 = layers.layer_norm(width, epsilon, dtype=dtype, rngs=rngs)
        self.mlp = Perceptron(width, hidden or 4 * width, activation=activation, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b n c"], bias: Float[Array, "#b #h #n n"] | None = None) -> Array:
        """Returns tokens of the same shape; `bias` as of `attend`."""
        x = x + self.proj(attend(*jnp.split(self.qkv(self.norm1(x)), 3, -1), self.heads, bias))
        return x + self.mlp(self.norm2(x))


def drop_path(rate: float, rngs: nnx.Rngs) -> Callable[[Array], Array]:
    """`layers.drop_path` of a residual branch of tokens, (b, n, c)."""
    return nnx.Dropout(rate, broadcast_dims=(1, 2), rngs=rngs) if rate else layers.unchanged

"""Selective state spaces (Mamba, Gu and Dao, arXiv 2312.00752): recurrences whose steps depend on the sequence."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from ramjax.models import initializers

CHUNK = 512
"""Places of a sequence whose states are computed at once; those of the others are not kept, but computed again."""

STEP_LEAST, STEP_MOST = 1e-3, 0.1
"""Of the steps at first."""


def selective_scan(
    x: Float[Array, "b k l d"],
    steps: Float[Array, "b k l d"],
    decays: Float[Array, "k d n"],
    writes: Float[Array, "b k l n"],
    reads: Float[Array, "b k l n"],
    chunk: int = CHUNK,
) -> Float[Array, "b k l d"]:
    """What n states of each channel, written and read along a sequence, are at each place of it.

    States begin at 0 and become ``exp(step * decay) * state + step * write * x``, then their products with `reads` are
    added up.

    Args:
      x: b examples of k sequences.
      steps: of each channel, positive.
      decays: negative.
      writes, reads: of the channels of a sequence alike.
      chunk: places that are computed at once, by an associative scan. Memory is in proportion to it.

    Returns:
      (b, k, l, d) float32.
    """
    length = x.shape[2]
    chunk = min(chunk, length)
    count = -(-length // chunk)

    def split(sequences):
        padded = jnp.pad(sequences.astype(jnp.float32), ((0, 0), (0, 0), (0, count * chunk - length), (0, 0)))
        return jnp.moveaxis(padded.reshape(*padded.shape[:2], count, chunk, -1), 2, 0)

    b, k, _, d = x.shape
    state = jnp.zeros((b, k, d, decays.shape[-1]), jnp.float32)
    parts = tuple(map(split, (x, steps, writes, reads)))  # a step of 0, as in the padding, leaves the state
    part = functools.partial(_scan_chunk, decays.astype(jnp.float32))
    if count == 1:
        return part(state, tuple(sequences[0] for sequences in parts))[1]
    _, y = jax.lax.scan(jax.checkpoint(part), state, parts)
    return jnp.moveaxis(y, 0, 2).reshape(b, k, count * chunk, d)[:, :, :length]


def _scan_chunk(decays, state, parts):
    """The state (b, k, d, n) after a chunk, and what is read in it."""
    x, steps, writes, reads = parts
    kept = jnp.exp(steps[..., None] * decays[:, None])
    written = (steps * x)[..., None] * writes[..., None, :]
    kept, written = jax.lax.associative_scan(_after, (kept, written), axis=2)
    states = kept * state[:, :, None] + written
    return states[:, :, -1], jnp.einsum("bkldn,bkln->bkld", states, reads)


def _after(first, second):
    """Two steps ``state -> kept * state + written`` as one."""
    return first[0] * second[0], second[0] * first[1] + second[1]


class StateSpace(nnx.Module):
    """Selective scans of sequences, whose steps, writes and reads are linear functions of what is scanned.

    Args:
      width: channels.
      sequences: of an example, each with parameters of its own.
      states: of a channel.
      rank: of the matrix that makes the steps.
      rngs: for the first parameters.
    """

    def __init__(self, width: int, sequences: int, states: int, rank: int, *, rngs: nnx.Rngs):
        self.rank, self.states = rank, states
        self.x_proj_weight = nnx.Param(
            initializers.lecun_normal(rngs.params(), (sequences, width, rank + 2 * states)).transpose(0, 2, 1)
        )
        bound = rank**-0.5
        self.dt_projs_weight = nnx.Param(
            jax.random.uniform(rngs.params(), (sequences, width, rank), minval=-bound, maxval=bound)
        )
        logarithms = jax.random.uniform(
            rngs.params(), (sequences, width), minval=math.log(STEP_LEAST), maxval=math.log(STEP_MOST)
        )
        self.dt_projs_bias = nnx.Param(jnp.log(jnp.expm1(jnp.exp(logarithms))))  # what softplus makes the steps of
        first = np.log(np.arange(1, states + 1, dtype=np.float32))
        self.A_logs = nnx.Param(jnp.asarray(np.tile(first, (sequences * width, 1))))
        self.Ds = nnx.Param(initializers.ones(None, (sequences * width,)))

    def __call__(self, x: Float[Array, "b k l d"]) -> Float[Array, "b k l d"]:
        """Returns float32."""
        _, k, _, d = x.shape
        projected = jnp.einsum("bkld,krd->bklr", x, self.x_proj_weight[...].astype(x.dtype))
        steps, writes, reads = jnp.split(projected, [self.rank, self.rank + self.states], -1)
        steps = jnp.einsum("bklr,kdr->bkld", steps, self.dt_projs_weight[...].astype(x.dtype))
        steps = jax.nn.softplus(steps.astype(jnp.float32) + self.dt_projs_bias[...][:, None])
        decays = -jnp.exp(self.A_logs[...]).reshape(k, d, self.states)
        return selective_scan(x, steps, decays, writes, reads) + self.Ds[...].reshape(k, 1, d) * x

"""Balancers that go by the gradients of the tasks; see `ramjax.steps.balancing`.

Each works on the products of the gradients, a matrix as large as there are tasks. Those of a task without labels are 0.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from ramjax.config import BalanceConfig
from ramjax.steps.balancing.by_losses import rested

TINY = 1e-12
"""Squared length below which a gradient is none."""

ITERATIONS = 200
"""Of `cagrad`'s search; its problem has as many unknowns as there are tasks."""

NEWTON_STEPS = 30
"""Of `nash`; they converge quadratically."""


@dataclasses.dataclass(frozen=True)
class Observed:
    """What a step shows of the tasks.

    Attributes:
      gram: (t, t) products of the gradients with respect to what is shared.
      losses: (t,).
      labelled: (t,) whether the batch has a label of the task.
    """

    gram: Float[Array, "t t"]
    losses: Float[Array, "*t"]
    labelled: Bool[Array, "*t"]

    @property
    def lengths(self) -> Float[Array, "*t"]:
        """Of the gradients."""
        return jnp.sqrt(jnp.diagonal(self.gram))

    @property
    def active(self) -> Bool[Array, "*t"]:
        """The tasks that have a gradient, with a label for it."""
        return self.labelled & (jnp.diagonal(self.gram) > TINY)


def init_gradnorm(config: BalanceConfig, tasks: int):
    """Factors of 1; the first losses are not known, which are 0."""
    ones = jnp.ones(tasks)
    return {"factors": ones, "first": jnp.zeros(tasks), "adam": optax.adam(config.learning_rate).init(ones)}


def gradnorm(config: BalanceConfig, state, seen: Observed, key: jax.Array):
    """Adam on |length of factor x gradient - mean length x rate^restoring|; the factors are 1 on average.

    The rate of a task is its loss over its first one, over the mean of these ratios.
    """
    first = jnp.where((state["first"] == 0) & seen.labelled, seen.losses, state["first"])
    active, count = seen.active, jnp.maximum(seen.active.sum(), 1)
    lengths = state["factors"] * seen.lengths
    mean = (lengths * active).sum() / count
    ratio = jnp.where(active, seen.losses / jnp.where(first > 0, first, 1), 0)
    rate = ratio / jnp.maximum(ratio.sum() / count, TINY)
    gradient = jnp.where(active, jnp.sign(lengths - mean * rate**config.restoring) * seen.lengths, 0)
    updates, adam = optax.adam(config.learning_rate).update(gradient, state["adam"])
    factors = jnp.maximum(state["factors"] + updates, 1e-3)
    factors = factors * (state["factors"] * active).sum() / jnp.maximum((factors * active).sum(), TINY)
    after = {"factors": factors, "first": first, "adam": adam}
    return state["factors"] * seen.labelled, rested(active, after, state)


def pcgrad(config: BalanceConfig, state, seen: Observed, key: jax.Array):
    """Each gradient loses what points against another one's, one after the other in random order; then they are added.

    Gradients are kept as sums of the original ones: row i of `parts` makes the i-th.
    """
    tasks = seen.gram.shape[0]

    def project(task, key):
        def against(part, other):
            product = part @ seen.gram[:, other]
            clash = (product < 0) & (other != task) & seen.active[other]
            taken = product / jnp.maximum(seen.gram[other, other], TINY)
            return part.at[other].add(-jnp.where(clash, taken, 0)), None

        order = jax.random.permutation(key, tasks)
        return jax.lax.scan(against, jnp.eye(tasks)[task], order)[0]

    parts = jax.vmap(project)(jnp.arange(tasks), jax.random.split(key, tasks))
    return (parts * seen.active[:, None]).sum(0), state


def cagrad(config: BalanceConfig, state, seen: Observed, key: jax.Array):
    """The direction within `radius` lengths of the mean gradient whose least product with a task's is largest.

    By the dual of arXiv 2110.14048: the weights w on the simplex that minimise g_w . g_0 + radius |g_0| |g_w|, where
    g_0 is the mean and g_w the weighted one; found by exponentiated gradients. Scaled by 1 / (1 + radius^2) as in the
    authors' code, and by the number of tasks, so that a radius of 0 is the sum of the gradients.
    """
    active, count = seen.active, jnp.maximum(seen.active.sum(), 1)
    gram = jnp.where(active[:, None] & active, seen.gram, 0)
    gram = gram / jnp.maximum(jnp.diagonal(gram).sum() / count, TINY)
    mean = active / count
    scale = config.radius * jnp.sqrt(jnp.maximum(mean @ gram @ mean, 0))

    def improve(number, weights):
        length = jnp.sqrt(jnp.maximum(weights @ gram @ weights, TINY))
        slope = gram @ mean + scale * gram @ weights / length
        steepest = jnp.maximum(jnp.abs(jnp.where(active, slope - weights @ slope, 0)).max(), TINY)
        step = 1 / steepest / jnp.sqrt(1.0 + number)
        moved = jnp.where(active, weights * jnp.exp(-step * (slope - weights @ slope)), 0)
        return moved / jnp.maximum(moved.sum(), TINY)

    def keep_best(number, carried):
        weights, best, least = carried
        weights = improve(number, weights)
        value = weights @ gram @ mean + scale * jnp.sqrt(jnp.maximum(weights @ gram @ weights, TINY))
        better = value < least
        return weights, jnp.where(better, weights, best), jnp.minimum(value, least)

    _, weights, _ = jax.lax.fori_loop(0, ITERATIONS, keep_best, (mean, mean, jnp.inf))
    length = jnp.sqrt(jnp.maximum(weights @ gram @ weights, TINY))
    return count * (mean + scale / length * weights) / (1 + config.radius**2), state


def nash(config: BalanceConfig, state, seen: Observed, key: jax.Array):
    """The factors a > 0 with (products a)_i = 1 / a_i; the direction is then as long as the root of the tasks' number.

    They minimise a . products . a / 2 - sum(log a), which Newton's steps do from anywhere, each shortened by
    1 + its decrement (Nesterov and Nemirovskii's damping for such functions).
    """
    active = seen.active
    lengths = jnp.where(active, seen.lengths, 1)
    cosines = jnp.where(active[:, None] & active, seen.gram / jnp.outer(lengths, lengths), 0)
    cosines = jnp.where(jnp.eye(len(lengths), dtype=bool), 1, cosines)

    def improve(_, factors):
        gradient = cosines @ factors - 1 / factors
        newton = jnp.linalg.solve(cosines + jnp.diag(1 / jnp.square(factors)), gradient)
        return factors - newton / (1 + jnp.sqrt(jnp.maximum(gradient @ newton, 0)))

    factors = jax.lax.fori_loop(0, NEWTON_STEPS, improve, jnp.ones(len(lengths)))
    return jnp.where(active, factors / lengths, 0), state

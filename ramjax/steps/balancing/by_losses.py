"""Balancers that go by the losses; see `ramjax.steps.balancing`."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from ramjax.config import BalanceConfig


def equal(config: BalanceConfig, tasks: tuple[str, ...], state, share: Float[Array, ""]) -> Float[Array, "*t"]:
    """1 for each."""
    return jnp.ones(len(tasks))


def unchanged(config: BalanceConfig, state, losses: Float[Array, "*t"], labelled: Bool[Array, "*t"]):
    """The state as it was."""
    return state


def rested(labelled: Bool[Array, "*t"], after, before):
    """The state after a step, that of tasks without labels as before it; the count of Adam's steps is common to all."""
    return jax.tree.map(lambda new, old: jnp.where(labelled, new, old) if new.ndim else new, after, before)


def of_curves(config: BalanceConfig, tasks: tuple[str, ...], state, share: Float[Array, ""]) -> Float[Array, "*t"]:
    """The curves of the config at this share of all steps, 0 to 1."""
    curves = dict(map(config.points, config.curves))
    points = [curves.get(task, [(0.0, 1.0)]) for task in tasks]
    return jnp.stack([jnp.interp(share, *map(jnp.array, zip(*of_task, strict=True))) for of_task in points])


def init_uncertainty(config: BalanceConfig, tasks: int):
    """Variances of 1."""
    log_variance = jnp.zeros(tasks)
    return {"log_variance": log_variance, "adam": optax.adam(config.learning_rate).init(log_variance)}


def uncertainty(config: BalanceConfig, tasks: tuple[str, ...], state, share: Float[Array, ""]) -> Float[Array, "*t"]:
    """1 / variance."""
    return jnp.exp(-state["log_variance"])


def update_uncertainty(config: BalanceConfig, state, losses: Float[Array, "*t"], labelled: Bool[Array, "*t"]):
    """One step of Adam on losses / variance + log(variance), which is least where a variance is the loss.

    That is twice the likelihood of arXiv 1705.07115 with its factor of a half in both terms. Twice it does not matter
    to Adam, and so the factors begin with 1.
    """
    gradient = 1 - jnp.exp(-state["log_variance"]) * losses
    updates, adam = optax.adam(config.learning_rate).update(gradient, state["adam"])
    return rested(labelled, {"log_variance": state["log_variance"] + updates, "adam": adam}, state)


def init_dwa(config: BalanceConfig, tasks: int):
    """No losses yet: a window that is not full, and two that are not known, which are 0."""
    zeros = jnp.zeros(tasks)
    return {"total": zeros, "count": zeros, "steps": jnp.int32(0), "last": zeros, "before": zeros}


def dwa(config: BalanceConfig, tasks: tuple[str, ...], state, share: Float[Array, ""]) -> Float[Array, "*t"]:
    """In proportion to exp(last / before / temperature), with the mean losses of the last two windows; 1 on average."""
    known = (state["before"] > 0) & (state["last"] > 0)
    ratio = jnp.where(known, state["last"] / jnp.where(known, state["before"], 1), 1)
    return len(tasks) * jax.nn.softmax(ratio / config.temperature)


def update_dwa(config: BalanceConfig, state, losses: Float[Array, "*t"], labelled: Bool[Array, "*t"]):
    """Adds the losses to the window; when it is full, it is the last one, and a new one begins."""
    total = state["total"] + jnp.where(labelled, losses, 0)
    count = state["count"] + labelled
    steps = state["steps"] + 1
    full = steps >= config.window
    done = full & (count > 0)  # a task that had no label in a whole window keeps its two
    return {
        "total": jnp.where(full, 0, total),
        "count": jnp.where(full, 0, count),
        "steps": jnp.where(full, 0, steps),
        "last": jnp.where(done, total / jnp.maximum(count, 1), state["last"]),
        "before": jnp.where(done, state["last"], state["before"]),
    }

"""Task balancing: factors on the losses of the tasks, beside the weights that the config gives them.

===============  ======================================================================================================
``fixed``        1: the weights alone
``schedule``     curves over the steps, of the config
``uncertainty``  1 / the variance of each task, which is learned (Kendall, Gal and Cipolla, arXiv 1705.07115)
``dwa``          more for a loss that falls slowly: dynamic weight average (Liu, Johns and Davison, arXiv 1803.10704)
``gradnorm``     tasks that learn slowly get longer gradients (Chen et al., arXiv 1711.02257)
``pcgrad``       what contradicts another task's gradient is taken out (Yu et al., arXiv 2001.06782)
``cagrad``       the task that gains least gains all it can, near the mean gradient (Liu et al., arXiv 2110.14048)
``nash``         the bargain of the tasks: each gains in proportion to what it has (Navon et al., arXiv 2202.01017)
===============  ======================================================================================================

The first four go by the losses and cost nothing. The others go by the gradients of the tasks with respect to what they
share, everything outside of the heads, and each of them has its own backward pass. All that they need of the gradients
are the products of one with another, and what they give is a factor for each; so one interface serves all. A head gets
the gradient of its task as it is; with ``gradnorm``, whose factors are those of the losses, times the factor.

A task without a label in the batch takes no part in that step. Losses are those of the config, times their weights.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ramjax.config import BalanceConfig, Config, ConfigError
from ramjax.steps.balancing import by_gradients, by_losses
from ramjax.tasks import make_tasks

State = Mapping[str, Any]
"""What a balancer remembers, a dict of arrays; empty for nothing."""


@dataclasses.dataclass(frozen=True)
class ByLosses:
    """A balancer that knows its factors before the step.

    Attributes:
      init: the state before the first step, of the config and the number of tasks.
      factors: of the tasks, float32 (tasks,), from the config, the names of the tasks, the state, and the share of all
        steps that are done.
      update: the state after a step, from the config, the state, the losses and which tasks had labels.
    """

    init: Callable[[BalanceConfig, int], State]
    factors: Callable[[BalanceConfig, tuple[str, ...], State, Float[Array, ""]], Float[Array, "*t"]]
    update: Callable[[BalanceConfig, State, Float[Array, "*t"], Bool[Array, "*t"]], State]


@dataclasses.dataclass(frozen=True)
class ByGradients:
    """A balancer that takes the gradients of the tasks.

    Attributes:
      init: as of `ByLosses`.
      combine: the factors of the tasks' gradients, float32 (tasks,), 0 for those without labels, and the new state;
        from the config, the state, what the step `Observed`, and a key for random numbers.
      weighs_heads: whether the factors are those of the losses, and hold for the heads, too.
    """

    init: Callable[[BalanceConfig, int], State]
    combine: Callable[[BalanceConfig, State, by_gradients.Observed, jax.Array], tuple[Float[Array, "*t"], State]]
    weighs_heads: bool = False


def _nothing(config: BalanceConfig, tasks: int) -> State:
    return {}


BALANCERS: dict[str, ByLosses | ByGradients] = {
    "fixed": ByLosses(_nothing, by_losses.equal, by_losses.unchanged),
    "schedule": ByLosses(_nothing, by_losses.of_curves, by_losses.unchanged),
    "uncertainty": ByLosses(by_losses.init_uncertainty, by_losses.uncertainty, by_losses.update_uncertainty),
    "dwa": ByLosses(by_losses.init_dwa, by_losses.dwa, by_losses.update_dwa),
    "gradnorm": ByGradients(by_gradients.init_gradnorm, by_gradients.gradnorm, weighs_heads=True),
    "pcgrad": ByGradients(_nothing, by_gradients.pcgrad),
    "cagrad": ByGradients(_nothing, by_gradients.cagrad),
    "nash": ByGradients(_nothing, by_gradients.nash),
}
"""By their name in `balance.method`."""


def init_balance(config: Config) -> State:
    """The state of the balancer before the first step; empty for those that remember nothing.

    Raises:
      ConfigError: a curve is of no task.
    """
    check_curves(config.balance, tuple(task.name for task in make_tasks(config)))
    return BALANCERS[config.balance.method].init(config.balance, len(config.tasks))


def check_curves(config: BalanceConfig, tasks: tuple[str, ...]) -> None:
    """Raises ConfigError where a curve is of no task."""
    for curve in config.curves:
        if config.points(curve)[0] not in tasks:
            raise ConfigError(f"balance.curves has {curve!r}, but tasks is {', '.join(tasks)}; name one of these.")


def gram(each: Any) -> Float[Array, "t t"]:
    """The products of the tasks' gradients, each with each, float32.

    Args:
      each: a tree of gradients, each leaf (tasks, ...).
    """
    return sum(jnp.tensordot(leaf, leaf, [list(range(1, leaf.ndim))] * 2) for leaf in jax.tree.leaves(each))


def add_up(each: Any, factors: Float[Array, "*t"]) -> Any:
    """The sum of the tasks' gradients, each times its factor."""
    return jax.tree.map(lambda leaf: jnp.tensordot(factors, leaf, 1), each)

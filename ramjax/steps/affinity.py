"""Task affinity: how much the tasks help each other, measured while they are trained.

Two measures of each pair of tasks, on a batch:

- the cosine of their gradients with respect to what they share, everything outside of the heads: above 0, a step for
  one is a step for the other too, to first order;
- what a step of one task does to the loss of another: 1 - loss after / loss before, where the step is one of gradient
  descent of the task's own gradient (Fifty et al., arXiv 2109.04617). Above 0, the task helps. Steps of all tasks have
  the same length, `STEP` of that of the shared parameters, so that tasks compare whatever the scale of their losses.

For the tasks of `affinity.parts` there is also the cosine of each part's gradient, such as that of a single score, with
the gradient of each task.

This costs a forward and a backward pass for each task, and another forward pass for each, on the steps at which it is
done, and a forward and a backward pass for each part. It changes nothing of the training.
"""

import functools
import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax

from ramjax.config import Config, ConfigError
from ramjax.steps.balancing import gram
from ramjax.steps.batches import vary_boxes
from ramjax.steps.train import make_gradient, make_losses
from ramjax.tasks import Task, make_tasks

STEP = 1e-3
"""Length of the step that a task takes, relative to that of the shared parameters."""

_TINY = 1e-12


def make_affinity(config: Config) -> Callable[..., dict[str, jax.Array]]:
    """Returns ``affinity(state, batch, seed=config.seed) -> metrics``, float32 scalars.

    ``cosine/<a>/<b>`` for each pair, and ``transfer/<a>/<b>`` for each ordered pair and each task itself: what a step
    of a does to the loss of b. ``cosine/<a>.<part>/<b>`` for each part of a in `affinity.parts` and each task b. Where
    one of the two has no label in the batch, it is NaN.

    Raises:
      ConfigError: a task of `affinity.parts` is not trained, or has no parts.
    """
    tasks = make_tasks(config)
    names = [task.name for task in tasks]
    divided = _divided(config, tasks)
    gradient, losses_of = make_gradient(config, each=True), make_losses(config)
    gradient_of_sum = make_gradient(config)

    def affinity(state, batch, seed=config.seed):
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        batch = vary_boxes(tasks, key, batch)
        each, _, labelled, _ = gradient(state.params, state.variables, key, batch)
        shared = {part: leaves for part, leaves in each.items() if part != "heads"}
        products = gram(shared)
        lengths = jnp.sqrt(jnp.maximum(jnp.diagonal(products), _TINY))
        of_params = optax.tree.norm({part: state.params[part] for part in shared})

        def losses_after(number):
            factor = -STEP * of_params / lengths[number]
            moved = {
                part: jax.tree.map(lambda leaf, grads: leaf + factor * grads[number], state.params[part], leaves)
                for part, leaves in shared.items()
            }
            losses = losses_of(state.params | moved, state.variables, key, batch)
            return jnp.stack([losses[name] for name in names])

        losses = losses_of(state.params, state.variables, key, batch)
        before = jnp.stack([losses[name] for name in names])
        after = jax.lax.map(losses_after, jnp.arange(len(names)))
        transfer = 1 - after / jnp.maximum(before, _TINY)
        metrics = {}
        for (i, a), (j, b) in itertools.product(enumerate(names), repeat=2):
            known = labelled[a] & labelled[b]
            metrics[f"transfer/{a}/{b}"] = jnp.where(known, transfer[i, j], jnp.nan)
            if i < j:
                metrics[f"cosine/{a}/{b}"] = jnp.where(known, products[i, j] / (lengths[i] * lengths[j]), jnp.nan)

        def cosines(task, kept):
            factors = {name: float(name == task.name) for name in names}
            alone = task.only(batch, kept)
            grads, _, known, _ = gradient_of_sum(state.params, state.variables, key, alone, factors)
            grads = {part: grads[part] for part in shared}
            products = jax.tree.map(lambda leaves, leaf: jnp.tensordot(leaves, leaf, leaf.ndim), shared, grads)
            length = jnp.maximum(optax.tree.norm(grads), jnp.sqrt(_TINY))
            return jnp.where(known[task.name], sum(jax.tree.leaves(products)) / lengths / length, jnp.nan)

        for task in divided:
            found = jax.lax.map(functools.partial(cosines, task), jnp.eye(len(task.learned_parts), dtype=bool))
            for (i, part), (j, b) in itertools.product(enumerate(task.learned_parts), enumerate(names)):
                metrics[f"cosine/{task.name}.{part}/{b}"] = jnp.where(labelled[b], found[i, j], jnp.nan)
        return metrics

    return affinity


def _divided(config: Config, tasks: Sequence[Task]) -> list[Task]:
    """The tasks of `affinity.parts`."""
    found = [task for task in tasks if task.learned_parts]
    for name in config.affinity.parts:
        if name not in {task.name for task in found}:
            fitting = ", ".join(task.name for task in found) or "none"
            raise ConfigError(
                f"affinity.parts has {name}, but of tasks ({', '.join(task.name for task in tasks)}) those with parts "
                f"are: {fitting}; name some of these."
            )
    return [task for task in found if task.name in config.affinity.parts]

"""One training step, as a pure function of the state and a batch; whoever jits it decides on shardings and donation."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ramjax.config import Config
from ramjax.steps.optimizer import make_optimizer, make_schedule
from ramjax.steps.state import TrainState, make_apply
from ramjax.tasks import make_tasks
from ramjax.tasks.base import Batch, Term

SHOWN_BOXES = "shown_boxes"
"""The boxes that the heads are given in training, in the batch beside the annotated ones."""


def make_train_step(config: Config) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """Returns ``step(state, batch) -> (state, metrics)``.

    Metrics are float32 scalars: ``loss``, ``loss/<task>`` (unweighted), ``grad_norm`` and ``learning_rate``.
    A batch without any label of a task leaves that task's head as it is: parameters, moments and average.
    """
    tasks = make_tasks(config)
    optimizer = make_optimizer(config.optimizer, config.train.steps, [task.name for task in tasks])
    schedule = make_schedule(config.optimizer, config.train.steps)
    gradient = _make_gradient(config)

    def train_step(state, batch):
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        if "boxes" in batch:
            boxes = batch["boxes"]
            for task in tasks:
                boxes = task.vary_boxes(key, boxes)
            batch = {**batch, SHOWN_BOXES: boxes}
        grads, losses, labelled = gradient(state.params, batch)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params, labelled=labelled)
        params = optax.apply_updates(state.params, updates)
        # Early averages forget the random start sooner: the decay rises with the step.
        decay = jnp.minimum(config.optimizer.ema_decay, (1.0 + state.step) / (10.0 + state.step))
        decay = jnp.where(config.optimizer.ema_decay > 0, decay, 0.0)
        ema_params = optax.incremental_update(params, state.ema_params, 1 - decay)
        ema_params["heads"] = {
            name: jax.tree.map(functools.partial(jnp.where, labelled[name]), head, state.ema_params["heads"][name])
            for name, head in ema_params["heads"].items()
        }
        metrics = {
            "loss": sum(task.weight * losses[task.name] for task in tasks),
            "grad_norm": optax.tree.norm(grads),
            "learning_rate": jnp.float32(schedule(state.step)),
        }
        metrics |= {f"loss/{name}": value for name, value in losses.items()}
        return TrainState(step=state.step + 1, params=params, opt_state=opt_state, ema_params=ema_params), metrics

    return train_step


def _make_gradient(config: Config) -> Callable[[Any, Batch], tuple[Any, dict[str, jax.Array], dict[str, jax.Array]]]:
    """Returns ``gradient(params, batch) -> (grads, losses, labelled)``: of the total loss, and what each task adds.

    The batch is taken in `config.train.accumulation_steps` parts. A term's count depends on the labels alone, so that
    those of the whole batch are known before the first part: the parts' gradients add up to that of the whole batch,
    however its labels are spread. `grads` are float32; `labelled` tells whether the batch has any label of a task.
    """
    tasks, apply, parts = make_tasks(config), make_apply(config), config.train.accumulation_steps

    def terms(params, batch):
        outputs = apply(params, batch["image"], batch.get(SHOWN_BOXES))
        return {task.name: task.loss(outputs[task.name], batch) for task in tasks}

    def counts(params, batch):
        shapes = jax.eval_shape(apply, params, batch["image"], batch.get(SHOWN_BOXES))
        blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)  # The counts do not look at it.
        return {task.name: [term.count for term in task.loss(blank[task.name], batch)] for task in tasks}

    def gradient(params, batch):
        of_batch = counts(params, batch)

        def loss(params, part):
            losses = {
                name: sum(Term(term.total, count).mean() for term, count in zip(of_part, of_batch[name], strict=True))
                for name, of_part in terms(params, part).items()
            }
            return sum(task.weight * losses[task.name] for task in tasks), losses

        def add_part(sums, part):
            return jax.tree.map(jnp.add, sums, jax.grad(loss, has_aux=True)(params, part)), None

        if parts == 1:  # On a CPU, even a loop of one takes a fifth more time.
            grads, losses = jax.grad(loss, has_aux=True)(params, batch)
        else:
            zeros = jax.tree.map(jnp.zeros_like, params), {task.name: jnp.zeros(()) for task in tasks}
            (grads, losses), _ = jax.lax.scan(add_part, zeros, _split(batch, parts))
        return grads, losses, {name: sum(of_task) > 0 for name, of_task in of_batch.items()}

    return gradient


def _split(batch: Batch, parts: int) -> Batch:
    """(b, ...) to (parts, b / parts, ...). Each part has some of every device's rows, so that none has to move."""
    return {
        name: value.reshape(value.shape[0] // parts, parts, *value.shape[1:]).swapaxes(0, 1)
        for name, value in batch.items()
    }

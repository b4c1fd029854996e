"""One step of training, evaluation and prediction, as pure functions of the state and a batch.

They are made from a `Config` and not yet jitted: the loop decides on shardings and donation.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from ramjax.config import Config
from ramjax.models.network import MultiTaskNetwork
from ramjax.tasks import make_tasks
from ramjax.tasks.base import Batch
from ramjax.tasks.scores import jitter_boxes
from ramjax.training.optimizer import make_optimizer, make_schedule


@flax.struct.dataclass
class TrainState:
    """All that training changes.

    Attributes:
      step: int32, optimiser steps taken.
      params: float32 parameters.
      opt_state: of the optimiser.
      ema_params: exponential moving average of `params`, used in evaluation.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    ema_params: Any


def init_state(config: Config) -> TrainState:
    """Returns the state before the first step, a function of the config alone; jit it with the shardings you want."""
    model = MultiTaskNetwork(config.model, make_tasks(config), rngs=nnx.Rngs(config.seed))
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    optimizer = make_optimizer(config.optimizer, config.train.steps, config.tasks)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        ema_params=jax.tree.map(jnp.copy, params),
    )


def make_train_step(config: Config) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """Returns ``step(state, batch) -> (state, metrics)``.

    Metrics are float32 scalars: ``loss``, ``loss/<task>`` (unweighted), ``grad_norm`` and ``learning_rate``.
    A batch without any label of a task leaves that task's head as it is: parameters, moments and average.
    """
    tasks, apply = make_tasks(config), _make_apply(config)
    optimizer = make_optimizer(config.optimizer, config.train.steps, config.tasks)
    schedule = make_schedule(config.optimizer, config.train.steps)

    def loss_of(params, batch, key):
        boxes = jitter_boxes(key, batch["boxes"], config.scores.jitter)
        outputs = apply(params, batch["image"], boxes)
        terms = {task.name: task.loss(outputs[task.name], batch) for task in tasks}
        losses = {name: sum(term.mean() for term in of_task) for name, of_task in terms.items()}
        labelled = {name: sum(term.count for term in of_task) > 0 for name, of_task in terms.items()}
        return sum(task.weight * losses[task.name] for task in tasks), (losses, labelled)

    def train_step(state, batch):
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        (loss, (losses, labelled)), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params, batch, key)
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
            "loss": loss,
            "grad_norm": optax.tree.norm(grads),
            "learning_rate": jnp.float32(schedule(state.step)),
        }
        metrics |= {f"loss/{name}": value for name, value in losses.items()}
        return TrainState(step=state.step + 1, params=params, opt_state=opt_state, ema_params=ema_params), metrics

    return train_step


def make_eval_step(config: Config) -> Callable[[TrainState, Batch], dict[str, jax.Array]]:
    """Returns ``step(state, batch) -> counts``, arrays (b, ...) named ``<task>/<count>``, of the averaged parameters.

    Scores are read at the boxes the network finds itself; without a joints task, at the annotated ones.
    """
    tasks, apply = make_tasks(config), _make_apply(config)

    def eval_step(state, batch):
        outputs = apply(state.ema_params, batch["image"], None if "joints" in config.tasks else batch["boxes"])
        return {
            f"{task.name}/{name}": value
            for task in tasks
            for name, value in task.counts(outputs[task.name], batch).items()
        }

    return eval_step


def make_predict_step(config: Config) -> Callable[..., dict[str, jax.Array]]:
    """Returns ``predict(state, image, boxes=None) -> predictions``, each (b, ...), of the averaged parameters.

    Without a joints task, scores need `boxes`; where there are none, they are left out.
    """
    tasks, apply = make_tasks(config), _make_apply(config)

    def predict(state, image, boxes=None):
        able = [task for task in tasks if task.name != "scores" or boxes is not None or "joints" in config.tasks]
        outputs = apply(state.ema_params, image, boxes, heads=[task.name for task in able])
        predictions = {}
        for task in able:
            predictions |= task.predict(outputs[task.name])
        return predictions

    return predict


def summarize(config: Config, counts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """Returns ``<task>/<metric>`` and ``<task>/<metric>/n`` from the eval step's counts, batch after batch."""
    whole = {name: np.concatenate([batch[name] for batch in counts]) for name in counts[0]}
    metrics = {}
    for task in make_tasks(config):
        mine = {name.removeprefix(f"{task.name}/"): v for name, v in whole.items() if name.startswith(f"{task.name}/")}
        metrics |= {f"{task.name}/{name}": value for name, value in task.summarize(mine).items()}
    return metrics


def _make_apply(config: Config) -> Callable[..., dict[str, dict[str, jax.Array]]]:
    def network():
        return MultiTaskNetwork(config.model, make_tasks(config), rngs=nnx.Rngs(0))

    def apply(params, image, boxes=None, heads=None):
        graphdef, state = nnx.split(nnx.eval_shape(network), nnx.Param)
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(graphdef, state)(image, boxes, heads)

    return apply

"""One training step, as a pure function of the state and a batch. The caller jits it, with shardings and donation."""

import contextlib
import functools
import io
import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ramjax.config import Config
from ramjax.steps.balancing import BALANCERS, ByGradients, add_up, gram
from ramjax.steps.balancing.by_gradients import Observed
from ramjax.steps.batches import SHOWN_BOXES, split, vary_boxes
from ramjax.steps.optimizer import average, make_optimizer, make_schedule, stop_frozen
from ramjax.steps.state import TrainState, make_train_apply
from ramjax.steps.teacher import make_teacher
from ramjax.tasks import make_tasks
from ramjax.tasks.base import Batch, Term
from ramjax.tasks.consistency import terms_of


def make_train_step(config: Config) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
    """Returns ``step(state, batch, seed=config.seed) -> (state, metrics)``.

    The seed of all random numbers, uint32, is an argument so that runs that differ in it alone share a program.

    Metrics are float32 scalars: ``loss``, ``loss/<task>`` (unweighted), ``grad_norm`` and ``learning_rate``; and
    ``factor/<task>``, where the balance of the tasks is not fixed.
    A batch without any label of a task does not change the head of that task: its parameters, variables, moments and
    averages.

    The averages are of the parameters and, with the same decay, of the variables that are floats: the statistics of
    averaged parameters are close to the average of their statistics (as in timm's `ModelEmaV2`). Other variables, such
    as counts, are taken as they are.
    """
    tasks = make_tasks(config)
    optimizer = make_optimizer(config.optimizer, config.train.steps, [task.name for task in tasks])
    schedule = make_schedule(config.optimizer, config.train.steps)
    gradient, teach = make_balanced_gradient(config), make_teacher(config)

    def train_step(state, batch, seed=config.seed):
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        batch = teach(state, key, vary_boxes(tasks, key, batch))
        grads, losses, labelled, variables, factors, balance = gradient(state, key, batch)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params, labelled=labelled)
        params = optax.apply_updates(state.params, updates)
        # Early averages forget the random start sooner: the decay rises with the step.
        decay = jnp.minimum(config.optimizer.ema_decay, (1.0 + state.step) / (10.0 + state.step))
        decay = jnp.where(config.optimizer.ema_decay > 0, decay, 0.0)
        ema_params = average(config.optimizer, state.ema_params, params, opt_state, decay)
        ema_variables = jax.tree.map(
            lambda new, old: optax.incremental_update(new, old, 1 - decay) if _is_float(new) else new,
            variables,
            state.ema_variables,
        )
        metrics = {
            "loss": sum(task.weight * losses[task.name] for task in tasks),
            "grad_norm": optax.tree.norm(grads),
            "learning_rate": jnp.float32(schedule(state.step)),
        }
        metrics |= {f"loss/{name}": value for name, value in losses.items()}
        metrics |= {f"factor/{name}": value for name, value in factors.items()}
        after = TrainState(
            step=state.step + 1,
            params=params,
            opt_state=opt_state,
            ema_params=_unlabelled_unchanged(labelled, ema_params, state.ema_params),
            variables=_unlabelled_unchanged(labelled, variables, state.variables),
            ema_variables=_unlabelled_unchanged(labelled, ema_variables, state.ema_variables),
            balance=balance,
        )
        return after, metrics

    return train_step


def make_losses(config: Config) -> Callable[[Any, Any, jax.Array, Batch], dict[str, jax.Array]]:
    """Returns ``losses(params, variables, key, batch) -> {task: loss}`` of a batch taken at once, in training."""
    tasks, apply = make_tasks(config), make_train_apply(config)

    def losses(params, variables, key, batch):
        outputs, _ = apply(params, variables, jax.random.fold_in(key, 0), batch["image"], batch.get(SHOWN_BOXES))
        return {task.name: sum(term.mean() for term in task.loss(outputs[task.name], batch)) for task in tasks}

    return losses


def make_balanced_gradient(config: Config) -> Callable[[TrainState, jax.Array, Batch], tuple[Any, ...]]:
    """Returns ``gradient(state, key, batch) -> (grads, losses, labelled, variables, factors, balance)``.

    As `make_gradient`, with the tasks balanced as the config says: `factors` by the names of the tasks, empty where the
    balance is fixed; `balance` is the new state of the balancer.
    """
    tasks = make_tasks(config)
    names, weights = tuple(task.name for task in tasks), jnp.array([task.weight for task in tasks])
    balancer = BALANCERS[config.balance.method]
    if config.balance.method == "fixed":
        plain = make_gradient(config)
        return lambda state, key, batch: (*plain(state.params, state.variables, key, batch), {}, state.balance)

    def in_order(values):
        return jnp.stack([values[name] for name in names])

    def by_losses(state, key, batch):
        share = state.step / max(config.train.steps, 1)
        factors = balancer.factors(config.balance, names, state.balance, share)
        by_name = dict(zip(names, factors, strict=True))
        grads, losses, labelled, variables = gradient(state.params, state.variables, key, batch, by_name)
        balance = balancer.update(config.balance, state.balance, in_order(losses) * weights, in_order(labelled))
        return grads, losses, labelled, variables, by_name, balance

    def by_gradients(state, key, batch):
        each, losses, labelled, variables = gradient(state.params, state.variables, key, batch)
        shared = {part: leaves for part, leaves in each.items() if part != "heads"}
        seen = Observed(gram(shared), in_order(losses) * weights, in_order(labelled))
        of_balance = jax.random.fold_in(key, zlib.crc32(b"balance"))
        factors, balance = balancer.combine(config.balance, state.balance, seen, of_balance)
        of_heads = factors if balancer.weighs_heads else jnp.ones_like(factors)
        grads = {part: add_up(leaves, of_heads if part == "heads" else factors) for part, leaves in each.items()}
        return grads, losses, labelled, variables, dict(zip(names, factors, strict=True)), balance

    if isinstance(balancer, ByGradients):
        gradient = make_gradient(config, each=True)
        return by_gradients
    gradient = make_gradient(config)
    return by_losses


def make_gradient(
    config: Config, each: bool = False
) -> Callable[..., tuple[Any, dict[str, jax.Array], dict[str, jax.Array], Any]]:
    """Returns ``gradient(params, variables, key, batch, factors=None) -> (grads, losses, labelled, variables)``.

    The gradient is that of the total loss, in which the loss of each task has its weight, and its factor where these
    are given by the names of the tasks. With `each` it is that of each task's weighted loss instead, with a leading
    axis (tasks, ...), which takes a backward pass for each. `losses` has the loss of each task, and `variables` are
    the network's variables after the step. `key` seeds all random numbers. Where heads need boxes, the batch has them
    as `SHOWN_BOXES`.

    The batch is processed in `config.train.accumulation_steps` parts. The count of a term depends on the labels alone,
    so the counts of the whole batch are known before the first part. So the gradients of the parts add up to that of
    the whole batch, however the labels are spread. Variables are passed from part to part, and each part has its own
    random numbers. `grads` are float32; `labelled` tells whether the batch has any label of a task.
    """
    tasks, apply, parts = make_tasks(config), make_train_apply(config), config.train.accumulation_steps

    def counts(params, variables, key, batch):
        shapes, _ = jax.eval_shape(apply, params, variables, key, batch["image"], batch.get(SHOWN_BOXES))
        blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)  # The counts do not look at it.
        with contextlib.redirect_stdout(io.StringIO()):  # What a loss prints is printed when it is really taken.
            return _counts(terms_of(tasks, blank, batch))

    def gradient(params, variables, key, batch, factors=None):
        of_batch = counts(params, variables, key, batch) if parts > 1 else None

        def loss(params, variables, number, part):
            of_part = jax.random.fold_in(key, number)
            params = stop_frozen(config.optimizer, params)
            outputs, variables = apply(params, variables, of_part, part["image"], part.get(SHOWN_BOXES))
            terms = terms_of(tasks, outputs, part)
            whole = of_batch or _counts(terms)
            losses = {
                name: sum(Term(term.total, n).mean() for term, n in zip(of_task, whole[name], strict=True))
                for name, of_task in terms.items()
            }
            weighted = [task.weight * losses[task.name] for task in tasks]
            if factors is not None:
                weighted = [factors[task.name] * value for task, value in zip(tasks, weighted, strict=True)]
            return jnp.stack(weighted) if each else sum(weighted), (losses, variables, whole)

        def differentiate(params, variables, number, part):
            if not each:
                return jax.grad(loss, has_aux=True)(params, variables, number, part)
            _, pull, kept = jax.vjp(lambda params: loss(params, variables, number, part), params, has_aux=True)
            return jax.lax.map(lambda one: pull(one)[0], jnp.eye(len(tasks))), kept

        def add_part(carried, numbered):
            sums, variables = carried
            grads, (losses, variables, _) = differentiate(params, variables, *numbered)
            return (jax.tree.map(jnp.add, sums, (grads, losses)), variables), None

        if parts == 1:  # On a CPU, even a loop of one takes a fifth more time.
            grads, (losses, variables, of_batch) = differentiate(params, variables, 0, batch)
        else:
            lead = (len(tasks),) if each else ()
            of_params = jax.tree.map(lambda leaf: jnp.zeros((*lead, *leaf.shape), leaf.dtype), params)
            zeros = of_params, {task.name: jnp.zeros(()) for task in tasks}
            numbered = jnp.arange(parts), split(batch, parts)
            ((grads, losses), variables), _ = jax.lax.scan(add_part, (zeros, variables), numbered)
        return grads, losses, {name: sum(of_task) > 0 for name, of_task in of_batch.items()}, variables

    return gradient


def _counts(terms: dict[str, list[Term]]) -> dict[str, list[jax.Array]]:
    return {name: [term.count for term in of_task] for name, of_task in terms.items()}


def _unlabelled_unchanged(labelled: dict[str, jax.Array], after: Any, before: Any) -> Any:
    """The parameters or variables after a step, those of heads without a label as they were before."""
    if "heads" not in after:  # None of them has a variable.
        return after
    heads = {
        name: jax.tree.map(functools.partial(jnp.where, labelled[name]), head, before["heads"][name])
        for name, head in after["heads"].items()
    }
    return {**after, "heads": heads}


def _is_float(leaf: jax.Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating)

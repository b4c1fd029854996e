"""One validation step, as a pure function of the state and a batch, and what the counts of all batches come to."""

from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from ramjax.config import Config
from ramjax.steps.state import TrainState, make_apply
from ramjax.tasks import make_tasks
from ramjax.tasks.base import Batch


def make_eval_step(config: Config) -> Callable[[TrainState, Batch], dict[str, jax.Array]]:
    """Returns ``step(state, batch) -> counts``, arrays (b, ...) named ``<task>/<count>``, of the averaged parameters.

    Scores are read at the boxes the network finds itself; without a joints task, at the annotated ones.
    """
    tasks, apply = make_tasks(config), make_apply(config)

    def eval_step(state, batch):
        boxes = None if "joints" in config.tasks else batch["boxes"]
        outputs = apply(state.ema_params, batch["image"], boxes, variables=state.ema_variables)
        return {
            f"{task.name}/{name}": value
            for task in tasks
            for name, value in task.counts(outputs[task.name], batch).items()
        }

    return eval_step


def summarize(config: Config, counts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """Returns ``<task>/<metric>`` and ``<task>/<metric>/n`` from the eval step's counts, batch after batch."""
    whole = {name: np.concatenate([batch[name] for batch in counts]) for name in counts[0]}
    metrics = {}
    for task in make_tasks(config):
        mine = {name.removeprefix(f"{task.name}/"): v for name, v in whole.items() if name.startswith(f"{task.name}/")}
        metrics |= {f"{task.name}/{name}": value for name, value in task.summarize(mine).items()}
    return metrics

"""One validation step, as a pure function of the state and a batch."""

from collections.abc import Callable

import jax

from ramjax.config import Config
from ramjax.steps.state import TrainState, make_apply
from ramjax.tasks import make_tasks
from ramjax.tasks.base import Batch


def make_eval_step(config: Config) -> Callable[[TrainState, Batch], dict[str, jax.Array]]:
    """Returns ``step(state, batch) -> observed``, arrays (b, ...) named ``<task>/<name>``, of the averaged parameters.

    Heads that need boxes get those that the network finds itself; the annotated ones where no task finds any.
    """
    tasks, apply = make_tasks(config), make_apply(config)
    finds_boxes = any(task.finds_boxes for task in tasks)

    def eval_step(state, batch):
        boxes = None if finds_boxes else batch.get("boxes")
        outputs = apply(state.ema_params, batch["image"], boxes, variables=state.ema_variables)
        return {
            f"{task.name}/{name}": value
            for task in tasks
            for name, value in task.observe(outputs[task.name], batch).items()
        }

    return eval_step

"""Prediction, as a pure function of the state and images."""

from collections.abc import Callable

import jax

from ramjax.config import Config
from ramjax.steps.state import make_apply
from ramjax.tasks import make_tasks, needs_boxes


def make_predict_step(config: Config) -> Callable[..., dict[str, jax.Array]]:
    """Returns ``predict(state, image, boxes=None) -> predictions``, each (b, ...), of the averaged parameters.

    A task that needs boxes is left out where none are given and no other task finds any.
    """
    tasks, apply = make_tasks(config), make_apply(config)
    finds_boxes = any(task.finds_boxes for task in tasks)

    def predict(state, image, boxes=None):
        able = [task for task in tasks if boxes is not None or finds_boxes or not needs_boxes(task, tasks)]
        heads = [task.name for task in able]
        outputs = apply(state.ema_params, image, boxes, heads, variables=state.ema_variables)
        predictions = {}
        for task in able:
            predictions |= task.predict(outputs[task.name])
        return predictions

    return predict

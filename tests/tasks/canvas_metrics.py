"""What validation makes of the counts of one task."""

from collections.abc import Mapping

import numpy as np

from ramjax.evaluation.split_metrics import CANVAS
from ramjax.evaluation.validation import canvas_metrics_of
from ramjax.tasks import Task


def canvas_metrics(task: Task, counts: Mapping[str, np.ndarray]) -> dict[str, float]:
    """By name, without ``canvas/<task>/``."""
    metrics = canvas_metrics_of([task], "made", [{f"{task.name}/{name}": value for name, value in counts.items()}])
    return {name.removeprefix(f"{CANVAS}{task.name}/"): value for name, value in metrics.items()}

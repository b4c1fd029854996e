"""What all tasks of a network find in one radiograph, or what is annotated of it, task by task."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ramjax.data.grid import Grid
from ramjax.record import Record
from ramjax.tasks import TASKS
from ramjax.tasks.base import NotJudged, Task


@dataclasses.dataclass(frozen=True)
class Findings:
    """Of one radiograph.

    Attributes:
      by_task: the findings, by the task's name; those of tasks that have none are absent.
      not_judged: everything without an answer, and why; whole tasks first.
    """

    by_task: Mapping[str, Any]
    not_judged: tuple[NotJudged, ...] = ()

    def of(self, task: Task) -> Any:
        """The finding of a task, None where it has none."""
        return self.by_task.get(task.name)


def able(tasks: Sequence[Task], maps: Collection[str]) -> list[Task]:
    """The tasks whose predictions are all there; without boxes, a task that needs them predicts nothing."""
    return [task for task in tasks if all(name in maps for name in task.predictions)]


def reported(tasks: Sequence[Task]) -> list[Task]:
    """The tasks that a report has keys of: those of the network, and, without settings, those said to be absent."""
    trained = {task.name: task for task in tasks}
    known = [trained.pop(cls.name, None) or (cls(None) if cls.absent else None) for cls in TASKS]
    return [*filter(None, known), *trained.values()]


def with_boxes(tasks: Sequence[Task]) -> list[Task]:
    """The tasks; where some need boxes and none finds any, after the one of `TASKS` that would, without settings."""
    if any(task.finds_boxes for task in tasks) or not any("boxes" in task.needs for task in tasks):
        return list(tasks)
    return [next(cls(None) for cls in TASKS if cls.finds_boxes), *tasks]


def find(
    tasks: Sequence[Task],
    maps: Mapping[str, np.ndarray],
    grid: Grid,
    min_confidence: float,
    given: Mapping[str, Any] | None = None,
) -> Findings:
    """Carries the network's predictions for one canvas to the grid of the radiograph shown on it.

    Args:
      tasks: of the network.
      maps: the predictions, without the batch axis; those of tasks that could not be judged are absent.
      grid: of the radiograph's own pixels.
      min_confidence: what is found less surely is not judged.
      given: findings by task that are known without looking, for the tasks that need them.
    """
    by_task = dict(given or {})
    judged = {task.name for task in able(tasks, maps)} | by_task.keys()
    not_judged = [
        NotJudged("task", task.name, task.absent or "no task of the model finds the boxes that it needs")
        for task in reported(tasks)
        if task.name not in judged
    ]
    for task in able(tasks, maps):
        finding, unanswered = task.find(maps, grid, min_confidence, by_task)
        not_judged += unanswered
        if finding is not None:
            by_task[task.name] = finding
    return Findings(by_task, tuple(not_judged))


def annotated(tasks: Sequence[Task], record: Record) -> Findings:
    """What is annotated of a record that the tasks could have found."""
    found = {task.name: task.annotated(record) for task in tasks}
    return Findings({name: finding for name, finding in found.items() if finding is not None})

"""The tasks of the network, each of them one object: what it learns, predicts, measures and reports.

Used by `ramjax.steps` and all above it. A task of your own is not listed here: name it in `config.tasks` by its dotted
path, such as ``my_package.handedness.Handedness``.
"""

import dataclasses
import typing
from collections.abc import Callable, Iterable, Sequence

from flax import nnx

from ramjax.config import Config
from ramjax.tasks.base import Kind, Task, labels_of, measured_by, parts_of, predictions_of
from ramjax.tasks.bones import Bones
from ramjax.tasks.erosions import Erosions
from ramjax.tasks.joints import Joints
from ramjax.tasks.patient import Patient
from ramjax.tasks.positioning import Positioning
from ramjax.tasks.reconstruction import Reconstruction
from ramjax.tasks.scores import Scores
from ramjax.typed import ConfigError, build, import_class

__all__ = [
    "TASKS", "Bones", "Erosions", "Joints", "Patient", "Positioning", "Reconstruction", "Scores", "Task", "heads_of",
    "labels_of", "make_tasks", "measured_by", "parts_of", "predictions_of", "union_of",
]  # fmt: skip

TASKS: tuple[type[Task], ...] = (Bones, Erosions, Joints, Scores, Patient, Positioning, Reconstruction)
"""The tasks that have a group of their own in the config, in the order in which their heads are made."""


def make_tasks(config: Config) -> tuple[Task, ...]:
    """Returns the tasks that `config.tasks` names, in the order in which their heads run.

    That is the order of `TASKS`, then that of `config.tasks`, except that a task comes after those whose outputs it
    needs.

    Raises:
      ConfigError: a dotted path is not a task, a task needs another one that is missing, or two have the same name.
    """
    known = [task(getattr(config, task.name)) for task in TASKS if task.name in config.tasks]
    own = [_own(path, config) for path in config.tasks if "." in path]
    tasks = [*known, *own]
    names = [task.name for task in tasks]
    for task in tasks:
        if names.count(task.name) > 1:
            raise ConfigError(f"tasks is {config.tasks}; two of them are called {task.name}, name one of the two.")
        for needed in task.needs:
            if needed != "boxes" and needed not in names:
                raise ConfigError(f"tasks is {config.tasks}; {task.name} needs {needed}, so name that too.")
    _check_alone(tasks)
    ordered: list[Task] = []
    while tasks:
        ready = next((task for task in tasks if not _waits(task, tasks)), None)
        if ready is None:
            raise ConfigError(f"tasks is {config.tasks}; {' and '.join(t.name for t in tasks)} need each other.")
        ordered.append(ready)
        tasks.remove(ready)
    return tuple(ordered)


def needs_boxes(task: Task, tasks: Sequence[Task]) -> bool:
    """Whether a task needs boxes, itself or through the tasks that it needs."""
    needed = (other for other in tasks if other.name in task.needs)
    return "boxes" in task.needs or any(needs_boxes(other, tasks) for other in needed)


def heads_of(tasks: Sequence[Task]) -> dict[str, Callable[..., nnx.Module]]:
    """What `ramjax.models.network.MultiTaskNetwork` makes its heads by."""
    return {task.name: task.head for task in tasks}


def union_of(several: Iterable[Sequence[Task]]) -> tuple[Task, ...]:
    """Returns the tasks of several networks, each once: in the order of `TASKS`, then those from outside.

    Tasks of one name that measure the same, such as one and the same with another loss, are one.

    Raises:
      ConfigError: two tasks of one name measure something else.
    """
    found: dict[str, Task] = {}
    for task in (task for tasks in several for task in tasks):
        other = found.setdefault(task.name, task)
        if (dict(other.parts), other.headlines) != (dict(task.parts), task.headlines):
            raise ConfigError(f"{_path(other)} and {_path(task)} are both called {task.name}; rename one of them.")
    known = [task.name for task in TASKS]
    return tuple(sorted(found.values(), key=lambda it: known.index(it.name) if it.name in known else len(known)))


def _check_alone(tasks: Sequence[Task]) -> None:
    """Raises ConfigError where what there is to be once in a network is there twice, or a task has to be alone."""
    hiding = [task.name for task in tasks if task.hides]
    if hiding and len(tasks) > 1:
        raise ConfigError(
            f"tasks names {', '.join(task.name for task in tasks)}, but {hiding[0]} hides a part of the image from the "
            "network, so it is trained alone; name it alone, and start the others from its run (init.source)."
        )
    for what, of in (
        ("predict", lambda task: task.predictions),
        ("measure", lambda task: task.parts),
        ("learn from", lambda task: {name: None for labels in task.labels for name in labels.arrays}),
    ):
        owners: dict[str, Task] = {}
        for task in tasks:
            for name in of(task):
                other = owners.setdefault(name, task)
                if other is not task and not (what == "learn from" and _same_labels(other, task, name)):
                    raise ConfigError(
                        f"The tasks {other.name} and {task.name} both {what} {name}; rename one of the two."
                    )
    for what, doing in (
        ("finds_boxes", [task.name for task in tasks if task.finds_boxes]),
        ("confidence", [task.name for task in tasks if Kind.CONFIDENCE in task.predictions.values()]),
    ):
        if len(doing) > 1:
            raise ConfigError(f"The tasks {' and '.join(doing)} both have {what}; a network can have one such task.")


def _same_labels(one: Task, other: Task, name: str) -> bool:
    return [of for of in one.labels if name in of.arrays] == [of for of in other.labels if name in of.arrays]


def _path(task: Task) -> str:
    return f"{type(task).__module__}.{type(task).__name__}"


def _waits(task: Task, left: Sequence[Task]) -> bool:
    """Whether one of the tasks that are left has to come before."""
    others = [other for other in left if other is not task]
    return any(
        other.name in task.needs or ("boxes" in task.needs and other.finds_boxes and "boxes" not in other.needs)
        for other in others
    )


def _own(path: str, config: Config) -> Task:
    """A task from outside, with its settings from `config.own`."""
    cls = import_class(path, "tasks")
    if not (isinstance(cls, type) and issubclass(cls, Task)):
        raise ConfigError(f"tasks names {path}, which is no ramjax.tasks.Task; derive it from that.")
    settings = typing.get_type_hints(cls).get("config")
    if not dataclasses.is_dataclass(settings):
        raise ConfigError(f"{path} has no settings; give it a field config of a frozen dataclass with a weight.")
    return cls(build(settings, config.own.get(cls.name, {}), f"own.{cls.name}"))

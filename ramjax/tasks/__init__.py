"""The tasks of the network, each of them one object: what it learns, predicts, measures and reports.

Used by `ramjax.steps` and all above it. A task of your own is not listed here: name it in `config.tasks` by its dotted
path, such as ``my_package.handedness.Handedness``.
"""

import dataclasses
import typing
from collections.abc import Callable, Iterable, Sequence

from flax import nnx

from ramjax.config import Config
from ramjax.tasks.base import Task, labels_of, measured_by, parts_of, predictions_of
from ramjax.tasks.bones import Bones
from ramjax.tasks.erosions import Erosions
from ramjax.tasks.joints import Joints
from ramjax.tasks.patient import Patient
from ramjax.tasks.scores import Scores
from ramjax.typed import ConfigError, build, import_class

__all__ = [
    "TASKS", "Bones", "Erosions", "Joints", "Patient", "Scores", "Task", "heads_of", "labels_of", "make_tasks",
    "measured_by", "parts_of", "predictions_of", "union_of",
]  # fmt: skip

TASKS: tuple[type[Task], ...] = (Bones, Erosions, Joints, Scores, Patient)
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
    ordered: list[Task] = []
    while tasks:
        ready = next((task for task in tasks if not _waits(task, tasks)), None)
        if ready is None:
            raise ConfigError(f"tasks is {config.tasks}; {' and '.join(t.name for t in tasks)} need each other.")
        ordered.append(ready)
        tasks.remove(ready)
    return tuple(ordered)


def heads_of(tasks: Sequence[Task]) -> dict[str, Callable[..., nnx.Module]]:
    """What `ramjax.models.network.MultiTaskNetwork` makes its heads by."""
    return {task.name: task.head for task in tasks}


def union_of(several: Iterable[Sequence[Task]]) -> tuple[Task, ...]:
    """Returns the tasks of several networks, each once: in the order of `TASKS`, then those from outside.

    Raises:
      ConfigError: two different tasks share a name.
    """
    found: dict[str, Task] = {}
    for task in (task for tasks in several for task in tasks):
        other = found.setdefault(task.name, task)
        if type(other) is not type(task):
            raise ConfigError(f"{_path(other)} and {_path(task)} are both called {task.name}; rename one of them.")
    known = [task.name for task in TASKS]
    return tuple(sorted(found.values(), key=lambda it: known.index(it.name) if it.name in known else len(known)))


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

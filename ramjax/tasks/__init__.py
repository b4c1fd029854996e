"""The tasks of the network."""

from collections.abc import Callable, Sequence

from flax import nnx

from ramjax.config import Config
from ramjax.tasks.base import Task
from ramjax.tasks.bones.learning import Bones
from ramjax.tasks.erosions.learning import Erosions
from ramjax.tasks.joints.learning import Joints
from ramjax.tasks.scores.learning import Scores


def make_tasks(config: Config) -> tuple[Task, ...]:
    """Returns the tasks that `config.tasks` names, in the order in which their heads run: joints before scores."""
    known = {
        "bones": Bones(config.bones),
        "erosions": Erosions(config.erosions),
        "joints": Joints(config.joints),
        "scores": Scores(config.scores),
    }
    return tuple(task for name, task in known.items() if name in config.tasks)


def heads_of(tasks: Sequence[Task]) -> dict[str, Callable[..., nnx.Module]]:
    """What `ramjax.models.network.MultiTaskNetwork` makes its heads by."""
    return {task.name: task.head for task in tasks}

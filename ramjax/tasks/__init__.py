"""The tasks of the network."""

from ramjax.config import Config
from ramjax.tasks.base import Task
from ramjax.tasks.bones import Bones
from ramjax.tasks.erosions import Erosions
from ramjax.tasks.joints import Joints
from ramjax.tasks.scores import Scores


def make_tasks(config: Config) -> tuple[Task, ...]:
    """Returns the tasks that `config.tasks` names, in the order in which their heads run: joints before scores."""
    known = {
        "bones": Bones(config.bones),
        "erosions": Erosions(config.erosions),
        "joints": Joints(config.joints),
        "scores": Scores(config.scores),
    }
    return tuple(task for name, task in known.items() if name in config.tasks)

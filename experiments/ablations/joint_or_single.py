"""Does one network for all tasks do as well as one for each?

    python launch/sweep.py --config=experiments/ablations/joint_or_single.py --output=sweeps/joint --grid seed=0,1,2

Expected time: 8 minutes a run of all tasks, less for one of a single task. Each single task has as many steps as the
joint run, so that together they cost several times as much. The joint run also measures which tasks help each other.

Alone, the scores have no boxes but the annotated ones, which they are tested at, too; the joint network finds its own.
"""

from ml_collections import ConfigDict

from experiments.ablations import with_arm

ARMS = {
    "joint": {"affinity.every": 100},
    "bones": {"tasks": ("bones",)},
    "erosions": {"tasks": ("erosions",)},
    "joints": {"tasks": ("joints",)},
    "scores": {"tasks": ("scores",)},
}


def get_config(preset: str = "") -> ConfigDict:
    """Returns an arm by its name, the first one without it; see `experiments.ablations`."""
    return with_arm(preset, ARMS)

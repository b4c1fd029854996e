"""Which tasks help each other? Each pair and each triple of them beside all four.

    python launch/sweep.py --config=experiments/ablations/task_sets.py --output=sweeps/tasks --grid seed=0,1,2

Expected time: 8 minutes a run. What a task gains from another shows in its metrics in the arms with and without it;
joint_or_single.py has the single tasks.

Without the joints, the scores have no boxes but the annotated ones, which they are tested at, too.
"""

import itertools

from ml_collections import ConfigDict

from experiments.ablations import with_arm

TASKS = ("bones", "erosions", "joints", "scores")

ARMS = {"all": {}} | {
    "-".join(tasks): {"tasks": tasks} for size in (2, 3) for tasks in itertools.combinations(TASKS, size)
}


def get_config(preset: str = "") -> ConfigDict:
    """Returns an arm by its name, the first one without it; see `experiments.ablations`."""
    return with_arm(preset, ARMS)

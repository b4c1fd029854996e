"""Single-task baseline: the main job with only the joints head.

python -m ramjax.main --config=experiments/joints.py --workdir=runs/joints
"""

from ml_collections import ConfigDict

from experiments import multitask


def get_config(preset: str = "") -> ConfigDict:
    """Returns the experiment for a preset of experiments/multitask.py."""
    config = multitask.get_config(preset)
    config.tasks = ("joints",)
    return config

"""Single-task baseline: the main job with only the erosions head.

python -m ramjax.main --config=experiments/erosions.py --workdir=runs/erosions
"""

from ml_collections import ConfigDict

from experiments import multitask


def get_config(preset: str = "") -> ConfigDict:
    """Returns the experiment for a preset of experiments/multitask.py."""
    config = multitask.get_config(preset)
    config.tasks = ("erosions",)
    return config

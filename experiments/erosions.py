"""Single-task baseline: the main job with only the erosions head.

python -m ramjax.main --config=experiments/erosions.py --workdir=runs/erosions
"""

from ml_collections import ConfigDict

from experiments import multitask


def get_config(preset: str = "cpu") -> ConfigDict:
    config = multitask.get_config(preset)
    config.tasks = ("erosions",)
    return config

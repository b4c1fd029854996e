"""Single-task baseline: the main job with only the bones head.

python -m ramjax.main --config=experiments/bones.py --workdir=runs/bones
"""

from ml_collections import ConfigDict

from experiments import multitask


def get_config(preset: str = "") -> ConfigDict:
    """Returns the experiment for a preset of experiments/multitask.py."""
    config = multitask.get_config(preset)
    config.tasks = ("bones",)
    return config

"""All four tasks with the labels of a quarter of the patients; a mean teacher learns from the radiographs of all.

    python -m ramjax.main --config=experiments/semi_supervised.py --workdir=runs/semi_supervised

The runs to compare it with have the same labels and no teacher (``--config.teacher.weight=0``), the first also without
the other radiographs (``--config.data.labelled_fraction=1 --config.data.fraction=0.25``). docs/training.md says how to
take radiographs that have no labels at all.
"""

from ml_collections import ConfigDict

from experiments import multitask


def get_config(preset: str = "") -> ConfigDict:
    """Returns the experiment for a preset of experiments/multitask.py."""
    config = multitask.get_config(preset)
    config.data.labelled_fraction = 0.25
    config.teacher.weight = 1.0
    config.teacher.ramp_steps = config.train.steps // 5
    return config

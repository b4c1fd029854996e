"""Masked autoencoding: an encoder learns what hands look like from radiographs alone, without a label.

    python -m ramjax.main --config=experiments/pretrain_mae.py --workdir=runs/mae
    python -m ramjax.main --config=experiments/multitask.py --workdir=runs/from_mae \
      --config.init.source=runs/mae "--config.init.load=('^encoder/', '^decoder/')"

The second command begins the main job with its encoder and decoder. docs/training.md says how to take radiographs that
have no labels at all, and what there is of encoders.
"""

from ml_collections import ConfigDict

from experiments import multitask


def get_config(preset: str = "") -> ConfigDict:
    """Returns the experiment for a preset of experiments/multitask.py."""
    config = multitask.get_config(preset)
    config.tasks = ("reconstruction",)
    # What cannot be known of a hidden patch is not asked for.
    augment = config.data.augment
    augment.noise, augment.blur, augment.erase = 0.0, 0.0, 0.0
    config.optimizer.weight_decay = 0.05
    return config

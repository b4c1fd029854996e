"""The network that ships with ramjax: all tasks and the positioning, on synthetic hands of any sharpness.

python -m ramjax.main --config=experiments/release.py --workdir=runs/release
"""

from ml_collections import ConfigDict

from experiments import multitask


def get_config(preset: str = "") -> ConfigDict:
    """Returns the experiment."""
    config = multitask.get_config(preset)
    config.tasks = (*config.tasks, "positioning")
    # Real films are softer than synthetic ones, and some are sharpened.
    config.data.augment.blur, config.data.augment.resample = 2.5, 1.0
    config.data.augment.mirror, config.data.augment.wrist_crop = 0.3, 0.25
    config.optimizer.ema_decay = 0.998
    config.optimizer.warmup_steps = 100
    config.train.steps, config.train.eval_every, config.train.checkpoint_every = 3000, 500, 250
    return config

"""The main job in miniature: a few tiny hands and a few steps, under a minute, for tests and for trying changes.

python -m ramjax.main --config=experiments/debug.py --workdir=runs/debug
"""

from ml_collections import ConfigDict

from experiments import multitask


def get_config(preset: str = "") -> ConfigDict:
    """Returns the experiment for a preset of `multitask`, such as ``h1200+w600``."""
    return shrink(multitask.get_config(preset))


def shrink(config: ConfigDict) -> ConfigDict:
    """Makes any experiment small enough to try its code path in seconds; changes and returns `config`."""
    config.data.datasets = tuple(
        "ram_phantom/tiny" if dataset.startswith("ram_phantom") else dataset for dataset in config.data.datasets
    )
    config.data.batch_size = config.data.eval_batch_size = 2
    config.data.workers = 0
    config.data.canvas.height, config.data.canvas.width = 128, 96
    config.model.widths, config.model.blocks, config.model.decoder_width = (8, 16, 24), (1, 1, 1), 16
    config.scores.roi_size, config.scores.width = 16, 8
    config.optimizer.warmup_steps = 2
    config.train.steps, config.train.log_every, config.train.eval_every, config.train.checkpoint_every = 6, 2, 3, 3
    return config

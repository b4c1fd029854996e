"""All four tasks on synthetic hands: the main job.

    python -m ramjax.main --config=experiments/multitask.py --workdir=runs/multitask

`get_config("accelerator")` (``--config=experiments/multitask.py:accelerator``) is the preset for GPUs and TPUs.
"""

from ml_collections import ConfigDict

PRESETS = ("cpu", "accelerator")


def get_config(preset: str = "cpu") -> ConfigDict:
    """Returns the experiment for a preset of `PRESETS`."""
    if preset not in ("", *PRESETS):
        raise ValueError(f"Unknown preset {preset!r} of experiments/multitask.py; use one of {', '.join(PRESETS)}.")
    config = _cpu()
    if preset == "accelerator":
        _to_accelerator(config)
    return config


def _cpu() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.tasks = ("bones", "erosions", "joints", "scores")

    config.data = data = ConfigDict()
    data.datasets = ("ram_phantom/small",)
    data.weights = (1.0,)
    data.crops = 1
    data.data_dir = "data"
    data.train_split = "train"
    data.validation_split = "validation"
    data.test_split = "test"
    data.batch_size = 4
    data.eval_batch_size = 8
    data.workers = 0
    data.prefetch = 4
    data.canvas = ConfigDict(dict(height=448, width=320, sizing="fit", scale=1.0, mm_per_pixel=0.6, mirror_left=True))
    data.augment = ConfigDict(
        dict(
            rotation=15.0, scale=0.25, shift=0.06, stretch=0.08, wrist_crop=0.15, mirror=0.0, contrast=0.4,
            brightness=0.1, gamma=0.5, noise=0.03, blur=0.8, erase=0.2,
        )
    )  # fmt: skip

    config.model = ConfigDict(
        dict(stem_stride=4, widths=(32, 64, 96, 128, 160), blocks=(0, 1, 2, 2, 2), decoder_width=32, dtype="float32")
    )
    config.bones = ConfigDict(dict(weight=2.0))
    config.erosions = ConfigDict(dict(weight=6.0, variant="labels", positive_weight=10.0))
    config.joints = ConfigDict(dict(weight=0.3, sigma=1.0))
    config.scores = ConfigDict(
        dict(
            weight=1.5, ordinal="thresholds", roi_size=32, roi_margin=1.0, jitter=0.1, width=32, positive_weight=1.0,
        )
    )  # fmt: skip
    config.optimizer = ConfigDict(
        dict(
            learning_rate=3e-3, warmup_steps=50, final_fraction=0.01, weight_decay=1e-4, clip_norm=1.0, ema_decay=0.99,
        )
    )  # fmt: skip
    config.mesh = ConfigDict(dict(data=-1))
    config.train = ConfigDict(dict(steps=1000, log_every=20, eval_every=250, checkpoint_every=250, keep_checkpoints=2))
    return config


def _to_accelerator(config: ConfigDict) -> None:
    """Whole hands at half the native resolution, a larger encoder, bfloat16 compute."""
    config.data.datasets = ("ram_phantom/full",)
    config.data.batch_size = config.data.eval_batch_size = 32
    config.data.workers = 16
    config.data.canvas.height, config.data.canvas.width = 896, 704
    config.model.stem_stride = 2
    config.model.widths, config.model.blocks = (32, 64, 128, 256, 384, 512), (1, 2, 2, 3, 3, 2)
    config.model.decoder_width = 64
    config.model.dtype = "bfloat16"
    config.scores.roi_size, config.scores.width = 48, 64
    config.optimizer.learning_rate, config.optimizer.warmup_steps = 1e-3, 1000
    config.optimizer.ema_decay = 0.999
    config.train.steps, config.train.eval_every, config.train.checkpoint_every = 40_000, 2000, 1000
    config.train.log_every = 50

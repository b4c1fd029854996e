"""All four tasks: the main job, on synthetic hands, on RAM-H1200, on RAM-W600, or on several of them together.

    python -m ramjax.main --config=experiments/multitask.py --workdir=runs/multitask
    python -m ramjax.main --config=experiments/multitask.py:h1200 --workdir=runs/h1200
    python -m ramjax.main --config=experiments/multitask.py:h1200+w600+phantom --workdir=runs/together
    python -m ramjax.main --config=experiments/multitask.py:accelerator+h1200+w600 --workdir=runs/accelerator

What follows the colon is a preset: words joined by ``+`` that name the machine (``cpu``, the default, or
``accelerator`` for GPUs and TPUs) and the data (``phantom``, the default, ``h1200`` and ``w600``). ``w600`` alone
has no erosions task, for want of erosion masks.
"""

from ml_collections import ConfigDict

MACHINES = ("cpu", "accelerator")

WEIGHTS = {"h1200": 2.0, "w600": 1.0, "phantom": 1.0}
"""Shares of the data sets in a mixture: RAM-H1200 knows the most, real and of the whole hand."""


def get_config(preset: str = "") -> ConfigDict:
    """Returns the experiment for a preset such as ``accelerator+h1200+w600``."""
    machine, sources = _parse(preset)
    config = _cpu()
    if machine == "accelerator":
        _to_accelerator(config)
    names = {
        "h1200": "ram_h1200",
        "w600": "ram_w600/joint",
        "phantom": "ram_phantom/small" if machine == "cpu" else "ram_phantom/full",
    }
    config.data.datasets = tuple(names[source] for source in sources)
    config.data.weights = tuple(WEIGHTS[source] for source in sources)
    if sources == ("w600",):  # Square films of the wrist.
        config.data.canvas.height = config.data.canvas.width = 320 if machine == "cpu" else 640
        config.data.augment.wrist_crop = 0.0
        config.tasks = ("bones", "joints", "scores")  # It has no erosion masks, so the head would learn nothing.
    return config


def _parse(preset: str) -> tuple[str, tuple[str, ...]]:
    """The machine and the data that a preset names, the data in the order of `WEIGHTS`."""
    words = preset.split("+") if preset else []
    known = (*MACHINES, *WEIGHTS)
    wrong = [word for word in words if word not in known or words.count(word) > 1]
    machines = [word for word in words if word in MACHINES]
    if wrong or len(machines) > 1:
        wrong = " and ".join(map(repr, wrong or machines))
        raise ValueError(
            f"Unknown preset {preset!r} of experiments/multitask.py ({wrong}); join words of {', '.join(known)} by +, "
            "each once and one machine, such as accelerator+h1200+w600."
        )
    return machines[0] if machines else "cpu", tuple(name for name in WEIGHTS if name in words) or ("phantom",)


def _cpu() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.tasks = ("bones", "erosions", "joints", "scores")

    config.data = data = ConfigDict()
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
        dict(
            stem_stride=4, widths=(32, 64, 96, 128, 160), blocks=(0, 1, 2, 2, 2), decoder_width=32, dtype="float32",
            remat="none",
        )
    )  # fmt: skip
    config.bones = ConfigDict(dict(weight=2.0))
    config.erosions = ConfigDict(dict(weight=6.0, variant="labels", positive_weight=10.0))
    config.joints = ConfigDict(dict(weight=0.3, sigma=1.0))
    config.scores = ConfigDict(
        dict(
            weight=1.5, ordinal="thresholds", roi_size=32, roi_margin=1.0, jitter=0.1, width=32,
            be_weights=(1.0,) * 6, jsn_weights=(1.0,) * 5,
        )
    )  # fmt: skip
    config.optimizer = ConfigDict(
        dict(
            learning_rate=3e-3, warmup_steps=50, final_fraction=0.01, weight_decay=1e-4, clip_norm=1.0, ema_decay=0.99,
        )
    )  # fmt: skip
    config.mesh = ConfigDict(dict(data=-1, fsdp=1, space=1, split_from=2**16, rules=()))
    config.evaluation = ConfigDict(
        dict(grid="native", tolerance=2.0, unit="px", overlap=0.5, mirror=False, scales=(1.0,), ensemble=())
    )
    config.train = ConfigDict(
        dict(
            steps=1000, accumulation_steps=1, log_every=20, eval_every=250, checkpoint_every=250, keep_checkpoints=2,
        )
    )  # fmt: skip
    config.profile = ConfigDict(dict(steps=""))
    return config


def _to_accelerator(config: ConfigDict) -> None:
    """Whole hands at half the native resolution, a larger encoder, bfloat16 compute."""
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

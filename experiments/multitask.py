"""All four tasks: the main job, on synthetic hands, on RAM-H1200, on RAM-W600, or on several of them together.

    python -m ramjax.main --config=experiments/multitask.py --workdir=runs/multitask
    python -m ramjax.main --config=experiments/multitask.py:h1200 --workdir=runs/h1200
    python -m ramjax.main --config=experiments/multitask.py:h1200+w600+phantom --workdir=runs/together
    python -m ramjax.main --config=experiments/multitask.py:accelerator+h1200+w600 --workdir=runs/accelerator

What follows the colon is a preset: words joined by ``+`` that name the machine (``cpu``, the default, or
``accelerator`` for GPUs and TPUs) and the data (``phantom``, the default, ``h1200`` and ``w600``). ``w600`` alone
has no erosions task, because it has no erosion masks. ``accelerator+quick`` is the same job on a short budget: what
`launch/local.sh` trains on a machine with a GPU or a TPU. ``deterministic`` makes a GPU compute equal bits each time.

The job on a CPU is what the defaults of ramjax/config say; this file states what differs from them.
"""

from ml_collections import ConfigDict

from ramjax.config import defaults

MACHINES = ("cpu", "accelerator")

WEIGHTS = {"h1200": 2.0, "w600": 1.0, "phantom": 1.0}
"""Shares of the data sets in a mixture: RAM-H1200 knows the most, real and of the whole hand."""


def get_config(preset: str = "") -> ConfigDict:
    """Returns the experiment for a preset such as ``accelerator+h1200+w600``."""
    machine, sources, quick, deterministic = _parse(preset)
    config = defaults()
    config.train.deterministic = deterministic
    if machine == "accelerator":
        _to_accelerator(config)
    if quick:
        _shorten(config)
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


def _parse(preset: str) -> tuple[str, tuple[str, ...], bool, bool]:
    """The machine and the data that a preset names, in the order of `WEIGHTS`; whether it is quick; deterministic."""
    words = preset.split("+") if preset else []
    known = (*MACHINES, *WEIGHTS, "quick", "deterministic")
    wrong = [word for word in words if word not in known or words.count(word) > 1]
    machines = [word for word in words if word in MACHINES]
    if wrong or len(machines) > 1:
        wrong = " and ".join(map(repr, wrong or machines))
        raise ValueError(
            f"Unknown preset {preset!r} of experiments/multitask.py ({wrong}); join words of {', '.join(known)} by +, "
            "each once and one machine, such as accelerator+h1200+w600."
        )
    if "quick" in words and machines != ["accelerator"]:
        raise ValueError(
            f"Preset {preset!r} of experiments/multitask.py: quick shortens accelerator alone; the CPU's job is short."
        )
    sources = tuple(name for name in WEIGHTS if name in words) or ("phantom",)
    return machines[0] if machines else "cpu", sources, "quick" in words, "deterministic" in words


def _to_accelerator(config: ConfigDict) -> None:
    """Whole hands at half the native resolution, a larger encoder, bfloat16 compute."""
    config.data.batch_size = config.data.eval_batch_size = 32
    config.data.workers = 16
    config.data.cache = "device"
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


def _shorten(config: ConfigDict) -> None:
    """2,000 steps, and averages that forget the start as early."""
    config.optimizer.warmup_steps, config.optimizer.ema_decay = 100, 0.99
    config.train.steps, config.train.eval_every, config.train.checkpoint_every = 2000, 500, 500

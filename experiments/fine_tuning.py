"""Fine-tuning on a laboratory's own few hands: a trained network as the beginning, and what of it is trained on.

    python -m ramjax.main --config=experiments/fine_tuning.py:full --workdir=runs/own \
        --config.data.datasets="('my_lab.films',)" --config.init.source=runs/multitask

Without `init.source` it begins with the network that ships with ramjax. What follows the colon is the way, beside the
words of experiments/multitask.py (``h1200``, ``w600``, ``phantom``, ``cpu``):

| word | what is trained |
|---|---|
| `full` | everything, at a tenth of the usual learning rate: the default |
| `layerwise` | everything, the deeper the faster: each level of the encoder at 0.6 of the rate of the one after it |
| `frozen` | decoder and heads; the encoder stays as it came |
| `probe` | new heads alone: linear probing, which tells how good the features are |

It takes a tenth of the steps of the main job: about a minute on two CPU cores.
"""

from ml_collections import ConfigDict

from experiments import multitask

LEVELS = 5
"""Of the encoder of the main job."""

DECAY = 0.6
"""Between the rates of neighbouring levels."""

WAYS = {
    "full": {},
    "layerwise": {
        "optimizer.rates": (
            *(
                f"^encoder/(levels/{level}|down/{level - 1})/={DECAY ** (LEVELS - level):.4f}"
                for level in range(1, LEVELS)
            ),
            f"^encoder/stem/={DECAY**LEVELS:.4f}",
        )
    },
    "frozen": {"optimizer.frozen": ("^encoder/",)},
    "probe": {"optimizer.frozen": ("^encoder/", "^decoder/"), "init.leave_out": ("^heads/",)},
}


def get_config(preset: str = "") -> ConfigDict:
    """Returns the experiment for a preset such as ``probe`` or ``h1200+layerwise``."""
    words = preset.split("+") if preset else []
    ways = [word for word in words if word in WAYS]
    if len(ways) > 1:
        raise ValueError(f"Preset {preset!r} names the ways {' and '.join(ways)}; name one of {', '.join(WAYS)}.")
    config = multitask.get_config("+".join(word for word in words if word not in WAYS))
    config.init.source = "default"
    config.optimizer.learning_rate, config.optimizer.warmup_steps = 3e-4, 20
    config.train.steps, config.train.eval_every, config.train.checkpoint_every = 100, 50, 50
    config.update_from_flattened_dict(WAYS[ways[0] if ways else "full"])
    if ways == ["probe"]:
        config.optimizer.learning_rate = 3e-3  # of new heads
    return config

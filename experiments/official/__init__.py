"""The published protocols of RAM-W600 (arXiv 2507.05193) and RAM-H1200 (arXiv 2605.05616), as far as keys express them.

    python -m ramjax.main --config=experiments/official/bones.py --workdir=runs/official_bones
    python -m ramjax.main --config=experiments/official/bones.py:w600 --workdir=runs/official_wrist

They are what a new method is compared with under the same evaluator: the papers' splits, sizes, losses, optimiser,
schedule, epochs and augmentation, as their code has them. Each file names what differs, and the networks that its
preset takes beside the data, such as ``h1200+resnet34``.

The code of both papers meant to magnify by up to a tenth and magnifies by 2 to 2.1, for half of the images. That is
`data.augment.scale_error`; ``--config.data.augment.scale_error=0`` trains without the error.

What no key expresses, for all of them:

- Training of the papers stops early, after 10 to 20 epochs without progress. Here the best checkpoint of all epochs is
  tested, which is the same network unless a later one would have been better.
- AMSGrad of their AdamW is left out, and biases and scales do not decay.
- Rotation and shift, and brightness and contrast, are each applied to half of their images; here to all of them, in the
  same range. Their brightness is added; here black is raised or white lowered.
- The x and y of each pixel are two further channels of their image for RAM-H1200; networks here see the image, and its
  local contrast.
- Half precision is bfloat16 in place of float16 with scaled losses.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from ramjax.config import defaults


def parse(preset: str, data: tuple[str, ...], networks: Mapping[str, Mapping[str, Any]]) -> tuple[str, dict[str, Any]]:
    """The data set and the keys of the network that a preset names; the first of each where it names none.

    Raises:
      ValueError: a word is unknown, or there are two of one kind.
    """
    words = preset.split("+") if preset else []
    chosen = [[word for word in words if word in known] for known in (data, networks)]
    if len(words) != sum(map(len, chosen)) or any(len(of) > 1 for of in chosen):
        raise ValueError(
            f"Unknown preset {preset!r}; join one of {', '.join(data)} and one of {', '.join(networks)} by +, such as "
            f"{data[0]}+{next(iter(networks))}."
        )
    source, network = ((of or list(known))[0] for of, known in zip(chosen, (data, networks), strict=True))
    return source, dict(networks[network])


def published(tasks: tuple[str, ...], dataset: str) -> ConfigDict:
    """What all protocols have in common: AdamW, a cosine to a hundredth, no averages, their augmentation."""
    config = defaults()
    config.tasks = tasks
    config.data.datasets = (dataset,)
    config.data.workers, config.data.cache = 16, "host"
    off = dict.fromkeys(("stretch", "wrist_crop", "mirror", "gamma", "noise", "blur", "erase", "resample"), 0.0)
    config.data.augment.update(off)
    config.data.augment.rotation, config.data.augment.scale, config.data.augment.shift = 10.0, 0.1, 0.0625
    config.data.augment.brightness, config.data.augment.contrast = 0.2, 0.2
    config.optimizer.warmup_steps, config.optimizer.clip_norm, config.optimizer.ema_decay = 0, 1e9, 0.0
    config.optimizer.learning_rate, config.optimizer.final_fraction = 1e-4, 0.01
    return config


def train_for(config: ConfigDict, epochs: int, images: int, crops: int = 1) -> None:
    """So many epochs of `crops` canvases of each of the training images, validated after every one of them."""
    an_epoch = max(1, round(images * crops / config.data.batch_size))
    config.train.steps, config.train.eval_every, config.train.checkpoint_every = epochs * an_epoch, an_epoch, an_epoch

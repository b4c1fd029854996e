"""What the protocols of BE and of JSN scores share; see be.py and jsn.py.

    python -m ramjax.main --config=experiments/official/scores.py --workdir=runs/official_scores

trains both scales at once, which the papers do not. An independent sigmoid for each threshold, BCE, AdamW 1e-4 with
decay 1e-3, a cosine over 200 epochs in batches of 32 joints, float32, no averages, no mirroring of left hands.

What differs, beside `experiments.official`:

- A hand is one example, whose joints share an augmentation; 32 joints are two hands. As there, each joint is cut out of
  the radiograph's own pixels at its annotated box, in the test too, shown on 224 x 224, and read by itself.
- The network knows which joint it reads, by an embedding, and has a hidden layer before the logits.
"""

from ml_collections import ConfigDict

from experiments.official import parse, published, train_for

NETWORKS = {
    "resnet34": {"model.encoder": "resnet34"},
    "densenet121": {"model.encoder": "densenet121"},
    "efficientnetv2_s": {"model.encoder": "efficientnetv2_s"},
    "convnextv2_tiny": {"model.encoder": "convnextv2_tiny"},
    "mobilevit_s": {"model.encoder": "mobilevit_s"},
    "residual": {"scores.crop_size": 256, "data.canvas.width": 384},  # multiples of its stride of 64
}


def get_config(preset: str = "", scales: tuple[str, ...] = ("be", "jsn")) -> ConfigDict:
    """Returns the protocol of RAM-H1200, with a network of `NETWORKS`, for these scales."""
    _, network = parse(preset, ("h1200",), NETWORKS)
    config = published(("scores",), "ram_h1200")
    # Four times the canvas: about the radiographs' own pixels.
    config.data.canvas.height, config.data.canvas.width, config.data.canvas.detail = 448, 352, 4
    config.data.canvas.mirror_left = False
    config.data.batch_size = 2
    config.scores.source, config.scores.crop_size, config.scores.jitter = "crops", 224, 0.0
    config.scores.scales, config.scores.width = scales, 64
    config.optimizer.weight_decay = 1e-3
    train_for(config, 200, 793)
    config.update_from_flattened_dict(network)
    return config

"""What the protocols of BE and of JSN scores share; see be.py and jsn.py.

    python -m ramjax.main --config=experiments/official/scores.py --workdir=runs/official_scores

trains both scales at once, which the papers do not. An independent sigmoid for each threshold, BCE, AdamW 1e-4 with
decay 1e-3, a cosine over 200 epochs in batches of 32 joints, float32, no averages, no mirroring of left hands.

What differs, beside `experiments.official`:

- The papers cut each joint out of the native radiograph and read it by itself. Here a hand is one example, and its
  joints are sampled from the network's features; 32 joints are two hands. There and here they are cut at the annotated
  boxes, in the test too.
"""

from ml_collections import ConfigDict

from experiments.official import parse, published, train_for

NETWORKS = {
    "resnet34": {"model.encoder": "resnet34"},
    "densenet121": {"model.encoder": "densenet121"},
    "efficientnetv2_s": {"model.encoder": "efficientnetv2_s"},
    "convnextv2_tiny": {"model.encoder": "convnextv2_tiny"},
    "mobilevit_s": {"model.encoder": "mobilevit_s"},
    "residual": {},
}


def get_config(preset: str = "", scales: tuple[str, ...] = ("be", "jsn")) -> ConfigDict:
    """Returns the protocol of RAM-H1200, with a network of `NETWORKS`, for these scales."""
    _, network = parse(preset, ("h1200",), NETWORKS)
    config = published(("scores",), "ram_h1200")
    config.data.canvas.height, config.data.canvas.width, config.data.canvas.mirror_left = 896, 704, False
    config.data.batch_size = 2
    config.scores.scales, config.scores.roi_size, config.scores.width, config.scores.jitter = scales, 56, 64, 0.0
    config.optimizer.weight_decay = 1e-3
    train_for(config, 200, 793)
    config.update_from_flattened_dict(network)
    return config

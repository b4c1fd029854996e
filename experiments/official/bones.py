"""Bones of RAM-H1200 (crops of 512 native pixels, 30 sigmoids) and of RAM-W600 (whole wrists on 512 x 512).

    python -m ramjax.main --config=experiments/official/bones.py --workdir=runs/official_bones

``h1200``: MSE + BCE + squared Dice, AdamW 1e-4 with decay 1e-3, 200 epochs of 16 crops of each hand in batches of 32,
tested on the native pixels by windows that overlap by half. ``w600``: squared Dice, decay 0.01, 100 epochs in batches
of 4, left hands mirrored, tested on the 512 x 512 grid. The networks are `NETWORKS`.

What differs, beside `experiments.official`:

- 70 % of the papers' crops of RAM-H1200 are placed to hold a random pixel of the foreground, which soft tissue counts
  as, so that it is nearly anywhere on the hand. Here all crops are anywhere on the image.
- Wrists of RAM-W600 are stretched to a square there; here they are fit into it, with padding.
- RAM-W600's Dice is taken of raw outputs cut at 0.5; here of probabilities, as for RAM-H1200.
"""

from ml_collections import ConfigDict

from experiments.official import parse, published, train_for

NETWORKS = {
    "residual": {},
    "unet": {"model.encoder": "unet", "model.stem_stride": 1, "model.decoder": "unet"},
    "unetpp": {"model.encoder": "resnet34", "model.stem_stride": 2, "model.decoder": "unetpp"},
    "transunet": {"model.encoder": "resnet34", "model.stem_stride": 2, "model.decoder": "transunet"},
    "umamba": {"model.encoder": "umamba", "model.stem_stride": 1, "model.decoder": "unet"},
    "segformer": {"model.encoder": "mit_b2", "model.decoder": "segformer", "model.decoder_width": 256},
}
"""Those of the papers that there are, as near as the encoders and decoders here come; and the project's own."""


def get_config(preset: str = "") -> ConfigDict:
    """Returns the protocol of ``h1200`` or ``w600``, with a network of `NETWORKS`."""
    source, network = parse(preset, ("h1200", "w600"), NETWORKS)
    wrists = source == "w600"
    config = published(("bones",), "ram_w600/bones" if wrists else "ram_h1200")
    config.data.canvas.height = config.data.canvas.width = 512
    config.data.augment.scale_error = 0.5
    config.model.dtype = "bfloat16"
    if wrists:
        config.data.batch_size = 4
        config.bones.losses = ("dice_squared",)
        config.optimizer.weight_decay = 0.01
        config.evaluation.grid = "square512"
        train_for(config, 100, 425)
    else:
        config.data.canvas.sizing, config.data.canvas.scale, config.data.canvas.mirror_left = "scale", 1.0, False
        config.data.batch_size, config.data.crops = 32, 16
        config.bones.losses = ("mse_bce_dice",)
        config.optimizer.weight_decay = 1e-3
        train_for(config, 200, 793, 16)
    config.update_from_flattened_dict(network)
    return config

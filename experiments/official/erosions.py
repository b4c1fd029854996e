"""Erosions of RAM-H1200: crops of 384 native pixels shown on 256, a softmax over the labels, Dice + cross entropy.

    python -m ramjax.main --config=experiments/official/erosions.py --workdir=runs/official_erosions

AdamW 1e-4 with decay 1e-3, 100 epochs of 24 crops of each hand in batches of 64. The networks are those of bones.py.
``--config.erosions.variant=svdh90`` learns SvdH-BE-90 alone, as the published table may mean.

What differs, beside `experiments.official`:

- 70 % of the papers' crops have a lesion in their middle half, the rest lie on a grid; here all are anywhere on the
  image, so that most show no lesion.
- The papers test windows of 256 native pixels, which are 1.5 times as large as what they trained on. Here test and
  training have the same scale; with `scale_error` the training's is twice that for half of the crops, as theirs is.
- The Dice counts the labels of lesions alone there and here; erosion pixels weigh no more than others.
"""

from ml_collections import ConfigDict

from experiments.official import bones, parse, published, train_for


def get_config(preset: str = "") -> ConfigDict:
    """Returns the protocol, with a network of `bones.NETWORKS`."""
    _, network = parse(preset, ("h1200",), bones.NETWORKS)
    config = published(("erosions",), "ram_h1200")
    config.data.canvas.height = config.data.canvas.width = 256
    config.data.canvas.sizing, config.data.canvas.scale, config.data.canvas.mirror_left = "scale", 256 / 384, False
    config.data.augment.scale_error = 0.5
    config.data.batch_size, config.data.crops = 64, 16
    config.erosions.losses, config.erosions.positive_weight = ("dice_ce",), 1.0
    config.optimizer.weight_decay = 1e-3
    config.model.dtype = "bfloat16"
    train_for(config, 100, 793, 24)
    config.update_from_flattened_dict(network)
    return config

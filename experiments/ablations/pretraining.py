"""What do pretrained weights add, and do they have to be trained on?

    python launch/sweep.py --config=experiments/ablations/pretraining.py --output=sweeps/pretraining --grid seed=0,1,2

Expected time: 15 minutes a run. The weights, ImageNet's of timm, come from the Hugging Face Hub once (82 MB).
"slow" trains the encoder at a tenth of the learning rate, "frozen" not at all; both keep the statistics of batch
normalisation as they came, and so does "kept", whose encoder is trained like the rest.
"""

from ml_collections import ConfigDict

from experiments.ablations import with_arm

ENCODER = {"model.encoder": "resnet34"}

IMAGENET = ENCODER | {"init.source": "hub:timm/resnet34.a1_in1k"}

KEPT = IMAGENET | {"model.batch_norm": "frozen"}

ARMS = {
    "random": ENCODER,
    "imagenet": IMAGENET,
    "kept": KEPT,
    "slow": KEPT | {"optimizer.rates": ("^encoder/=0.1",)},
    "frozen": KEPT | {"optimizer.frozen": ("^encoder/",)},
}


def get_config(preset: str = "") -> ConfigDict:
    """Returns an arm by its name, the first one without it; see `experiments.ablations`."""
    return with_arm(preset, ARMS)

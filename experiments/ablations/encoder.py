"""Which encoder? One or two of each family of published ones in place of the network's own.

    python launch/sweep.py --config=experiments/ablations/encoder.py --output=sweeps/encoder --grid seed=0,1,2

Expected time: 8 minutes a run of the baseline, up to an hour of the larger ones; with :accelerator, on a GPU. All begin
at random, as in the papers; pretraining.py asks what pretrained weights add. Levels finer than stride 4
are not used.
"""

from ml_collections import ConfigDict

from experiments.ablations import with_arm

ENCODERS = (
    "resnet18", "resnet34", "densenet121", "efficientnetv2_s", "convnextv2_atto", "convnextv2_tiny", "swin_tiny",
    "swinv2_tiny", "mit_b0", "mit_b2", "vit_small", "mobilevit_s", "unet", "nnunet",
    "vmamba_tiny", "umamba",
)  # fmt: skip

ARMS = {"residual": {}} | {name: {"model.encoder": name} for name in ENCODERS}


def get_config(preset: str = "") -> ConfigDict:
    """Returns an arm by its name, the first one without it; see `experiments.ablations`."""
    return with_arm(preset, ARMS)

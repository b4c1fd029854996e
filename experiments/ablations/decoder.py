"""Which decoder? Each decoder on the encoder of the main job.

    python launch/sweep.py --config=experiments/ablations/decoder.py --output=sweeps/decoder --grid seed=0,1,2

Expected time: 8 minutes a run of the baseline, up to half an hour of unetpp and mask_transformer.
"""

from ml_collections import ConfigDict

from experiments.ablations import with_arm

DECODERS = ("unet", "unetpp", "fpn", "segformer", "upernet", "transunet", "mask_transformer")

ARMS = {"additive": {}} | {name: {"model.decoder": name} for name in DECODERS}


def get_config(preset: str = "") -> ConfigDict:
    """Returns an arm by its name, the first one without it; see `experiments.ablations`."""
    return with_arm(preset, ARMS)

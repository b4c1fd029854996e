"""Which loss of the masks? Bones and erosions with each family of losses, and the combinations of the papers.

    python launch/sweep.py --config=experiments/ablations/loss.py --output=sweeps/loss --grid seed=0,1,2

Expected time: 8 minutes a run; twice as long with boundary and cldice. "default" is Dice and weighted cross entropy.
"h1200" has the published losses of RAM-H1200: MSE, BCE and Dice for bones, Dice and cross entropy for erosions.
"""

from ml_collections import ConfigDict

from experiments.ablations import with_arm

LOSSES = {
    "bce": ("bce",),
    "dice": ("dice",),
    "dice_bce": ("dice_bce",),
    "dice_focal": ("dice_focal",),
    "focal_tversky": ("focal_tversky",),
    "lovasz": ("lovasz", "bce"),
    "boundary": ("dice_bce", "boundary=0.01"),
    "cldice": ("dice_bce", "cldice=0.5"),
}

ARMS = {"default": {}, "h1200": {"bones.losses": ("mse_bce_dice",), "erosions.losses": ("dice_ce",)}} | {
    name: {"bones.losses": losses, "erosions.losses": losses} for name, losses in LOSSES.items()
}


def get_config(preset: str = "") -> ConfigDict:
    """Returns an arm by its name, the first one without it; see `experiments.ablations`."""
    return with_arm(preset, ARMS)

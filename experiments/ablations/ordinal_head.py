"""Which ordinal head reads scores best?

    python launch/sweep.py --config=experiments/ablations/ordinal_head.py --output=sweeps/ordinal --grid seed=0,1,2

Expected time: 8 minutes a run. `ramjax/tasks/scores/ordinal.py` names the papers of the heads.
"""

from ml_collections import ConfigDict

from experiments.ablations import with_arm

HEADS = ("thresholds", "coral", "corn", "softmax", "soft", "distance")

ARMS = {name: {"scores.ordinal": name} for name in HEADS}


def get_config(preset: str = "") -> ConfigDict:
    """Returns an arm by its name, the first one without it; see `experiments.ablations`."""
    return with_arm(preset, ARMS)

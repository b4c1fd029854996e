"""How are joints found best: by a heatmap, by offsets, or by the mean of a heatmap (DSNT)?

    python launch/sweep.py --config=experiments/ablations/joint_loss.py --output=sweeps/joints --grid seed=0,1,2

Expected time: 8 minutes a run.
"""

from ml_collections import ConfigDict

from experiments.ablations import with_arm

ARMS = {"heatmap": {}} | {name: {"joints.loss": name} for name in ("offset", "dsnt")}


def get_config(preset: str = "") -> ConfigDict:
    """Returns an arm by its name, the first one without it; see `experiments.ablations`."""
    return with_arm(preset, ARMS)

"""Which balance of the tasks? Fixed weights, curves, and the methods that find factors from losses or gradients.

    python launch/sweep.py --config=experiments/ablations/balancing.py --output=sweeps/balancing --grid seed=0,1,2

Expected time: 8 minutes a run; three times as long where each task has a backward pass of its own: gradnorm, pcgrad,
cagrad and nash. "schedule" lets the scores begin when the joints are found. `ramjax/steps/balancing` names the papers.
"""

from ml_collections import ConfigDict

from experiments.ablations import with_arm

METHODS = ("uncertainty", "dwa", "gradnorm", "pcgrad", "cagrad", "nash")

ARMS = {
    "fixed": {},
    "schedule": {"balance.method": "schedule", "balance.curves": ("scores=0:0,0.25:1",)},
} | {name: {"balance.method": name} for name in METHODS}


def get_config(preset: str = "") -> ConfigDict:
    """Returns an arm by its name, the first one without it; see `experiments.ablations`."""
    return with_arm(preset, ARMS)

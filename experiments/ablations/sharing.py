"""What should the tasks share beyond the encoder and decoder: everything, or something of their own before each head?

    python launch/sweep.py --config=experiments/ablations/sharing.py --output=sweeps/sharing --grid seed=0,1,2

Expected time: 8 minutes a run of the baseline, up to 15 of the others. `ramjax/models/sharing.py` names the papers.
"""

from ml_collections import ConfigDict

from experiments.ablations import with_arm

ARMS = {"hard": {}} | {name: {"model.sharing": name} for name in ("adapters", "mtan", "cross_attention")}


def get_config(preset: str = "") -> ConfigDict:
    """Returns an arm by its name, the first one without it; see `experiments.ablations`."""
    return with_arm(preset, ARMS)

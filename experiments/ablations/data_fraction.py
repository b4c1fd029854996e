"""How much would more data help? The same steps on the radiographs of fewer patients.

    python launch/sweep.py --config=experiments/ablations/data_fraction.py --output=sweeps/fraction --grid seed=0,1,2

Expected time: 8 minutes a run. The patients of a smaller share are among those of a larger one, whatever the seed.
"""

from ml_collections import ConfigDict

from experiments.ablations import with_arm

SHARES = {"all": 1.0, "half": 0.5, "quarter": 0.25, "eighth": 0.125}

ARMS = {name: {"data.fraction": share} for name, share in SHARES.items()}


def get_config(preset: str = "") -> ConfigDict:
    """Returns an arm by its name, the first one without it; see `experiments.ablations`."""
    return with_arm(preset, ARMS)

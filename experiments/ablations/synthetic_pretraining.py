"""Do synthetic hands help on real ones? The network that ships with ramjax as the beginning.

    python launch/sweep.py --config=experiments/ablations/synthetic_pretraining.py:h1200 --output=sweeps/synthetic \
        --grid seed=0,1,2

Expected time: 8 minutes a run; RAM-H1200 has to be prepared. "synthetic" begins with the shipped network, which has
seen synthetic hands alone, "encoder" with its encoder and decoder and new heads. With h1200+phantom in place of h1200
synthetic hands are trained on all along.
"""

from ml_collections import ConfigDict

from experiments.ablations import with_arm

ARMS = {
    "random": {},
    "synthetic": {"init.source": "default"},
    "encoder": {"init.source": "default", "init.leave_out": ("^heads/",)},
}


def get_config(preset: str = "") -> ConfigDict:
    """Returns an arm by its name, the first one without it; see `experiments.ablations`."""
    return with_arm(preset, ARMS)

"""Where should the scores be read: in shared features, in crops of their own, with masks, with other joints in view?

    python launch/sweep.py --config=experiments/ablations/score_source.py --output=sweeps/source --grid seed=0,1,2

Expected time: 8 minutes a run of the baseline, 25 of "crops" and "fine_crops", 15 of "hands", 10 of the others.

"crops" is the way of the published networks: each joint's square goes through the encoder by itself. "fine_crops" takes
them from twice the canvas's resolution, and "fine_features" the squares that are looked at beside the shared features.
"masks" adds the network's own masks of bones and erosions; in "hand" the joints of a hand see each other; in "hands"
those of the patient's other hand, too.
"""

from ml_collections import ConfigDict

from experiments.ablations import with_arm

HOST = {"data.cache": "host"}
"""Devices do not make images with further channels; batches are the same."""

FINE = HOST | {"data.canvas.detail": 2}

ARMS = {
    "features": {},
    "fine_features": FINE | {"scores.roi_size": 64},
    "crops": {"scores.source": "crops"},
    "fine_crops": FINE | {"scores.source": "crops"},
    "masks": {"scores.maps": ("bones", "erosions")},
    "hand": {"scores.attention": "hand"},
    "hands": HOST | {"scores.attention": "hands", "data.other_hand": True},
}


def get_config(preset: str = "") -> ConfigDict:
    """Returns an arm by its name, the first one without it; see `experiments.ablations`."""
    return with_arm(preset, ARMS)

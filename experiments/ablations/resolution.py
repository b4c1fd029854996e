"""How many pixels does each task need? The canvas at half, two thirds, one and two times the side.

    python launch/sweep.py --config=experiments/ablations/resolution.py --output=sweeps/resolution --grid seed=0,1,2

Expected time: 3 minutes a run of the smallest canvas, 35 of the largest. The sides are multiples of 64, the network's
largest stride. Masks are measured on the radiograph's own pixels, so that all arms have the same test.
"""

from ml_collections import ConfigDict

from experiments.ablations import with_arm

SIZES = ((448, 320), (256, 192), (320, 256), (896, 640))

ARMS = {f"{height}x{width}": {"data.canvas.height": height, "data.canvas.width": width} for height, width in SIZES}


def get_config(preset: str = "") -> ConfigDict:
    """Returns an arm by its name, the first one without it; see `experiments.ablations`."""
    return with_arm(preset, ARMS)

"""Joint space narrowing scores of RAM-H1200: 0 to 4 at 15 joints, by the protocol of scores.py.

python -m ramjax.main --config=experiments/official/jsn.py --workdir=runs/official_jsn
"""

from ml_collections import ConfigDict

from experiments.official import scores


def get_config(preset: str = "") -> ConfigDict:
    """Returns the protocol, with a network of `scores.NETWORKS`."""
    return scores.get_config(preset, ("jsn",))

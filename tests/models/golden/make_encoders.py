"""Makes the golden values of tests/models/test_published_encoders.py with timm.

    python tests/models/golden/make_encoders.py [NAME ...]

needs ``pip install ".[parity]"``; without names it makes those of all encoders that timm has. Each NAME.json in
tests/models/golden/encoders holds the names and shapes of timm's parameters as files of weights have them, those that a
pyramid does without, the shapes of the pyramid, and some of the
pyramid's values for the tensors and the image of `random_tensors`. Made with timm 1.0.31 and torch 2.14.1.
"""

import json
import pathlib
import re
import sys
from collections.abc import Container

import numpy as np
import timm
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[3]))  # ramjax and tests of this checkout

from tests.models.golden import random_tensors

FOLDER = pathlib.Path(__file__).with_name("encoders")


def main(names: dict[str, str], sizes: dict[str, tuple[int, int]]) -> None:
    """Writes the golden values of encoders, by their name here and in timm."""
    FOLDER.mkdir(exist_ok=True)
    for name, theirs in names.items():
        height, width = sizes.get(name, (64, 96))
        whole = timm.create_model(theirs, pretrained=False)
        parameters = sum(value.numel() for value in whole.parameters())
        network = timm.create_model(theirs, pretrained=False, features_only=True).eval()
        called = {key: original(key, whole.state_dict()) for key in network.state_dict()}
        state = {
            called[key]: random_tensors.tensor(called[key], tuple(value.shape))
            for key, value in network.state_dict().items()
        }
        network.load_state_dict({key: torch.from_numpy(np.asarray(state[name])) for key, name in called.items()})
        image = torch.from_numpy(random_tensors.image(3, height, width).transpose(0, 3, 1, 2).copy())
        with torch.no_grad():
            pyramid = [level.numpy() for level in network(image)]
        if network.feature_info[0].get("num_chs") == pyramid[0].shape[1]:  # (b, c, h, w)
            pyramid = [level.transpose(0, 2, 3, 1) for level in pyramid]
        held = {
            "timm": theirs,
            "parameters_with_classifier": parameters,
            "parameters": sum(value.numel() for value in network.parameters()),
            "size": [height, width],
            "tensors": {key: list(value.shape) for key, value in state.items() if "num_batches" not in key},
            "unused": {key: list(value.shape) for key, value in whole.state_dict().items() if key not in state},
            "pyramid": [list(level.shape) for level in pyramid],
            "values": [[float(f"{value:.7g}") for value in random_tensors.sample(level)] for level in pyramid],
        }
        (FOLDER / f"{name}.json").write_text(json.dumps(held, separators=(",", ":")) + "\n")
        print(name, parameters, held["pyramid"])


def original(key: str, names: Container[str]) -> str:
    """What a parameter of timm's `features_only` network is called in the whole one, and so in files of weights."""
    for name in (key, re.sub(r"^([a-z]+)_([a-z]*\d+)\.", r"\1.\2.", key)):
        if name in names:
            return name
    raise SystemExit(f"{key} is not in the whole network; extend original().")


if __name__ == "__main__":
    from tests.models.golden.timm_names import SIZES, TIMM

    main({name: TIMM[name] for name in sys.argv[1:] or TIMM}, SIZES)

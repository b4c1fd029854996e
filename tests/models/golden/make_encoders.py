"""Makes the golden values of tests/models/test_published_encoders.py with timm and transformers.

    python tests/models/golden/make_encoders.py [NAME ...]

needs ``pip install ".[parity]"``; without names it makes those of all encoders that one of them has. Each NAME.json in
tests/models/golden/encoders holds the names and shapes of their parameters as files of weights have them, those that a
pyramid does without, the shapes of the pyramid, and some of the
pyramid's values for the tensors and the image of `random_tensors`. Made with timm 1.0.31,
transformers 5.24.0 and torch 2.14.1.
"""

import json
import pathlib
import re
import sys
import tempfile
from collections.abc import Callable, Container, Iterable
from typing import Any

import numpy as np
import safetensors.numpy
import timm
import torch
import transformers

sys.path.insert(0, str(pathlib.Path(__file__).parents[3]))  # ramjax and tests of this checkout

from tests.models.golden import random_tensors
from tests.models.golden.encoder_names import AUTHORS, LEVELS, SIZES, TIMM, TRANSFORMERS

Made = tuple[torch.nn.Module, torch.nn.Module, dict[str, str], Callable[..., Any]]

FOLDER = pathlib.Path(__file__).with_name("encoders")


def main(names: Iterable[str]) -> None:
    """Writes the golden values of encoders, by their name here."""
    FOLDER.mkdir(exist_ok=True)
    for name in names:
        make, table = next(
            (make, table)
            for make, table in ((from_timm, TIMM), (from_transformers, TRANSFORMERS), (from_authors, AUTHORS))
            if name in table
        )
        theirs, renamed = table[name], in_files if table is TRANSFORMERS else str
        height, width = size = SIZES.get(name, (64, 96))
        image = torch.from_numpy(random_tensors.image(3, height, width).transpose(0, 3, 1, 2).copy())
        whole, network, called, run = make(theirs, size)
        state = {
            called[key]: random_tensors.tensor(called[key], tuple(value.shape))
            for key, value in network.state_dict().items()
        }
        network.load_state_dict({key: torch.from_numpy(np.asarray(state[name])) for key, name in called.items()})
        with torch.no_grad():
            pyramid = [level.numpy() for level in run(image)]
        held = {
            "from": theirs,
            "parameters_with_classifier": sum(value.numel() for value in whole.parameters()),
            "parameters": sum(value.numel() for value in network.parameters()),
            "size": [height, width],
            "tensors": {key: list(value.shape) for key, value in state.items() if "num_batches" not in key},
            "unused": {
                key: list(value.shape) for key, value in whole.state_dict().items() if renamed(key) not in state
            },
            "pyramid": [list(level.shape) for level in pyramid],
            "values": [
                [float(f"{value:.7g}") for value in random_tensors.sample(level)]
                for level in pyramid[: LEVELS.get(name)]
            ],
        }
        (FOLDER / f"{name}.json").write_text(json.dumps(held, separators=(",", ":")) + "\n")
        print(name, held["parameters_with_classifier"], held["pyramid"])


def from_timm(name: str, size: tuple[int, int]) -> Made:
    """timm's network with a classifier, that of its pyramid, what the tensors of the latter are called in files, and
    its call, which returns levels (b, h, w, c)."""
    if name.startswith("vit"):
        return vit_from_timm(name)
    whole = timm.create_model(name, pretrained=False)
    sized = {"img_size": size} if "swin" in name else {}
    network = timm.create_model(name, pretrained=False, features_only=True, **sized).eval()

    def run(image):
        channels = network.feature_info.channels()
        levels = zip(network(image), channels, strict=True)
        return [level.permute(0, 2, 3, 1) if level.shape[1] == count else level for level, count in levels]

    return whole, network, {key: original(key, whole.state_dict()) for key in network.state_dict()}, run


def vit_from_timm(name: str) -> Made:
    """The same of a Vision Transformer, which has one level: its tokens."""
    network = timm.create_model(name, pretrained=False, dynamic_img_size=True, num_classes=0).eval()

    def run(image):
        tokens = network.forward_features(image)[:, network.num_prefix_tokens :]
        patch = network.patch_embed.patch_size[0]
        return [tokens.unflatten(1, (image.shape[2] // patch, image.shape[3] // patch))]

    return network, network, {key: key for key in network.state_dict()}, run


def from_transformers(settings: dict[str, Any], size: tuple[int, int]) -> Made:
    """The same of Hugging Face's SegFormer."""
    config = transformers.SegformerConfig(**settings)
    whole = transformers.SegformerForImageClassification(config)
    network = transformers.SegformerModel(config).eval()
    called = {key: in_files(f"segformer.{key}") for key in network.state_dict()}
    with tempfile.TemporaryDirectory() as folder:
        whole.save_pretrained(folder)
        names = set(safetensors.numpy.load_file(pathlib.Path(folder, "model.safetensors")))
    if not set(called.values()) <= names:
        raise SystemExit(f"Files do not have {set(called.values()) - names}; mend FILES.")

    def run(image):
        return [level.permute(0, 2, 3, 1) for level in network(image, output_hidden_states=True).hidden_states]

    return whole, network, called, run


def from_authors(repository: str, size: tuple[int, int]) -> Made:
    """The same in the code of the authors."""
    from tests.models.golden import authors  # which needs more than the rest

    makers = {
        "MIC-DKFZ/dynamic-network-architectures": authors.nnunet,
        "MzeroMiko/VMamba": authors.vmamba_tiny,
        "bowang-lab/U-Mamba": authors.umamba,
    }
    whole, network, run = makers[repository]()
    return whole, network, {key: key for key in network.state_dict()}, run


def in_files(key: str) -> str:
    """What a parameter of transformers is called in files of weights, such as that of nvidia/mit-b0."""
    for pattern, becomes in FILES:
        key = re.sub(pattern, becomes, key)
    return key


FILES = (
    (r"stages\.(\d)\.patch_embeddings", r"encoder.patch_embeddings.\1"),
    (r"stages\.(\d)\.blocks\.", r"encoder.block.\1."),
    (r"stages\.(\d)\.layer_norm", r"encoder.layer_norm.\1"),
    (r"layernorm_before", "layer_norm_1"),
    (r"layernorm_after", "layer_norm_2"),
    (r"attention\.q_proj", "attention.self.query"),
    (r"attention\.k_proj", "attention.self.key"),
    (r"attention\.v_proj", "attention.self.value"),
    (r"attention\.o_proj", "attention.output.dense"),
    (r"attention\.sequence_reduction\.sequence_reduction", "attention.self.sr"),
    (r"attention\.sequence_reduction\.layer_norm", "attention.self.layer_norm"),
    (r"mlp\.fc(\d)", r"mlp.dense\1"),
)


def original(key: str, names: Container[str]) -> str:
    """What a parameter of timm's `features_only` network is called in the whole one, and so in files of weights."""
    for name in (key, re.sub(r"^([a-z]+)_([a-z]*\d+)\.", r"\1.\2.", key)):
        if name in names:
            return name
    raise SystemExit(f"{key} is not in the whole network; extend original().")


if __name__ == "__main__":
    main(sys.argv[1:] or [*TIMM, *TRANSFORMERS, *AUTHORS])

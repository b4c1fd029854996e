"""Makes the golden values of tests/models/test_published_decoders.py with other libraries.

    python tests/models/golden/make_decoders.py [NAME ...]

needs ``pip install ".[parity]" transformers segmentation-models-pytorch``; without names it makes those of all decoders
but `additive`, which no other library has. Each NAME.json in tests/models/golden/decoders holds the names and shapes of
the reference's parameters, the shapes of the pyramid that it is given, and some values of the levels that it makes of
the tensors and the pyramid of `random_tensors`. Group normalisation is put where a reference has batch normalisation.
Made with torchvision 0.29.1, transformers 5.24.0, segmentation-models-pytorch 0.6.0, timm 1.0.31 and torch 2.14.1.
"""

import json
import pathlib
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import timm.layers
import torch
import torchvision
import transformers
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.decoders.unetplusplus.decoder import UnetPlusPlusDecoder
from transformers.models.mask2former import modeling_mask2former
from transformers.models.segformer.modeling_segformer import SegformerDecodeHead
from transformers.models.upernet.modeling_upernet import UperNetHead

sys.path.insert(0, str(pathlib.Path(__file__).parents[3]))  # ramjax and tests of this checkout

from ramjax import anatomy
from tests.models.golden import random_tensors

Levels = list[torch.Tensor]

FOLDER = pathlib.Path(__file__).with_name("decoders")

GROUP_SIZE = 8
"""Channels a group of the normalisation."""

WIDTHS = (16, 24, 40, 48)
"""Channels of the levels, finest first: several groups each."""

SIZES = ((32, 48), (16, 24), (8, 12), (4, 6))
"""Rows and columns of the levels, finest first. The coarsest has less than UPerNet's finest grid of means."""


class Reference(NamedTuple):
    """A network of another library, and how it is called.

    Attributes:
      network: with the parameters.
      run: a pyramid (b, c, h, w), finest first, to the levels that are compared, finest first.
      widths: of the pyramid.
      width: of the finest level that the network makes.
      sizes: rows and columns of the pyramid's levels.
    """

    network: torch.nn.Module
    run: Callable[[Levels], Levels]
    widths: Sequence[int] = WIDTHS
    width: int = 16
    sizes: Sequence[tuple[int, int]] = SIZES


def main(names: Iterable[str]) -> None:
    """Writes the golden values of decoders, by their name here."""
    FOLDER.mkdir(exist_ok=True)
    for name in names:
        network, run, widths, width, sizes = REFERENCES[name]()
        grouped(network).eval()
        shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
        network.load_state_dict(
            {key: torch.from_numpy(random_tensors.tensor(key, shape)) for key, shape in shapes.items()}
        )
        given = [(2, *size, channels) for size, channels in zip(sizes, widths, strict=True)]
        pyramid = [torch.from_numpy(level.transpose(0, 3, 1, 2).copy()) for level in random_tensors.pyramid(given)]
        with torch.no_grad():
            levels = [level.permute(0, 2, 3, 1).numpy() for level in run(pyramid)]
        held = {
            "width": width,
            "tensors": shapes,
            "pyramid": given,
            "levels": [level.shape for level in levels],
            "values": [[float(f"{value:.7g}") for value in random_tensors.sample(level)] for level in levels],
        }
        (FOLDER / f"{name}.json").write_text(json.dumps(held, separators=(",", ":")) + "\n")
        print(name, held["levels"])


def fpn() -> Reference:
    """torchvision's."""
    network = torchvision.ops.FeaturePyramidNetwork(list(WIDTHS), 16)
    return Reference(network, lambda pyramid: list(network(dict(enumerate(pyramid))).values()))


def segformer() -> Reference:
    """transformers', without the classifier; one level."""
    network = SegformerDecodeHead(
        transformers.SegformerConfig(
            num_encoder_blocks=len(WIDTHS), hidden_sizes=list(WIDTHS), decoder_hidden_size=16, num_labels=2
        )
    )
    network.classifier = torch.nn.Identity()
    return Reference(network, lambda pyramid: [network(pyramid)])


def upernet() -> Reference:
    """transformers', without the classifier; the levels of its pyramid beside the fused one."""
    network = UperNetHead(transformers.UperNetConfig(hidden_size=16), list(WIDTHS))
    network.classifier = torch.nn.Identity()
    made = kept(*network.fpn_convs[1:], network.bottleneck)
    return Reference(network, lambda pyramid: [network(pyramid), *made()])


def unet(widths: Sequence[int] = WIDTHS, width: int = 8) -> Reference:
    """That of segmentation-models-pytorch, with bilinear interpolation, but for its last block, which has no skip."""
    network = UnetDecoder(
        (0, *widths), (*widths[-2:0:-1], width, 1), n_blocks=len(widths), interpolation_mode="bilinear"
    )
    network.blocks = network.blocks[:-1]
    made = kept(*reversed(network.blocks))

    def run(pyramid):
        network([doubled(pyramid[0]), *pyramid])
        return [*made(), pyramid[-1]]

    return Reference(network, run, widths, width)


def unetpp() -> Reference:
    """The same of U-Net++: the last version of each level."""
    network = UnetPlusPlusDecoder(
        (0, *WIDTHS), (*WIDTHS[-2::-1], 1), n_blocks=len(WIDTHS), interpolation_mode="bilinear"
    )
    network.blocks[f"x_0_{network.depth}"] = torch.nn.Identity()
    made = kept(*(network.blocks[f"x_0_{layer}"] for layer in reversed(range(network.depth))))

    def run(pyramid):
        network([doubled(pyramid[0]), *pyramid])
        return [*made(), pyramid[-1]]

    return Reference(network, run)


class TransUNet(torch.nn.Module):
    """PyTorch's transformer of twelve layers, normalised before as in ViT, and the decoder of `unet` after it."""

    def __init__(self, widths: Sequence[int], width: int, heads: int):
        super().__init__()
        layer = torch.nn.TransformerEncoderLayer(
            widths[-1],
            heads,
            4 * widths[-1],
            dropout=0,
            activation="gelu",
            layer_norm_eps=1e-6,
            batch_first=True,
            norm_first=True,
        )
        self.encoder = torch.nn.TransformerEncoder(
            layer, 12, norm=torch.nn.LayerNorm(widths[-1], 1e-6), enable_nested_tensor=False
        )
        decoder = unet(widths, width)
        self.decoder, self.run = decoder.network, decoder.run

    def forward(self, pyramid: Levels) -> Levels:
        tokens = pyramid[-1].flatten(2).transpose(1, 2) + waves(pyramid[-1])
        return self.run([*pyramid[:-1], self.encoder(tokens).transpose(1, 2).unflatten(2, pyramid[-1].shape[2:])])


def transunet() -> Reference:
    """Of two heads."""
    network = TransUNet((16, 24, 128), 16, heads=2)
    return Reference(network, network, (16, 24, 128), 16, SIZES[1:])


class MaskTransformer(torch.nn.Module):
    """transformers' decoder of Mask2Former on torchvision's feature pyramid.

    It has GELU, perceptrons of four times the width, and one hidden layer before the masks; its masks are divided by
    the root of the width and mixed into the finest level.
    """

    def __init__(self, widths: Sequence[int], width: int, heads: int, queries: int):
        super().__init__()
        self.pixels = torchvision.ops.FeaturePyramidNetwork(list(widths), width)
        config = transformers.Mask2FormerConfig(
            hidden_dim=width,
            mask_feature_size=width,
            num_attention_heads=heads,
            dim_feedforward=4 * width,
            activation_function="gelu",
            decoder_layers=len(widths),  # of which one is the masks before all
            dropout=0.0,
        )
        self.decoder = modeling_mask2former.Mask2FormerMaskedAttentionDecoder(config)
        self.decoder.mask_predictor.mask_embedder = torch.nn.Sequential(
            torch.nn.Linear(width, width), torch.nn.GELU(), torch.nn.Linear(width, width)
        )
        self.queries, self.places = (torch.nn.Parameter(torch.empty(queries, width)) for _ in range(2))
        self.mix = torch.nn.Conv2d(width + queries, width, 1)

    def forward(self, pyramid: Levels) -> Levels:
        levels = list(self.pixels(dict(enumerate(pyramid))).values())
        finest, coarser = levels[0], levels[:0:-1]
        batch = len(finest)
        masks = self.decoder(
            inputs_embeds=self.queries[:, None].repeat(1, batch, 1),
            query_position_embeddings=self.places[:, None].repeat(1, batch, 1),
            pixel_embeddings=finest,
            encoder_hidden_states=[level.flatten(2).permute(2, 0, 1) for level in coarser],
            multi_stage_positional_embeddings=[waves(level)[:, None] for level in coarser],
            feature_size_list=[level.shape[2:] for level in coarser],
            return_dict=True,
        ).masks_queries_logits[-1]
        mixed = self.mix(torch.cat([finest, masks / finest.shape[1] ** 0.5], 1))
        return [mixed.relu(), *levels[1:]]


def mask_transformer() -> Reference:
    """Of two heads. The coarser levels have half the finest one's rows: there, bilinear interpolation, which a mask is
    made smaller with, is the mean over a pixel. They have so few pixels that some masks are nowhere."""
    network = MaskTransformer(WIDTHS, 64, heads=2, queries=anatomy.NUM_BONES)
    return Reference(network, network, width=64, sizes=((4, 6), (2, 3), (2, 3), (2, 3)))


def grouped(network: torch.nn.Module) -> torch.nn.Module:
    """The network with group normalisation where it had batch normalisation."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.BatchNorm2d):
                channels = child.num_features
                setattr(module, name, torch.nn.GroupNorm(max(1, channels // GROUP_SIZE), channels))
    return network


def kept(*modules: torch.nn.Module) -> Callable[[], Levels]:
    """A function that returns what came last out of each of the modules."""
    outs = {}
    for module in modules:
        module.register_forward_hook(lambda module, ins, out: outs.update({module: out}))
    return lambda: [outs[module] for module in modules]


def waves(level: torch.Tensor) -> torch.Tensor:
    """(h w, c): timm's sines and cosines of the rows, then of the columns."""
    _, channels, *size = level.shape
    return timm.layers.build_sincos2d_pos_embed(size, channels, interleave_sin_cos=True)


def doubled(level: torch.Tensor) -> torch.Tensor:
    """An image of no channels, to whose size the last block of a decoder would go."""
    b, _, h, w = level.shape
    return level.new_empty(b, 0, 2 * h, 2 * w)


REFERENCES = {make.__name__: make for make in (fpn, segformer, upernet, unet, unetpp, transunet, mask_transformer)}


if __name__ == "__main__":
    main(sys.argv[1:] or REFERENCES)

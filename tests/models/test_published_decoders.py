"""The published decoders beside those of other libraries: golden values made by tests/models/golden/make_decoders.py.

The reference has group normalisation where it was published with batch normalisation.
"""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ramjax.models import pretrained
from ramjax.models.decoders import DECODERS
from ramjax.trees import by_name
from tests.models.golden import random_tensors
from tests.models.published import assert_sampled, fill

GOLDEN = {path.stem: path for path in sorted(pathlib.Path(__file__).with_name("golden").joinpath("decoders").iterdir())}


def golden(name):
    return json.loads(GOLDEN[name].read_text())


@functools.cache
def abstract(name):
    """The graph of a decoder of the golden sizes, and the shapes of its parameters; its blocks are one loop."""
    held = golden(name)
    widths = tuple(shape[-1] for shape in held["pyramid"])
    options = {"dtype": jnp.float32, "remat": "blocks"}
    return nnx.split(nnx.eval_shape(lambda: DECODERS[name](widths, held["width"], rngs=nnx.Rngs(0), **options)))


def assert_compared(name, renames, change=lambda tensors: None):
    """Asserts that a decoder makes the reference's levels of the reference's parameters, and has no others.

    Args:
      name: of the decoder.
      renames: as those of `pretrained.convert`.
      change: is called with the reference's parameters, and makes them of it what the decoder has.
    """
    held = golden(name)
    graphdef, state = abstract(name)
    tensors = {key: random_tensors.tensor(key, tuple(shape)) for key, shape in held["tensors"].items()}
    change(tensors)
    shapes = {path: leaf.shape for path, leaf in by_name(nnx.to_pure_dict(state)).items()}
    fill(state, pretrained.convert(tensors, renames, shapes, name))
    levels = jax.jit(lambda state, pyramid: nnx.merge(graphdef, state)(pyramid))(
        state, [jnp.asarray(level) for level in random_tensors.pyramid(held["pyramid"])]
    )
    assert [list(level.shape) for level in levels[: len(held["levels"])]] == held["levels"]
    assert_sampled(levels[: len(held["levels"])], held["values"])


def turn(tensors, name, widths):
    """Puts what a convolution is given, joined from parts of these widths, into the opposite order."""
    parts = np.split(tensors[name], np.cumsum(widths)[:-1], 1)
    assert [part.shape[1] for part in parts] == list(widths)
    tensors[name] = np.concatenate(parts[::-1], 1)


def split(tensors, name):
    """Makes three matrices, 0 to 2, of queries, keys and values of PyTorch's, that are held as one."""
    for leaf in ("weight", "bias"):
        for number, part in enumerate(np.split(tensors.pop(f"{name}.in_proj_{leaf}"), 3)):
            tensors[f"{name}.{number}.{leaf}"] = part


def widths_of(name):
    return [shape[-1] for shape in golden(name)["pyramid"]]


def test_every_decoder_but_the_own_one_is_compared():
    assert set(GOLDEN) == DECODERS.keys() - {"additive"}


FPN = ((r"inner_blocks/(\d)/0", r"lateral/\1"), (r"layer_blocks/(\d)/0", r"smooth/\1"))


def test_fpn_is_that_of_torchvision():
    """All levels."""
    assert_compared("fpn", FPN)


def test_segformer_is_that_of_transformers():
    """The finest level. The coarser ones are means of it, which SegFormer does not have."""
    renames = ((r"linear_projections/(\d)/proj", r"project/\1"), ("linear_fuse", "fuse"), ("batch_norm", "norm"))
    assert_compared("segformer", renames, lambda tensors: turn(tensors, "linear_fuse.weight", [16] * 4))


def test_upernet_is_that_of_transformers():
    """The fused level, and the others of the pyramid before it is fused. The coarsest one has fewer rows than the
    finest grid of means."""
    renames = (
        (r"psp_modules/(\d)/1", r"pooled/\1"),
        ("lateral_convs", "lateral"),
        ("fpn_convs", "smooth"),
        ("fpn_bottleneck", "fuse"),
        ("batch_norm", "norm"),
    )
    assert_compared("upernet", renames)


DOUBLE = (("conv1/0", "first/conv"), ("conv1/1", "first/norm"), ("conv2/0", "second/conv"), ("conv2/1", "second/norm"))


def unet_parts(widths, prefix=""):
    """The names of U-Net's blocks there, here, and the widths that their first convolution joins there."""
    count = len(widths) - 1
    return [
        (f"{prefix}blocks.{count - 1 - level}", f"convolutions/{level}", [widths[level + 1], widths[level]])
        for level in range(count)
    ]


def turn_all(parts):
    def change(tensors):
        for there, _, widths in parts:
            turn(tensors, f"{there}.conv1.0.weight", widths)

    return change


def moves(parts):
    return tuple((f"^{there.replace('.', '/')}/", f"{here}/") for there, here, _ in parts)


def test_unet_is_that_of_segmentation_models():
    """All levels, with bilinear interpolation; the paper has transposed convolutions and no padding."""
    parts = unet_parts(widths_of("unet"))
    assert_compared("unet", moves(parts) + DOUBLE, turn_all(parts))


def test_unetpp_is_that_of_segmentation_models():
    """All levels, with bilinear interpolation, where the finest has the encoder's width, as there."""
    widths = widths_of("unetpp")
    count = len(widths) - 1
    parts = [
        (
            f"blocks.x_{count - column - level}_{count - 1 - level}",
            f"columns/{column - 1}/{level}",
            [widths[level + 1], *[widths[level]] * column],
        )
        for column in range(1, count + 1)
        for level in range(count + 1 - column)
    ]
    assert_compared("unetpp", moves(parts) + DOUBLE, turn_all(parts))


def test_transunet_is_the_transformer_of_torch_and_the_unet_of_segmentation_models():
    """All levels; positions are those of timm.

    The paper's code has learned positions, a 1x1 convolution before the transformer and a 3x3 one after it, and
    enlarges with the corners aligned; none of this is here, and none is compared.
    """
    parts = unet_parts(widths_of("transunet"), "decoder.")
    renames = (
        *((there, f"unet/{here}") for there, here in moves(parts)),
        *DOUBLE,
        (r"encoder/layers/(\d+)/", r"blocks/\1/"),
        ("encoder/norm", "norm"),
        (r"self_attn/in_proj_(weight|bias)", r"qkv/\1"),
        ("self_attn/out_proj", "proj"),
        (r"linear(\d)", r"mlp/fc\1"),
    )
    assert_compared("transunet", renames, turn_all(parts))


def test_mask_transformer_is_the_decoder_of_mask2former_in_transformers():
    """All levels: masked attention, attention among queries, perceptrons, and masks, of which the last are mixed into
    the finest level of torchvision's feature pyramid, on which the decoder is.

    What `MaskTransformer` says is not as in the paper is put into the reference, where that has the place for it. The
    coarser levels have half the rows of the finest, where a mean is bilinear interpolation.
    """

    def change(tensors):
        for number in range(len(widths_of("mask_transformer")) - 1):
            split(tensors, f"decoder.layers.{number}.cross_attn")

    renames = (
        *((f"pixels/{there}", f"pixels/{here}") for there, here in FPN),
        ("decoder/layernorm", "norm"),
        ("decoder/mask_predictor/mask_embedder/0", "embed/fc1"),
        ("decoder/mask_predictor/mask_embedder/2", "embed/fc2"),
        ("decoder/layers", "layers"),
        ("cross_attn/out_proj", "across/3"),
        (r"cross_attn/(\d)", r"across/\1"),
        ("cross_attn_layer_norm", "norms/0"),
        ("self_attn_layer_norm", "norms/1"),
        ("final_layer_norm", "norms/2"),
        *((f"self_attn/{of}_proj", f"among/{number}") for number, of in enumerate(("q", "k", "v", "out"))),
        (r"layers/(\d)/fc", r"layers/\1/perceptron/fc"),
    )
    assert_compared("mask_transformer", renames, change)

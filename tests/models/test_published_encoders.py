"""The published encoders beside timm and others: golden values made by tests/models/golden/make_encoders.py."""

import dataclasses
import functools
import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ramjax.config import ConfigError, ModelConfig, architectures
from ramjax.errors import RunError
from ramjax.models import pretrained
from ramjax.models.encoders import ENCODERS, make_encoder
from ramjax.trees import by_name
from tests.models.golden import random_tensors
from tests.models.golden.encoder_names import LEVELS
from tests.models.published import assert_sampled, fill

GOLDEN = {path.stem: path for path in sorted(pathlib.Path(__file__).with_name("golden").joinpath("encoders").iterdir())}

COMPARED = {
    "resnet18", "resnet50", "densenet121", "efficientnetv2_s", "mobilevit_s", "convnextv2_atto", "nnunet", "mit_b0",
    "swin_tiny", "swinv2_tiny", "vit_small", "vit_small_dinov3", "vmamba_tiny", "umamba",
}  # fmt: skip
"""Those whose values are compared: one for each kind of block. The shapes of all are."""


def golden(name):
    return json.loads(GOLDEN[name].read_text())


@functools.cache
def abstract(name, **options):
    """The graph and the shapes of the parameters and statistics of an encoder of colours."""
    options = {"batch_norm": "global", "drop_path": 0.0, "dtype": jnp.float32} | options
    return nnx.split(nnx.eval_shape(lambda: ENCODERS[name].make(3, rngs=nnx.Rngs(0), **options)), nnx.RngState, ...)


def shapes_of(state, name):
    """Of the parameters that files of an encoder's weights hold."""
    leaves = by_name(nnx.to_pure_dict(state))
    return {path: leaves[path].shape for path in ENCODERS[name].held(leaves)}


def converted(name, expected, change=lambda tensors: None, make=random_tensors.tensor):
    held = golden(name)
    shapes = held["tensors"] | held["unused"]
    tensors = {key: make(key, tuple(shape)) for key, shape in shapes.items()}
    change(tensors)
    return pretrained.convert(tensors, ENCODERS[name].renames, expected, "file.safetensors", ENCODERS[name].unused)


def test_the_tables_of_settings_and_networks_have_the_same_encoders():
    assert list(architectures.ENCODERS) == list(ENCODERS)


@pytest.mark.parametrize("name", [name for name in GOLDEN if name not in COMPARED])
def test_parameters_have_the_names_and_shapes_of_timm(name):
    _, _, state = abstract(name)
    shapes = shapes_of(state, name)
    found = converted(name, shapes, make=lambda _, shape: np.broadcast_to(np.float32(0), shape))
    assert shapes.keys() == found.keys()


@pytest.mark.parametrize("name", sorted(COMPARED))
def test_the_pyramid_is_that_of_timm_to_a_ten_thousandth(name):
    graphdef, streams, state = abstract(name)
    tensors = converted(name, shapes_of(state, name))
    fill(state, tensors)
    streams = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), streams)

    @jax.jit
    def apply(state, image):
        network = nnx.merge(graphdef, streams, state)
        network.eval()
        return [network.trunk(image)] if ENCODERS[name].own else network(image)

    expected = golden(name)
    pyramid = apply(state, random_tensors.image(3, *expected["size"]))
    assert [list(level.shape) for level in pyramid] == expected["pyramid"]
    assert_sampled(pyramid[: LEVELS.get(name)], expected["values"])


@pytest.mark.parametrize("name", [name for name in GOLDEN if not ENCODERS[name].own])
def test_the_stated_pyramid_is_that_of_the_others(name):
    held, stated = golden(name), architectures.ENCODERS[name]
    height, width = held["size"]
    assert [tuple(level) for level in held["pyramid"]] == [
        (1, height // stride, width // stride, channels)
        for stride, channels in zip(stated.strides, stated.widths, strict=True)
    ]


@pytest.mark.parametrize("name", sorted(COMPARED | (ENCODERS.keys() - GOLDEN.keys())))
def test_the_pyramid_has_the_stated_strides_and_widths(name):
    config = ModelConfig(encoder=name)

    def pyramid():
        encoder = make_encoder(config, dtype=jnp.bfloat16, remat="blocks", rngs=nnx.Rngs(0))
        return encoder(jnp.zeros((2, 128, 64, 1)))

    levels = nnx.eval_shape(pyramid)
    assert [level.shape for level in levels] == [
        (2, 128 // stride, 64 // stride, width)
        for stride, width in zip(config.pyramid.strides, config.pyramid.widths, strict=True)
    ]
    assert {level.dtype for level in levels} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize("name", list(GOLDEN))
def test_as_many_parameters_as_published_but_for_the_classifier(name):
    _, _, state = abstract(name)
    count = sum(map(math.prod, shapes_of(nnx.filter_state(state, nnx.Param), name).values()))
    assert count == golden(name)["parameters"]


def test_a_frozen_network_has_no_parameter_in_its_normalisation_and_gives_the_same():
    graphs = {kind: abstract("resnet18", batch_norm=kind) for kind in ("global", "frozen")}
    images = jnp.asarray(random_tensors.image(3, 64, 96))
    results = {}
    for kind, (graphdef, _, state) in graphs.items():
        tensors = converted("resnet18", shapes_of(state, "resnet18"))
        params = by_name(nnx.to_pure_dict(nnx.filter_state(state, nnx.Param)))
        assert any("bn1" in name for name in params) == (kind == "global")
        fill(state, tensors)
        network = nnx.merge(graphdef, {}, state)
        network.train() if kind == "frozen" else network.eval()  # training does not thaw it
        results[kind] = nnx.jit(lambda network, images: network(images)[-1])(network, images)
    np.testing.assert_allclose(results["frozen"], results["global"], rtol=1e-4, atol=1e-4)


def test_a_grey_stem_gives_what_the_grey_image_repeated_gives():
    colours = np.random.default_rng(0).normal(size=(8, 3, 7, 7)).astype(np.float32)
    found = pretrained.convert({"conv1.weight": colours}, (), {"conv1/kernel": (7, 7, 1, 8)}, "file")
    grey = np.random.default_rng(1).normal(size=(7, 7)).astype(np.float32)
    expected = np.einsum("oikl,ikl->o", colours, np.stack([grey] * 3))
    np.testing.assert_allclose(np.einsum("klio,kli->o", found["conv1/kernel"], grey[..., None]), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("layer1.0.conv1.weight"), "file.safetensors lacks layer1/0/conv1/kernel"),
        (lambda tensors: tensors.update({"blocks.0.weight": np.zeros(3)}), "blocks.0.weight has no place"),
        (
            lambda tensors: tensors.update({"layer1.0.conv1.weight": np.zeros((8, 64, 3, 3))}),
            r"layer1.0.conv1.weight is \(8, 64, 3, 3\), .* this encoder has \(3, 3, 64, 64\); set model.encoder",
        ),
    ],
)
def test_a_wrong_file_is_an_error_that_names_the_tensor(change, message):
    _, _, state = abstract("resnet18")
    with pytest.raises(RunError, match=message):
        converted("resnet18", shapes_of(state, "resnet18"), change)


def test_a_level_that_the_encoder_lacks_is_refused_with_both_keys():
    with pytest.raises(ConfigError, match="stem_stride is 1, but encoder resnet18 has the strides 2, 4, 8, 16, 32"):
        ModelConfig(encoder="resnet18", stem_stride=1)
    assert dataclasses.replace(ModelConfig(encoder="resnet18"), stem_stride=2).pyramid.widths == (64, 64, 128, 256, 512)

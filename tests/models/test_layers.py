import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from ramjax.config import ModelConfig
from ramjax.devices import compilation
from ramjax.models import layers, normalization
from ramjax.models.decoders.additive import AdditiveDecoder
from ramjax.models.encoders import make_encoder
from ramjax.models.encoders.residual import ResidualEncoder, local_contrast
from ramjax.typed import ConfigError


def test_space_to_depth_keeps_every_pixel_and_is_undone_by_depth_to_space():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 12, 3)))
    deep = layers.space_to_depth(x, 4)
    assert deep.shape == (2, 2, 3, 48)
    np.testing.assert_array_equal(deep[1, 1, 2, (2 * 4 + 3) * 3 + 1], x[1, 4 + 2, 8 + 3, 1])
    np.testing.assert_array_equal(layers.depth_to_space(deep, 4), x)


@pytest.mark.parametrize("features", [8, 24, 4])
def test_group_norm_equals_flax(features):
    x = jnp.asarray(np.random.default_rng(0).normal(2.0, 3.0, size=(2, 6, 5, features)), jnp.float32)
    ours = layers.GroupNorm(features, rngs=nnx.Rngs(0))
    theirs = nnx.GroupNorm(features, num_groups=max(1, features // 8), epsilon=layers.EPSILON, rngs=nnx.Rngs(0))
    scale = jnp.linspace(0.5, 2, features)
    ours.scale[...], theirs.scale[...] = scale, scale
    np.testing.assert_allclose(ours(x), theirs(x), atol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 2e-2)])
@pytest.mark.parametrize(("shape", "groups"), [((2, 7, 5, 24), 3), ((1, 1, 1, 8), 1), ((3, 6, 4, 4), 4)])
def test_group_norm_has_the_gradients_of_its_definition(shape, groups, dtype, tolerance):
    def by_definition(x, scale, bias):
        grouped = x.astype(jnp.float32).reshape(*shape[:3], groups, -1)
        mean, variance = (f(grouped, axis=(1, 2, 4), keepdims=True) for f in (jnp.mean, jnp.var))
        normal = ((grouped - mean) / jnp.sqrt(variance + layers.EPSILON)).reshape(shape)
        return (normal * scale + bias).astype(dtype)

    rng = np.random.default_rng(0)
    x, grad = (jnp.asarray(rng.normal(0.5, 2.0, size=shape), dtype) for _ in range(2))
    scale, bias = (jnp.asarray(rng.normal(size=shape[-1:]), jnp.float32) for _ in range(2))
    out, pull = jax.vjp(lambda *inputs: normalization.group_norm(*inputs, groups, layers.EPSILON), x, scale, bias)
    expected, pull_expected = jax.vjp(by_definition, x, scale, bias)
    assert out.dtype == dtype
    for got, wanted in zip((out, *pull(grad)), (expected, *pull_expected(grad)), strict=True):
        assert got.dtype == wanted.dtype
        got, wanted = np.float32(got), np.float32(wanted)
        np.testing.assert_allclose(got, wanted, atol=tolerance * max(1, np.abs(wanted).max()))


def test_the_relu_after_a_norm_and_its_gradient_are_rounded_once():
    """In bfloat16, what is normalised, added and cut off is the float32 result, rounded."""
    rng = np.random.default_rng(0)
    x, shortcut, grad = (jnp.asarray(rng.normal(size=(2, 6, 4, 16)), jnp.bfloat16) for _ in range(3))

    def block(x, shortcut):
        return normalization.group_norm(x, jnp.ones(16), jnp.zeros(16), 2, layers.EPSILON, shortcut=shortcut, relu=True)

    out, pull = jax.vjp(block, x, shortcut)
    wide, pull_wide = jax.vjp(block, x.astype(jnp.float32), shortcut.astype(jnp.float32))
    assert out.dtype == jnp.bfloat16
    np.testing.assert_array_equal(out, wide.astype(jnp.bfloat16))
    for got, wanted in zip(pull(grad), pull_wide(grad.astype(jnp.float32)), strict=True):
        assert got.dtype == jnp.bfloat16
        np.testing.assert_allclose(got.astype(jnp.float32), wanted, rtol=2**-8, atol=1e-6)


def test_group_norm_computes_in_float32_and_returns_the_inputs_dtype():
    # 300 +- 1 loses its spread in bfloat16 moments.
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 16, 16, 8)) + 300, jnp.bfloat16)
    y = layers.GroupNorm(8, rngs=nnx.Rngs(0))(x)
    assert y.dtype == jnp.bfloat16
    assert float(jnp.std(y.astype(jnp.float32))) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("width", [64, 65])
def test_group_norm_writes_no_squares_to_memory(width):
    """What it sums is computed on the way: a pixel of the result takes nothing of the activations' size."""

    def first_pixel(x):
        return normalization.group_norm(x, jnp.ones(32), jnp.zeros(32), 4, layers.EPSILON)[:, 0, 0]

    x = jnp.zeros((2, 64, width, 32))
    assert compilation.jit(first_pixel).lower(x).compile().memory_analysis().temp_size_in_bytes < 0.5 * x.nbytes


@pytest.mark.parametrize(("platform", "sums"), [("cpu", 1), ("cuda", 0)])
def test_only_a_cpu_sums_spans_of_two_arrays_at_once(platform, sums):
    norm = jax.jit(lambda x: normalization.group_norm(x, jnp.ones(32), jnp.zeros(32), 4, layers.EPSILON))
    text = norm.trace(jnp.zeros((2, 8, 16, 32))).lower(lowering_platforms=(platform,)).as_text()
    assert len(re.findall(r"stablehlo\.reduce\(.*\), \(", text)) == sums


@pytest.mark.parametrize("stem_stride", [1, 2, 4])
def test_pyramid_and_dense_features_have_the_promised_strides(stem_stride):
    def features():
        encoder = ResidualEncoder(stem_stride, (8, 16, 24), (1, 0, 1), dtype=jnp.float32, rngs=nnx.Rngs(0))
        decoder = AdditiveDecoder((8, 16, 24), 16, dtype=jnp.float32, rngs=nnx.Rngs(0))
        pyramid = encoder(jnp.zeros((2, 64, 48, 1)))
        return pyramid, decoder(pyramid)

    pyramid, dense = jax.eval_shape(features)
    strides = [stem_stride * 2**level for level in range(3)]
    assert [map_.shape for map_ in pyramid] == [
        (2, 64 // s, 48 // s, w) for s, w in zip(strides, (8, 16, 24), strict=True)
    ]
    assert [map_.shape for map_ in dense] == [
        (2, 64 // s, 48 // s, w) for s, w in zip(strides, (16, 16, 24), strict=True)
    ]


def test_an_encoder_is_chosen_by_name():
    """One of somebody's own by its dotted path; the one of the package is there by a path, too."""
    config = ModelConfig(widths=(8, 16), blocks=(0, 1))

    def make(name):
        return make_encoder(dataclasses.replace(config, encoder=name), dtype=jnp.float32, rngs=nnx.Rngs(0))

    for name in ("residual", "ramjax.models.encoders.residual.ResidualEncoder"):
        assert isinstance(nnx.eval_shape(lambda name=name: make(name)), ResidualEncoder)
    with pytest.raises(ConfigError, match=r"model.encoder names no_lab.Net, which cannot be imported"):
        make("no_lab.Net")


def test_stochastic_depth_drops_whole_examples_and_keeps_the_mean():
    branch = layers.drop_path(0.25, nnx.Rngs(0))
    dropped = np.asarray(branch(jnp.ones((4000, 1, 2, 3))))
    assert set(np.unique(dropped)) == {0, np.float32(4 / 3)}
    assert (dropped.reshape(4000, -1) == dropped[:, :1, :1, 0].reshape(4000, 1)).all()
    assert dropped.mean() == pytest.approx(1, abs=0.05)
    assert layers.split_rates(0.3, (2, 2)) == [pytest.approx([0, 0.1]), pytest.approx([0.2, 0.3])]


def test_local_contrast_does_not_depend_on_exposure_and_shows_a_dark_spot():
    image = np.random.default_rng(0).normal(0.5, 0.1, size=(1, 64, 48, 1)).astype(np.float32)
    image[0, 30:34, 20:24] -= 0.3
    contrast = local_contrast(jnp.asarray(image))
    brighter = local_contrast(jnp.asarray(image + 0.3))
    np.testing.assert_allclose(contrast, brighter, atol=1e-3)
    assert float(contrast[0, 30:34, 20:24].mean()) < -1 < float(contrast[0, 2:10, 2:10].mean())


def test_local_contrast_of_a_flat_image_is_nothing():
    np.testing.assert_allclose(local_contrast(jnp.full((1, 32, 24, 1), 0.7)), 0, atol=1e-3)


def _resized(x, height, width):
    return jax.image.resize(x, (x.shape[0], height, width, x.shape[3]), "bilinear")


@settings(max_examples=8, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    factors=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    more=st.tuples(st.integers(0, 1), st.integers(0, 1)),
)
def test_upsampling_is_bilinear_interpolation_by_whole_and_other_factors(sides, factors, more):
    height, width = (side * factor + one for side, factor, one in zip(sides, factors, more, strict=True))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, *sides, 3)), jnp.float32)
    np.testing.assert_allclose(layers.upsample(x, height, width), _resized(x, height, width), atol=5e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-6), (jnp.bfloat16, 2e-2)])
@pytest.mark.parametrize("size", [(14, 10), (28, 15), (112, 80)])
def test_upsampling_has_the_gradient_of_interpolation_in_its_dtype(size, dtype, tolerance):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 7, 5, 3)), dtype)
    weights = jnp.asarray(rng.normal(size=(2, *size, 3)), dtype)
    values, grads = [], []
    for function in (layers.upsample, _resized):
        out, pull = jax.vjp(lambda x, function=function: function(x, *size), x)
        assert out.dtype == dtype
        values.append(np.float32(out))
        grads.append(np.float32(pull(weights)[0]))
    np.testing.assert_allclose(*values, atol=2 * tolerance)
    np.testing.assert_allclose(*grads, atol=tolerance * np.abs(grads[1]).max())


def test_spatial_max_and_its_gradient_are_those_of_max():
    x = jax.random.normal(jax.random.key(0), (2, 5, 7, 3))
    weights = jnp.arange(6.0).reshape(2, 3)
    value, gradient = jax.value_and_grad(lambda x: (layers.spatial_max(x) * weights).sum())(x)
    expected = jax.value_and_grad(lambda x: (x.max((1, 2)) * weights).sum())(x)
    np.testing.assert_array_equal(value, expected[0])
    np.testing.assert_array_equal(gradient, expected[1])


def test_a_maximum_of_values_computed_twice_has_a_gradient():
    """Ties, as zeros after a ReLU make them, go to one place."""
    gradient = jax.grad(lambda x: layers.spatial_max(jax.nn.relu(x)).sum())(jnp.full((1, 2, 2, 1), 3.0))
    assert float(gradient.sum()) == 1.0


@pytest.mark.parametrize(("relu", "shortcut"), [(False, False), (False, True), (True, False), (True, True)])
def test_group_norm_has_every_derivative_of_its_definition(relu, shortcut):
    def by_definition(x, scale, bias, *rest):
        grouped = x.reshape(2, 4, 6, 2, 4)
        mean, variance = (f(grouped, axis=(1, 2, 4), keepdims=True) for f in (jnp.mean, jnp.var))
        y = ((grouped - mean) / jnp.sqrt(variance + layers.EPSILON)).reshape(x.shape) * scale + bias
        y = sum(rest, y)
        return jax.nn.relu(y) if relu else y

    rng = np.random.default_rng(0)
    shapes = ((2, 4, 6, 8), (8,), (8,), *([(2, 4, 6, 8)] if shortcut else []))
    point, direction = (tuple(jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes) for _ in range(2))
    weights = jnp.asarray(rng.normal(size=(2, 4, 6, 8)), jnp.float32)
    every = tuple(range(len(shapes)))

    def derivatives(norm):
        def total(*point):
            return jnp.sum(jnp.sin(norm(*point)) * weights)

        gradient = jax.grad(total, every)
        return (
            jax.jvp(norm, point, direction),
            jax.jvp(gradient, point, direction),
            jax.grad(lambda *point: jax.jvp(total, point, direction)[1], every)(*point),
            jax.grad(lambda *point: sum(map(jnp.vdot, gradient(*point), direction)), every)(*point),
        )

    def ours(x, scale, bias, shortcut=None):
        return normalization.group_norm(x, scale, bias, 2, layers.EPSILON, shortcut=shortcut, relu=relu)

    results = [jax.jit(lambda norm=norm: derivatives(norm))() for norm in (ours, by_definition)]
    for one, other in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * float(jnp.abs(other).max()))

"""The dense head and the sums of its loss, against the plain formulas."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from experiments import debug
from ramjax import anatomy
from ramjax import config as config_lib
from ramjax.models import layers
from ramjax.models.features import Features
from ramjax.tasks import Bones, Erosions
from ramjax.tasks.bones.sums import pixel_sums, unpack
from ramjax.tasks.dense import DenseHead, grid_shape, in_blocks, on_grid
from tests.tasks.batches import random_batch

MODEL = config_lib.from_config_dict(debug.get_config()).model


def features(model, rng) -> Features:
    widths = (model.decoder_width, *model.widths[1:])
    dense = [
        jnp.asarray(rng.normal(size=(2, 16 >> level, 12 >> level, width)), jnp.float32)
        for level, width in enumerate(widths[:3])
    ]
    return Features(image=jnp.zeros((2, 64, 48, 1)), dense=dense, stride=model.stem_stride, boxes=None)


@pytest.mark.parametrize("stem_stride", [1, 2, 4])
def test_logits_are_the_sum_of_two_sub_pixel_upsamplings(stem_stride):
    model = dataclasses.replace(MODEL, stem_stride=stem_stride)
    given = features(model, np.random.default_rng(0))
    head = DenseHead(model, (0.5, -1.0, 2.0), rngs=nnx.Rngs(0))
    logits = head(given)["logits"]
    fine = layers.depth_to_space(head.fine(head.mix(given.dense[0])), head.block)
    coarse = layers.depth_to_space(head.coarse(given.dense[1]), 2 * head.block)
    np.testing.assert_allclose(on_grid(logits), fine + coarse, atol=1e-5)
    assert grid_shape(logits) == fine.shape[1:3]


@pytest.mark.parametrize("blocks", [(), (2, 2), (2, 1, 1, 2), (1, 1, 4, 2)])
def test_blocks_of_a_map_lie_as_those_of_the_logits(blocks):
    height, width = 4 * math.prod(blocks[::2]), 3 * math.prod(blocks[1::2])
    grid = jnp.arange(2 * height * width).reshape(2, height, width)
    logits = jnp.zeros((2, 4, 3, *blocks, 1))
    blocked = in_blocks(grid, logits)
    assert blocked.shape == logits.shape[:-1] and grid_shape(logits) == (height, width)
    np.testing.assert_array_equal(on_grid(blocked[..., None])[..., 0], grid)


def test_a_block_within_a_block_is_a_square_of_the_grid():
    grid = jnp.arange(2 * 16 * 12).reshape(2, 16, 12)
    blocked = in_blocks(grid, jnp.zeros((2, 4, 3, 2, 2, 2, 2, 1)))
    np.testing.assert_array_equal(blocked[1, 2, 1, 1, 0], grid[1, 10:12, 4:6])


def test_for_its_gradient_the_loss_keeps_no_float32_number_for_each_logit():
    def kept(sums):
        pull = jax.vjp(lambda logits: sums(logits, words, inside), logits)[1]
        return sum(leaf.nbytes for leaf in jax.tree.leaves(pull))

    logits, words, inside = example(jnp.bfloat16)
    assert kept(pixel_sums) <= logits.nbytes + words.nbytes + inside.nbytes
    assert kept(lambda logits, *rest: plain_sums(logits.astype(jnp.float32), *rest)) >= 4 * logits.nbytes


def plain_sums(logits, words, inside):
    """The formulas as they are written in the literature, for automatic differentiation."""
    target, inside = unpack(words), inside[..., None]
    probability = jnp.where(inside, jax.nn.sigmoid(logits), 0)
    cross_entropy = jnp.where(inside, optax.sigmoid_binary_cross_entropy(logits, target), 0)
    terms = cross_entropy, jnp.where(target, probability, 0), jnp.square(probability)
    return tuple(term.sum(range(1, term.ndim - 1)) for term in terms)


def example(dtype=jnp.float32):
    rng = np.random.default_rng(1)
    logits = jnp.asarray(rng.normal(scale=4, size=(2, 5, 3, 2, 2, 30)), dtype)
    inside = jnp.asarray(rng.random((2, 5, 3, 2, 2)) < 0.8)
    words = jnp.where(inside, jnp.asarray(rng.integers(0, 2**30, inside.shape), jnp.uint32), 0)
    return logits, words, inside


def weighted(sums, example):
    """A number that depends on each sum of each channel in another way."""
    totals = sums(*example)
    return sum(
        (total * jnp.linspace(scale, 1, total.size).reshape(total.shape)).sum() for scale, total in enumerate(totals)
    )


def test_sums_are_those_of_the_plain_formula():
    for ours, plain in zip(pixel_sums(*example()), plain_sums(*example()), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-5)


def test_large_logits_are_finite_and_exact():
    logits, words, inside = example()
    logits = logits * 1e4
    for ours, plain in zip(pixel_sums(logits, words, inside), plain_sums(logits, words, inside), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-5)
    grads = jax.grad(lambda z: weighted(pixel_sums, (z, words, inside)))(logits)
    assert np.all(np.isfinite(grads))


def test_the_gradient_is_that_of_the_plain_formula():
    logits, *rest = example()
    ours, plain = (
        jax.grad(lambda z, sums=sums: weighted(sums, (z, *rest)))(logits) for sums in (pixel_sums, plain_sums)
    )
    np.testing.assert_allclose(ours, plain, atol=1e-5)


def test_forward_mode_and_its_gradient_are_those_of_the_plain_formula():
    logits, *rest = example()
    direction = jnp.asarray(np.random.default_rng(2).normal(size=logits.shape), jnp.float32)

    def curvature(sums):
        slope = jax.grad(lambda z: weighted(sums, (z, *rest)))
        return jax.jvp(slope, (logits,), (direction,))[1]

    np.testing.assert_allclose(curvature(pixel_sums), curvature(plain_sums), atol=1e-4)


def test_logits_of_bfloat16_are_summed_in_float32_and_have_a_gradient_of_their_dtype():
    logits, *rest = example(jnp.bfloat16)
    wide = logits.astype(jnp.float32)
    for ours, plain in zip(pixel_sums(logits, *rest), plain_sums(wide, *rest), strict=True):
        assert ours.dtype == jnp.float32
        np.testing.assert_allclose(ours, plain, rtol=1e-5)
    grad = jax.grad(lambda z: weighted(pixel_sums, (z, *rest)))(logits)
    plain = jax.grad(lambda z: weighted(plain_sums, (z, *rest)))(wide)
    assert grad.dtype == jnp.bfloat16
    np.testing.assert_allclose(grad.astype(jnp.float32), plain, rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize("task", [Bones(), Erosions()])
def test_a_loss_does_not_depend_on_the_order_of_the_logits(task):
    rng, batch = np.random.default_rng(3), random_batch(2, seed=3)
    height, width = batch["padding"].shape[1:]
    channels = anatomy.NUM_BONES if task.name == "bones" else anatomy.NUM_EROSION_LABELS
    logits = jnp.asarray(rng.normal(size=(2, height // 8, width // 8, 2, 2, 2, 2, channels)), jnp.float32)

    @jax.jit
    def losses(logits):
        return [term.mean() for term in task.loss({"logits": logits}, batch)]

    for blocked, placed in zip(losses(logits), losses(on_grid(logits)), strict=True):
        assert blocked > 0
        np.testing.assert_allclose(blocked, placed, rtol=1e-5)

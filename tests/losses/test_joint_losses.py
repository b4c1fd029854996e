"""Ways of placing joint sites: what is trained is what is found, and the formulas against slow ones."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.test_util import check_grads

from experiments import debug
from ramjax import config as config_lib
from ramjax.config import JointsConfig
from ramjax.models.features import Features
from ramjax.tasks.joints import Joints, dsnt, offset
from ramjax.tasks.joints.learning import PLACINGS, JointsHead
from ramjax.tasks.joints.target import shares, target_on
from tests.tasks import contract
from tests.tasks.batches import random_batch

CONFIG = config_lib.from_config_dict(debug.get_config())
SITES, GRID, STRIDE = 22, (8, 6), 8
NAMES = tuple(PLACINGS)


def raw_outputs(name, seed=0):
    placing, rng = PLACINGS[name], np.random.default_rng(seed)
    outputs = {"heatmap": rng.normal(size=(2, *GRID, SITES))}
    outputs["regression"] = rng.normal(size=(2, *GRID, SITES, placing.regressed))
    if placing.tells_absence:
        outputs["absence"] = rng.normal(size=(2, SITES))
    return {key: jnp.asarray(value, jnp.float32) for key, value in outputs.items()}


def batch_of():
    batch = random_batch(seed=4)
    batch["present"][:, ::4] = False
    batch["joints_known"][0, :3] = False
    batch["boxes"] += np.array([-6, -6, 6, 6], np.float32)  # three cells wide, so that most of a peak is in its box
    return batch


def mean(name, outputs, batch):
    return sum(term.mean() for term in Joints(JointsConfig(loss=name)).loss(outputs, batch))


@pytest.mark.parametrize("name", NAMES)
def test_outputs_that_are_trained_decode_to_what_they_were_trained_on(name):
    batch, optimizer = batch_of(), optax.adam(0.2)
    slope = jax.grad(functools.partial(mean, name))

    def step(carried, _):
        outputs, state = carried
        updates, state = optimizer.update(slope(outputs, batch), state)
        return (optax.apply_updates(outputs, updates), state), None

    @jax.jit
    def train(outputs):
        return jax.lax.scan(step, (outputs, optimizer.init(outputs)), length=400)[0][0]

    boxes, confidence = PLACINGS[name].decode(train(raw_outputs(name)), STRIDE)
    known, present = batch["joints_known"], batch["present"] & batch["joints_known"]
    np.testing.assert_allclose(boxes[present], batch["boxes"][present], atol=2)  # a quarter of a cell
    assert confidence[present].min() > 0.6 and confidence[known & ~present].max() < 0.2


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name):
    batch = batch_of()
    loss = jax.jit(lambda outputs: mean(name, outputs, batch))
    check_grads(loss, (raw_outputs(name),), 1, atol=2e-2, rtol=2e-2, eps=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_sure_outputs_have_finite_losses_and_gradients(name):
    batch = batch_of()
    outputs = jax.tree.map(lambda leaf: 1e4 * leaf, raw_outputs(name))
    outputs["regression"] = raw_outputs(name)["regression"]
    value, slope = jax.jit(jax.value_and_grad(lambda outputs: mean(name, outputs, batch)))(outputs)
    assert np.isfinite(value) and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "heatmap"])
def test_the_contract(name):
    canvas = dataclasses.replace(CONFIG.data.canvas, height=64, width=48)
    config = dataclasses.replace(
        CONFIG,
        tasks=("joints",),
        joints=JointsConfig(loss=name),
        data=dataclasses.replace(CONFIG.data, canvas=canvas),
        model=dataclasses.replace(CONFIG.model, widths=(8, 8), blocks=(0, 0), decoder_width=8),
    )
    contract.check(config, "joints")


@pytest.mark.parametrize("name", NAMES)
def test_the_head_has_what_its_loss_needs(name):
    def outputs():
        head = JointsHead(JointsConfig(loss=name), CONFIG.model, rngs=nnx.Rngs(0))
        widths = (CONFIG.model.decoder_width, *CONFIG.model.widths[1:])
        dense = [jnp.zeros((2, 32 >> level, 24 >> level, width)) for level, width in enumerate(widths)]
        return head(Features(jnp.zeros((2, 128, 96, 1)), dense, 4, None))

    shapes = {key: leaf.shape for key, leaf in jax.eval_shape(outputs).items()}
    placing = PLACINGS[name]
    assert shapes["regression"] == (2, 16, 12, SITES, placing.regressed)
    assert ("absence" in shapes) == placing.tells_absence
    assert shapes["boxes"] == (2, SITES, 4) and shapes["confidence"] == (2, SITES)


def test_the_divergence_is_that_of_the_definition():
    rng = np.random.default_rng(1)
    logits, share = rng.normal(size=(1, 3, 4, 2)), rng.random((1, 3, 4, 2))
    share[0, 0] = 0  # cells without any share
    share /= share.sum((1, 2), keepdims=True)
    found = np.exp(logits) / np.exp(logits).sum((1, 2), keepdims=True)
    middle = (found + share) / 2
    some = np.where(share > 0, share, 1)
    expected = (found * np.log(found / middle) + share * np.log(some / middle)).sum((1, 2)) / 2
    np.testing.assert_allclose(dsnt.divergence(jnp.asarray(logits), jnp.asarray(share)), expected, rtol=1e-4)
    apart = 1e3 * jnp.eye(12).reshape(12, 3, 4, 1)
    np.testing.assert_allclose(dsnt.divergence(apart[:1], jax.nn.softmax(apart[1:2], (1, 2))), np.log(2), rtol=1e-5)


def test_the_distance_of_dsnt_is_in_half_heights():
    batch = batch_of()
    target, outputs = target_on(GRID, batch), raw_outputs("dsnt")
    place, size, absence = (term.mean() for term in dsnt.terms(JointsConfig(loss="dsnt"), outputs, target))
    share = np.asarray(jax.nn.softmax(outputs["heatmap"], (1, 2)), float)
    rows, columns = np.arange(GRID[0]) + 0.5, np.arange(GRID[1]) + 0.5
    center = np.stack([(share * rows[:, None, None]).sum((1, 2)), (share * columns[:, None]).sum((1, 2))], -1)
    there = np.asarray(target.present)
    apart = np.linalg.norm(center - np.asarray(target.center), axis=-1) * 2 / GRID[0]
    apart += np.asarray(dsnt.divergence(outputs["heatmap"], shares(target, 1.0)))
    assert float(place) == pytest.approx(apart[there].mean(), rel=1e-4)
    assert float(size) > 0
    chance = 1 / (1 + np.exp(-np.asarray(outputs["absence"], float)))
    losses = -np.log(np.where(there, 1 - chance, chance))
    assert float(absence) == pytest.approx(losses[np.asarray(target.known)].mean(), rel=1e-4)


def test_the_focal_loss_of_cells_is_that_of_the_definition():
    batch = batch_of()
    target, outputs = target_on(GRID, batch), raw_outputs("offset")
    place, _ = offset.terms(JointsConfig(loss="offset"), outputs, target)
    chance = 1 / (1 + np.exp(-np.asarray(outputs["heatmap"], float)))
    total = 0.0
    for image, site in zip(*np.nonzero(np.asarray(target.known)), strict=True):
        row, column = np.floor(np.asarray(target.center)[image, site])
        for y in range(GRID[0]):
            for x in range(GRID[1]):
                p = chance[image, y, x, site]
                peak = np.exp(-((y - row) ** 2 + (x - column) ** 2) / 2) if target.present[image, site] else 0
                total -= (1 - p) ** 2 * np.log(p) if peak == 1 else (1 - peak) ** 4 * p**2 * np.log(1 - p)
    assert float(place.mean()) == pytest.approx(total / np.asarray(target.known).sum(), rel=1e-4)

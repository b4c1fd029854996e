"""Losses of masks against MONAI and PyTorch, slow references, and what holds for each of them."""

import dataclasses
import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jax.test_util import check_grads
from scipy import ndimage

from ramjax.config import BonesConfig, ErosionsConfig
from ramjax.config.losses import COMBINATIONS, OF_LABELS, OF_MASKS
from ramjax.losses import LOSSES, Masks, mask_terms, needs_grid
from ramjax.losses.cldice import soft_skeleton
from ramjax.losses.distances import distances, signed_distances
from ramjax.losses.masks import one_against_rest
from tests.losses.golden import loss_cases

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden" / "losses.json").read_text())["losses"]
NAMES = (*LOSSES, *COMBINATIONS)
slow_at_first = settings(deadline=None, max_examples=30)  # JAX compiles each operation when it is first used


def config_of(name, **settings):
    exclusive = not set(COMBINATIONS.get(name, (name,))) <= set(OF_MASKS)
    kind = functools.partial(ErosionsConfig, positive_weight=1.0) if exclusive else BonesConfig
    return kind(losses=(name,), **settings)


def masks_of(config, logits, target, inside=None, known=None):
    inside = np.ones(target.shape[:-1], bool) if inside is None else inside
    known = np.ones((len(target), target.shape[-1]), bool) if known is None else known
    return Masks(*map(jnp.asarray, (logits, target, inside, known)), exclusive=config.exclusive)


def cases_of(config):
    return loss_cases.labels() if config.exclusive else loss_cases.masks()


@functools.cache
def value_and_slope(config):
    """Compiled once for each loss: the mean, its gradient, and the counts."""

    def mean(logits, target, inside, known):
        terms = mask_terms(config, Masks(logits, target, inside, known, exclusive=config.exclusive))
        return sum(term.mean() for term in terms), [(term.total, term.count) for term in terms]

    return jax.jit(jax.value_and_grad(mean, has_aux=True))


def evaluate(config, logits, target, inside=None, known=None):
    masks = masks_of(config, logits, target, inside, known)
    (value, terms), slope = value_and_slope(config)(masks.logits, masks.target, masks.inside, masks.known)
    return float(value), np.asarray(slope), [(float(total), float(count)) for total, count in terms]


def test_the_table_has_the_names_of_the_settings():
    assert set(LOSSES) == {*OF_MASKS, *OF_LABELS}
    assert {name for name, loss in LOSSES.items() if loss.of_labels} == set(OF_LABELS)
    assert {part for parts in COMBINATIONS.values() for part in parts} <= set(LOSSES)


@pytest.mark.parametrize("name", GOLDEN)
def test_value_and_gradient_are_those_of_other_libraries(name):
    config = config_of(name)
    value, slope, _ = evaluate(config, *cases_of(config))
    assert value == pytest.approx(GOLDEN[name]["value"], rel=1e-5)
    slopes = [(slope * way).sum() for way in loss_cases.directions()]
    np.testing.assert_allclose(slopes, GOLDEN[name]["slopes"], rtol=2e-4, atol=1e-6)


def test_the_published_loss_of_bones_is_the_sum_of_three():
    config = config_of("mse_bce_dice")
    parts = ("mse", "bce", "dice_squared")
    value, _, terms = evaluate(config, *cases_of(config))
    assert value == pytest.approx(sum(GOLDEN[name]["value"] for name in parts), rel=1e-5) and len(terms) == 3


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_seen_changes_nothing(name):
    config = config_of(name)
    logits, target = (array.copy() for array in cases_of(config))
    inside, known = np.ones(target.shape[:-1], bool), np.ones((len(target), target.shape[-1]), bool)
    inside[:, 9:] = inside[1, :, :2] = False
    known[1] = False
    if not config.exclusive:
        known[0, 2] = False
    value, slope, terms = evaluate(config, logits, target, inside, known)
    unseen = ~(inside[..., None] & known[:, None, None])
    rng = np.random.default_rng(0)
    garbage = np.where(unseen, 5 * rng.normal(size=logits.shape).astype(np.float32), logits)
    labels = np.where(unseen, np.roll(target, 3, -1), target)
    assert evaluate(config, garbage, labels, inside, known)[::2] == (value, terms)
    assert not slope[unseen].any() and slope[~unseen].any()


@pytest.mark.parametrize("name", NAMES)
def test_counts_depend_on_the_labels_alone_and_nothing_known_is_nothing(name):
    config = config_of(name)
    logits, target = cases_of(config)
    known = np.array([[True] * 4, [False] * 4, [True] * 4])
    counts = [count for _, count in evaluate(config, logits, target, known=known)[2]]
    assert all(counts)
    for other in (np.zeros_like(logits), 50 * logits - 7):
        assert [count for _, count in evaluate(config, other, target, known=known)[2]] == counts
    value, slope, terms = evaluate(config, logits, target, known=np.zeros_like(known))
    assert value == 0 and not slope.any() and all(total == 0 and count == 0 for total, count in terms)


@pytest.mark.parametrize("name", NAMES)
def test_sums_and_counts_add_up_over_images(name):
    """But for Dice of a batch, which has the counts alone."""
    config = config_of(name)
    logits, target = cases_of(config)
    known = np.array([[True] * 4, [True] * 4, [True] * 4])
    whole = evaluate(config, logits, target, known=known)[2]
    alone = [evaluate(config, logits, target, known=known & (np.arange(3) == image)[:, None])[2] for image in range(3)]
    for term, (total, count) in enumerate(whole):
        assert count == pytest.approx(sum(of[term][1] for of in alone))
        if name != "dice_batch":
            assert total == pytest.approx(sum(of[term][0] for of in alone), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_finite_for_empty_and_full_masks_and_for_sure_logits(name):
    config = config_of(name)
    _, target = cases_of(config)
    background = np.zeros_like(target)
    background[..., 0] = config.exclusive
    full = np.roll(background, 1, -1) if config.exclusive else np.ones_like(target)
    for there in (background, full, target):
        for logits in (np.zeros_like(there), 1e4 * (2 * there - 1), 1e4 * (1 - 2 * there)):
            value, slope, _ = evaluate(config, logits.astype(np.float32), there)
            assert np.isfinite(value) and np.isfinite(slope).all(), name


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("boundary", "lovasz_hinge", "cldice")])
def test_right_and_sure_masks_cost_next_to_nothing(name):
    config = config_of(name)
    _, target = cases_of(config)
    assert 0 <= evaluate(config, 30 * (2 * target - 1), target)[0] < 1e-4


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name):
    config, rng = config_of(name), np.random.default_rng(1)
    logits, target = (array[:2, 1:6, 2:7, :3].copy() for array in cases_of(config))
    logits += rng.normal(scale=0.01, size=logits.shape)  # no two alike, where a sort or a maximum has a corner
    if config.exclusive:
        target[..., 0] += 1 - target.sum(-1)

    def mean(logits):
        return sum(term.mean() for term in mask_terms(config, masks_of(config, logits, target)))

    check_grads(jax.jit(mean), (jnp.asarray(logits),), 1, atol=1e-2, rtol=1e-2, eps=1e-3)


@pytest.mark.parametrize("name", [name for name in NAMES if not needs_grid(config_of(name))])
def test_pixels_may_be_in_blocks(name):
    config = config_of(name)
    logits, target = cases_of(config)
    blocks = [x.reshape(3, 7, 2, 11, 1, 4).transpose(0, 1, 3, 2, 4, 5) for x in (logits, target)]
    assert evaluate(config, *blocks)[0] == pytest.approx(evaluate(config, logits, target)[0], rel=1e-5)


def test_weights_multiply_the_terms():
    logits, target = loss_cases.masks()
    plain, weighted = (
        mask_terms(config, masks_of(config, logits, target))
        for config in (BonesConfig(losses=("dice_bce", "mse")), BonesConfig(losses=("dice_bce=0.5", "mse=3")))
    )
    for factor, one, other in zip((0.5, 0.5, 3), plain, weighted, strict=True):
        assert float(other.total) == pytest.approx(factor * float(one.total), rel=1e-6) and other.count == one.count


def test_pixels_of_a_mask_weigh_more_where_that_is_asked():
    logits, target = loss_cases.labels()
    for name in ("ce", "bce", "mse", "focal"):
        config = ErosionsConfig(losses=(name,))
        masks = dataclasses.replace(masks_of(config, logits, target), positive_weight=4.0)
        (term,) = mask_terms(config, masks)
        there = (target[..., :1] == 0) if name == "ce" else target[..., 1:] == 1
        assert float(term.count) == pytest.approx(there.size + 3 * there.sum())


# References.


def lovasz_slowly(errors, target):
    """By the definition: the sum over sorted errors of each times the rise of the Jaccard loss of the set of wrong
    pixels."""
    order = np.argsort(-errors, kind="stable")
    total, before, wrong = 0.0, 0.0, np.zeros(len(target), bool)
    for pixel in order:
        wrong[pixel] = True
        found = target ^ wrong
        union = (found | target).sum()
        loss = 1 - (found & target).sum() / union if union else 0.0
        total, before = total + errors[pixel] * (loss - before), loss
    return total


@pytest.mark.parametrize("name", ["lovasz", "lovasz_hinge"])
@slow_at_first
@given(data=st.data())
def test_the_lovasz_extension_is_that_of_the_definition(name, data):
    shape = (1, 3, 4, 2)
    logits = data.draw(arrays(np.float32, shape, elements=st.floats(-5, 5, width=32)))
    target = data.draw(arrays(np.bool_, shape))
    value, _, _ = evaluate(config_of(name), logits, target.astype(np.float32))
    errors = np.abs(1 / (1 + np.exp(-logits.astype(float))) - target)
    if name == "lovasz_hinge":
        errors = np.maximum(0, 1 - logits.astype(float) * (2 * target - 1))
    expected = np.mean([lovasz_slowly(errors[..., k].ravel(), target[..., k].ravel()) for k in range(2)])
    assert value == pytest.approx(expected, rel=1e-4, abs=1e-5)


@slow_at_first
@given(arrays(np.float32, (1, 3, 4, 2), elements=st.floats(-8, 8, width=32)), arrays(np.bool_, (1, 3, 4, 2)))
def test_tversky_of_equal_weights_is_dice(logits, target):
    equal = config_of("tversky", tversky_beta=0.5)
    target = target.astype(np.float32)
    assert evaluate(equal, logits, target)[0] == pytest.approx(evaluate(config_of("dice"), logits, target)[0], abs=1e-6)


@slow_at_first
@given(arrays(np.bool_, (1, 6, 9, 2)))
def test_distances_are_those_of_scipy(mask):
    found = np.asarray(jax.jit(distances)(mask))
    for k in range(2):
        if mask[..., k].any():
            np.testing.assert_allclose(found[0, ..., k], ndimage.distance_transform_edt(~mask[0, ..., k]), rtol=1e-6)
        else:
            assert found[..., k].min() >= 2**20


def test_signed_distances_by_hand_and_beyond_the_image():
    mask = np.zeros((1, 1, 6, 3), bool)
    mask[0, 0, 1:4, 0] = mask[..., 2] = True
    inside = np.ones((1, 1, 6), bool)
    signed = np.asarray(signed_distances(mask, inside))
    assert signed[0, 0, :, 0].tolist() == [1, 0, -1, 0, 1, 2]
    assert not signed[..., 1:].any()  # an empty and a full one have no outline
    inside[0, 0, 4:] = False  # where the image ends, a mask does not
    assert np.asarray(signed_distances(mask, inside))[0, 0, :4, 0].tolist() == [1, 0, -1, -2]


def test_the_skeleton_of_a_bar_is_its_centreline():
    bar = np.zeros((1, 11, 20, 1), np.float32)
    bar[0, 3:8, 2:18] = 1
    skeleton = np.asarray(soft_skeleton(jnp.asarray(bar)))[0, ..., 0]
    assert skeleton[5, 4:16].tolist() == [1] * 12 and not skeleton[[0, 1, 2, 8, 9, 10]].any()
    assert not skeleton[[3, 4, 6, 7], 6:14].any()


@slow_at_first
@given(arrays(np.float32, (5, 4), elements=st.floats(-30, 30, width=32)))
def test_one_against_the_rest_has_the_probabilities_of_the_softmax(logits):
    np.testing.assert_allclose(jax.nn.sigmoid(one_against_rest(logits)), jax.nn.softmax(logits), atol=1e-6)

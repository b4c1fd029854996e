"""Where the scores are read: what each head looks at, and what it does not, by changing parts of the image."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments import debug
from ramjax import anatomy
from ramjax import config as config_lib
from ramjax.models.network import unpack
from ramjax.steps.batches import vary_boxes
from ramjax.steps.state import init_state, make_apply
from ramjax.steps.train import make_gradient
from ramjax.tasks import make_tasks
from ramjax.typed import ConfigError
from tests.tasks.batches import random_batch

BASE = config_lib.from_config_dict(debug.get_config())
HEIGHT, WIDTH, SITE = 64, 48, 5


def with_scores(tasks=("joints", "scores"), detail=1, other_hand=False, **scores):
    canvas = dataclasses.replace(BASE.data.canvas, height=HEIGHT, width=WIDTH, detail=detail)
    return dataclasses.replace(
        BASE,
        tasks=tasks,
        data=dataclasses.replace(BASE.data, canvas=canvas, other_hand=other_hand),
        model=dataclasses.replace(BASE.model, widths=(8, 16), blocks=(0, 0)),
        scores=dataclasses.replace(BASE.scores, crop_size=16, **scores),
    )


def boxes_apart():
    """Boxes of one example, four by four canvas pixels wide, that do not touch."""
    corners = np.array([(4 + 10 * (i // 4), 4 + 10 * (i % 4)) for i in range(anatomy.NUM_SITES)], np.float32)
    return np.concatenate([corners, corners + 4], -1)[None]


def scores_of(config, *images, params=None, boxes=None):
    """The scores' logits of each image (1, h, w, c), (22, k) of both scales together."""
    params = init_state(config).params if params is None else params
    apply = jax.jit(make_apply(config))
    boxes = boxes_apart() if boxes is None else boxes
    found = [apply(params, image, boxes)["scores"] for image in images]
    return [np.concatenate([of["be"][0], of["jsn"][0]], -1) for of in found]


def noise(seed, channels=1):
    return np.random.default_rng(seed).random((1, HEIGHT, WIDTH, channels), np.float32)


def outside(image, margin=1):
    """Another image, the same in the box of `SITE` and so many pixels around."""
    ymin, xmin, ymax, xmax = boxes_apart()[0, SITE].astype(int)
    changed = noise(9, image.shape[-1])
    here = np.s_[:, ymin - margin : ymax + margin, xmin - margin : xmax + margin]
    changed[here] = image[here]
    return changed


def sites_that_differ(one, other):
    return np.abs(one - other).max(-1) > 1e-6


@pytest.mark.parametrize(
    ("scores", "alone"),
    [({}, False), ({"source": "crops"}, True), ({"source": "crops", "attention": "hand"}, False)],
)
def test_a_site_in_a_crop_of_its_own_is_graded_by_that_alone(scores, alone):
    image = noise(0)
    differ = sites_that_differ(*scores_of(with_scores(**scores), image, outside(image)))
    assert differ[SITE] == (not alone)
    assert differ.sum() == anatomy.NUM_SITES - alone


def test_crops_are_those_of_the_encoder_on_the_square_itself():
    """The square of a box whose sides are those of the crop is that part of the image."""
    config = with_scores(source="crops", roi_margin=1.0)
    boxes = np.tile(np.array((16, 8, 32, 24), np.float32), (1, anatomy.NUM_SITES, 1))
    image = noise(0)
    moved = np.roll(image, (-8, 16), (1, 2))
    params = init_state(config).params
    here = scores_of(config, image, params=params, boxes=boxes)
    there = scores_of(config, moved, params=params, boxes=boxes + np.array((-8, 16, -8, 16), np.float32))
    np.testing.assert_allclose(here, there, atol=1e-5)


@pytest.mark.parametrize("source", ["features", "crops"])
def test_finer_pixels_are_seen_where_their_mean_is_the_same(source):
    """Checkerboards within canvas pixels: the encoder's canvas stays as it is, the squares do not."""
    config = with_scores(source=source, detail=2)
    plain = np.repeat(noise(0), 4, -1)
    finer = plain + np.float32(0.2) * np.array((1, -1, -1, 1), np.float32)
    one, other = scores_of(config, plain, finer)
    assert sites_that_differ(one, other).all()
    canvas, detail = unpack(finer, 2)
    np.testing.assert_allclose(canvas, plain[..., :1], atol=1e-6)
    np.testing.assert_allclose(detail[0, ::2, ::2, 0] - detail[0, ::2, 1::2, 0], 0.4, atol=1e-6)


def test_an_image_of_other_channels_is_refused_in_words():
    with pytest.raises(ValueError, match=r"3 channels; a network of data.canvas.detail=2 needs 4, or twice as many"):
        unpack(np.zeros((1, 4, 4, 3)), 2)


def test_masks_are_looked_at_and_not_taught():
    """Another erosion bias changes the scores where its map is a channel; the scores' gradient stops there."""
    tasks = ("bones", "erosions", "joints", "scores")
    config = with_scores(tasks, maps=("bones", "erosions"))
    params, batch = init_state(config).params, random_batch(2, HEIGHT, WIDTH)
    apply = make_apply(config)

    def total(heads):
        outputs = apply({**params, "heads": {**params["heads"], **heads}}, batch["image"], batch["boxes"])
        return sum((outputs["scores"][name] ** 2).sum() for name in ("be", "jsn"))

    heads = {name: params["heads"][name] for name in ("bones", "erosions")}
    value, gradient = jax.jit(jax.value_and_grad(total))(heads)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))
    for name in heads:
        moved = jax.tree.map(lambda leaf: leaf + 0.5, heads[name])
        assert abs(jax.jit(total)({**heads, name: moved}) - value) > 1e-5


def test_the_other_hand_counts_where_there_is_one():
    config = with_scores(attention="hands", other_hand=True)
    params = init_state(config).params
    own, other, nothing = noise(0), noise(1), np.zeros((1, HEIGHT, WIDTH, 1), np.float32)
    pair, another, alone, absent = scores_of(
        config,
        np.concatenate([own, other], -1),
        np.concatenate([own, noise(2)], -1),
        own,
        np.concatenate([own, nothing], -1),
        params=params,
    )
    assert sites_that_differ(pair, another).all() and sites_that_differ(pair, alone).all()
    np.testing.assert_allclose(absent, alone, atol=1e-5)


def test_both_hands_train_and_the_other_one_does_not_teach_the_joints():
    config = with_scores(attention="hands", other_hand=True)
    batch = random_batch(2, HEIGHT, WIDTH)
    batch["image"] = np.concatenate([batch["image"], batch["image"][::-1]], -1)
    batch |= {"has_joints": np.zeros(2, bool)}
    state, key = init_state(config), jax.random.key(0)
    batch = vary_boxes(make_tasks(config), key, batch)
    grads, losses, _, _ = jax.jit(make_gradient(config))(state.params, state.variables, key, batch)
    assert np.isfinite(losses["scores"]) and losses["joints"] == 0 < losses["scores"]
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(grads["heads"]["joints"]))
    assert np.any(grads["heads"]["scores"]["of_other"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"maps": ("bones",)}, r"scores.maps is \('bones',\), but tasks is .*name bones in tasks"),
        ({"source": "crops", "maps": ("bones",)}, "maps is .* but source is crops"),
        ({"maps": ("bones", "bones")}, "name bones, erosions or both, each once"),
        ({"attention": "hands"}, "scores.attention is hands, but data.other_hand is False"),
        ({"attention": "hands", "other_hand": True, "tasks": ("scores",)}, "tasks has no joints"),
    ],
)
def test_what_cannot_be_combined_is_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        with_scores(**changes)


def test_a_crop_that_the_encoder_cannot_halve_so_often_is_named():
    scores = dataclasses.replace(BASE.scores, source="crops", crop_size=18)
    with pytest.raises(ConfigError, match=r"scores.crop_size is 18; .* needs a multiple of \d+, such as 16"):
        dataclasses.replace(BASE, scores=scores)


@pytest.mark.parametrize("channels", [{"detail": 2}, {"other_hand": True}])
def test_further_channels_need_whole_hands(channels):
    config = with_scores(**channels)
    canvas = dataclasses.replace(config.data.canvas, sizing="scale")
    with pytest.raises(ConfigError, match=r"is on, but data\.canvas\.sizing is scale"):
        dataclasses.replace(config, data=dataclasses.replace(config.data, canvas=canvas))


def test_averaged_views_without_finer_pixels_are_refused():
    config = with_scores(detail=2)
    with pytest.raises(ConfigError, match=r"data\.canvas\.detail is 2, but evaluation\.mirror or evaluation\.scales"):
        dataclasses.replace(config, evaluation=dataclasses.replace(config.evaluation, mirror=True))

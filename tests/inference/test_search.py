"""Candidates, their choice, and framing anew."""

import dataclasses
import math

import numpy as np
import pytest

from ramjax import anatomy
from ramjax.data import canvas as canvases
from ramjax.data import geometry
from ramjax.inference import search as searching
from ramjax.inference.reading import Options, read
from ramjax.io.radiograph import Radiograph
from ramjax.tasks.positioning import Positioning
from tests.inference import fakes
from tests.tasks.stick_hand import stick_hand

THUMB_LEFT = Radiograph(fakes.disc_image(200, 150, 40, 90, 15))
THUMB_RIGHT = Radiograph(np.ascontiguousarray(THUMB_LEFT.pixels[:, ::-1]))


def _search(radiograph, predict=fakes.predict_discs, side="", view="hand", **canvas):
    return searching.search(radiograph, fakes.network(predict, **canvas), side, view)


@pytest.mark.parametrize("radiograph, mirrored", [(THUMB_LEFT, False), (THUMB_RIGHT, True)])
def test_the_more_confident_side_wins(radiograph, mirrored):
    found = _search(radiograph)
    assert found.placement.mirrored == mirrored
    assert found.certainty == pytest.approx(0.9) and found.other_side == pytest.approx(0.6)


@pytest.mark.parametrize("side, mirrored", [("R", False), ("L", True)])
def test_a_known_side_is_not_questioned(side, mirrored):
    found = _search(THUMB_LEFT, side=side)
    assert found.placement.mirrored == mirrored and math.isnan(found.other_side)


def test_sides_are_not_tried_where_training_kept_them_apart():
    found = _search(THUMB_RIGHT, mirror_left=False)
    assert not found.placement.mirrored and math.isnan(found.other_side)


def positioned(right_odds, hand_odds=4.0, bias=0.0):
    """As `fakes.predict_discs`, and a task that was trained to tell sides: by the disc's place, and with a bias."""

    def predict(images):
        predictions = fakes.predict_discs(images)
        centers = predictions["boxes"][:, 0, [1, 3]].mean(axis=1)
        right = np.where(centers < images.shape[2] / 2, right_odds, -right_odds) + bias
        chances = [1 / (1 + np.exp(-odds)) for odds in (right, np.full(len(images), hand_odds))]
        return predictions | {"positioning_right": chances[0], "positioning_hand": chances[1]}

    return fakes.network(predict, (*fakes.network().tasks, Positioning()))


@pytest.mark.parametrize("bias", [0.0, 6.0, -6.0])
@pytest.mark.parametrize("radiograph, side", [(THUMB_LEFT, "R"), (THUMB_RIGHT, "L")])
def test_a_task_that_was_trained_to_decides_on_the_side_whatever_the_network_saw_more_of(radiograph, side, bias):
    found = searching.search(radiograph, positioned(2.5, bias=bias), "", "hand")
    assert found.placement.mirrored == (side == "L") and math.isnan(found.other_side)
    assert found.positioning.right == pytest.approx(1 / (1 + math.exp(2.5 if side == "L" else -2.5)))


def test_it_decides_against_the_certainties():
    """Which prefer the disc on the left, that is the placement that is not mirrored."""
    assert searching.search(THUMB_LEFT, fakes.network(), "", "hand").placement.mirrored is False
    found = searching.search(THUMB_LEFT, positioned(-2.5), "", "hand")
    assert found.placement.mirrored and found.certainty == pytest.approx(0.6)


@pytest.mark.parametrize(("odds", "view"), [(2.5, "hand"), (-2.5, "wrist")])
def test_it_decides_on_the_view(odds, view):
    seen = []

    def predict(images):
        seen.append(len(images))
        return network.predict(images)

    network = positioned(2.5, odds)
    found = searching.search(THUMB_LEFT, dataclasses.replace(network, predict=predict), "", "")
    assert found.positioning.hand == pytest.approx(1 / (1 + math.exp(-odds)))
    report = read(THUMB_LEFT, network).report
    assert (report["view"], report["view_source"], report["side"], report["side_source"]) == (
        view, "estimated", "R", "estimated",
    )  # fmt: skip
    assert report["chance_hand"] == round(found.positioning.hand, 4) and report["certainty_other_side"] is None


def test_the_certainties_decide_what_it_is_not_sure_of():
    """They take the disc on the left for a right hand, the task says left, but only just."""
    found = searching.search(THUMB_LEFT, positioned(-1.5), "", "hand")
    assert not found.placement.mirrored and found.other_side == pytest.approx(0.6) and found.positioning.side == ""
    assert read(THUMB_LEFT, positioned(-1.5), Options(view="hand")).report["side"] == "R"


def test_only_a_network_that_can_tell_is_asked_for_it():
    def passes(network, side):
        seen = []
        count = dataclasses.replace(network, predict=lambda images: seen.append(1) or network.predict(images))
        searching.search(THUMB_LEFT, count, side, "hand")
        return len(seen)

    assert passes(fakes.network(), "") == passes(fakes.network(), "R") == passes(positioned(2.5), "R") == 1
    assert passes(positioned(2.5), "") == 2


def test_what_is_stated_is_not_decided_and_what_is_unsure_is_said():
    stated = read(THUMB_LEFT, positioned(-1.5, -1.5), Options(side="R", view="hand")).report
    assert (stated["side"], stated["view"], stated["chance_right"]) == ("R", "hand", None)
    assert not any("doubtful" in note for note in stated["notes"])
    sure = read(THUMB_LEFT, positioned(3.0, 3.0)).report["notes"]
    assert not any("doubtful" in note for note in sure)
    unsure = " ".join(read(THUMB_LEFT, positioned(1.5, 1.5)).report["notes"])
    assert "state it with --view" in unsure and "state it with --side" not in unsure  # 0.9 is far from 0.6


def test_mirrored_canvas_is_the_canvas_of_the_mirrored_image():
    """A left hand known as such is placed as training would have placed the record."""
    config = fakes.config()
    [mirrored] = searching.candidates(THUMB_RIGHT, config.data.canvas, "L", "hand")
    image = canvases.render(searching.as_record(THUMB_RIGHT), mirrored, config.data.canvas)["image"]
    expected = canvases.to_canvas(searching.as_record(THUMB_LEFT), config.data.canvas)["image"]
    np.testing.assert_allclose(image, expected, atol=1e-5)


@pytest.mark.parametrize("wanted", [0, *searching.WRIST_HEIGHTS])
def test_view_is_chosen_by_confidence(wanted):
    """A network that is sure of one apparent height of the film gets that one."""
    config = fakes.config()
    bright = Radiograph(np.random.default_rng(0).integers(100, 255, (120, 120), np.uint8))
    target = wanted * config.data.canvas.height or config.data.canvas.width

    def predict(images):
        heights = (images[..., 0] > 0).any(axis=2).sum(axis=1)
        sure = np.exp(-np.abs(heights - target) / 20)
        return {**fakes.predict_discs(images), "confidence": np.repeat(sure[:, None], anatomy.NUM_SITES, 1)}

    found = _search(bright, predict, side="R", view="")
    assert 120 * geometry.linear_scale(found.placement.affine) == pytest.approx(target, rel=0.03)


def test_views_asked_for():
    canvas = fakes.config().data.canvas
    fitting = geometry.linear_scale(canvases.place(searching.as_record(THUMB_LEFT), canvas).affine)
    hands = searching.candidates(THUMB_LEFT, canvas, "R", "hand")
    wrists = searching.candidates(THUMB_LEFT, canvas, "R", "wrist")
    assert [geometry.linear_scale(p.affine) for p in hands] == [pytest.approx(fitting)]
    assert wrists and all(geometry.linear_scale(p.affine) < fitting for p in wrists)


def test_every_batch_has_one_shape():
    shapes = []

    def predict(images):
        shapes.append(images.shape)
        return fakes.predict_discs(images)

    _search(THUMB_LEFT, predict, view="")
    _search(THUMB_LEFT, predict, side="R")
    canvas = fakes.config().data.canvas
    assert set(shapes) == {(searching.BATCH, canvas.height, canvas.width, 1)}


def test_known_spacing_sets_the_scale():
    radiograph = Radiograph(THUMB_LEFT.pixels, pixel_spacing_mm=0.5)
    found = _search(radiograph, side="R", sizing="spacing", mm_per_pixel=1.0)
    assert geometry.linear_scale(found.placement.affine) == pytest.approx(0.5)
    unknown = _search(THUMB_LEFT, side="R", sizing="spacing", mm_per_pixel=1.0)
    assert geometry.linear_scale(unknown.placement.affine) == pytest.approx(128 / 200)


def test_a_canvas_of_crops_grows_to_hold_the_radiograph():
    config = fakes.config(sizing="scale", scale=1.0)
    found = _search(THUMB_LEFT, side="R", sizing="scale", scale=1.0)
    assert found.canvas.height >= 200 and found.canvas.width >= 150
    assert found.canvas.height % config.model.max_stride == found.canvas.width % config.model.max_stride == 0
    assert geometry.linear_scale(found.placement.affine) == pytest.approx(1)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_turned_films_are_turned_back(turns):
    """A network that knows fingers (the disc) only at the top left is shown the film that way."""
    upright = fakes.disc_image(200, 150, 40, 50, 15)
    film = Radiograph(np.ascontiguousarray(np.rot90(upright, turns)))

    def predict(images):
        predictions = fakes.predict_discs(images)
        centers = (predictions["boxes"][:, 0, :2] + predictions["boxes"][:, 0, 2:]) / 2
        sure = np.where((centers < (64, 48)).all(axis=1), 0.8, 0.1)
        return {**predictions, "confidence": np.repeat(sure[:, None], 22, 1)}

    found = _search(film, predict, side="R")
    assert found.quarter_turns == turns and found.certainty == pytest.approx(0.8)
    x, y = geometry.apply(found.placement.affine, (0.5 * film.pixels.shape[1], 0.5 * film.pixels.shape[0]))
    assert (x, y) == (pytest.approx(48), pytest.approx(64))
    disc = np.argwhere(film.pixels > 128).mean(axis=0)[::-1] + 0.5
    expected = geometry.apply(canvases.place(searching.as_record(Radiograph(upright)), found.canvas).affine, (40, 50))
    np.testing.assert_allclose(geometry.apply(found.placement.affine, disc), expected, atol=0.5)


def test_framing_anew_is_kept_only_where_it_helps():
    """The stick hand is a third of its training size; a network that likes small hands keeps the first framing."""
    config = fakes.config()
    boxes = stick_hand(lean=0, size=10, x=48, y=64)

    def predict(images):
        # What is shown of the film shrinks or grows with the framing.
        area = (images[..., 0] > 0).mean(axis=(1, 2))
        sure = np.clip(1 - area, 0.31, 1) if likes_small else np.clip(area, 0.31, 1)
        n = len(images)
        return {
            "boxes": np.repeat(boxes[None], n, 0).astype(np.float32),
            "confidence": np.repeat(sure[:, None], 22, 1),
        }

    film = Radiograph(np.random.default_rng(0).integers(100, 255, (100, 60), np.uint8))
    fitting = geometry.linear_scale(canvases.place(searching.as_record(film), config.data.canvas).affine)
    for likes_small in (True, False):
        scale = geometry.linear_scale(_search(film, predict, side="R").placement.affine)
        assert scale == pytest.approx(fitting) if likes_small else scale > 1.5 * fitting


def test_without_joints_bones_decide():
    def predict(images):
        predictions = fakes.predict_discs(images)
        left = images[..., : images.shape[2] // 2, 0].mean(axis=(1, 2)) > images[..., 0].mean(axis=(1, 2))
        return {"bones": predictions["bones"] * np.where(left, 1, 0.5)[:, None, None, None]}

    assert _search(THUMB_RIGHT, predict).placement.mirrored
    assert not _search(THUMB_LEFT, predict).placement.mirrored

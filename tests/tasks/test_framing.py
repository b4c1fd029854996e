"""Joint sites tell whether a hand is shown, how large and where."""

import math

import numpy as np
import pytest

from ramjax import anatomy
from ramjax.data import canvas as canvases
from ramjax.data import geometry
from ramjax.record import Record
from ramjax.tasks.joints import framing
from tests.inference import fakes
from tests.tasks.stick_hand import stick_hand

FILM = Record.unlabelled(fakes.disc_image(200, 150, 40, 90, 15))


def found(boxes: np.ndarray, confidence: np.ndarray) -> dict[str, np.ndarray]:
    return {"boxes": boxes, "confidence": confidence}


def test_certainty_of_hands_wrists_and_nothing():
    wrist = np.array([site.region == "wrist" for site in anatomy.SITES])
    confidence = np.stack([np.full(22, 0.9), np.where(wrist, 0.8, 0.1), np.full(22, 0.0)])
    predictions = {"boxes": np.zeros((3, 22, 4)), "confidence": confidence}
    np.testing.assert_allclose(framing.certainty(predictions), [0.9, 0.8 * 0.9, 0])
    np.testing.assert_allclose(framing.certainty(predictions, "wrist"), [0.9, 0.8, 0])
    np.testing.assert_allclose(framing.certainty(predictions, "hand")[0], 0.9)


@pytest.mark.parametrize("palm, plausible", [(1.0, 1.0), (1.3, 1.0), (0.5, 0.0)])
def test_knuckles_too_near_the_carpus_are_no_hand(palm, plausible):
    points = np.random.default_rng(0).normal(0, 1, (22, 2))
    wrist = np.array([site.region == "wrist" for site in anatomy.SITES])
    points[wrist] -= points[wrist].mean(axis=0)
    points[wrist] *= 25 / np.sqrt((points[wrist] ** 2).sum(axis=1).mean())
    points[~wrist] = 0, -100 * palm
    boxes = np.concatenate([points - 2, points + 2], axis=1)
    assert framing.plausibility(boxes, np.ones(22)) == pytest.approx(plausible, abs=0.01)
    assert framing.plausibility(boxes, np.where(wrist, 1, 0.1)) == 1


def test_reframing_brings_a_hand_to_its_training_size_and_pose():
    canvas = fakes.config(height=448, width=352).data.canvas
    placed = canvases.place(FILM, canvas)
    boxes = stick_hand(lean=40, size=60, x=120, y=300)
    plain, turned = framing.reframed(placed, found(boxes, np.ones(22)), canvas)
    native = geometry.apply_to_boxes(geometry.invert(placed.affine), boxes)
    for placement in (plain, turned):
        centers = geometry.apply_to_boxes(placement.affine, native).reshape(-1, 2, 2).mean(axis=1)
        assert np.ptp(centers[:, 0]) == pytest.approx(framing.HAND_SPAN * 448)
        middle = (centers.max(axis=0) + centers.min(axis=0)) / 2
        np.testing.assert_allclose(middle, (framing.HAND_CENTER * 448, 176))
    wrist = np.array([site.region == "wrist" for site in anatomy.SITES])
    knuckles = np.array([site.region == "MCP" and site.name != "MCP-T" for site in anatomy.SITES])
    up = centers[knuckles].mean(axis=0) - centers[wrist].mean(axis=0)
    assert math.degrees(math.atan2(up[1], -up[0])) == pytest.approx(framing.HAND_LEAN, abs=0.1)


def test_reframing_a_wrist_and_nothing():
    canvas = fakes.config(height=448, width=352).data.canvas
    placed = canvases.place(FILM, canvas)
    boxes = np.random.default_rng(0).uniform(100, 200, (22, 2))
    boxes = np.concatenate([boxes - 3, boxes + 3], axis=1)
    wrist = np.array([site.region == "wrist" for site in anatomy.SITES])
    wrists = framing.reframed(placed, found(boxes, wrist.astype(float)), canvas)
    assert len(wrists) == len(framing.CARPAL_SPANS)
    assert framing.reframed(placed, found(boxes, np.full(22, 0.1)), canvas) == []

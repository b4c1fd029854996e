"""Which side and view a canvas shows, by hand-worked placements; the loss and the accuracy by hand."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from ramjax.config import AugmentConfig, CanvasConfig
from ramjax.data import canvas as canvases
from ramjax.data.labels import View
from ramjax.metrics.cases import Cases
from ramjax.tasks.positioning import Positioning
from tests.tasks import contract

CANVAS = CanvasConfig(128, 96)
[LABELS] = Positioning.labels


def labels_of(record, canvas=CANVAS, change=lambda placement: placement):
    placement = change(canvases.place(record, canvas))
    made = LABELS.of(record, View(placement, canvas))
    return int(made["shows_right"]), int(made["shows_hand"])


def hand(**changes):
    return dataclasses.replace(contract.records()[0], **changes)


@pytest.mark.parametrize(("side", "mirror_left", "right"), [("R", True, 1), ("L", True, 1), ("L", False, 0)])
def test_the_side_is_that_of_the_canvas(side, mirror_left, right):
    canvas = CanvasConfig(128, 96, mirror_left=mirror_left)
    assert labels_of(hand(side=side), canvas) == (right, 1)
    assert labels_of(hand(side=side), canvas, lambda placed: placed.then_mirror(96)) == (1 - right, 1)


def test_an_unknown_side_is_no_answer():
    assert labels_of(hand(side="")) == (-1, 1)


def test_a_window_about_the_wrist_is_a_wrist_and_one_through_the_fingers_is_no_answer():
    record = hand()
    height, width = record.image.shape
    boxes = {joint.site: np.array(joint.bbox) * (height, width, height, width) for joint in record.joints}
    knuckles = [boxes[name] for name in ("MCP-I", "MCP-M", "MCP-R", "MCP-S", "MCP-T", "IP")]

    def below(y):
        return lambda placed: dataclasses.replace(placed, window=np.array((y, 0, height, width)))

    assert labels_of(record, change=below(max(box[2] for box in knuckles))) == (1, 0)
    assert labels_of(record, change=below(min(box[0] for box in boxes.values()))) == (1, 1)
    lowest = sorted(box[0] for box in knuckles)
    assert labels_of(record, change=below(lowest[-2] - 0.5))[1] == -1  # one or two whole finger joints


def test_a_film_of_the_wrist_is_one_and_a_crop_of_given_scale_no_answer():
    assert labels_of(hand(view="wrist"))[1] == 0
    assert labels_of(hand(), CanvasConfig(128, 96, sizing="scale", scale=1.0))[1] == -1
    assert labels_of(hand(has_joints=False))[1] == -1


def test_augmentation_shows_both_sides_and_wrists():
    augment = AugmentConfig(mirror=0.5, wrist_crop=0.5)
    made = [canvases.to_canvas(hand(), CANVAS, augment, np.random.default_rng(seed), [LABELS]) for seed in range(60)]
    rights, hands = ([int(one[name]) for one in made] for name in ("shows_right", "shows_hand"))
    assert 15 < rights.count(1) < 45 and rights.count(0) == 60 - rights.count(1)
    assert 15 < hands.count(0) < 45 and hands.count(1) > 15
    assert [one["mirrored"] for one in made] == [right == (hand().side == "L") for right in rights]


def test_the_loss_is_the_log_loss_of_what_is_known():
    odds = np.float32([[2.0], [-1.0], [0.5], [3.0]])
    outputs = {"positioning_right": jnp.array(odds), "positioning_hand": jnp.array(-odds)}
    batch = {
        "shows_right": np.int32([1, 0, -1, 1]),
        "shows_hand": np.int32([0, 1, 1, -1]),
        "valid": np.array([True, True, True, False]),
    }
    right, of_hand = Positioning().loss(outputs, batch)
    chance = 1 / (1 + np.exp(-odds[:, 0].astype(float)))
    assert float(right.count) == 2 and float(of_hand.count) == 3
    assert float(right.total) == pytest.approx(-np.log(chance[0]) - np.log(1 - chance[1]))
    assert float(of_hand.total) == pytest.approx(-np.log(chance[0]) - np.log(1 - chance[1]) - np.log(1 - chance[2]))


def test_the_accuracy_leaves_out_what_is_unknown():
    observed = {
        "positioning_right": np.float32([0.9, 0.2, 0.7, 0.5]),
        "positioning_hand": np.float32([0.1, 0.1, 0.1, 0.9]),
        "shows_right": np.int32([1, 1, 0, -1]),
        "shows_hand": np.int32([0, 0, 1, 1]),
    }
    cases = Cases({"id": np.arange(4)}, Positioning().canvas_values(observed), Positioning.parts, {})
    metrics = Positioning().metrics(cases, "strict")
    assert metrics["positioning/right_acc"].value == pytest.approx(1 / 3)
    assert metrics["positioning/hand_acc"].value == pytest.approx(3 / 4)
    assert metrics["positioning/right_acc"].n == 3 and Positioning().metrics(cases, "compat") == {}

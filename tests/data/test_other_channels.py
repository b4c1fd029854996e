"""Finer pixels and the other hand: further channels of the image."""

import dataclasses
import itertools

import handmade
import numpy as np
import pytest

from ramjax.config import CanvasConfig
from ramjax.data import canvas as canvases
from ramjax.data import patients, pipeline
from ramjax.models.network import unpack
from ramjax.typed import ConfigError


@pytest.mark.parametrize("augmented", [False, True])
def test_finer_pixels_are_those_of_a_canvas_so_much_larger(augmented):
    record = handmade.make_record(height=100, width=80)
    small = CanvasConfig(height=64, width=48, sizing="scale", scale=0.5, detail=3)
    large = CanvasConfig(height=192, width=144, sizing="scale", scale=1.5)
    change = None
    if augmented:
        augment = handmade.make_augment(**handmade.FULL_AUGMENT)
        change = canvases.augmentation.draw_grey(augment, 192, 144, np.random.default_rng(0))
    packed = canvases.render(record, canvases.place(record, small), small, change)
    image = canvases.render(record, canvases.place(record, large), large, change)["image"]
    assert packed["image"].shape == (64, 48, 9) and packed["padding"].shape == (64, 48)
    mean, finer = unpack(packed["image"][None], 3)
    np.testing.assert_array_equal(finer[0], image)
    np.testing.assert_allclose(mean[0, 5, 7, 0], image[15:18, 21:24].mean(), rtol=1e-5)


def test_labels_and_augmentation_stay_those_of_the_canvas():
    record = handmade.make_record()
    plain, finer = (
        canvases.to_canvas(
            record,
            dataclasses.replace(handmade.make_canvas(), detail=detail),
            handmade.make_augment(rotation=20, scale=0.3),
            np.random.default_rng(3),
            handmade.LABELS,
        )
        for detail in (1, 2)
    )
    for key in plain.keys() - {"image"}:
        np.testing.assert_array_equal(plain[key], finer[key], err_msg=key)
    assert finer["image"].shape[-1] == 4
    shown = ~plain["padding"]
    assert np.abs(plain["image"][..., 0] - finer["image"].mean(-1))[shown].mean() < 0.03


def hands(*which):
    """A source of records of (patient, visit, side)."""
    records = [
        handmade.make_record(seed=seed, patient=patient, visit=visit, side=side)
        for seed, (patient, visit, side) in enumerate(which)
    ]
    return handmade.source_of(records, "hands")


PAIRS = (
    ("A", "1", "R"),
    ("B", "1", "L"),
    ("A", "1", "L"),
    ("A", "2", "L"),
    ("", "", "R"),
    ("", "", "L"),
    ("B", "1", "R"),
)


def test_the_other_hand_is_of_the_same_patient_and_visit():
    assert patients.other_hands(hands(*PAIRS)) == (2, 6, 0, None, None, None, 1)
    assert patients.other_hands(hands(("A", "", "R"), ("A", "", ""), ("A", "", "L"), ("A", "", "R"))) == (2, None, 3, 2)


def test_evaluation_shows_the_other_hands_canvas_or_nothing():
    source = hands(*PAIRS)
    data = handmade.make_data(other_hand=True, canvas=handmade.make_canvas())
    batches = list(pipeline.make_eval_batches(data, source, labels=handmade.LABELS))
    own = {int(i): image[..., 0] for b in batches for i, image in zip(b["index"], b["image"], strict=True)}
    other = {int(i): image[..., 1] for b in batches for i, image in zip(b["index"], b["image"], strict=True)}
    assert batches[0]["image"].shape == (4, 64, 48, 2)
    for index, partner in enumerate(patients.other_hands(source)):
        np.testing.assert_array_equal(other[index], own[partner] if partner is not None else 0)
    assert not other[-1].any()  # what fills up the last batch


def test_training_shows_it_likewise_and_changed_by_itself():
    source = hands(("A", "1", "R"), ("A", "1", "L"), ("B", "1", "R"))
    plain = handmade.make_data(augment=handmade.make_augment())
    made = {}
    for name, changes in {
        "plain": {},
        "both": {"other_hand": True},
        "augmented": {"other_hand": True, "augment": handmade.make_augment(rotation=20)},
    }.items():
        data = dataclasses.replace(plain, **changes)
        batches = pipeline.make_train_batches(data, (source,), seed=1, start_step=0, steps=3, labels=handmade.LABELS)
        made[name] = list(batches)
    alone = {int(i): image[..., 0] for b in made["plain"] for i, image in zip(b["index"], b["image"], strict=True)}
    partners = patients.other_hands(source)
    for one, both, changed in zip(made["plain"], made["both"], made["augmented"], strict=True):
        np.testing.assert_array_equal(one["image"], both["image"][..., :1])
        for index, image in zip(both["index"].tolist(), both["image"][..., 1], strict=True):
            np.testing.assert_array_equal(image, alone[partners[index]] if partners[index] is not None else 0)
        known = np.array([partners[index] is not None for index in changed["index"]])
        assert (
            np.abs(changed["image"][..., 1] - both["image"][..., 1]).max((1, 2)).astype(bool).tolist() == known.tolist()
        )
    assert len({index for batch in made["both"] for index in batch["index"].tolist()}) == 3


def test_the_other_hand_has_random_numbers_of_its_own():
    """Two hands of one image: one change of grey would give the two the same noise."""
    image = handmade.make_record().image
    records = [handmade.make_record(image=image, patient="A", visit="1", side=side) for side in "RL"]
    source = handmade.source_of(records, "twins")
    data = handmade.make_data(
        other_hand=True, canvas=handmade.make_canvas(mirror_left=False), augment=handmade.make_augment(noise=0.1)
    )
    batch = next(iter(pipeline.make_train_batches(data, (source,), seed=1, start_step=0, steps=1, labels=())))
    for one, other in itertools.pairwise(np.moveaxis(batch["image"][0], -1, 0)):
        assert 0 < np.abs(one - other).mean() < 0.2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"other_hand": True, "cache": "device"}, "other_hand is on, but cache is device"),
        ({"canvas": CanvasConfig(detail=2), "cache": "device"}, "canvas.detail is on, but cache is device"),
    ],
)
def test_what_devices_do_not_make_is_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        handmade.make_data(**changes)


def test_a_detail_out_of_range_is_named():
    with pytest.raises(ConfigError, match="detail is 9"):
        CanvasConfig(detail=9)

import dataclasses
import math

import handmade
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramjax import anatomy
from ramjax.data import canvas, geometry
from ramjax.record import Joint, unpack_bones

quick = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)
CHANNEL, SITE = 3, anatomy.SITE_INDEX["MCP-M"]


def bounds(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array((rows[0], columns[0], rows[-1] + 1, columns[-1] + 1))


@quick
@given(seeds, st.integers(5, 60), st.integers(5, 50), st.integers(30, 70), st.integers(20, 50), st.sampled_from("LR"))
def test_mask_and_box_move_together(seed, ymin, xmin, height, width, side):
    """A rectangle that is bone, erosion and box still is all three after scaling, stretching, shifting, mirroring."""
    record = handmade.rectangle_record((ymin, xmin, ymin + height, xmin + width), side=side)
    augment = handmade.make_augment(scale=0.3, shift=0.05, stretch=0.2, mirror=0.5)
    example = canvas.to_canvas(
        record, handmade.make_canvas(160, 144), augment, np.random.default_rng(seed), labels=handmade.LABELS
    )
    if not example["present"][SITE]:
        return
    for mask in ((example["bones"] >> CHANNEL) & 1, example["erosions"] == 2):
        assert np.abs(bounds(mask) - example["boxes"][SITE]).max() <= 1
    assert set(np.unique(example["bones"])) == {0, 1 << CHANNEL}


@quick
@given(seeds, st.integers(30, 120), st.integers(30, 90), st.sampled_from("LR"))
def test_image_mask_box_and_coordinates_agree_under_rotation(seed, y, x, side):
    record = handmade.rectangle_record((y - 15, x - 15, y + 15, x + 15), side=side, round_shape=True)
    augment = handmade.make_augment(rotation=45, scale=0.3, shift=0.05, mirror=0.5)
    example = canvas.to_canvas(
        record, handmade.make_canvas(160, 144), augment, np.random.default_rng(seed), labels=handmade.LABELS
    )
    if not example["present"][SITE]:
        return
    rows, columns = np.mgrid[:160, :144] + 0.5
    expected = geometry.apply(example["affine"], (x, y))
    box = example["boxes"][SITE]
    np.testing.assert_allclose((box[1] + box[3], box[0] + box[2]), 2 * expected, atol=1e-3)
    mask = (example["bones"] >> CHANNEL) & 1
    assert np.abs(bounds(mask) - box).max() <= 1.5
    for weight in (mask, example["erosions"] / 2, np.maximum(example["image"][..., 0] - 0.1, 0)):
        found = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
        np.testing.assert_allclose(found, expected, atol=0.3)
    assert example["mirrored"] == (np.linalg.det(example["affine"][:, :2]) < 0)


@quick
@given(seeds)
def test_padding_holds_no_label(seed):
    record = handmade.make_record(seed=seed % 5, side="L")
    augment = handmade.make_augment(
        rotation=40, scale=0.5, shift=0.3, stretch=0.2, wrist_crop=0.5, mirror=0.5, noise=0.1, erase=1.0, brightness=0.3
    )
    example = canvas.to_canvas(
        record, handmade.make_canvas(), augment, np.random.default_rng(seed), labels=handmade.LABELS
    )
    padding = example["padding"]
    for key in ("image", "bones", "erosions"):
        assert not example[key][padding].any()
    centers = (example["boxes"][:, :2] + example["boxes"][:, 2:])[example["present"]] / 2
    assert not padding[tuple(centers.astype(int).T)].any()
    absent = ~example["present"]
    assert not example["boxes"][absent].any()
    assert (example["be"][absent] == -1).all() and (example["jsn"][absent] == -1).all()


def mirror_image(record):
    joints = tuple(
        dataclasses.replace(joint, bbox=(joint.bbox[0], 1 - joint.bbox[3], joint.bbox[2], 1 - joint.bbox[1]))
        for joint in record.joints
    )
    flipped = {name: getattr(record, name)[:, ::-1].copy() for name in ("image", "bones", "erosions")}
    return dataclasses.replace(record, joints=joints, side="L", **flipped)


def test_a_left_hand_looks_like_the_right_one_it_mirrors():
    right = handmade.make_record(128, 96)
    config = handmade.make_canvas(128, 112)
    straight, mirrored = (
        canvas.to_canvas(right, config, labels=handmade.LABELS),
        canvas.to_canvas(mirror_image(right), config, labels=handmade.LABELS),
    )
    assert mirrored["mirrored"] and not straight["mirrored"]
    for key in ("image", "padding", "bones", "erosions", "present", "be", "jsn"):
        np.testing.assert_array_equal(mirrored[key], straight[key])
    np.testing.assert_allclose(mirrored["boxes"], straight["boxes"], atol=1e-4)


def test_mirroring_twice_changes_nothing():
    config = handmade.make_canvas(128, 112)
    once = canvas.place(handmade.make_record(side="L"), config)
    twice = once.then_mirror(112).then_mirror(112)
    np.testing.assert_allclose(twice.affine, once.affine, atol=1e-12)
    assert twice.mirrored == once.mirrored


def test_whole_hand_at_a_quarter():
    record = handmade.make_record(1696, 1280)
    example = canvas.to_canvas(record, handmade.make_canvas(448, 352, "scale", 0.25), labels=handmade.LABELS)
    assert (
        example["padding"][:12].all()
        and example["padding"][-12:].all()
        and not example["padding"][12:-12, 16:-16].any()
    )
    np.testing.assert_allclose(example["affine"], [[0.25, 0, 16], [0, 0.25, 12]])
    assert example["pixel_spacing_mm"] == np.float32(0.6)
    assert example["present"].all()
    blocks = record.image.reshape(424, 4, 320, 4).mean(axis=(1, 3))
    shown = example["image"][12:-12, 16:-16, 0]
    assert np.corrcoef(shown.ravel(), blocks.ravel())[0, 1] > 0.98


def test_whole_hand_at_native_resolution():
    record = handmade.make_record(200, 150)
    example = canvas.to_canvas(record, handmade.make_canvas(224, 160, "scale", 1.0), labels=handmade.LABELS)
    inside = np.s_[12:212, 5:155]
    np.testing.assert_array_equal(example["bones"][inside], record.bones.view("<u4")[..., 0])
    np.testing.assert_array_equal(example["erosions"][inside], record.erosions)
    assert not example["padding"][inside].any() and example["padding"].sum() == 224 * 160 - 200 * 150
    grey = example["image"][inside][..., 0]
    black, white = np.percentile(record.image, (1, 99.5))
    np.testing.assert_allclose(grey, np.clip((record.image - black) / (white - black), 0, 1), atol=0.02)


def test_native_crops():
    record = handmade.make_record(800, 700)
    config = handmade.make_canvas(512, 512, "scale", 1.0)
    words = record.bones.view("<u4")[..., 0]
    middle = canvas.to_canvas(record, config, labels=handmade.LABELS)
    np.testing.assert_array_equal(middle["bones"], words[144:656, 94:606])
    augment = handmade.make_augment()
    corners = []
    for seed in range(8):
        example = canvas.to_canvas(record, config, augment, np.random.default_rng(seed), labels=handmade.LABELS)
        assert not example["padding"].any()
        x, y = np.round(-example["affine"][:, 2]).astype(int)
        corners.append((x, y))
        agreement = np.mean(example["bones"][1:-1, 1:-1] == words[y : y + 512, x : x + 512][1:-1, 1:-1])
        assert agreement == 1.0
        for joint in record.joints:
            box = np.array(joint.bbox) * (800, 700, 800, 700) - (y, x, y, x)
            whole = box.min() >= 0.5 and box.max() <= 511.5
            cut = box.min() < -0.5 or box.max() > 512.5
            assert not whole or example["present"][anatomy.SITE_INDEX[joint.site]]
            assert not cut or not example["present"][anatomy.SITE_INDEX[joint.site]]
    assert len(set(corners)) == 8


def test_spacing_sets_the_size_where_it_is_known():
    config = handmade.make_canvas(128, 128, "spacing", mm_per_pixel=0.3)
    example = canvas.to_canvas(handmade.make_record(pixel_spacing_mm=0.15), config, labels=handmade.LABELS)
    np.testing.assert_allclose(example["affine"][:, :2], np.eye(2) / 2)
    assert example["pixel_spacing_mm"] == np.float32(0.3)
    unknown = canvas.to_canvas(handmade.make_record(pixel_spacing_mm=math.nan), config, labels=handmade.LABELS)
    np.testing.assert_allclose(unknown["affine"][:, :2], np.eye(2) * 128 / 120, rtol=1e-6)
    assert np.isnan(unknown["pixel_spacing_mm"])


def test_grey_values_are_normalised_over_what_is_shown():
    bright = handmade.make_record()
    dark = dataclasses.replace(bright, image=(bright.image // 4 + 10).astype(np.uint8))
    config = handmade.make_canvas(120, 200)
    example = canvas.to_canvas(bright, config, labels=handmade.LABELS)
    shown = example["image"][~example["padding"]]
    assert 0.005 < (shown == 0).mean() < 0.03 and 0.002 < (shown == 1).mean() < 0.02
    np.testing.assert_allclose(
        canvas.to_canvas(dark, config, labels=handmade.LABELS)["image"], example["image"], atol=0.05
    )


def test_what_is_not_annotated_stays_unknown():
    record = handmade.make_record(has_bones=False, has_be=False)
    example = canvas.to_canvas(record, handmade.make_canvas(), labels=handmade.LABELS)
    assert not example["bones_known"].any() and not example["has_bones"]
    assert (example["be"] == -1).all() and (example["jsn"] >= 0).any()
    example = canvas.to_canvas(handmade.make_record(has_joints=False), handmade.make_canvas(), labels=handmade.LABELS)
    assert not example["present"].any() and (example["jsn"] == -1).all()


def test_a_joint_cut_by_the_border_is_left_out():
    boxes = {"MCP-T": (0.0, 0.0, 0.3, 0.3), "MCP-I": (0.4, 0.4, 0.6, 0.6)}
    record = handmade.make_record(100, 100, joints=tuple(Joint(box, site, 1, 1) for site, box in boxes.items()))
    whole = canvas.to_canvas(record, handmade.make_canvas(128, 96), labels=handmade.LABELS)
    assert whole["present"][:2].tolist() == [True, True]
    cropped = canvas.to_canvas(record, handmade.make_canvas(96, 98, "scale"), labels=handmade.LABELS)
    assert cropped["present"][:2].tolist() == [False, True]
    np.testing.assert_allclose(cropped["boxes"][1], (38, 39, 58, 59), atol=1e-4)


def test_shapes_and_dtypes_are_the_contract():
    example = canvas.to_canvas(handmade.make_record(), handmade.make_canvas(), labels=handmade.LABELS)
    expected = {
        "image": ("float32", (64, 48, 1)), "padding": ("bool", (64, 48)), "bones": ("uint32", (64, 48)),
        "bones_known": ("bool", (30,)), "erosions": ("uint8", (64, 48)), "boxes": ("float32", (22, 4)),
        "present": ("bool", (22,)),
        "joints_known": ("bool", (22,)), "be": ("int32", (22,)), "jsn": ("int32", (22,)), "has_bones": ("bool", ()),
        "has_erosions": ("bool", ()), "has_joints": ("bool", ()), "has_be": ("bool", ()), "has_jsn": ("bool", ()),
        "valid": ("bool", ()), "index": ("int32", ()), "affine": ("float32", (2, 3)), "native_size": ("int32", (2,)),
        "mirrored": ("bool", ()), "pixel_spacing_mm": ("float32", ()),
    }  # fmt: skip
    assert {key: (str(value.dtype), value.shape) for key, value in example.items()} == expected
    empty = canvas.empty(handmade.make_canvas(), labels=handmade.LABELS)
    assert {key: (str(value.dtype), value.shape) for key, value in empty.items()} == expected
    assert empty["padding"].all() and not empty["valid"] and not empty["has_joints"]
    assert unpack_bones(np.ascontiguousarray(empty["bones"]).view(np.uint8).reshape(64, 48, 4)).sum() == 0


def test_augmenting_needs_randomness():
    with pytest.raises(ValueError, match="pass rng"):
        canvas.to_canvas(
            handmade.make_record(), handmade.make_canvas(), handmade.make_augment(), labels=handmade.LABELS
        )


@pytest.mark.parametrize(
    ("box", "present", "known"),
    [
        ((20, 20, 40, 40), True, True),  # whole on the canvas, which shows rows and columns 0 to 60
        ((50, 20, 70, 40), False, False),  # cut by its border
        ((80, 20, 100, 40), False, True),  # beyond it
    ],
)
def test_a_joint_that_the_border_cuts_is_unknown_and_one_beyond_it_absent(box, present, known):
    record = handmade.rectangle_record(box, height=160, width=60)
    config = handmade.make_canvas(60, 60, "scale", 1.0)
    placement = canvas.place(record, config)
    to_top = geometry.translate(0, -geometry.apply(placement.affine, np.zeros(2))[1])
    example = canvas.render(record, placement.then(to_top), config, labels=handmade.LABELS)
    assert (example["present"][SITE], example["joints_known"][SITE]) == (present, known)
    assert example["joints_known"][np.arange(anatomy.NUM_SITES) != SITE].all()


def test_nothing_is_known_of_joints_that_were_not_annotated():
    assert not canvas.to_canvas(handmade.make_record(has_joints=False), handmade.make_canvas(), labels=handmade.LABELS)[
        "joints_known"
    ].any()


def test_an_enlarged_canvas_shows_the_whole_image_at_the_scale():
    by_scale = handmade.make_canvas(160, 144, sizing="scale", scale=0.7)
    whole = canvas.enlarged(by_scale, (300, 250), math.nan, (16, 32))
    assert (whole.height, whole.width, whole.scale) == (224, 192, 0.7)  # 210 and 175, up to the next multiple
    small = canvas.enlarged(by_scale, (100, 90), math.nan, (16, 32))
    assert (small.height, small.width) == (160, 144)
    by_spacing = dataclasses.replace(by_scale, sizing="spacing", mm_per_pixel=0.2)
    assert canvas.enlarged(by_spacing, (300, 250), 0.14, (16, 32)).height == 224
    assert canvas.enlarged(by_spacing, (300, 250), math.nan, (16, 32)).sizing == "fit"
    fit = handmade.make_canvas(160, 144)
    assert canvas.enlarged(fit, (300, 250), 0.14, (16, 32)) == fit

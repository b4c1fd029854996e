import dataclasses
import math

import handmade
import numpy as np
import pytest

from ramjax import anatomy
from ramjax.data import augment, canvas
from ramjax.record import Joint

CONFIG = handmade.make_canvas(128, 96)


def augmented(record, seed, **changes):
    return canvas.to_canvas(
        record, CONFIG, handmade.make_augment(**changes), np.random.default_rng(seed), labels=handmade.LABELS
    )


def rotation_and_scale(example, fit):
    linear = example["affine"][:, :2] / fit
    return math.degrees(math.atan2(linear[1, 0], linear[0, 0])), math.sqrt(abs(np.linalg.det(linear)))


def test_all_zero_is_the_evaluation_canvas():
    record = handmade.make_record(side="L")
    handmade.assert_equal(augmented(record, 0), canvas.to_canvas(record, CONFIG, labels=handmade.LABELS))


def test_randomness_comes_from_the_generator_alone():
    record = handmade.make_record()
    handmade.assert_equal(augmented(record, 5, **handmade.FULL_AUGMENT), augmented(record, 5, **handmade.FULL_AUGMENT))
    other = augmented(record, 6, **handmade.FULL_AUGMENT)
    assert np.abs(other["image"] - augmented(record, 5, **handmade.FULL_AUGMENT)["image"]).max() > 0.1


def test_geometry_fills_its_ranges_and_stays_inside():
    record = handmade.make_record(128, 96)
    found = [rotation_and_scale(augmented(record, seed, rotation=20, scale=0.5), 1.0) for seed in range(200)]
    angles, scales = np.array(found).T
    assert 17 < angles.max() <= 20 and -20 <= angles.min() < -17
    assert 1.4 < scales.max() <= 1.5 and 1 / 1.5 <= scales.min() < 1 / 1.4
    shifts = np.array([augmented(record, seed, shift=0.1)["affine"][:, 2] for seed in range(100)])
    assert (np.abs(shifts) <= (9.6, 12.8)).all() and (np.abs(shifts).max(axis=0) > (8.5, 11)).all()
    ratios = [np.divide(*np.diag(augmented(record, seed, stretch=0.1)["affine"])) for seed in range(100)]
    assert 0.9 <= min(ratios) < 0.92 and 1.08 < max(ratios) <= 1.1


def test_the_published_error_of_scale_doubles_a_share_of_the_canvases_about_the_centre():
    record = handmade.make_record(128, 96)
    found = [rotation_and_scale(augmented(record, seed, scale_error=0.5), 1.0)[1] for seed in range(200)]
    wrong = [scale for scale in found if scale > 1.5]
    assert 0.4 < len(wrong) / len(found) < 0.6 and {scale for scale in found if scale <= 1.5} == {1.0}
    assert 2 <= min(wrong) < 2.01 and 2.09 < max(wrong) <= 2.1
    center = (CONFIG.width / 2, CONFIG.height / 2)
    affine = augmented(record, 3, scale_error=1.0)["affine"]
    np.testing.assert_allclose(affine @ [*center, 1], center, atol=1e-3)


def test_mirroring_is_as_frequent_as_asked():
    record = handmade.make_record()
    share = np.mean([augmented(record, seed, mirror=0.3)["mirrored"] for seed in range(300)])
    assert 0.2 < share < 0.4


@pytest.mark.parametrize(
    "name, value",
    [
        ("contrast", 0.5),
        ("brightness", 0.2),
        ("gamma", 0.5),
        ("noise", 0.1),
        ("blur", 1.5),
        ("erase", 1.0),
        ("resample", 1.5),
    ],
)
def test_grey_changes_touch_the_image_only(name, value):
    record = handmade.make_record()
    plain = canvas.to_canvas(record, CONFIG, labels=handmade.LABELS)
    examples = [augmented(record, seed, **{name: value}) for seed in range(6)]
    assert max(np.abs(example["image"] - plain["image"]).max() for example in examples) > 0.05
    for example in examples:
        assert example["image"].dtype == np.float32 and 0 <= example["image"].min() <= example["image"].max() <= 1
        handmade.assert_equal({**example, "image": 0}, {**plain, "image": 0})


def varied(image, config, rng):
    return augment.change_grey(image, augment.draw_grey(config, *image.shape, rng))


def test_blur_softens_or_sharpens():
    image = np.random.default_rng(0).uniform(0.4, 0.6, (64, 64)).astype(np.float32)
    config = handmade.make_augment(blur=1.5)
    spread = [varied(image, config, np.random.default_rng(seed)).std() / image.std() for seed in range(40)]
    assert min(spread) < 0.6 and max(spread) > 1.3


def wrist_record(side="R"):
    """A hand 300 pixels high whose carpal sites' boxes span 40 pixels about (150, 100), all others far above."""
    joints = []
    for i, site in enumerate(anatomy.SITES):
        y, x = (130 + 3 * (i % 11), 80 + 3 * (i % 11)) if site.region == "wrist" else (20 + 2 * i, 60 + 3 * i)
        joints.append(
            Joint(
                (y / 300, x / 200, (y + 10) / 300, (x + 10) / 200),
                site.name,
                0 if site.be else -1,
                0 if site.jsn else -1,
            )
        )
    return handmade.make_record(300, 200, joints=tuple(joints), side=side)


@pytest.mark.parametrize("side", ["L", "R"])
def test_wrist_window_shows_the_carpus_and_pads_the_rest(side):
    config = handmade.make_canvas(300, 200)
    carpal = np.array([site.region == "wrist" for site in anatomy.SITES])
    sides, kept = [], []
    for seed in range(60):
        example = canvas.to_canvas(
            wrist_record(side),
            config,
            handmade.make_augment(wrist_crop=1.0),
            np.random.default_rng(seed),
            labels=handmade.LABELS,
        )
        assert not example["present"][~carpal].any()
        kept.append(example["present"][carpal].mean())
        rows, columns = np.flatnonzero(~example["padding"].all(axis=1)), np.flatnonzero(~example["padding"].all(axis=0))
        height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        assert abs(height - width) <= 1 and (~example["padding"]).sum() == height * width
        sides.append(width)
    assert min(kept) > 0.6 and np.mean(kept) > 0.9
    assert 47 <= min(sides) < 53 and 150 < max(sides) <= 201


def test_wrist_window_needs_carpal_boxes():
    record = dataclasses.replace(wrist_record(), joints=())
    example = canvas.to_canvas(
        record, CONFIG, handmade.make_augment(wrist_crop=1.0), np.random.default_rng(0), labels=handmade.LABELS
    )
    handmade.assert_equal(example, canvas.to_canvas(record, CONFIG, labels=handmade.LABELS))


def _sharpness(image):
    return float(np.abs(np.diff(image)).mean())


def test_resampling_takes_detail_half_the_time_and_leaves_grey_values_alone():
    """A pattern of single pixels is averaged out by larger ones; what is even stays even."""
    rng = np.random.default_rng(0)
    image = (np.indices((96, 80)).sum(axis=0) % 2 / 2 + 0.25).astype(np.float32)
    config = handmade.make_augment(resample=2.0)
    found = [_sharpness(varied(image, config, np.random.default_rng(seed))) for seed in range(100)]
    unchanged = sum(value == _sharpness(image) for value in found)
    assert 35 < unchanged < 65 and min(found) < 0.02
    even = np.full((96, 80), 0.4, np.float32)
    for _ in range(20):
        np.testing.assert_allclose(varied(even, config, rng), 0.4, atol=1e-5)


def test_resampling_keeps_the_picture_in_place():
    """A bright disc stays where it is, to a tenth of a pixel, however coarse the pixels were."""
    rows, columns = np.mgrid[:96, :80] + 0.5
    image = ((columns - 50.25) ** 2 + (rows - 30.5) ** 2 < 15**2).astype(np.float32)
    before = (image * rows).sum() / image.sum(), (image * columns).sum() / image.sum()
    for seed in range(30):
        after = varied(image, handmade.make_augment(resample=2.0), np.random.default_rng(seed))
        center = (after * rows).sum() / after.sum(), (after * columns).sum() / after.sum()
        np.testing.assert_allclose(center, before, atol=0.1)

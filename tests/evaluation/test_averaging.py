"""Averaged predictions: networks that do not care how they are asked, hand-worked means, and what nests."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ramjax.evaluation.averaging import ensemble, mirrored, multi_scale
from ramjax.evaluation.sliding_window import sliding_window
from tests.evaluation.kinds import KINDS

H, W = 96, 128


def images() -> np.ndarray:
    """Two images with two smooth discs each, away from the borders, float32 (2, H, W, 1)."""
    y, x = np.mgrid[:H, :W] + 0.5

    def disc(a, b):
        return np.cos(np.minimum(np.hypot(x - a, y - b) / 18, 1) * np.pi) / 2 + 0.5

    rows = [disc(44, 36) + disc(76, 56) / 2, disc(72, 60) + disc(60, 38) / 2]
    return np.stack(rows)[..., None].astype(np.float32)


def predict(pictures):
    """A network that sees scaled and mirrored images alike: a map at half resolution, and the box of all that shows."""
    b, h, w, _ = pictures.shape
    small = pictures.reshape(b, h // 2, 2, w // 2, 2, 1).mean((2, 4))
    mass = pictures[..., 0] / jnp.maximum(pictures.sum((1, 2, 3)), 1e-6)[:, None, None]
    y, x = jnp.arange(h) + 0.5, jnp.arange(w) + 0.5
    row, column = (mass.sum(2) * y).sum(1), (mass.sum(1) * x).sum(1)
    tall = jnp.sqrt((mass * (y[:, None] - row[:, None, None]) ** 2).sum((1, 2)))
    wide = jnp.sqrt((mass * (x - column[:, None, None]) ** 2).sum((1, 2)))
    box = jnp.stack([row - tall, column - wide, row + tall, column + wide], -1)
    return {
        "bones": jnp.concatenate([small, 1 - small], -1),
        "boxes": box[:, None],
        "confidence": jnp.full((b, 1), 0.7),
        "be": jnp.full((b, 1, 3), jnp.array([0.2, 0.3, 0.5])),
    }


def fixed(*answers):
    """A function that gives one answer after the other, and the list of the images it was asked about."""
    asked, rest = [], list(answers)

    def answer(pictures):
        asked.append(np.array(pictures))
        return {name: jnp.asarray(value, jnp.float32) for name, value in rest.pop(0).items()}

    return answer, asked


def assert_alike(found, expected, atol, box_atol):
    assert set(found) == set(expected)
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], atol=box_atol if name == "boxes" else atol, err_msg=name)


def test_a_mirror_changes_nothing_for_a_network_that_sees_both_alike():
    assert_alike(mirrored(predict, KINDS)(images()), predict(images()), 1e-6, 1e-3)


@pytest.mark.parametrize("scales", [(1,), (1.0, 1.0), (0.75,), (0.75, 1, 1.25), (1, 1.3)])
def test_scales_change_little_for_a_network_that_sees_all_alike(scales):
    exact = set(scales) == {1}
    found = multi_scale(predict, scales, KINDS)(images())
    assert_alike(found, predict(images()), 1e-6 if exact else 0.04, 1e-5 if exact else 0.2)


def test_the_mirror_image_is_put_back():
    plain = {
        "bones": np.arange(6).reshape(1, 1, 3, 2),
        "boxes": [[[1, 2, 3, 6], [0, 0, 1, 1]]],
        "confidence": [[0.6, 0.0]],
        "jsn": [[[0.9, 0.1], [1, 0]]],
    }
    other = {
        "bones": [[[[10, 20], [30, 40], [50, 60]]]],
        "boxes": [[[1, 3, 5, 7], [0, 9, 1, 10]]],
        "confidence": [[0.2, 0.0]],
        "jsn": [[[0.5, 0.5], [0, 1]]],
    }
    answer, asked = fixed(plain, other)
    picture = np.arange(10, dtype=np.float32).reshape(1, 1, 10, 1)
    found = mirrored(answer, KINDS)(picture)
    np.testing.assert_array_equal(asked[1][0, 0, :, 0], np.arange(10)[::-1])
    np.testing.assert_allclose(found["bones"][0, 0], [[25, 30.5], [16, 21.5], [7, 12.5]])
    # The other box is (1, 3, 5, 7) from the other side, of a picture 10 wide; a quarter of the confidence is its own.
    np.testing.assert_allclose(found["boxes"][0, 0], 0.75 * np.array([1, 2, 3, 6]) + 0.25 * np.array([1, 3, 5, 7]))
    np.testing.assert_allclose(found["boxes"][0, 1], [0, 0, 1, 1], atol=1e-6)
    np.testing.assert_allclose(found["confidence"][0], [0.4, 0])
    np.testing.assert_allclose(found["jsn"][0], [[0.8, 0.2], [0.5, 0.5]])


@pytest.mark.parametrize("scale", [1.5, 2.0])
def test_a_larger_image_is_cut_about_its_middle(scale):
    pictures = images()
    answer, asked = fixed({"map": pictures}, {"map": pictures})
    multi_scale(answer, (scale, 1), KINDS)(pictures)
    affine = np.array([[scale, 0, (W - 1) / 2 * (1 - scale)], [0, scale, (H - 1) / 2 * (1 - scale)]])
    expected = [cv2.warpAffine(picture[..., 0], affine, (W, H), flags=cv2.INTER_LINEAR) for picture in pictures]
    np.testing.assert_allclose(asked[0][..., 0], expected, atol=1e-2)  # OpenCV rounds places to 1/32 of a pixel
    np.testing.assert_array_equal(asked[1], pictures)


def test_a_smaller_image_stands_in_zeros():
    pictures, middle = images() + 1, np.s_[:, H // 4 : 3 * H // 4, W // 4 : 3 * W // 4]
    answer, asked = fixed({"map": pictures})
    multi_scale(answer, [0.5], KINDS)(pictures)
    [shown] = asked
    assert shown.shape == pictures.shape
    # Antialiased linear interpolation at half the size: a triangle of four pixels.
    padded, triangle = np.pad(pictures, [(0, 0), (1, 1), (1, 1), (0, 0)], mode="edge"), (1 / 8, 3 / 8, 3 / 8, 1 / 8)
    rows = sum(weight * padded[:, i : i + H : 2] for i, weight in enumerate(triangle))
    expected = sum(weight * rows[:, :, i : i + W : 2] for i, weight in enumerate(triangle))
    np.testing.assert_allclose(shown[middle], expected, atol=1e-5)
    shown[middle] = 0
    assert not shown.any()


def test_what_a_larger_scale_does_not_show_is_averaged_without_it():
    """Of 48 x 64 pixels the middle 24 x 32 are seen at scale 2: cells there, and boxes within."""
    boxes = np.array([[[20.0, 30, 28, 34], [2, 2, 6, 6], [14, 50, 20, 56]]])
    zoomed = np.array([[[16.0, 28, 32, 36], [0, 0, 9, 9], [4, 0, 16, 8]]])
    small = {"map": np.full((1, 48, 64, 1), 2), "boxes": boxes, "confidence": [[0.4, 0.8, 0.9]]}
    large = {"map": np.full((1, 48, 64, 1), 6), "boxes": zoomed, "confidence": [[0.8, 0.1, 0.1]]}
    answer, _ = fixed(small, large)
    found = multi_scale(answer, (1, 2), KINDS)(np.zeros((1, 48, 64, 1), np.float32))
    expected = np.full((48, 64), 2.0)
    expected[12:36, 16:48] = 4
    np.testing.assert_allclose(found["map"][0, ..., 0], expected, atol=1e-5)
    np.testing.assert_allclose(found["confidence"][0], [0.6, 0.8, 0.9])
    # At twice the size the first box is 8 x 4 pixels about the middle (24, 32) again.
    np.testing.assert_allclose(found["boxes"][0], [[20, 30, 28, 34], boxes[0, 1], boxes[0, 2]], atol=1e-5)


def test_a_site_is_averaged_over_the_scales_that_show_it_whole_or_over_all():
    boxes, pictures = np.array([[[-4.0, 0, 10, 10]]]), np.zeros((1, 48, 64, 1), np.float32)
    answer, _ = fixed(
        {"boxes": boxes, "confidence": [[0.6]]},
        {"boxes": boxes * 0.5 + np.array([12, 16, 12, 16]), "confidence": [[0.2]]},
    )
    np.testing.assert_allclose(multi_scale(answer, (1, 0.5), KINDS)(pictures)["confidence"], [[0.2]])
    answer, _ = fixed({"boxes": boxes, "confidence": [[0.6]]}, {"boxes": boxes, "confidence": [[0.2]]})
    found = multi_scale(answer, (1, 1), KINDS)(pictures)
    np.testing.assert_allclose(found["confidence"], [[0.4]])
    np.testing.assert_allclose(found["boxes"], boxes)


def test_ensembles_are_means():
    one = {"erosions": np.zeros((1, 2, 2, 4)), "be": [[[1.0, 0.0]]]}
    two = {"erosions": np.full((1, 2, 2, 4), 3.0), "be": [[[0.4, 0.6]]]}
    members = [fixed(answer)[0] for answer in (one, two, two)]
    found = ensemble(members, KINDS)(np.zeros((1, 4, 4, 1)))
    np.testing.assert_allclose(found["erosions"], np.full((1, 2, 2, 4), 2.0))
    np.testing.assert_allclose(found["be"], [[[0.6, 0.4]]], rtol=1e-6)  # without confidence each counts the same


def test_members_are_transformed_before_they_are_averaged():
    logits = [{"bones": np.full((1, 2, 2, 1), value)} for value in (-2.0, 5.0)]

    def probabilities(predictions):
        return {**predictions, "bones": jax.nn.sigmoid(predictions["bones"])}

    found = ensemble([fixed(one)[0] for one in logits], KINDS, transform=probabilities)(np.zeros((1, 4, 4, 1)))
    expected = (1 / (1 + np.exp(2)) + 1 / (1 + np.exp(-5))) / 2
    np.testing.assert_allclose(found["bones"], np.full((1, 2, 2, 1), expected), rtol=1e-5)


def test_they_nest_are_jitted_and_serve_a_sliding_window():
    def scaled(pictures):
        return {**predict(pictures), "bones": 3 * predict(pictures)["bones"]}

    whole = jax.jit(ensemble([mirrored(multi_scale(predict, (1, 0.9), KINDS), KINDS), mirrored(scaled, KINDS)], KINDS))
    found, alone = whole(images()), predict(images())
    np.testing.assert_allclose(found["bones"], 2 * alone["bones"], atol=0.05)
    np.testing.assert_allclose(found["boxes"], alone["boxes"], atol=0.2)

    tiled = sliding_window(jax.jit(mirrored(predict, KINDS)), images()[0], kinds=KINDS, tile=(32, 32))
    np.testing.assert_allclose(tiled["bones"], alone["bones"][0], atol=1e-5)


@pytest.mark.parametrize("scales", [(), (0,), (1, -1), (1.1, 1.3)])
def test_bad_scales(scales):
    with pytest.raises(ValueError, match="expected factors above 0, and one of at most 1"):
        multi_scale(predict, scales, KINDS)


def test_bad_ensembles():
    with pytest.raises(ValueError, match="ensemble is empty"):
        ensemble([], KINDS)
    other = fixed({"bones": np.zeros((2, H, W, 2))})[0]
    with pytest.raises(ValueError, match=r"Predictions to be averaged differ: .*'be'.* one config"):
        ensemble([predict, other], KINDS)(images())


def test_what_is_of_the_whole_image_is_averaged_plainly_and_over_tiles():
    """However sure the network is of the joint sites: a confident view knows no more of a patient's age."""
    sure, unsure = ({"age": [age], "confidence": [[c]]} for age, c in ((40.0, 0.9), (60.0, 0.1)))
    picture = np.zeros((1, 8, 8, 1), np.float32)
    for average in (
        lambda answer: mirrored(answer, KINDS),
        lambda answer: multi_scale(answer, (1, 0.5), KINDS),
    ):
        np.testing.assert_allclose(average(fixed(sure, unsure)[0])(picture)["age"], [50])
    several = ensemble([fixed(one)[0] for one in (sure, unsure, unsure)], KINDS)
    np.testing.assert_allclose(several(picture)["age"], [160 / 3], rtol=1e-6)
    image = np.zeros((8, 24), np.float32)
    image[:, 8:16] = 3
    found = sliding_window(lambda tiles: {"age": tiles.mean((1, 2, 3))}, image, kinds=KINDS, tile=(8, 8), overlap=0)
    assert found == {"age": 1}

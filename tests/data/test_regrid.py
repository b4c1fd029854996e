"""Masks put back on the radiograph's own grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramjax.data import geometry, regrid

HEIGHT, WIDTH, STRIDE = 128, 96, 2


def disc_logits(x: float, y: float, radius: float) -> np.ndarray:
    """Signed distance to a circle in canvas pixels, positive inside, at the cells' centres."""
    rows, columns = (np.arange(n // STRIDE) * STRIDE + STRIDE / 2 for n in (HEIGHT, WIDTH))
    return (radius - np.hypot(columns[None] - x, rows[:, None] - y)).astype(np.float32)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -logits)).astype(np.float32)


def true_disc(affine: np.ndarray, shape, x: float, y: float, radius: float) -> np.ndarray:
    columns, rows = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    where = geometry.apply(affine, np.stack([columns, rows], -1))
    inside = (where >= 0).all(-1) & (where[..., 0] < WIDTH) & (where[..., 1] < HEIGHT)
    return (np.hypot(where[..., 0] - x, where[..., 1] - y) < radius) & inside


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@settings(max_examples=40, deadline=None)
@given(
    scale=st.floats(0.15, 3),
    degrees=st.floats(-30, 30),
    x=st.floats(20, 80),
    y=st.floats(20, 110),
    mirrored=st.booleans(),
)
def test_a_disc_comes_back_to_its_place_at_any_scale(scale, degrees, x, y, mirrored):
    shape = (round(HEIGHT / scale), round(WIDTH / scale))
    affine = geometry.compose(
        geometry.about(geometry.rotate(degrees), WIDTH / 2, HEIGHT / 2), geometry.scale(scale, scale)
    )
    if mirrored:
        affine = geometry.compose(affine, geometry.mirror(shape[1]))
    radius = 14.0
    probabilities = sigmoid(disc_logits(x, y, radius))[..., None]
    words = regrid.packed_masks(probabilities, affine, HEIGHT, shape)
    truth = true_disc(affine, shape, x, y, radius)
    assert dice(words > 0, truth) > 0.97


def test_logits_keep_an_edge_between_cells_that_a_nearest_mask_would_move():
    affine, shape = geometry.scale(1 / 8, 1 / 8), (HEIGHT * 8, WIDTH * 8)
    logits = disc_logits(41.3, 60.7, 10.4)
    truth = true_disc(affine, shape, 41.3, 60.7, 10.4)
    found = regrid.packed_masks(sigmoid(logits)[..., None], affine, HEIGHT, shape) > 0
    nearest = np.kron(logits > 0, np.ones((8 * STRIDE, 8 * STRIDE), bool))
    assert dice(found, truth) > 0.995 and dice(nearest, truth) < 0.97


def test_one_word_a_pixel_holds_all_channels():
    maps = np.stack([sigmoid(disc_logits(30, 40, 12)), np.zeros((64, 48)), sigmoid(disc_logits(36, 44, 12))], -1)
    words = regrid.packed_masks(maps.astype(np.float32), geometry.scale(1, 1), HEIGHT, (HEIGHT, WIDTH))
    assert set(np.unique(words)) == {0, 1, 4, 5}
    for bit, (x, y) in ((0, (30, 40)), (2, (36, 44))):
        truth = true_disc(geometry.scale(1, 1), (HEIGHT, WIDTH), x, y, 12)
        assert dice((words >> np.uint32(bit)) & 1 > 0, truth) > 0.98


def test_erosions_take_the_likeliest_label_where_a_lesion_is_likelier_than_none():
    logits = np.stack([-disc_logits(40, 60, 15), np.zeros((64, 48)), disc_logits(36, 60, 8), np.zeros((64, 48))], -1)
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    labels = regrid.erosion_labels(probabilities.astype(np.float32), geometry.scale(1, 1), HEIGHT, (HEIGHT, WIDTH))
    assert set(np.unique(labels)) <= {0, 1, 2, 3} and labels[60, 36] == 2 and labels[60, 52] in (1, 3)
    # A lesion is likelier than none where the sum of its labels is.
    where = np.exp(logits[..., 1:]).sum(-1) > np.exp(logits[..., 0])
    assert dice(labels > 0, np.kron(where, np.ones((2, 2), bool))) > 0.97


def test_nothing_is_invented_off_the_canvas():
    """The canvas shows the middle of a larger film, and is full of bone to its border."""
    affine, shape = geometry.translate(-30, -20), (HEIGHT + 60, WIDTH + 80)
    words = regrid.packed_masks(np.ones((64, 48, 1), np.float32), affine, HEIGHT, shape)
    expected = np.zeros(shape, bool)
    expected[20 : 20 + HEIGHT, 30 : 30 + WIDTH] = True
    np.testing.assert_array_equal(words > 0, expected)
    lesions = np.zeros((64, 48, 4), np.float32)
    lesions[..., 1] = 1
    np.testing.assert_array_equal(regrid.erosion_labels(lesions, affine, HEIGHT, shape) == 1, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_predictions_that_are_not_finite_are_named(value):
    with pytest.raises(ValueError, match=r"The network's be of ram_phantom p1 are not finite .* earlier checkpoint"):
        regrid.check_finite({"bones": np.zeros(3), "be": np.array([0, value])}, "ram_phantom p1")

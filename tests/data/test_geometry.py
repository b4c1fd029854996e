import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ramjax.data import geometry

quick = settings(max_examples=40, deadline=None)
shifts = st.floats(-50, 50)
factors = st.floats(0.3, 3)
angles = st.floats(-180, 180)


@quick
@given(shifts, shifts, factors, factors, angles)
def test_maps_compose_and_invert(x, y, along_x, along_y, angle):
    parts = geometry.translate(x, y), geometry.rotate(angle), geometry.scale(along_x, along_y), geometry.mirror(100)
    whole = geometry.compose(*parts)
    points = np.random.default_rng(0).uniform(-100, 100, (5, 2))
    expected = points
    for part in reversed(parts):
        expected = geometry.apply(part, expected)
    np.testing.assert_allclose(geometry.apply(whole, points), expected, atol=1e-9)
    np.testing.assert_allclose(geometry.apply(geometry.invert(whole), expected), points, atol=1e-9)
    assert math.isclose(geometry.linear_scale(whole), math.sqrt(along_x * along_y))


def test_about_keeps_its_center():
    np.testing.assert_allclose(geometry.apply(geometry.about(geometry.rotate(33), 7, 9), (7, 9)), (7, 9))
    np.testing.assert_allclose(geometry.apply(geometry.rotate(90), (1, 0)), (0, 1), atol=1e-12)


@quick
@given(shifts, shifts, factors, factors, angles)
def test_box_becomes_the_bounding_box_of_its_ellipse(x, y, along_x, along_y, angle):
    affine = geometry.compose(geometry.translate(x, y), geometry.rotate(angle), geometry.scale(-along_x, along_y))
    box = np.array((10.0, 20.0, 26.0, 50.0))
    turn = np.linspace(0, 2 * np.pi, 20001)
    outline = np.stack([35 + 15 * np.cos(turn), 18 + 8 * np.sin(turn)], axis=1)
    mapped = geometry.apply(affine, outline)
    expected = [*mapped.min(axis=0)[::-1], *mapped.max(axis=0)[::-1]]
    np.testing.assert_allclose(geometry.apply_to_boxes(affine, box)[0], expected, atol=1e-4)


def test_labels_at_whole_pixel_maps_equal_slices():
    labels = np.random.default_rng(0).integers(0, 256, (40, 30, 4), dtype=np.uint8)
    np.testing.assert_array_equal(geometry.warp_labels(labels, geometry.mirror(30), 40, 30), labels[:, ::-1])
    np.testing.assert_array_equal(geometry.warp_labels(labels, geometry.scale(1 / 3, 1 / 5), 8, 10), labels[2::5, 1::3])
    np.testing.assert_array_equal(
        geometry.warp_labels(labels, geometry.scale(2, 3), 120, 60), labels.repeat(3, axis=0).repeat(2, axis=1)
    )
    moved = geometry.warp_labels(labels, geometry.translate(4, -7), 40, 30)
    np.testing.assert_array_equal(moved[:33, 4:], labels[7:, :26])
    assert not moved[33:].any() and not moved[:, :4].any()


@quick
@given(st.floats(0.12, 2.0), angles, st.floats(-3, 3))
def test_grey_blob_lands_where_the_map_says(size, angle, shift):
    y, x = np.mgrid[:400, :360] + 0.5
    center = np.array((190.3, 170.8))
    image = np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / (2 * 12.0**2)).astype(np.float32)
    affine = geometry.compose(
        geometry.translate(100 + shift, 90 - shift),
        geometry.rotate(angle),
        geometry.scale(size, size),
        geometry.translate(-190, -170),
    )
    warped = geometry.warp_grey(image, affine, 180, 200)
    rows, columns = np.mgrid[:180, :200] + 0.5
    found = np.array([(warped * columns).sum(), (warped * rows).sum()]) / warped.sum()
    np.testing.assert_allclose(found, geometry.apply(affine, center), atol=0.03)


def test_shrinking_averages_instead_of_skipping():
    checkers = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = geometry.warp_grey(checkers, geometry.scale(0.25, 0.25), 64, 64)
    assert np.abs(small.astype(float) - 127.5).max() < 30
    assert geometry.warp_labels(checkers, geometry.scale(0.25, 0.25), 64, 64).std() < 1  # What skipping would give.


def test_visible_is_where_centers_fall_into_the_window():
    affine = geometry.compose(geometry.translate(10, 3), geometry.rotate(20), geometry.scale(0.7, 0.7))
    window = np.array((5.0, 10.0, 60.0, 50.0))
    shown = geometry.visible(geometry.Placement(affine, window, False), 70, 80)
    for row in range(0, 70, 3):
        for column in range(0, 80, 3):
            x, y = geometry.apply(geometry.invert(affine), (column + 0.5, row + 0.5))
            assert shown[row, column] == (5 <= y < 60 and 10 <= x < 50)
    assert shown.any() and not shown.all()

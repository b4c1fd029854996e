import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramjax.io.crops import CropFinder

RNG = np.random.default_rng(0)
HAND = np.zeros((90, 70), np.uint8)  # a bright shape on a flat ground, as a radiograph is
HAND[20:75, 15:60] = RNG.integers(30, 255, (55, 45))


def every_place(image: np.ndarray, crop: np.ndarray) -> list[tuple[int, int]]:
    """The slow reference: try each place."""
    (height, width), (rows, columns) = crop.shape, image.shape
    return [
        (y, x)
        for y in range(rows - height + 1)
        for x in range(columns - width + 1)
        if np.array_equal(image[y : y + height, x : x + width], crop)
    ]


@pytest.mark.parametrize(
    "box",
    [
        (0, 20, 40, 60), (60, 20, 90, 60), (30, 0, 60, 25), (30, 50, 60, 70), (0, 0, 30, 30), (60, 50, 90, 70),
        (0, 0, 90, 70),
    ],
    ids=["top", "bottom", "left", "right", "corner", "other corner", "whole"],
)  # fmt: skip
def test_crops_at_the_borders_are_found(box):
    ymin, xmin, ymax, xmax = box
    assert CropFinder(HAND).find(HAND[ymin:ymax, xmin:xmax]) == [(ymin, xmin)]


def test_a_crop_of_flat_background_is_ambiguous_and_a_mostly_flat_one_is_not():
    assert len(CropFinder(HAND).find(HAND[:10, :10])) == 2
    assert CropFinder(HAND).find(HAND[10:21, 5:16]) == [(10, 5)]  # a single pixel of the shape in its corner


def test_a_flat_crop_that_fits_in_one_place_only_is_found():
    image = HAND.copy()
    image[30:34, 20:25] = 7
    assert CropFinder(image).find(image[30:34, 20:25]) == [(30, 20)]


def test_a_crop_of_columns_alike_is_found_by_its_columns():
    image = np.repeat(np.arange(80, dtype=np.uint8)[:, None], 60, axis=1)  # every row is of one value
    image[:, 40:] = 200
    assert CropFinder(image).find(image[10:30, 30:50]) == [(10, 30)]
    assert CropFinder(image).find(image[10:30, 5:20])[0] == (10, 0)


def test_what_is_not_there_is_not_found():
    crop = HAND[30:50, 20:40].copy()
    crop[3, 4] ^= 1
    assert CropFinder(HAND).find(crop) == []
    assert CropFinder(HAND).find(np.zeros((91, 10), np.uint8)) == []
    assert CropFinder(HAND).find(HAND[30:50, 20:40][:, ::-1]) == []


def test_a_row_that_runs_on_from_one_border_to_the_other_does_not_count():
    image = np.zeros((4, 6), np.uint8)
    image[1, 4:], image[2, :2] = (1, 2), (3, 4)
    assert CropFinder(image).find(np.array([[1, 2, 3, 4]], np.uint8)) == []


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 5))
@settings(max_examples=80, deadline=None)
def test_the_places_are_those_of_a_search_everywhere(seed, height, width):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 2, (12, 9), dtype=np.uint8)
    y, x = rng.integers(12 - height + 1), rng.integers(9 - width + 1)
    crop = image[y : y + height, x : x + width]
    expected = every_place(image, crop)
    found = CropFinder(image).find(crop)
    assert len(found) == min(len(expected), 2) and set(found) <= set(expected)

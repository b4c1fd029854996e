"""Shapes are drawn where they are, in their colour, and nothing else changes."""

import io

import numpy as np
import pytest
from PIL import Image

from ramjax.figures import overlay
from ramjax.figures.overlay import Fill, Outline


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_outlines_follow_the_mask(scale):
    picture = np.zeros((round(120 * scale), round(90 * scale), 3), np.uint8)
    overlay.draw_outline(picture, Outline(np.ones((30, 50), bool), 40, 20, (255, 255, 255)), scale)
    rows, columns = np.nonzero(picture.any(axis=-1))
    edges = np.array([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]) / scale
    np.testing.assert_allclose(edges, (40, 20, 70, 70), atol=2 / scale + 1)
    inner = picture[round(46 * scale) : round(64 * scale), round(26 * scale) : round(64 * scale)]
    assert not inner.any()


def test_masks_are_filled_in_their_colour_and_see_through():
    picture = np.full((60, 60, 3), 100, np.uint8)
    colours = (255, 45, 45), (235, 70, 225)
    for at, colour in zip((10, 30), colours, strict=True):
        mask = np.zeros((60, 60), bool)
        mask[at : at + 10, at : at + 10] = True
        overlay.draw_fill(picture, Fill(mask, colour), 1.0)
    for at, colour in zip((15, 35), colours, strict=True):
        np.testing.assert_allclose(picture[at, at], (100 + np.array(colour)) / 2, atol=1)
    assert (picture[50:] == 100).all()
    before = picture.copy()
    overlay.draw_fill(picture, Fill(np.zeros((60, 60), bool), (255, 255, 255)), 1.0)
    np.testing.assert_array_equal(picture, before)


def test_boxes_are_drawn_at_their_corners_and_open_at_their_sides():
    picture = np.zeros((100, 100, 3), np.uint8)
    overlay.draw_box(picture, (20, 30, 60, 80), 1.0, (255, 255, 255))
    rows, columns = np.nonzero(picture[..., 0] > 100)
    np.testing.assert_allclose((rows.min(), columns.min(), rows.max(), columns.max()), (20, 30, 60, 80), atol=1)
    assert not picture[40, :].any() and not picture[:, 55].any()


def test_png_holds_the_picture():
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(overlay.encode_png(picture)))), picture)

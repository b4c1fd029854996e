"""Boxes of a detection file: in pixels, larger than one, mostly inside; other units and orders are named."""

import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramjax import anatomy
from ramjax.io.coco import parse_coco
from ramjax.io.errors import ReleaseError
from tfds_builders.detection import NOWHERE, Detection, boxes_by_image

FILE = pathlib.Path("joints.json")
IMAGE = pathlib.Path("hand.bmp")
SHAPE = (1500, 1000)
BOXES = {"MCP-T": (700, 200, 90, 80), "MCP-I": (650, 400, 80, 70), "SC": (1100, 500, 60, 75), "U": (1200, 850, 70, 90)}
"""y, x, height, width."""


def detection(boxes, size=SHAPE) -> Detection:
    """Of a file with these boxes (y, x, height, width) in one image, as it is read."""
    ids = {site: number for number, site in enumerate(anatomy.SITE_NAMES)}
    values = {
        "images": [{"id": 1, "file_name": IMAGE.name, "height": size[0], "width": size[1]}],
        "categories": [{"id": number, "name": site} for site, number in ids.items()],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": ids[site], "bbox": [x, y, width, height]}
            for number, (site, (y, x, height, width)) in enumerate(boxes.items())
        ],
    }
    names = {site: site for site in anatomy.SITE_NAMES}
    by_image, findings = boxes_by_image(parse_coco(values, FILE), names, {IMAGE.stem})
    assert not findings
    return by_image[IMAGE.stem]


def changed(how) -> dict:
    return {site: how(*box) for site, box in BOXES.items()}


def test_sound_boxes_are_kept():
    found, findings = detection(BOXES).checked(SHAPE, IMAGE)
    assert found.boxes == {site: (y, x, y + h, x + w) for site, (y, x, h, w) in BOXES.items()} and not findings


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        (changed(lambda y, x, h, w: (y / 1500, x / 1000, h / 1500, w / 1000)), "fractions of the image (0..1)"),
        (changed(lambda y, x, h, w: (y / 15, x / 10, h / 15, w / 10)), "percent of the image (0..100)"),
        (changed(lambda y, x, h, w: (y, x, y + h, x + w)), "two corners (x0, y0, x1, y1)"),
    ],
    ids=["fractions", "percent", "corners"],
)
def test_boxes_in_another_unit_or_order_stop(boxes, words):
    with pytest.raises(ReleaseError) as error:
        detection(boxes).checked(SHAPE, IMAGE)
    assert str(error.value).startswith("joints.json") and words in str(error.value)


@pytest.mark.parametrize(
    ("box", "what"),
    [
        ((700, 200, 0, 80), "that are empty or outside the image"),
        ((700, 200, -90, 80), "that are empty or outside the image"),
        ((1600, 200, 90, 80), "that are empty or outside the image"),
        ((700, 200, 1, 80), "of a pixel or less, left out"),
        ((0.4, 0.2, 0.1, 0.1), "of a pixel or less, left out"),
        ((1499, 200, 90, 80), "of a pixel or less, left out"),
        ((1460, 200, 90, 80), "that are mostly outside the image, left out"),
        ((-50, -50, 90, 80), "that are mostly outside the image, left out"),
    ],
)
def test_a_single_box_that_cannot_be_right_has_no_place_and_is_said(box, what):
    found, findings = detection({**BOXES, "MCP-T": box}).checked(SHAPE, IMAGE)
    assert [(finding.what, finding.where) for finding in findings] == [(f"detected boxes {what}", "hand MCP-T")]
    sound, _ = detection(BOXES).checked(SHAPE, IMAGE)
    assert found.boxes == {**sound.boxes, "MCP-T": NOWHERE}


def test_a_box_that_the_border_cuts_is_kept_where_half_of_it_is_inside():
    found, findings = detection({**BOXES, "MCP-T": (1455, 200, 90, 80)}).checked(SHAPE, IMAGE)
    assert found.boxes["MCP-T"] == (1455, 200, 1545, 280) and not findings


def test_another_size_stops():
    with pytest.raises(ReleaseError, match=r"1000 x 1500 pixels, joints\.json says 1500 x 1000"):
        detection(BOXES, size=SHAPE[::-1]).checked(SHAPE, IMAGE)


def test_what_is_nowhere_in_one_file_is_where_another_one_has_it():
    one, other = Detection({"S": NOWHERE, "L": (1, 2, 3, 4)}), Detection({"S": (5, 6, 7, 8), "L": (0, 3, 2, 9)})
    for joined in (one.joined(other), other.joined(one)):
        assert joined.boxes == {"S": (5, 6, 7, 8), "L": (0, 2, 3, 9)}


@given(
    st.dictionaries(
        st.sampled_from(anatomy.SITE_NAMES),
        st.tuples(st.floats(0, 1350), st.floats(0, 850), st.floats(40, 150), st.floats(40, 150)),
        min_size=1,
    ).filter(lambda boxes: any(y > 150 or x > 150 for y, x, _, _ in boxes.values()))
)
def test_boxes_of_a_joints_size_anywhere_in_the_image_are_kept(boxes):
    found, findings = detection(boxes).checked(SHAPE, IMAGE)
    assert set(found.boxes) == set(boxes) and NOWHERE not in found.boxes.values() and not findings

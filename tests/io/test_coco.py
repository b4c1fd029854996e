import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ramjax.io import coco
from ramjax.io.errors import ReleaseError

MASKS = hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 9)))
FORMS = ("compressed", "uncompressed", "polygons")


def decode(segmentation, shape) -> np.ndarray:
    rows, columns, cut = coco.decode_mask(segmentation, *shape, "here")
    mask = np.zeros(shape, bool)
    mask[rows, columns] = cut
    return mask


@pytest.mark.parametrize("form", FORMS)
@given(mask=MASKS)
@settings(max_examples=60, deadline=None)
def test_every_form_gives_the_mask_back_to_the_pixel(form, mask):
    segmentation = json.loads(json.dumps(coco.encode_mask(mask, form)))
    np.testing.assert_array_equal(decode(segmentation, mask.shape), mask)
    *_, cut = coco.decode_mask(segmentation, *mask.shape, "here")
    assert cut.size == 0 or all(cut.any(axis)[[0, -1]].all() for axis in (0, 1))


def test_run_lengths_go_down_the_columns():
    mask = np.array([[0, 1], [1, 1], [1, 0]], bool)
    assert coco.encode_mask(mask, "uncompressed") == {"size": [3, 2], "counts": [1, 4, 1]}
    np.testing.assert_array_equal(decode({"size": [3, 2], "counts": [1, 4, 1]}, (3, 2)), mask)
    assert coco.encode_mask(np.ones((2, 2), bool), "uncompressed")["counts"] == [0, 4]


def test_polygons_of_less_than_three_corners_are_left_out():
    square = [1.0, 1.0, 3.0, 1.0, 3.0, 3.0, 1.0, 3.0]
    mask = decode([square, [0.0, 0.0, 5.0, 5.0]], (6, 6))
    assert mask.sum() == 4 and mask[1:3, 1:3].all()
    assert not decode([[0.0, 0.0, 5.0, 5.0]], (6, 6)).any()


def test_the_box_is_the_smallest():
    mask = np.zeros((9, 7), bool)
    mask[2:5, 3] = True
    assert coco.bounding_box(mask) == [3, 2, 1, 3]
    assert coco.bounding_box(np.zeros((9, 7), bool)) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "segmentation, words",
    [
        ({"size": [4, 5], "counts": [20]}, "[4, 5], the image [5, 5]"),
        ({"counts": [25]}, "None, the image [5, 5]"),
        ({"size": [5, 5]}, "damaged"),
        ({"size": [5, 5], "counts": [20]}, "cover 20 of 25 pixels"),
        ({"size": [5, 5], "counts": []}, "cover 0 of 25 pixels"),
        ({"size": [5, 5], "counts": coco.encode_mask(np.eye(5), "compressed")["counts"][:-2]}, "of 25 pixels"),
        ({"size": [5, 5], "counts": "é"}, "damaged"),
        (7, "damaged"),
        ([["a"] * 6], "damaged"),
    ],
)
def test_masks_that_cannot_be_trusted_name_their_place(segmentation, words):
    with pytest.raises(ReleaseError) as error:
        coco.decode_mask(segmentation, 5, 5, "file.json, hand.bmp")
    assert str(error.value).startswith("file.json, hand.bmp: ") and words in str(error.value)


def values(**changes):
    return {
        "images": [{"id": 4, "file_name": "a.bmp", "height": 3, "width": 2}],
        "categories": [{"id": 9, "name": "Radius"}, {"id": 2, "name": "Ulna"}, {"id": 0, "name": "bone-6U7D"}],
        "annotations": [{"image_id": 4, "category_id": 9, "bbox": [0, 1, 2, 2], "segmentation": []}],
        **changes,
    }


def test_categories_come_by_id_and_an_unused_placeholder_is_left_out(tmp_path):
    file = coco.parse_coco(values(), tmp_path / "x.json")
    assert file.categories == ("Ulna", "Radius") and file.placeholder == ""
    (image,) = file.images
    assert (image.names, image.height, image.width) == (("a.bmp",), 3, 2)
    assert [(a.category, a.bbox) for a in image.annotations] == [("Radius", (0, 1, 2, 2))]
    used = values(annotations=[{"image_id": 4, "category_id": 0}])
    assert coco.parse_coco(used, tmp_path).placeholder == "bone-6U7D"


def test_names_that_the_annotation_tool_changed_are_undone(tmp_path):
    image = {"id": 4, "file_name": "JP_1_L_bmp.rf.8ab.jpg", "extra": {"name": "JP_1_L.bmp"}}
    (found,) = coco.parse_coco(values(images=[image]), tmp_path).images
    assert found.names == ("JP_1_L_bmp.rf.8ab.jpg", "JP_1_L.bmp", "JP_1_L.bmp") and found.height is None
    assert found.stem_in({"JP_1_L", "JP_1_R"}) == "JP_1_L" and found.stem_in({"JP_1_R"}) is None


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"images": None}, "no COCO file"),
        ({"annotations": [{"image_id": 5, "category_id": 9}]}, r"annotations\[0\] is of image 5, which .* not list"),
        (
            {"annotations": [{"id": 1, "image_id": 4, "category_id": 7}]},
            "annotation 1 is of category 7, which .*x",
        ),
        (
            {"annotations": [{"id": 1, "image_id": "4", "category_id": 9}]},
            "1: the image_id is '4', .* whole",
        ),
        ({"annotations": [{"id": 1, "image_id": True, "category_id": 9}]}, "image_id is True"),
        ({"annotations": [{"id": 1, "image_id": 10**400, "category_id": 9}]}, "of image 1000"),
        ({"annotations": [7]}, r"annotations\[0\] is 7"),
        ({"annotations": [{"image_id": 4}]}, r"annotations\[0\] has no category_id"),
        (
            {"images": [{"id": 4, "file_name": "a.bmp", "height": "3", "width": 2}]},
            "4: the height is '3', .* whole",
        ),
        ({"images": [{"id": 4, "file_name": "a.bmp", "height": 3, "width": 2.5}]}, "the width is 2.5"),
        ({"images": [{"id": 4, "file_name": "a.bmp", "height": 3}]}, "the width is None"),
        ({"images": [{"id": 4, "file_name": "a.bmp", "height": 0, "width": 0}]}, "the height is 0"),
        ({"images": [{"id": 4, "file_name": 7}]}, "file_name is 7, it must be text"),
        ({"categories": [{"id": 9, "name": None}]}, "category 9: the name is None"),
        ({"images": [{"id": 4}]}, "file_name"),
        ({"images": [{"id": 4, "file_name": "a.bmp"}] * 2}, "two image entries have the same id"),
        ({"categories": [{"id": 9, "name": "A"}, {"id": 9, "name": "B"}]}, "two category entries"),
        ({"categories": [{"id": 9, "name": "A"}, {"id": "x", "name": "B"}]}, "'x', it must be a whole number"),
        ({"annotations": [{"id": 3, "image_id": 4, "category_id": 9, "bbox": [1, 2, 3]}]}, "annotation 3"),
        ({"annotations": [{"id": 3, "image_id": 4, "category_id": 9, "bbox": [1, 2, 3, float("nan")]}]}, "nan"),
        ({"annotations": [{"id": 3, "image_id": 4, "category_id": 9, "bbox": [10**400, 0, 1, 1]}]}, "four finite"),
        ({"annotations": [{"id": 3, "image_id": 4, "category_id": 9, "bbox": 1.5}]}, "the bbox is 1.5"),
        ({"annotations": [{"id": 3, "image_id": 4, "category_id": 9, "bbox": [1, 2, 3, "4"]}]}, "four finite"),
        ({"annotations": [{"id": 3, "image_id": 4, "category_id": 9, "bbox": [True, 2, 3, 4]}]}, "four finite"),
    ],
)
def test_a_file_that_is_laid_out_otherwise_is_named(tmp_path, changes, words):
    with pytest.raises(ReleaseError, match=words) as error:
        coco.parse_coco(values(**changes), tmp_path / "x.json")
    assert str(tmp_path / "x.json") in str(error.value)


@pytest.mark.parametrize(
    "content, words",
    [
        (b'{"a": ', "no whole JSON"),
        (b"\xff\xfe\xff", "no whole JSON"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (None, "cannot be read"),
    ],
)
def test_a_json_file_that_cannot_be_read_is_named(tmp_path, content, words):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReleaseError, match=words) as error:
        coco.read_json(path)
    assert str(path) in str(error.value)

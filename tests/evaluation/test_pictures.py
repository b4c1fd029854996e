"""The grid of test hands: agreement is coloured as it is, and the file is whole."""

import dataclasses

import cv2
import numpy as np
import pytest

from ramjax import anatomy
from ramjax.data import geometry
from ramjax.evaluation import pictures
from ramjax.record import Joint, Record, pack_bones, unpack_bones
from tests.inference import fakes


def _record(i: int = 0) -> Record:
    planes = np.zeros((200, 150, anatomy.NUM_BONES), bool)
    planes[50:120, 40:60, anatomy.BONE_INDEX["MC2"]] = True
    erosions = np.zeros((200, 150), np.uint8)
    erosions[60:70, 40:50] = 1
    joints = (Joint((0.2, 0.2, 0.3, 0.3), "MCP-I", be=2, jsn=1), Joint((0.7, 0.4, 0.8, 0.5), "U", be=0))
    return Record(
        image=fakes.disc_image(200, 150, 60, 90, 30),
        bones=pack_bones(planes),
        bones_known=np.ones(anatomy.NUM_BONES, bool),
        joints_known=np.ones(anatomy.NUM_SITES, bool),
        erosions=erosions,
        joints=joints,
        id=f"hand{i}",
        dataset="made",
        side="R",
        pixel_spacing_mm=0.5,
    )


SIZE = 0.8
AFFINE, HEIGHT = geometry.scale(SIZE, SIZE), 160


def _perfect(record: Record) -> dict:
    """What a perfect network would say on a canvas `SIZE` times as large."""
    planes = unpack_bones(record.bones).astype(np.float32)
    width = round(record.image.shape[1] * SIZE)
    planes = [np.ascontiguousarray(planes[..., k]) for k in range(anatomy.NUM_BONES)]
    maps = np.stack([geometry.warp_labels(plane, AFFINE, HEIGHT, width) for plane in planes], -1)
    labels = geometry.warp_labels(record.erosions, AFFINE, HEIGHT, width)
    predictions = {
        "bones": maps,
        "erosions": np.eye(4, dtype=np.float32)[labels],
        "boxes": np.zeros((22, 4)),
        "confidence": np.zeros(22),
        "be": np.eye(6)[np.zeros(22, int)],
        "jsn": np.eye(5)[np.zeros(22, int)],
    }
    for joint in record.joints:
        site = anatomy.SITE_INDEX[joint.site]
        predictions["boxes"][site] = np.multiply(joint.bbox, 2 * record.image.shape) * SIZE
        predictions["confidence"][site] = 1
        predictions["be"][site] = np.eye(6)[max(joint.be, 0)]
        predictions["jsn"][site] = np.eye(5)[max(joint.jsn, 0)]
    return predictions


def _picture(record: Record, predictions: dict) -> np.ndarray:
    found = pictures.predicted(record, predictions, AFFINE, HEIGHT)
    return pictures.case_picture(record, found, "confidence" in predictions)


@pytest.mark.parametrize("count", [1, 2, 6])
def test_grid(tmp_path, count):
    records = [_record(i) for i in range(count)]
    pictures.save_test_grid(tmp_path / "grid.png", [_picture(record, _perfect(record)) for record in records])
    image = cv2.imread(str(tmp_path / "grid.png"))
    assert image.shape[0] > pictures.PANEL_HEIGHT and image.std() > 10
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


def test_hands_and_wrists_of_different_width_share_a_grid(tmp_path):
    hand = _record()
    wrist = dataclasses.replace(
        hand,
        image=np.full((150, 150), 99, np.uint8),
        bones=np.zeros((150, 150, 4), np.uint8),
        erosions=np.zeros((150, 150), np.uint8),
    )
    pairs = [_picture(record, _perfect(hand)) for record in (hand, wrist)]
    assert pairs[0].shape[0] == pairs[1].shape[0] and pairs[0].shape[1] < pairs[1].shape[1]
    pictures.save_test_grid(tmp_path / "grid.png", pairs)
    assert cv2.imread(str(tmp_path / "grid.png")).shape[1] > 2 * pairs[1].shape[1]


def test_annotations_as_findings():
    found = pictures.annotated(_record())
    assert [bone.name for bone in found.bones] == ["MC2"]
    assert (found.bones[0].top, found.bones[0].left, found.bones[0].area) == (50, 40, 70 * 20)
    assert {joint.site: (joint.be and joint.be.score, joint.jsn and joint.jsn.score) for joint in found.joints} == {
        "MCP-I": (2, 1),
        "U": (0, None),
    }
    assert found.joints[0].box == pytest.approx((40, 30, 60, 45))


def test_what_is_not_annotated_is_not_shown():
    flags = dict.fromkeys(("has_bones", "has_erosions", "has_joints", "has_be", "has_jsn"), False)
    found = pictures.annotated(dataclasses.replace(_record(), **flags))
    assert (found.bones, found.erosions, found.joints) == ((), None, ())


def test_a_perfect_prediction_equals_the_annotation():
    record = _record()
    truth, found = pictures.annotated(record), pictures.predicted(record, _perfect(record), AFFINE, HEIGHT)
    assert {j.site for j in truth.joints} == {j.site for j in found.joints}
    assert found.bones[0].area == pytest.approx(truth.bones[0].area, rel=0.1)
    assert (found.erosions > 0).sum() == pytest.approx((truth.erosions > 0).sum(), rel=0.2)
    assert found.joints[0].box == pytest.approx(truth.joints[0].box)
    truths, founds = ({j.site: j for j in f.joints} for f in (truth, found))
    assert pictures._totals(truths, founds, "be") == (2, 2)


@pytest.mark.parametrize("error, colour", [(0, pictures._AGREE), (1, pictures._NEAR), (2, pictures._FAR)])
def test_agreement_has_its_colour(error, colour):
    record = _record()
    predictions = _perfect(record)
    predictions["be"][anatomy.SITE_INDEX["MCP-I"]] = np.eye(6)[2 + error]
    truth, found = pictures.annotated(record), pictures.predicted(record, predictions, AFFINE, HEIGHT)
    joints = [next(j for j in f.joints if j.site == "MCP-I") for f in (truth, found)]
    assert pictures._agreement(*joints) == colour


@pytest.mark.parametrize("seen", [0.0, 1.0])
def test_all_sites_are_missed_where_none_is_found(seen):
    record = _record()
    predictions = {key: _perfect(record)[key] for key in ("boxes", "confidence")}
    predictions["confidence"] = predictions["confidence"] * seen
    panel = _picture(record, predictions)[34 : pictures.PANEL_HEIGHT + 34]
    right = panel[:, panel.shape[1] // 2 :].astype(int)
    red = np.abs(right - pictures._FAR).max(axis=-1) < 40
    assert red.any() == (seen == 0)


@pytest.mark.parametrize(
    "keys", [("bones",), ("erosions",), ("boxes", "confidence"), ("be", "jsn"), ("boxes", "confidence", "be", "jsn")]
)
def test_any_task_alone_makes_a_picture(keys):
    record = _record()
    predictions = {key: value for key, value in _perfect(record).items() if key in keys}
    assert _picture(record, predictions).std() > 10
    if keys == ("be", "jsn"):  # scores alone stand at the annotated boxes
        found = pictures.predicted(record, predictions, AFFINE, HEIGHT)
        assert [(joint.site, joint.be.score) for joint in found.joints] == [("MCP-I", 2), ("U", 0)]
        assert found.joints[0].box == pytest.approx((40, 30, 60, 45))

"""The grid of test hands: agreement is coloured as it is, and the file is whole."""

import cv2
import numpy as np
import pytest

from ramjax import anatomy
from ramjax.data import canvas as canvases
from ramjax.evaluation import pictures
from ramjax.record import Joint, Record, pack_bones
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


def _example(record: Record) -> dict:
    return canvases.to_canvas(record, fakes.config().data.canvas)


def _perfect(example: dict) -> dict:
    planes = np.unpackbits(example["bones"].view(np.uint8).reshape(128, 96, 4), axis=-1, count=30, bitorder="little")
    return {
        "bones": planes.astype(np.float32)[::2, ::2],
        "erosions": np.eye(4, dtype=np.float32)[example["erosions"]][::2, ::2],
        "boxes": example["boxes"],
        "confidence": example["present"].astype(np.float32),
        "be": np.eye(6)[np.maximum(example["be"], 0)],
        "jsn": np.eye(5)[np.maximum(example["jsn"], 0)],
    }


@pytest.mark.parametrize("count", [1, 2, 6])
def test_grid(tmp_path, count):
    records = [_record(i) for i in range(count)]
    examples = [_example(record) for record in records]
    pictures.save_test_grid(tmp_path / "grid.png", records, examples, [_perfect(e) for e in examples])
    image = cv2.imread(str(tmp_path / "grid.png"))
    assert image.shape[0] > pictures.PANEL_HEIGHT and image.std() > 10
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


def test_annotations_as_findings():
    record = _record()
    found = pictures.annotated(_example(record))
    assert [bone.name for bone in found.bones] == ["MC2"]
    assert {joint.site: (joint.be and joint.be.score, joint.jsn and joint.jsn.score) for joint in found.joints} == {
        "MCP-I": (2, 1),
        "U": (0, None),
    }


def test_a_perfect_prediction_equals_the_annotation():
    example = _example(_record())
    truth, found = pictures.annotated(example), pictures.predicted(example, _perfect(example))
    assert {j.site for j in truth.joints} == {j.site for j in found.joints}
    assert found.bones[0].area == pytest.approx(truth.bones[0].area, rel=0.15)
    assert (found.erosions > 0).sum() == pytest.approx((truth.erosions > 0).sum(), rel=0.3)
    truths, founds = ({j.site: j for j in f.joints} for f in (truth, found))
    assert pictures._totals(truths, founds, "be") == (2, 2)


@pytest.mark.parametrize("error, colour", [(0, pictures._AGREE), (1, pictures._NEAR), (2, pictures._FAR)])
def test_agreement_has_its_colour(error, colour):
    example = _example(_record())
    predictions = _perfect(example)
    site = anatomy.SITE_INDEX["MCP-I"]
    predictions["be"] = np.eye(6)[np.maximum(example["be"], 0) + error * (np.arange(22) == site)]
    truth, found = pictures.annotated(example), pictures.predicted(example, predictions)
    joints = [next(j for j in f.joints if j.site == "MCP-I") for f in (truth, found)]
    assert pictures._agreement(*joints) == colour


@pytest.mark.parametrize("seen", [0.0, 1.0])
def test_all_sites_are_missed_where_none_is_found(tmp_path, seen):
    example = _example(_record())
    predictions = {key: _perfect(example)[key] for key in ("boxes", "confidence")}
    predictions["confidence"] = predictions["confidence"] * seen
    pictures.save_test_grid(tmp_path / "grid.png", [_record()], [example], [predictions])
    panel = cv2.imread(str(tmp_path / "grid.png"))[90 : pictures.PANEL_HEIGHT + 80, :, ::-1]
    right = panel[:, panel.shape[1] // 2 :].astype(int)
    red = np.abs(right - pictures._FAR).max(axis=-1) < 40
    assert red.any() == (seen == 0)


@pytest.mark.parametrize(
    "keys", [("bones",), ("erosions",), ("boxes", "confidence"), ("be", "jsn"), ("boxes", "confidence", "be", "jsn")]
)
def test_any_task_alone_makes_a_grid(tmp_path, keys):
    example = _example(_record())
    predictions = {key: value for key, value in _perfect(example).items() if key in keys}
    pictures.save_test_grid(tmp_path / "grid.png", [_record()], [example], [predictions])
    assert cv2.imread(str(tmp_path / "grid.png")).std() > 10

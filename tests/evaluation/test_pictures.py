"""The grid of test hands: agreement is coloured as it is, and the file is whole."""

import dataclasses

import cv2
import numpy as np
import pytest

from ramjax import anatomy
from ramjax.data import geometry
from ramjax.data.grid import grid_of
from ramjax.evaluation import pictures
from ramjax.figures.overlay import AGREE, FAR, NEAR, UNKNOWN, Box
from ramjax.record import Joint, Record, pack_bones, unpack_bones
from ramjax.tasks import make_tasks
from ramjax.tasks.base import CONFIDENT
from ramjax.tasks.findings import able, annotated, find
from ramjax.tasks.patient import Patient
from tests.inference import fakes

TASKS = make_tasks(fakes.config())


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


def _picture(record: Record, predictions: dict, tasks=TASKS) -> np.ndarray:
    return pictures.case_picture(tasks, record, predictions, AFFINE, HEIGHT)


def _found(record: Record, predictions: dict):
    return find(TASKS, predictions, grid_of(record, "native", AFFINE, HEIGHT), CONFIDENT)


@pytest.mark.parametrize("count", [1, 2, 6])
def test_grid(tmp_path, count):
    records = [_record(i) for i in range(count)]
    pictures.save_test_grid(tmp_path / "grid.png", [_picture(record, _perfect(record)) for record in records], TASKS)
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
    pictures.save_test_grid(tmp_path / "grid.png", pairs, TASKS)
    assert cv2.imread(str(tmp_path / "grid.png")).shape[1] > 2 * pairs[1].shape[1]


def test_annotations_as_findings():
    found = annotated(TASKS, _record()).by_task
    [bone] = found["bones"]
    assert (bone.name, bone.top, bone.left, bone.area) == ("MC2", 50, 40, 70 * 20)
    scores = {site: {scale: grade.score for scale, grade in of.items()} for site, of in found["scores"].items()}
    assert scores == {"MCP-I": {"be": 2, "jsn": 1}, "U": {"be": 0}}
    assert found["joints"][0].box == pytest.approx((40, 30, 60, 45))


def test_what_is_not_annotated_is_not_shown():
    flags = dict.fromkeys(("has_bones", "has_erosions", "has_joints", "has_be", "has_jsn"), False)
    assert annotated((*TASKS, Patient()), dataclasses.replace(_record(), **flags)).by_task == {}


def test_a_perfect_prediction_equals_the_annotation():
    record = _record()
    truth, found = annotated(TASKS, record).by_task, _found(record, _perfect(record)).by_task
    assert {j.site for j in truth["joints"]} == {j.site for j in found["joints"]}
    assert found["bones"][0].area == pytest.approx(truth["bones"][0].area, rel=0.1)
    assert (found["erosions"] > 0).sum() == pytest.approx((truth["erosions"] > 0).sum(), rel=0.2)
    assert found["joints"][0].box == pytest.approx(truth["joints"][0].box)
    scores = TASKS[3]
    assert scores.captions(truth["scores"], found["scores"]) == [("BE 2", "BE 2"), ("JSN 1", "JSN 1")]
    assert TASKS[2].remark(truth["joints"], found["joints"], 0.5) == "2 of 2 sites, 0.0 mm apart"


@pytest.mark.parametrize("error, colour", [(0, AGREE), (1, NEAR), (2, FAR)])
def test_agreement_has_its_colour(error, colour):
    record = _record()
    predictions = _perfect(record)
    predictions["be"][anatomy.SITE_INDEX["MCP-I"]] = np.eye(6)[2 + error]
    truth, found = annotated(TASKS, record), _found(record, predictions)
    drawn = []
    for task in TASKS[2:]:
        drawn = task.contrast(truth.of(task), found.of(task), drawn)
    assert {box.name: box.colour for box in drawn} == {"MCP-I": colour, "U": AGREE}


def test_what_cannot_be_compared_has_a_colour_of_its_own():
    record = dataclasses.replace(_record(), has_be=False, has_jsn=False)
    found = _found(record, _perfect(record))
    drawn = []
    for task in TASKS[2:]:
        drawn = task.contrast(annotated(TASKS, record).of(task), found.of(task), drawn)
    assert {box.colour for box in drawn} == {UNKNOWN} and drawn[0].words == "BE 2  JSN 1"


@pytest.mark.parametrize("seen", [0.0, 1.0])
def test_all_sites_are_missed_where_none_is_found(seen):
    record = _record()
    predictions = {key: _perfect(record)[key] for key in ("boxes", "confidence")}
    predictions["confidence"] = predictions["confidence"] * seen
    panel = _picture(record, predictions)[34 : pictures.PANEL_HEIGHT + 34]
    right = panel[:, panel.shape[1] // 2 :].astype(int)
    red = np.abs(right - FAR).max(axis=-1) < 40
    assert red.any() == (seen == 0)


@pytest.mark.parametrize(
    "keys", [("bones",), ("erosions",), ("boxes", "confidence"), ("be", "jsn"), ("boxes", "confidence", "be", "jsn")]
)
def test_any_task_alone_makes_a_picture(keys):
    record = _record()
    predictions = {key: value for key, value in _perfect(record).items() if key in keys}
    tasks = able(TASKS, predictions)
    assert _picture(record, predictions, tasks).std() > 10


def test_scores_alone_stand_at_the_annotated_boxes(monkeypatch):
    record = _record()
    predictions = {key: value for key, value in _perfect(record).items() if key in ("be", "jsn")}
    shown = []
    panel = pictures._panel
    monkeypatch.setattr(pictures, "_panel", lambda pixels, drawn: shown.append(drawn) or panel(pixels, drawn))
    _picture(record, predictions, able(TASKS, predictions))
    _, right = shown
    assert all(isinstance(shape, Box) for shape in right)
    assert [(box.name, box.mark, box.colour) for box in right] == [("MCP-I", "B2 J1", AGREE), ("U", "", AGREE)]
    assert right[0].box == pytest.approx((40, 30, 60, 45))


def _patient_words(record: Record, **predictions) -> list[tuple[str, str]]:
    task, found = Patient(), None
    if predictions:
        found, _ = task.find(predictions, grid_of(record, "native", AFFINE, HEIGHT), CONFIDENT, {})
    return task.captions(task.annotated(record), found)


def test_the_patient_stands_above_truth_and_prediction():
    predictions = {"patient_sex": np.float32((0.3, 0.7)), "patient_age": np.float32(61.24)}
    record = dataclasses.replace(_record(), sex="F", age=58.0)
    assert _patient_words(record, **predictions) == [("Sex F", "Sex M"), ("Age 58.0", "Age 61.2")]
    unknown = dataclasses.replace(record, sex="O", age=float("nan"))
    assert _patient_words(unknown, **predictions) == [("", "Sex M"), ("", "Age 61.2")]
    assert _patient_words(record) == [("Sex F", ""), ("Age 58.0", "")]
    plain = _picture(record, _perfect(record))
    told = _picture(record, {**_perfect(record), **predictions}, (*TASKS, Patient()))
    different = np.argwhere((plain != told).any(axis=-1))
    assert different[:, 0].max() < 34 and different[:, 1].min() > 100, "only the words above are others"
    half = plain.shape[1] // 2
    assert (different[:, 1] < half).any() and (different[:, 1] > half).any()


def test_the_legend_explains_the_colours_of_the_tasks_that_there_are():
    def words(*names: str) -> list[str]:
        entries = []
        for task in TASKS:
            if task.name in names:
                entries = task.legend(entries)
        return [entry for entry, _ in entries]

    erosions = list(anatomy.EROSION_LABELS[1:])
    assert words("bones") == []
    assert words("erosions", "joints") == ["Joint boxes:", "missed", "not compared", *erosions]
    scores = ["Joint boxes:", "scores agree", "off by one", "off by more, or missed", "not compared"]
    assert words("bones", "erosions", "joints", "scores") == [*scores, *erosions]

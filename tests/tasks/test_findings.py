"""Predictions on the canvas come back to the radiograph's own pixels."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramjax import anatomy
from ramjax.data import canvas as canvases
from ramjax.data import geometry
from ramjax.data import regrid as native_grid
from ramjax.data.grid import Grid
from ramjax.inference import search as searching
from ramjax.io.radiograph import Radiograph
from ramjax.tasks import make_tasks
from ramjax.tasks.base import CONFIDENT
from ramjax.tasks.bones.finding import Region
from ramjax.tasks.findings import Findings, find
from ramjax.tasks.scores.finding import Grade, total
from tests.inference import fakes

TASKS = make_tasks(fakes.config())


def _found(radiograph, placement, canvas, predict=fakes.predict_discs) -> Findings:
    image = canvases.render(searching.as_record(radiograph), placement, canvas)["image"]
    predictions = {key: value[0] for key, value in predict(image[None]).items()}
    grid = Grid(radiograph.pixels.shape, placement.affine, canvas.height, (math.nan, math.nan))
    return find(TASKS, predictions, grid, CONFIDENT)


def _full(region: Region, shape) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[region.top : region.top + region.mask.shape[0], region.left : region.left + region.mask.shape[1]] = region.mask
    return mask


@pytest.mark.parametrize("side", ["L", "R"])
@pytest.mark.parametrize("size", [(400, 300), (300, 400), (90, 80)])
def test_every_candidate_comes_back_to_the_same_place(side, size):
    height, width = size
    x, y, radius = 0.3 * width, 0.6 * height, 0.15 * width
    radiograph = Radiograph(fakes.disc_image(height, width, x, y, radius))
    truth = radiograph.pixels > 128
    canvas = fakes.config(height=256, width=192).data.canvas
    placements = searching.candidates(radiograph, canvas, side, "")
    assert len(placements) == 4 and all(p.mirrored == (side == "L") for p in placements)
    for placement in placements:
        found = _found(radiograph, placement, canvas)
        [bone] = found.by_task["bones"]
        mask = _full(bone, size)
        pixel = 1 / geometry.linear_scale(placement.affine)
        assert bone.name == "Radius"
        assert abs(bone.area - truth.sum()) < 2 * math.pi * radius * pixel
        assert (mask & truth).sum() / (mask | truth).sum() > 0.85
        assert ((found.by_task["erosions"] == 2) == mask).all()
        for joint in found.by_task["joints"]:
            ymin, xmin, ymax, xmax = joint.box
            assert ((xmin + xmax) / 2, (ymin + ymax) / 2) == (pytest.approx(x, abs=pixel), pytest.approx(y, abs=pixel))
            assert (ymax - ymin, xmax - xmin) == (pytest.approx(10 * pixel), pytest.approx(10 * pixel))
    assert len(found.by_task["joints"]) == anatomy.NUM_SITES


@settings(max_examples=30, deadline=None)
@given(
    scale=st.floats(0.2, 3),
    degrees=st.floats(-180, 180),
    shift=st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
    mirrored=st.booleans(),
)
def test_a_smooth_map_is_resampled_where_it_belongs(scale, degrees, shift, mirrored):
    """A plane of probabilities that is linear in canvas coordinates is known exactly at every input pixel."""
    affine = geometry.compose(
        geometry.translate(64 + shift[0], 64 + shift[1]),
        geometry.rotate(degrees),
        geometry.scale(-scale if mirrored else scale, scale),
        geometry.translate(-20, -15),
    )
    stride, size = 4, 128
    centers = (np.arange(size // stride) + 0.5) * stride
    plane = (0.2 + 0.003 * centers[None] + 0.002 * centers[:, None]).astype(np.float32)
    top, left, bottom, right = 5, 8, 25, 33
    native = native_grid.to_native(plane, affine, size, (top, left, bottom, right))
    x, y = np.meshgrid(np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5)
    where = geometry.apply(affine, np.stack([x, y], -1))
    inside = ((where > stride / 2 + 0.1) & (where < size - stride / 2 - 0.1)).all(-1)
    expected = 0.2 + 0.003 * where[..., 0] + 0.002 * where[..., 1]
    # OpenCV interpolates at 1/32 of a cell.
    np.testing.assert_allclose(native[inside], expected[inside], atol=0.005 * stride / 32 + 1e-4)


def _predictions(**changes):
    predictions = {key: value[0] for key, value in fakes.predict_discs(np.zeros((1, 128, 96, 1), np.float32)).items()}
    predictions["confidence"] = np.full(22, 0.8)
    predictions["boxes"] = np.tile([50.0, 40, 60, 50], (22, 1))
    return {**predictions, **changes}


def _from(predictions, shape=(128, 96), min_confidence=CONFIDENT) -> Findings:
    return find(TASKS, predictions, Grid(shape, np.eye(3)[:2], 128, (math.nan, math.nan)), min_confidence)


def test_unsure_and_cut_sites_are_not_judged():
    confidence = np.full(22, 0.8)
    confidence[0] = 0.1
    boxes = np.tile([50.0, 40, 60, 50], (22, 1))
    boxes[1] = 50, 85, 70, 105
    boxes[2] = 200, 40, 210, 50
    found = _from(_predictions(confidence=confidence, boxes=boxes))
    assert {joint.site for joint in found.by_task["joints"]} == set(anatomy.SITE_NAMES[3:])
    reasons = {entry.name: entry.reason for entry in found.not_judged if entry.kind == "site"}
    assert "0.10" in reasons["MCP-T"] and "picture" in reasons["MCP-I"] and "picture" in reasons["MCP-M"]


def test_scores_stand_only_at_the_sites_they_belong_to():
    found = _from(_predictions()).by_task["scores"]
    for site in anatomy.SITES:
        assert ("be" in found[site.name]) == site.be and ("jsn" in found[site.name]) == site.jsn
    assert total(found, "be") == (32, 16) and total(found, "jsn") == (15, 15)
    assert found["MCP-T"]["be"] == Grade(2, (0, 0, 1, 0, 0, 0))


def test_sites_that_are_not_judged_have_no_scores():
    confidence = np.full(22, 0.8)
    confidence[3:] = 0.1
    found = _from(_predictions(confidence=confidence)).by_task["scores"]
    assert set(found) == set(anatomy.SITE_NAMES[:3]) and total(found, "be") == (6, 3)


@pytest.mark.parametrize(
    "absent, tasks",
    [
        (("bones",), {"bones"}),
        (("erosions",), {"erosions"}),
        (("be", "jsn"), {"scores"}),
        (("boxes", "confidence", "be", "jsn"), {"joints", "scores"}),
    ],
)
def test_tasks_not_trained_are_named(absent, tasks):
    found = _from({key: value for key, value in _predictions().items() if key not in absent})
    assert {entry.name for entry in found.not_judged if entry.kind == "task"} == tasks
    assert {task.name for task in TASKS} - found.by_task.keys() == tasks


def test_specks_are_dropped_but_not_from_sesamoids():
    bones = np.zeros((128, 96, anatomy.NUM_BONES), np.float32)
    for name in ("MC1", "Sesamoid"):
        bones[20:60, 20:40, anatomy.BONE_INDEX[name]] = 1
        bones[100:104, 80:84, anatomy.BONE_INDEX[name]] = 1
    areas = {bone.name: bone.area for bone in _from(_predictions(bones=bones)).by_task["bones"]}
    assert areas == {"MC1": 800, "Sesamoid": 816}


def test_erosion_needs_to_be_more_probable_than_none_and_takes_the_likeliest_label():
    planes = np.zeros((64, 48, 4), np.float32)
    planes[...] = 0.8, 0.1, 0.05, 0.05
    planes[10:20, 10:20] = 0.2, 0.1, 0.3, 0.4
    planes[30:40, 10:20] = 0.6, 0.4, 0.0, 0.0
    labels = _from(_predictions(erosions=planes)).by_task["erosions"]
    assert set(np.unique(labels)) == {0, 3}
    assert cv2.boundingRect((labels == 3).view(np.uint8)) == (20, 20, 20, 20)

"""One hand measured: perfect predictions are perfect on any grid, and what is not annotated is not defined."""

import dataclasses
import math

import numpy as np
import pytest

from experiments import multitask
from ramjax import anatomy
from ramjax import config as config_lib
from ramjax.data import canvas as canvases
from ramjax.data import geometry
from ramjax.data.grid import grid_of
from ramjax.evaluation import measuring
from ramjax.evaluation.measuring import Prediction
from ramjax.metrics.erosion import erosion_metrics
from ramjax.metrics.segmentation import overlap_metrics, segmentation_metrics
from ramjax.record import Joint, Record, pack_bones, unpack_bones
from ramjax.tasks import labels_of, make_tasks, parts_of

CONFIG = config_lib.from_config_dict(multitask.get_config())
SETTINGS, TASKS = CONFIG.evaluation, make_tasks(CONFIG)
SHAPE = (120, 90)


def record(**changes) -> Record:
    planes = np.zeros((*SHAPE, anatomy.NUM_BONES), bool)
    planes[20:50, 30:40, anatomy.BONE_INDEX["MC2"]] = True
    planes[45:60, 33:50, anatomy.BONE_INDEX["Trapezoid"]] = True
    planes[:, :, anatomy.SOFT_TISSUE] = True
    erosions = np.zeros(SHAPE, np.uint8)
    erosions[22:30, 30:38] = 1
    values = dict(
        image=np.zeros(SHAPE, np.uint8),
        bones=pack_bones(planes),
        bones_known=np.ones(anatomy.NUM_BONES, bool),
        erosions=erosions,
        joints=(Joint((0.2, 0.2, 0.4, 0.5), "MCP-I", be=2, jsn=1), Joint((0.7, 0.4, 0.8, 0.5), "U", be=0)),
        joints_known=np.ones(anatomy.NUM_SITES, bool),
        id="hand1",
        dataset="made",
        side="R",
        patient="p1",
        pixel_spacing_mm=0.2,
    )
    return Record(**{**values, **changes})


def perfect(of: Record, mirrored: bool = False, size: float = 2.0) -> Prediction:
    """What a perfect network would say on a canvas `size` times as large, perhaps mirrored."""
    height, width = round(SHAPE[0] * size), round(SHAPE[1] * size)
    affine = geometry.scale(size, size)
    if mirrored:
        affine = geometry.compose(geometry.mirror(width), affine)
    planes = unpack_bones(of.bones).astype(np.uint8)
    maps = [geometry.warp_labels(np.ascontiguousarray(planes[..., k]), affine, height, width) for k in range(30)]
    labels = geometry.warp_labels(of.erosions, affine, height, width)
    boxes, confidence = np.zeros((22, 4)), np.zeros(22)
    be, jsn = np.eye(6)[np.zeros(22, int)], np.eye(5)[np.zeros(22, int)]
    for joint in of.joints:
        site = anatomy.SITE_INDEX[joint.site]
        boxes[site], confidence[site] = np.multiply(joint.bbox, 2 * SHAPE), 1
        be[site], jsn[site] = np.eye(6)[max(joint.be, 0)], np.eye(5)[max(joint.jsn, 0)]
    found = {
        "bones": np.stack(maps, -1).astype(np.float32),
        "erosions": np.eye(4, dtype=np.float32)[labels],
        "boxes": geometry.apply_to_boxes(affine, boxes),
        "confidence": confidence,
        "be": be,
        "jsn": jsn,
    }
    return Prediction(found, affine, height)


def settings(**changes):
    return dataclasses.replace(SETTINGS, **changes)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("grid", ["native", "square512"])
def test_a_perfect_prediction_is_perfect_on_any_grid(mirrored, grid):
    case = measuring.measure(TASKS, record(), perfect(record(), mirrored), settings(grid=grid))
    dsc = case.values["bones"]["dsc"]
    there = [anatomy.BONE_INDEX[name] for name in ("MC2", "Trapezoid", "SoftTissue")]
    assert (dsc[:, there] > 0.97).all() and np.isfinite(dsc).sum() == 6
    assert case.values["pairs"]["dsc"][0, anatomy.OVERLAP_PAIRS.index(("Trapezoid", "MC2"))] > 0.9
    assert case.values["erosions"]["dsc"][0, [0, 3]] == pytest.approx([1, 1], abs=0.03)
    site = anatomy.SITE_INDEX["MCP-I"]
    assert case.values["joints"]["iou"][0, site] == pytest.approx(1)
    assert case.values["joints"]["center_error_mm"][0, site] == pytest.approx(0, abs=1e-9)
    assert case.values["be"]["predicted"][0, site] == case.values["be"]["annotated"][0, site] == 2
    assert case.values["jsn"]["annotated"][0, site] == 1


def test_on_the_native_grid_the_metrics_are_those_of_the_functions():
    """Of a prediction that is off by some pixels, measured on its own grid, where nothing is resampled."""
    truth = record()
    words = np.roll(truth.bones, (3, -2), (0, 1))
    wrong = record(bones=words, erosions=np.roll(truth.erosions, 3, 0))
    case = measuring.measure(TASKS, truth, perfect(wrong, size=1.0), settings())
    planes = [np.ascontiguousarray(unpack_bones(x)) for x in (words, truth.bones)]
    for row, mode in enumerate(("strict", "compat")):
        for name, value in segmentation_metrics(*planes, mode=mode).items():
            np.testing.assert_array_equal(case.values["bones"][name][row], value, err_msg=name)
        for name, value in overlap_metrics(*planes, mode=mode).items():
            np.testing.assert_array_equal(case.values["pairs"][name][row], value, err_msg=name)
        of_hand = erosion_metrics([wrong.erosions], [truth.erosions], variant="svdh90", mode=mode)
        assert case.values["erosions"]["nsd"][row, 0] == of_hand["nsd"]


def test_strict_may_be_in_mm_and_compat_stays_in_pixels():
    truth = record()
    wrong = record(bones=np.roll(truth.bones, 3, 0))
    mm = measuring.measure(TASKS, truth, perfect(wrong, size=1.0), settings(unit="mm", tolerance=1.0)).values["bones"]
    px = measuring.measure(TASKS, truth, perfect(wrong, size=1.0), settings()).values["bones"]
    k = anatomy.BONE_INDEX["MC2"]
    assert mm["msd"][0, k] == pytest.approx(0.2 * px["msd"][0, k]) and mm["nsd"][0, k] == 1 > px["nsd"][0, k]
    np.testing.assert_array_equal(mm["msd"][1], px["msd"][1])
    unknown = record(pixel_spacing_mm=math.nan)
    got = measuring.measure(TASKS, unknown, perfect(wrong, size=1.0), settings(unit="mm")).values["bones"]
    assert np.isnan(got["msd"][0]).all() and np.isfinite(got["dsc"][0, k]) and np.isfinite(got["msd"][1, k])


def test_the_square_grid_stretches_the_record_and_its_spacing():
    grid = grid_of(record(), "square512", geometry.scale(2, 2), 240)
    assert grid.shape == (512, 512)
    assert grid.spacing_mm == pytest.approx((0.2 * 120 / 512, 0.2 * 90 / 512))
    np.testing.assert_allclose(geometry.apply(grid.to_canvas, np.array([512.0, 512.0])), [180, 240])


def test_on_the_square_grid_annotation_and_prediction_meet_at_the_same_place():
    """A film much larger than the grid, where half a pixel would show."""
    rows, columns = np.mgrid[:1700, :1300]
    disc = ((rows - 800) / 200) ** 2 + ((columns - 600) / 150) ** 2 < 1
    planes = np.zeros((1700, 1300, anatomy.NUM_BONES), bool)
    planes[..., 0] = disc
    large = record(
        image=np.zeros(disc.shape, np.uint8),
        bones=pack_bones(planes),
        erosions=np.uint8(disc),
        joints=(),
        has_joints=False,
    )
    prediction = Prediction({"bones": planes.astype(np.float32)}, geometry.scale(1, 1), 1700)
    bones = measuring.measure(TASKS, large, prediction, settings(grid="square512")).values["bones"]
    assert bones["dsc"][0, 0] > 0.997 and bones["msd"][0, 0] < 0.15


def test_what_is_not_annotated_is_not_defined_and_what_is_not_predicted_is_absent():
    flags = dict.fromkeys(("has_bones", "has_erosions", "has_joints", "has_be", "has_jsn"), False)
    nothing = record(**flags)
    case = measuring.measure(TASKS, nothing, perfect(record()), settings())
    assert list(case.values) == list(parts_of(TASKS))
    for task, metric in [("bones", "dsc"), ("pairs", "nsd"), ("erosions", "false"), ("joints", "present")]:
        names = [metric] if metric in case.values[task] else list(case.values[task])
        assert all(np.isnan(case.values[task][name]).all() for name in names), task
    assert np.isnan(case.values["be"]["annotated"]).all() and np.isfinite(case.values["be"]["predicted"]).any()
    prediction = perfect(record())
    bones = dataclasses.replace(prediction, maps={"bones": prediction.maps["bones"]})
    assert list(measuring.measure(TASKS, record(), bones, settings()).values) == ["bones", "pairs"]


def test_an_unknown_bone_and_an_unknown_site_are_not_absent():
    known = np.ones(anatomy.NUM_BONES, bool)
    known[anatomy.BONE_INDEX["MC2"]] = False
    sites = np.ones(anatomy.NUM_SITES, bool)
    sites[anatomy.SITE_INDEX["SC"]] = False
    case = measuring.measure(TASKS, record(bones_known=known, joints_known=sites), perfect(record()), settings())
    assert np.isnan(case.values["bones"]["dsc"][0, anatomy.BONE_INDEX["MC2"]])
    assert np.isnan(case.values["pairs"]["dsc"][0, anatomy.OVERLAP_PAIRS.index(("Trapezoid", "MC2"))])
    present = case.values["joints"]["present"][0]
    assert np.isnan(present[anatomy.SITE_INDEX["SC"]]) and present[anatomy.SITE_INDEX["STT"]] == 0
    assert present[anatomy.SITE_INDEX["U"]] == 1


def test_where_a_box_is_it_is_told_in_pixels_of_the_grid_and_in_mm():
    moved = record(joints=(Joint((0.3, 0.2, 0.5, 0.5), "MCP-I", be=2, jsn=1),))
    joints = measuring.measure(TASKS, record(), perfect(moved), settings()).values["joints"]
    site = anatomy.SITE_INDEX["MCP-I"]
    assert joints["center_error"][0, site] == pytest.approx(12)
    assert joints["center_error_mm"][0, site] == pytest.approx(2.4)
    assert joints["annotated_ymin"][0, site] == pytest.approx(24)
    assert joints["predicted_ymin"][0, site] == pytest.approx(36)
    square = measuring.measure(TASKS, record(), perfect(moved), settings(grid="square512")).values["joints"]
    assert square["center_error"][0, site] == pytest.approx(51.2)
    assert square["center_error_mm"][0, site] == pytest.approx(2.4)


@pytest.mark.parametrize(
    ("changes", "maps", "words"),
    [
        ({}, {"bones": np.full((4, 4, 30), np.nan)}, "network's bones of made hand1 are not finite"),
        (
            {"joints": (Joint((0.2, 0.2, 0.4, 1.2), "MCP-I"),)},
            {},
            r"box of MCP-I in made hand1 is \(0.2, 0.2, 0.4, 1.2\); expected",
        ),
        ({"joints": (Joint((0.2, 0.5, 0.4, 0.5), "U"),)}, {}, "box of U in made hand1"),
        (
            {"joints": (Joint((0.2, 0.2, 0.4, 0.5), "MCP-I", be=6),)},
            {},
            "made hand1 has be 6 at MCP-I; expected 0 to 5",
        ),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(changes, maps, words):
    prediction = perfect(record())
    prediction = dataclasses.replace(prediction, maps={**prediction.maps, **maps})
    with pytest.raises(ValueError, match=words):
        measuring.measure(TASKS, record(**changes), prediction, settings())


def test_the_canvas_of_the_pipeline_leads_back_to_the_record():
    """The affine of an example, as the evaluation passes it on, is the map that `measure` takes."""
    config = config_lib.from_config_dict(multitask.get_config()).data.canvas
    left = record(side="L")
    example = canvases.to_canvas(left, dataclasses.replace(config, height=256, width=192), labels=labels_of(TASKS))
    planes = unpack_bones(np.ascontiguousarray(example["bones"]).view(np.uint8).reshape(256, 192, 4))
    prediction = Prediction({"bones": planes.astype(np.float32)}, np.asarray(example["affine"], float), 256)
    dsc = measuring.measure(TASKS, left, prediction, settings()).values["bones"]["dsc"][0]
    assert bool(example["mirrored"]) and dsc[anatomy.BONE_INDEX["MC2"]] > 0.95

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ramjax import anatomy
from ramjax.config import JointsConfig
from ramjax.metrics import detection
from ramjax.tasks import Joints
from tests.tasks.canvas_metrics import canvas_metrics

AP_NAMES = ("ap", "ap_50", "ap_75")


def made(rng: np.random.Generator, hands: int = 12) -> dict[str, np.ndarray]:
    """Boxes of about 40 px with errors of a few px, some sites absent, some unknown, some without a box."""
    shape = (hands, anatomy.NUM_SITES)
    corner = rng.uniform(0, 400, (*shape, 2))
    target = np.concatenate([corner, corner + rng.uniform(20, 60, (*shape, 2))], -1)
    pred = target + rng.normal(0, 4, target.shape) * rng.choice([0.2, 1, 4], (*shape, 1))
    pred[..., 2:] = np.maximum(pred[..., 2:], pred[..., :2] + 1)
    known = rng.random(shape) < 0.9
    present = known & (rng.random(shape) < 0.8)
    present[:, 4] = False
    confidence = np.round(rng.random(shape), 1)  # with ties
    without = rng.random(shape) < 0.1
    pred[without], confidence[without] = np.nan, 0
    target[~present] = np.nan
    return dict(pred_boxes=pred, confidence=confidence, target_boxes=target, present=present, known=known)


def coco_average_precision(data: dict[str, np.ndarray], sites: list[int]) -> list[float]:
    """What COCOeval makes of it."""
    xywh = lambda box: [box[1], box[0], box[3] - box[1], box[2] - box[0]]  # noqa: E731
    hands, truths, founds = range(len(data["present"])), [], []
    for hand in hands:
        for site in sites:
            about = {"image_id": hand + 1, "category_id": site + 1}
            if data["present"][hand, site]:
                box = xywh(data["target_boxes"][hand, site].tolist())
                truths.append({**about, "id": len(truths) + 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0})
            if data["known"][hand, site] and np.isfinite(data["pred_boxes"][hand, site]).all():
                box = xywh(data["pred_boxes"][hand, site].tolist())
                founds.append({**about, "bbox": box, "score": data["confidence"][hand, site]})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": hand + 1} for hand in hands],
            "categories": [{"id": site + 1} for site in sites],
            "annotations": truths,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(founds), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:3].tolist()


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_that_of_pycocotools(seed):
    data = made(np.random.default_rng(seed))
    found = detection.detection_metrics(**data)
    expected = coco_average_precision(data, list(range(anatomy.NUM_SITES)))
    np.testing.assert_allclose([found["pooled"][name] for name in AP_NAMES], expected, atol=1e-12)
    assert 0.1 < found["pooled"]["ap"] < 0.9
    for site in (0, 9, 21):
        of_site = [found[anatomy.SITE_NAMES[site]][name] for name in AP_NAMES]
        np.testing.assert_allclose(of_site, coco_average_precision(data, [site]), atol=1e-12)
    assert np.isnan(found["MCP-S"]["ap"]) and found["MCP-S"]["n"] == 0  # never present


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 10, 15, 16, 18, 19, 20])), min_size=1, max_size=8))
def test_average_precision_at_the_thresholds_themselves(hands):
    # Boxes of 20 x 20 px cut to some rows have IoU of exactly 0.5, 0.75, 0.8, 0.9, 0.95 and 1; 0 is an absent site.
    shape = (len(hands), anatomy.NUM_SITES)
    confidence, rows = np.array(hands).T
    data = dict(
        pred_boxes=np.zeros((*shape, 4)), confidence=np.zeros(shape), target_boxes=np.zeros((*shape, 4)),
        present=np.zeros(shape, bool), known=np.zeros(shape, bool),
    )  # fmt: skip
    data["target_boxes"][:, 0], data["pred_boxes"][:, 0] = [5, 5, 25, 25], [5, 5, 25, 25]
    data["pred_boxes"][:, 0, 2] = 5 + np.maximum(rows, 1)
    data["confidence"][:, 0], data["present"][:, 0], data["known"][:, 0] = confidence / 3, rows > 0, True
    found = detection.detection_metrics(**data)["MCP-T"]
    if rows.any():
        expected = coco_average_precision(data, [0])
        np.testing.assert_allclose([found[name] for name in AP_NAMES], expected, atol=1e-12)
    else:
        assert np.isnan([found[name] for name in AP_NAMES]).all()


def test_a_hand_worked_case():
    shape = (4, anatomy.NUM_SITES)
    pred, target = np.zeros((*shape, 4)), np.zeros((*shape, 4))
    known, present, confidence = np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(shape)
    known[:, 0], present[:3, 0] = True, True
    target[:, 0] = [10, 10, 20, 20]
    pred[:, 0] = [[10, 10, 20, 20], [10, 12, 20, 20], [13, 14, 23, 24], [0, 0, 9, 9]]  # IoU 1, 0.8, 42 / 158; absent
    confidence[:, 0] = [0.9, 0.4, 0.6, 0.7]
    found = detection.detection_metrics(
        pred, confidence, target, present, known=known, spacing=np.array([0.2, 0.1, np.nan, 0.1])
    )["MCP-T"]
    expected = {
        "recall_50": 1 / 3, "recall_75": 1 / 3, "precision_50": 1 / 3, "precision_75": 1 / 3,
        "iou": (1 + 0.8 + 42 / 158) / 3, "center_error_px": (0 + 1 + 5) / 3, "center_error_px_median": 1,
        "center_error_mm": 0.05, "center_error_mm_median": 0.05, "false_finds": 1, "n": 3, "n_mm": 2, "n_absent": 1,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    # Ranked: right (1 of 1), wrong, wrong, right (2 of 4). Recall 1/3 holds at recalls 0 to 0.33, 2/3 to 0.66.
    assert found["ap_50"] == pytest.approx((34 * 1 + 33 * 0.5) / 101)
    every = detection.detection_metrics(pred, confidence, target, present, known=known, min_confidence=0)["MCP-T"]
    assert every["recall_50"] == pytest.approx(2 / 3) and every["precision_50"] == pytest.approx(2 / 4)
    assert np.isnan(every["center_error_mm"]) and every["n_mm"] == 0


def test_conventions_are_those_of_the_joints_task():
    data = made(np.random.default_rng(4))
    data["pred_boxes"] = np.nan_to_num(data["pred_boxes"])
    spacing = np.linspace(0.1, 0.2, len(data["present"]))
    task = canvas_metrics(
        Joints(JointsConfig(weight=1.0, sigma=1.0)),
        {
            "predicted": data["pred_boxes"],
            "confidence": data["confidence"],
            "annotated": np.nan_to_num(data["target_boxes"]),
            "present": data["present"],
            "absent": data["known"] & ~data["present"],
            "pixel_spacing_mm": spacing,
        },
    )
    found = detection.detection_metrics(**data, spacing=spacing)["pooled"]
    for name in ("iou", "center_error_mm", "false_finds"):
        assert found[name] == pytest.approx(task[name])
    assert (found["n"], found["n_absent"]) == (task["iou/n"], task["false_finds/n"])
    anyhow = detection.detection_metrics(**data, spacing=spacing, min_confidence=0)["pooled"]
    assert anyhow["recall_50"] == pytest.approx(task["recall_50"])


def test_unknown_sites_do_not_count():
    data = made(np.random.default_rng(5))
    before = detection.detection_metrics(**data)
    unknown = ~data["known"]
    data["pred_boxes"][unknown], data["confidence"][unknown] = [9, 9, 3, 3], 7
    after = detection.detection_metrics(**data)
    for name, metrics in before.items():
        np.testing.assert_array_equal(list(metrics.values()), list(after[name].values()))
    all_known = detection.detection_metrics(**made(np.random.default_rng(5)) | {"known": None})
    assert all_known["pooled"]["n_absent"] > before["pooled"]["n_absent"]


def test_perfect_boxes_and_no_hands():
    data = made(np.random.default_rng(6))
    perfect = data | {"pred_boxes": np.nan_to_num(data["target_boxes"]), "confidence": data["present"].astype(float)}
    found = detection.detection_metrics(**perfect)["pooled"]
    assert all(found[name] == pytest.approx(1) for name in ("recall_75", "precision_75", "iou", "ap"))
    assert found["false_finds"] == 0 and found["center_error_px"] == pytest.approx(0, abs=1e-9)
    empty = detection.detection_metrics(**{name: values[:0] for name, values in data.items()})["pooled"]
    assert empty["n"] == 0 and np.isnan(empty["recall_50"]) and np.isnan(empty["ap"])


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("target_boxes", (1, 2), np.nan, "MCP-M of hand 1 has no finite box though it is present"),
        ("target_boxes", (1, 2), [5, 5, 5, 9], r"without area, \[5, 5, 5, 9\]"),
        ("target_boxes", (1, 2), [-2, 5, 7, 9], "outside its image"),
        ("target_boxes", (1, 2), [5, 5, 9, 602], "outside its image"),
        ("pred_boxes", (1, 2), np.nan, "confidence in a box that is NaN"),
        ("pred_boxes", (1, 2), [9, 5, 7, 9], "inverted sides"),
        ("confidence", (1, 2), np.nan, "confidence is nan; expected 0 to 1"),
        ("confidence", (1, 2), 1.5, "confidence is 1.5"),
        ("known", (1, 2), False, "present but not known"),
        ("spacing", (1,), 0, "spacing is 0.0; expected mm per pixel"),
    ],
)
def test_boxes_that_cannot_be_judged_are_one_clear_error(name, place, value, message):
    data = made(np.random.default_rng(7)) | {"spacing": np.ones(12), "sizes": np.full((12, 2), 600)}
    for key in ("known", "present"):
        data[key][1, 2] = True
    data["target_boxes"][1, 2] = [-1, 5, 601, 9]  # a pixel over the border passes
    data["pred_boxes"][1, 2], data["confidence"][1, 2] = [-20, 5, 700, 9], 0.5  # a predicted box may be anywhere
    detection.detection_metrics(**data)
    data[name][place] = value
    with pytest.raises(ValueError, match=message):
        detection.detection_metrics(**data)


@pytest.mark.parametrize("name", ["pred_boxes", "confidence", "target_boxes", "known", "spacing", "sizes"])
def test_shapes_that_differ_are_named(name):
    data = made(np.random.default_rng(8)) | {"spacing": np.ones(12), "sizes": np.full((12, 2), 600)}
    with pytest.raises(ValueError, match=f"{name} has shape"):
        detection.detection_metrics(**data | {name: data[name][:5]})

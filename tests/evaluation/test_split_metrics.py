"""The metrics of a split: means in the published order, and names that stay."""

import json
import math
import pathlib

import numpy as np
import pytest

from ramjax import anatomy
from ramjax.config import Config
from ramjax.evaluation.split_metrics import summarize, summarize_canvas
from ramjax.metrics import cases as cases_lib
from ramjax.metrics.segmentation import mean_of_finite, segmentation_metrics
from ramjax.tasks import make_tasks, parts_of
from ramjax.tasks.joints.measuring import detections
from tests.metrics.golden import masks_cases
from tests.reporting import fakes

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "metrics" / "golden" / "masks.json").read_text())


TASKS = make_tasks(Config())
PARTS = parts_of(TASKS)


def attributes(index: int, dataset: str = "made") -> dict:
    known = dict.fromkeys(cases_lib.ATTRIBUTES, "")
    return known | {"dataset": dataset, "id": f"{index}", "patient": f"{index}", "is_ra": -1, "pixel_spacing_mm": 0.5}


def image_case(index: int, dataset: str = "made") -> cases_lib.Case:
    """One of the four images; its four planes are the first channels, the others are unknown."""
    pair = [np.zeros((*masks_cases.SHAPE, anatomy.NUM_BONES), bool) for _ in range(2)]
    for planes, image in zip(pair, masks_cases.images()[index], strict=True):
        planes[..., :4] = image
    known = np.arange(anatomy.NUM_BONES) < 4
    modes = [segmentation_metrics(*pair, mode=mode, known=known) for mode in cases_lib.MODES]
    return cases_lib.Case(
        attributes(index, dataset), {"bones": {name: np.stack([m[name] for m in modes]) for name in modes[0]}}
    )


def scored(predicted: list[list[float]], annotated: list[list[float]]) -> cases_lib.Cases:
    """Hands with BE scores at the first sites."""
    cases = []
    for index, (p, a) in enumerate(zip(predicted, annotated, strict=True)):
        values = {name: np.full((2, anatomy.NUM_SITES), np.nan) for name in ("predicted", "annotated")}
        values["predicted"][:, : len(p)], values["annotated"][:, : len(a)] = p, a
        cases.append(cases_lib.Case(attributes(index), {"be": values}))
    return cases_lib.collect(cases, {}, PARTS)


@pytest.mark.parametrize("metric", ["dsc", "nsd", "voe", "msd"])
def test_compat_averages_in_the_published_order(metric):
    """Over the finite classes of each image, then over the images that have any; values of the published libraries."""
    metrics = summarize(TASKS, cases_lib.collect([image_case(index) for index in range(4)], {}, PARTS))
    mean, _, n = GOLDEN["aggregated"][metric]
    assert metrics[f"compat/bones/{metric}"] == pytest.approx(mean, abs=1e-6)
    assert metrics[f"compat/bones/{metric}/n"] == n


@pytest.mark.parametrize("dataset", ["ram_w600", "ram_w600/bones"])
def test_a_wrist_with_a_bone_missing_is_left_out_as_published_but_for_its_distances(dataset):
    def wrist(index: int, dsc: float, msd: float, last: float) -> cases_lib.Case:
        values = {
            name: np.full((2, anatomy.NUM_BONES), np.nan) for name in ("dsc", "nsd", "voe", "msd", "missed", "invented")
        }
        channels = [anatomy.BONE_INDEX[name] for name in anatomy.WRIST_BONES]
        for name in ("dsc", "nsd", "voe"):
            values[name][:, channels] = dsc
            values[name][:, channels[-1]] = dsc if math.isfinite(last) else math.nan
        values["msd"][:, channels], values["msd"][:, channels[-1]] = msd, last
        return cases_lib.Case(attributes(index, dataset), {"bones": values})

    metrics = summarize(TASKS, cases_lib.collect([wrist(0, 0.9, 1, 1), wrist(1, 0.5, 3, math.inf)], {}, PARTS))
    assert metrics["compat/bones/dsc"] == pytest.approx(0.9) and metrics["compat/bones/dsc/n"] == 1
    assert metrics["compat/bones/msd"] == pytest.approx(2.0) and metrics["compat/bones/msd/n"] == 2
    assert metrics["bones/dsc"] == pytest.approx(0.7)


def test_strict_counts_the_same_images_for_all_metrics():
    metrics = summarize(TASKS, cases_lib.collect([image_case(index) for index in range(4)], {}, PARTS))
    assert {metrics[f"bones/{name}/n"] for name in ("dsc", "nsd", "voe", "msd")} == {2}
    assert metrics["bones/missed"] == pytest.approx(1 / 6) and metrics["bones/missed/n"] == 6
    assert metrics["bones/invented"] == pytest.approx(3 / 10) and metrics["bones/invented/n"] == 10


def test_the_worst_bone_and_each_bone():
    metrics = summarize(TASKS, cases_lib.collect([image_case(index) for index in range(2)], {}, PARTS))
    of_bones = {bone: metrics[f"bones/dsc_{bone}"] for bone in anatomy.BONES[:4]}
    assert metrics["bones/dsc_worst_bone"] == min(value for value in of_bones.values() if math.isfinite(value))
    assert metrics["bones/dsc_Radius/n"] == 0 and math.isnan(metrics["bones/dsc_Radius"])


def test_scores_and_totals_by_hand():
    metrics = summarize(TASKS, scored([[0, 2, 5], [1, 1, 0]], [[0, 2, 3], [1, 0, math.nan]]))
    assert metrics["scores/be_mae"] == pytest.approx(3 / 5) and metrics["scores/be_mae/n"] == 5
    assert metrics["scores/be_acc"] == pytest.approx(3 / 5)
    assert metrics["scores/total_mae"] == metrics["scores/be_total_mae"] == pytest.approx((2 + 1) / 2)
    assert metrics["scores/be_total_bias"] == pytest.approx((2 + 1) / 2)
    assert metrics["scores/be_qwk"] == metrics["compat/scores/be_qwk"] != metrics["compat/scores/be_qwk_rank"]
    assert "scores/jsn_qwk" not in metrics


def test_names_of_groups_variants_and_modes():
    names = summarize(TASKS, fakes.cases(2))
    for name in (
        "bones/dsc", "bones/nsd_30_channels", "bones/dsc_14_wrist_bones", "bones/dsc_Ulna", "pairs/nsd",
        "erosions/dsc", "erosions/dsc_svdh90", "erosions/dsc_labels", "erosions/lesion_f1_iou",
        "erosions/lesion_f1_iou_svdh90", "joints/ap_50", "scores/be_qwk", "scores/jsn_total_mae", "scores/total_icc",
        "compat/bones/dsc", "compat/erosions/dsc_labels", "compat/scores/be_qwk_rank",
    ):  # fmt: skip
        assert name in names and f"{name}/n" in names, name
    assert not [name for name in names if "@" in name or " " in name]
    for absent in ("erosions/lesion_f1_iou_labels", "compat/joints/iou", "compat/bones/dsc_Ulna"):
        assert absent not in names


def test_on_the_canvas_names_say_so_and_there_is_no_compat():
    cases = fakes.cases(24, tasks=("bones", "joints"))
    strict = {name: value for name, value in summarize(TASKS, cases).items() if not name.startswith("compat/")}
    assert summarize_canvas(TASKS, cases) == {f"canvas/{name}": value for name, value in strict.items()}


def test_a_mean_over_one_bone_and_the_boxes_add_up_in_the_order_of_the_whole():
    """To the last digit: those of all bones at once, and of all sites of all hands in a row."""
    cases = fakes.cases(24)
    metrics = summarize(TASKS, cases)
    means, counts = mean_of_finite(cases.get("bones", "dsc"), axis=0)
    for bone, mean, n in zip(anatomy.BONES, means, counts, strict=True):
        assert metrics[f"bones/dsc_{bone}"] == mean and metrics[f"bones/dsc_{bone}/n"] == n
    every = detections(cases, min_confidence=0)["pooled"]
    for name in ("recall_50", "recall_75", "iou", "center_error_mm"):
        assert metrics[f"joints/{name}"] == every[name], name
    assert metrics["joints/center_error_mm/n"] == every["n_mm"] and metrics["joints/iou/n"] == every["n"]

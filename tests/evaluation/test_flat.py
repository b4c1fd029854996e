"""The metrics of a split: means in the published order, and names that stay."""

import json
import math
import pathlib

import numpy as np
import pytest
from ramjax.evaluation.flat import flat, flat_name

from ramjax import anatomy
from ramjax.metrics import cases as cases_lib
from ramjax.metrics.segmentation import segmentation_metrics
from tests.metrics.golden import masks_cases

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "metrics" / "golden" / "masks.json").read_text())


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
    return cases_lib.collect(cases, {})


@pytest.mark.parametrize("metric", ["dsc", "nsd", "voe", "msd"])
def test_compat_averages_in_the_published_order(metric):
    """Over the finite classes of each image, then over the images that have any; values of the published libraries."""
    metrics = flat(cases_lib.collect([image_case(index) for index in range(4)], {}))
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

    metrics = flat(cases_lib.collect([wrist(0, 0.9, 1, 1), wrist(1, 0.5, 3, math.inf)], {}))
    assert metrics["compat/bones/dsc"] == pytest.approx(0.9) and metrics["compat/bones/dsc/n"] == 1
    assert metrics["compat/bones/msd"] == pytest.approx(2.0) and metrics["compat/bones/msd/n"] == 2
    assert metrics["bones/dsc"] == pytest.approx(0.7)


def test_strict_counts_the_same_images_for_all_metrics():
    metrics = flat(cases_lib.collect([image_case(index) for index in range(4)], {}))
    assert {metrics[f"bones/{name}/n"] for name in ("dsc", "nsd", "voe", "msd")} == {2}
    assert metrics["bones/missed"] == pytest.approx(1 / 6) and metrics["bones/missed/n"] == 6
    assert metrics["bones/invented"] == pytest.approx(3 / 10) and metrics["bones/invented/n"] == 10


def test_the_worst_bone_and_each_bone():
    metrics = flat(cases_lib.collect([image_case(index) for index in range(2)], {}))
    of_bones = {bone: metrics[f"bones/dsc_{bone}"] for bone in anatomy.BONES[:4]}
    assert metrics["bones/dsc_worst_bone"] == min(value for value in of_bones.values() if math.isfinite(value))
    assert metrics["bones/dsc_Radius/n"] == 0 and math.isnan(metrics["bones/dsc_Radius"])


def test_scores_and_totals_by_hand():
    metrics = flat(scored([[0, 2, 5], [1, 1, 0]], [[0, 2, 3], [1, 0, math.nan]]))
    assert metrics["scores/be_mae"] == pytest.approx(3 / 5) and metrics["scores/be_mae/n"] == 5
    assert metrics["scores/be_acc"] == pytest.approx(3 / 5)
    assert metrics["scores/total_mae"] == metrics["scores/be_total_mae"] == pytest.approx((2 + 1) / 2)
    assert metrics["scores/be_total_bias"] == pytest.approx((2 + 1) / 2)
    assert metrics["scores/be_qwk"] == metrics["compat/scores/be_qwk"] != metrics["compat/scores/be_qwk_rank"]
    assert "scores/jsn_qwk" not in metrics


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bones/dsc", "bones/dsc"),
        ("bones@30 channels/nsd", "bones/nsd_30_channels"),
        ("erosions@svdh90/dsc", "erosions/dsc_svdh90"),
        ("erosions@labels/dsc", "erosions/dsc_labels"),
        ("erosions@labels/lesion_f1_iou", "erosions/lesion_f1_iou"),
        ("erosions@svdh90/lesion_f1_iou", "erosions/lesion_f1_iou_svdh90"),
    ],
)
def test_names(name, expected):
    assert flat_name(name) == expected

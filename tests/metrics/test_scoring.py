import json
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramjax import anatomy
from ramjax.metrics import calibration, scoring
from tests.metrics.golden import scores_cases

CASES = scores_cases.cases()
GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden" / "scores.json").read_text())
COMPAT = (
    "qwk_rank", "qwk", "mae", "within_1", "acc", "bacc", "f1_macro", "pn_acc", "pn_f1", "sensitivity", "specificity",
    "dor", "auroc", "ece", "brier",
)  # fmt: skip
STRICT = {
    "qwk": "qwk", "mae": "mae", "within_1": "within_1", "acc": "acc", "pn_acc": "pn_acc", "auroc": "auroc_of_scores",
    "bacc": "bacc_of_annotated", "f1_macro": "f1_of_annotated",
}  # fmt: skip


def by_site(site_scores: dict[str, list[int]]) -> np.ndarray:
    """Scores (N, 22) of the named sites, -1 elsewhere."""
    scores = np.full((len(next(iter(site_scores.values()))), anatomy.NUM_SITES), -1)
    for site, values in site_scores.items():
        scores[:, anatomy.SITE_INDEX[site]] = values
    return scores


def pooled(pred: list[int], target: list[int], **options) -> dict[str, float]:
    metrics = scoring.score_metrics(by_site({"MCP-I": pred}), by_site({"MCP-I": target}), **options)
    return metrics["pooled"].metrics


@pytest.mark.parametrize("name", CASES)
def test_compat_equals_scikit_learn_and_torchmetrics(name):
    scale, pred, target = CASES[name]
    probabilities = scores_cases.probabilities(pred, scale)
    found = scoring.score_metrics(pred, target, scale=scale, mode="compat", probabilities=probabilities)
    assert list(found) == list(scores_cases.groups(scale))
    for group, of_group in found.items():
        golden = GOLDEN[name].get(group)
        if golden is None:
            assert of_group.metrics["n"] == 0 and not of_group.confusion.any()
            assert all(np.isnan(of_group.metrics[metric]) for metric in COMPAT)
            continue
        np.testing.assert_array_equal(of_group.confusion, golden["confusion"])
        expected = [np.nan if golden[metric] is None else golden[metric] for metric in COMPAT]
        values = [of_group.metrics[metric] for metric in COMPAT]
        np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-6, err_msg=f"{group}: {COMPAT}")


@pytest.mark.parametrize("name", CASES)
def test_strict_equals_scikit_learn_over_what_is_annotated(name):
    scale, pred, target = CASES[name]
    for group, of_group in scoring.score_metrics(pred, target, scale=scale).items():
        if group in GOLDEN[name]:
            golden = {metric: GOLDEN[name][group][theirs] for metric, theirs in STRICT.items()}
            expected = [np.nan if value is None else value for value in golden.values()]
            np.testing.assert_allclose([of_group.metrics[metric] for metric in golden], expected, atol=1e-6)
        assert "qwk_rank" not in of_group.metrics


def test_kappa_by_rank_and_by_value_part_where_the_middle_is_missing():
    # Annotated 0 1 5 5, predicted 0 1 5 0. By value, observed (5 - 0)^2 = 25; the margins annotated (1, 1, 2) and
    # predicted (2, 1, 1) of 0, 1, 5 expect [2 (0) + 1 (1) + 1 (25) + 2 (1) + 1 (0) + 1 (16) + 4 (25) + 2 (16)] / 4.
    # By rank, observed 2^2 = 4 and expected [0 + 1 + 4 + 2 + 0 + 1 + 4 (4) + 2 (1)] / 4 = 6.5.
    metrics = pooled([0, 1, 5, 0], [0, 1, 5, 5], mode="compat")
    assert metrics["qwk"] == pytest.approx(1 - 25 / 44)
    assert metrics["qwk_rank"] == pytest.approx(1 - 4 / 6.5)


def test_what_strict_does_where_the_published_evaluators_have_a_quirk():
    # Never annotated but predicted: torchmetrics counts one more class with recall 0.
    assert pooled([0, 3, 1, 1], [0, 0, 1, 1])["bacc"] == pytest.approx((1 / 2 + 1) / 2)
    assert pooled([0, 3, 1, 1], [0, 0, 1, 1], mode="compat")["bacc"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    # No positive: compat says 0, as if every positive had been missed.
    assert np.isnan(pooled([0, 0], [0, 0])["sensitivity"])
    assert pooled([0, 0], [0, 0], mode="compat")["sensitivity"] == 0
    # No error: the odds ratio of counts 2, 0, 0, 1 with 0.5 added is 2.5 * 1.5 / 0.25.
    assert pooled([0, 0, 3], [0, 0, 1])["dor"] == pytest.approx(15)
    assert np.isnan(pooled([0, 0, 3], [0, 0, 1], mode="compat")["dor"])
    assert np.isnan(pooled([0, 1], [0, 0])["dor"])


def test_the_binary_metrics_of_a_hand_worked_table():
    # 3 true positives, 1 missed, 2 false, 4 true negatives.
    metrics = pooled([1, 2, 5, 0, 1, 3, 0, 0, 0, 0], [2, 1, 5, 4, 0, 0, 0, 0, 0, 0])
    expected = {
        "sensitivity": 3 / 4, "specificity": 4 / 6, "pn_bacc": (3 / 4 + 4 / 6) / 2, "pn_acc": 7 / 10, "pn_f1": 6 / 9,
        "dor": 12 / 2,
    }  # fmt: skip
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)


def test_unknown_and_ungraded_sites_do_not_count_and_missed_ones_are_told():
    target = by_site({"MCP-I": [1, -1, 2], "SC": [3, 3, 3]})  # SC has no BE score
    pred = by_site({"MCP-I": [1, 4, -1], "SC": [0, 0, 0]})
    found = scoring.score_metrics(pred, target, scale="be")
    assert "SC" not in found
    assert found["pooled"].metrics["n"] == 1 and found["pooled"].metrics["acc"] == 1
    assert found["pooled"].metrics["missed"] == found["MCP"].metrics["missed"] == found["MCP-I"].metrics["missed"] == 1
    assert found["wrist"].metrics["n"] == found["wrist"].metrics["missed"] == 0


def test_regions_and_sites_share_out_what_is_pooled():
    for scale in anatomy.SCALES:
        _, pred, target = CASES[f"{scale} some unknown"]
        found = scoring.score_metrics(pred, target, scale=scale)
        sites = [anatomy.SITE_NAMES[i] for i in anatomy.SCALES[scale][1]]
        for parts in (("MCP", "PIP", "wrist"), sites):
            np.testing.assert_array_equal(found["pooled"].confusion, sum(found[part].confusion for part in parts))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40),
    st.sampled_from(["strict", "compat"]),
)
def test_invariants(pairs, mode):
    pred, target = (list(scores) for scores in zip(*pairs, strict=True))
    metrics = pooled(pred, target, scale="jsn", mode=mode)
    swapped = pooled(target, pred, scale="jsn", mode=mode)
    for symmetric in ("qwk", "mae", "acc", "within_1", "pn_acc"):
        assert metrics[symmetric] == pytest.approx(swapped[symmetric], nan_ok=True)
    assert pooled(pred[::-1], target[::-1], scale="jsn", mode=mode) == pytest.approx(metrics, nan_ok=True)
    assert metrics["acc"] <= metrics["within_1"] <= 1
    assert metrics["acc"] <= metrics["pn_acc"]
    kappa = scoring.quadratic_weighted_kappa(np.array(pred), np.array(target), 5)
    assert metrics["qwk"] == pytest.approx(kappa, nan_ok=True)


def test_confusion_matrices_of_hands_add_up_and_are_kept_apart():
    pred, target = np.array([[0, 1], [2, 2]]), np.array([[0, 2], [-1, 2]])
    counts = scoring.confusion_matrices(pred, target, 3)
    np.testing.assert_array_equal(counts[0], [[1, 0, 0], [0, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(counts[1], [[0, 0, 0], [0, 0, 0], [0, 0, 1]])
    assert scoring.confusion_metrics(counts.sum(0))["acc"] == pytest.approx(2 / 3)


def test_the_likeliest_score_need_not_be_the_one_reported():
    # AUROC ranks by the probability of score > 0, whatever is reported.
    probabilities = np.full((2, anatomy.NUM_SITES, 5), 0.2)
    probabilities[0, 1], probabilities[1, 1] = [0.6, 0.4, 0, 0, 0], [0.7, 0.3, 0, 0, 0]
    pred, target = by_site({"MCP-I": [0, 0]}), by_site({"MCP-I": [2, 0]})
    found = scoring.score_metrics(pred, target, scale="jsn", probabilities=probabilities)["MCP-I"].metrics
    assert found["auroc"] == 1
    assert scoring.score_metrics(pred, target, scale="jsn")["MCP-I"].metrics["auroc"] == 0.5
    # Confidence 0.6 wrong and 0.7 right fall in bins of their own: (0.6 + 0.3) / 2.
    assert found["ece"] == pytest.approx(0.45)
    assert found["brier"] == pytest.approx(((0.36 + 0.16 + 1) + (0.09 + 0.09)) / 2)


def test_a_calibrated_forecast_has_little_error_and_a_sure_wrong_one_has_the_most():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), 40000)
    target = (rng.random((40000, 1)) > probabilities.cumsum(1)).sum(1)
    assert calibration.expected_calibration_error(probabilities, target) < 0.01
    diagram = calibration.reliability(probabilities, target)
    filled = diagram.count > 500
    np.testing.assert_allclose(diagram.accuracy[filled], diagram.confidence[filled], atol=0.05)
    assert diagram.count.sum() == 40000 and np.isnan(diagram.accuracy[0])
    sure = np.eye(4)[np.zeros(3, int)]
    assert calibration.expected_calibration_error(sure, np.array([1, 2, 3])) == 1
    assert calibration.brier_score(sure, np.array([1, 2, 3])) == 2
    assert calibration.brier_score(sure, np.array([0, 0, 0])) == 0
    assert np.isnan(calibration.brier_score(np.zeros((0, 4)), np.zeros(0, int)))
    assert np.isnan(calibration.expected_calibration_error(np.zeros((0, 4)), np.zeros(0, int)))


def test_a_bin_holds_its_upper_border():
    diagram = calibration.reliability(np.array([[0.5, 0.5], [0.0, 1.0], [0.4, 0.6]]), np.array([0, 1, 0]), bins=2)
    np.testing.assert_array_equal(diagram.count, [1, 2])
    np.testing.assert_allclose(diagram.confidence, [0.5, 0.8])
    np.testing.assert_allclose(diagram.accuracy, [1, 0.5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(pred=np.full((3, 22), 6)), "score of 6; expected 0..5"),
        (dict(target=np.full((3, 22), -2)), "score of -2"),
        (dict(pred=np.zeros((2, 22), int)), "pair up"),
        (dict(target=np.zeros((3, 16), int)), r"expected \(N, 22\)"),
        (dict(target=np.zeros((3, 22))), "expected integers"),
        (dict(scale="svdh"), "expected one of be, jsn"),
        (dict(mode="loose"), "expected strict or compat"),
        (dict(scale="jsn", pred=np.full((3, 22), 5)), "expected 0..4"),
        (dict(probabilities=np.full((3, 22, 5), 0.2)), "one for each score"),
        (dict(probabilities=np.full((3, 22, 6), np.nan)), "NaN"),
        (dict(probabilities=np.full((3, 22, 6), 0.5)), "sum to 3"),
        (dict(probabilities=np.tile([2.0, -1, 0, 0, 0, 0], (3, 22, 1))), "is -1; expected 0 to 1"),
    ],
)
def test_bad_input_is_one_clear_error(change, message):
    arguments = dict(pred=np.zeros((3, 22), int), target=np.zeros((3, 22), int)) | change
    with pytest.raises(ValueError, match=message):
        scoring.score_metrics(**arguments)


def test_probabilities_of_sites_that_do_not_count_are_not_read():
    pred, target = by_site({"MCP-I": [1]}), by_site({"MCP-I": [1]})
    probabilities = np.full((1, 22, 6), np.nan)
    probabilities[0, 1] = np.eye(6)[1]
    found = scoring.score_metrics(pred, target, probabilities=probabilities)
    assert found["pooled"].metrics["brier"] == 0

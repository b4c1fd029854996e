import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ramjax import anatomy
from ramjax.metrics import agreement

SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
"""Four ratings of six targets: table 2 of Shrout & Fleiss 1979."""


def scores(*hands: dict[str, int]) -> np.ndarray:
    """(N, 22) with the named sites' scores."""
    array = np.full((len(hands), anatomy.NUM_SITES), -1)
    for row, hand in zip(array, hands, strict=True):
        for site, score in hand.items():
            row[anatomy.SITE_INDEX[site]] = score
    return array


def anova_icc(ratings: np.ndarray) -> float:
    """ICC(2,1) from sums of squares, cell by cell."""
    n, k = ratings.shape
    mean = ratings.mean()
    subjects = sum(k * (ratings[i].mean() - mean) ** 2 for i in range(n)) / (n - 1)
    raters = sum(n * (ratings[:, j].mean() - mean) ** 2 for j in range(k)) / (k - 1)
    total = sum((ratings[i, j] - mean) ** 2 for i, j in itertools.product(range(n), range(k)))
    residual = (total - subjects * (n - 1) - raters * (k - 1)) / ((n - 1) * (k - 1))
    return (subjects - residual) / (subjects + (k - 1) * residual + k * (raters - residual) / n)


def test_icc_of_the_published_example():
    assert agreement.intraclass_correlation(SHROUT_FLEISS) == pytest.approx(0.29, abs=0.005)
    # The published mean squares: between targets 11.24, between judges 32.49, residual 1.02.
    expected = (11.24 - 1.02) / (11.24 + 3 * 1.02 + 4 * (32.49 - 1.02) / 6)
    assert agreement.intraclass_correlation(SHROUT_FLEISS) == pytest.approx(expected, abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 80), st.integers(0, 80)), min_size=3, max_size=20, unique=True))
def test_agreement_against_references_and_invariants(pairs):
    pred, target = np.array(pairs, float).T
    found = agreement.total_agreement(pred, target)
    differences = pred - target
    assert found.n == len(pairs)
    assert found.icc == pytest.approx(anova_icc(np.array(pairs, float)), abs=1e-9)
    assert found.icc <= 1 + 1e-12
    assert found.rmse**2 == pytest.approx(found.bias**2 + differences.var(), abs=1e-9)
    assert abs(found.bias) <= found.mae + 1e-12 and found.mae <= found.rmse + 1e-12
    assert found.limits_high - found.limits_low == pytest.approx(2 * 1.96 * np.std(differences, ddof=1))
    assert (found.limits_high + found.limits_low) / 2 == pytest.approx(found.bias)
    if np.ptp(pred) and np.ptp(target):
        assert found.pearson == pytest.approx(stats.pearsonr(pred, target).statistic)
    back = agreement.total_agreement(target, pred)
    assert (back.bias, back.icc) == (pytest.approx(-found.bias), pytest.approx(found.icc))


def test_a_constant_shift_costs_icc_but_not_pearson():
    target = np.arange(10.0)
    same, shifted = (agreement.total_agreement(target + by, target) for by in (0, 5))
    assert (same.icc, same.pearson, same.rmse, same.limits_low, same.limits_high) == pytest.approx((1, 1, 0, 0, 0))
    assert shifted.pearson == pytest.approx(1) and shifted.icc < 0.5
    assert (shifted.bias, shifted.sd, shifted.rmse) == pytest.approx((5, 0, 5))


def test_few_or_constant_totals_are_nan_and_unknown_pairs_left_out():
    none = agreement.total_agreement(np.array([np.nan, 1]), np.array([2, np.nan]))
    assert none.n == 0 and np.isnan([none.rmse, none.bias, none.icc]).all()
    one = agreement.total_agreement(np.array([3, np.nan]), np.array([1.0, 2]))
    assert (one.n, one.rmse, one.bias) == (1, 2, 2)
    assert np.isnan([one.sd, one.limits_low, one.pearson, one.icc]).all()
    constant = agreement.total_agreement(np.zeros(4), np.zeros(4))
    assert constant.rmse == 0 and np.isnan([constant.pearson, constant.icc]).all()
    with pytest.raises(ValueError, match="pair up"):
        agreement.total_agreement(np.zeros(3), np.zeros(2))


def test_a_hand_total_is_over_the_sites_known_in_both():
    target = scores({"MCP-I": 3, "MCP-M": 2, "U": 5}, {"MCP-I": 1}, {})
    pred = scores({"MCP-I": 1, "MCP-M": -1, "U": 5, "R": 4}, {"MCP-I": 0, "SC": 4}, {"MCP-I": 5})
    totals = agreement.hand_totals(pred, target, ["a", "b", "c"], ["", "", ""], scale="be")
    np.testing.assert_array_equal(totals.pred, [6, 0, np.nan])
    np.testing.assert_array_equal(totals.target, [8, 1, np.nan])
    np.testing.assert_array_equal(totals.sites, [2, 1, 0])
    np.testing.assert_array_equal(totals.hands, [1, 1, 0])
    two = agreement.hand_totals(pred, target, ["a", "b", "c"], ["", "", ""], scale="be", min_sites=2)
    np.testing.assert_array_equal(two.pred, [6, np.nan, np.nan])


@pytest.mark.parametrize(("scale", "most", "sites"), [("be", 80, 16), ("jsn", 60, 15)])
def test_a_whole_hand_reaches_the_scale_s_total(scale, most, sites):
    full = np.full((1, anatomy.NUM_SITES), anatomy.SCALES[scale][0])
    totals = agreement.hand_totals(full, full, ["a"], ["1"], scale=scale, min_sites=sites)
    assert (totals.pred[0], totals.target[0], totals.sites[0]) == (most, most, sites)


def test_patient_totals_sum_hands_of_a_visit_and_average_radiographs_of_a_side():
    hands = [1, 2, 4, 3, 5, 1, 2]
    patients = ["p", "p", "p", "p", "", "o", ""]
    visits = ["1", "1", "2", "1", "", "1", ""]
    sides = ["L", "R", "L", "R", "L", "L", ""]
    target = scores(*({"MCP-I": score} for score in hands))
    pred = np.where(target >= 0, 0, -1)
    totals = agreement.patient_totals(agreement.hand_totals(pred, target, patients, visits), sides)
    assert list(zip(totals.patients, totals.visits, strict=True)) == [
        ("o", "1"), ("p", "1"), ("p", "2"), ("", ""), ("", ""),
    ]  # fmt: skip
    np.testing.assert_array_equal(totals.target, [1, 1 + (2 + 3) / 2, 4, 5, 2])
    np.testing.assert_array_equal(totals.pred, np.zeros(5))
    np.testing.assert_array_equal(totals.hands, [1, 2, 1, 1, 1])
    np.testing.assert_array_equal(totals.sites, [1, 2, 1, 1, 1])


def test_a_patient_without_known_hands_or_with_too_many_has_no_total():
    target = scores({"MCP-I": 1}, {"MCP-I": 2}, {"MCP-I": 3}, {}, {"MCP-I": 4}, {})
    hands = agreement.hand_totals(target, target, ["p", "p", "p", "q", "r", "r"], [""] * 6)
    totals = agreement.patient_totals(hands, ["", "", "", "L", "L", "R"])
    np.testing.assert_array_equal(totals.target, [np.nan, np.nan, 4])
    np.testing.assert_array_equal(totals.hands, [3, 0, 1])
    jsn = agreement.patient_totals(
        agreement.hand_totals(target, target, ["p", "p", "p", "q", "r", "r"], [""] * 6, scale="jsn"), ["L"] * 6
    )
    np.testing.assert_array_equal(jsn.patients, totals.patients)


def test_no_hands_are_no_totals():
    nothing = np.zeros((0, 22), int)
    totals = agreement.patient_totals(agreement.hand_totals(nothing, nothing, [], []), [])
    assert agreement.total_agreement(totals.pred, totals.target).n == 0


def test_bad_input_is_one_clear_error():
    hand = np.zeros((1, 22), int)
    with pytest.raises(ValueError, match="as many in all; got pred 1, target 1, patients 2, visits 1"):
        agreement.hand_totals(hand, hand, ["a", "b"], [""])
    with pytest.raises(ValueError, match="scale is 'svdh'"):
        agreement.hand_totals(hand, hand, ["a"], [""], scale="svdh")
    with pytest.raises(ValueError, match="score of 6"):
        agreement.hand_totals(hand + 6, hand, ["a"], [""])
    with pytest.raises(ValueError, match="1 hands and 2 sides"):
        agreement.patient_totals(agreement.hand_totals(hand, hand, ["a"], [""]), ["L", "R"])

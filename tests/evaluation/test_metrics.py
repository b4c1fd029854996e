import numpy as np
import pytest

from ramjax.metrics import detection, scoring, segmentation


def test_dice_by_hand_and_nan_where_both_are_empty():
    dice = segmentation.dice(np.array([2, 0, 0]), np.array([3, 4, 0]), np.array([5, 0, 0]))
    np.testing.assert_allclose(dice, [0.5, 0.0, np.nan])


def test_mean_of_finite_counts_what_it_averages():
    mean, n = segmentation.mean_of_finite(np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan]]), axis=1)
    np.testing.assert_allclose(mean, [2.0, np.nan])
    np.testing.assert_array_equal(n, [2, 0])


def test_box_iou_of_shifted_disjoint_and_empty_boxes():
    a = np.array([[0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 0, 0]])
    b = np.array([[0, 1, 2, 3], [5, 5, 6, 6], [0, 0, 0, 0]])
    np.testing.assert_allclose(detection.box_iou(a, b), [1 / 3, 0, 0])


def test_center_distance_is_euclidean():
    assert detection.center_distance(np.array([0, 0, 2, 2]), np.array([3, 4, 5, 6])) == pytest.approx(5)


def test_kappa_of_a_hand_worked_table():
    # Two raters, scale 0-2; table rows annotated, columns predicted: [[2, 1, 0], [0, 1, 0], [0, 0, 1]].
    annotated, predicted = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 2])
    # Observed weighted disagreement 1; expected with margins (3, 1, 1) and (2, 2, 1):
    # [3*2*1 + 3*1*4 + 1*2*1 + 1*1*1 + 1*2*4 + 1*2*1] / 5 = 31 / 5.
    assert scoring.quadratic_weighted_kappa(predicted, annotated, 3) == pytest.approx(
        1 - 1 / ((6 + 12 + 2 + 1 + 8 + 2) / 5)
    )


def test_kappa_is_one_for_agreement_and_nan_without_spread():
    scores = np.array([0, 1, 4, 2])
    assert scoring.quadratic_weighted_kappa(scores, scores, 5) == pytest.approx(1)
    assert np.isnan(scoring.quadratic_weighted_kappa(np.zeros(3, int), np.zeros(3, int), 5))
    assert np.isnan(scoring.quadratic_weighted_kappa(np.zeros(0, int), np.zeros(0, int), 5))


@pytest.mark.parametrize(("predicted", "annotated"), [([5], [0]), ([0], [-1]), ([0, 1], [0])])
def test_kappa_refuses_what_is_off_the_scale(predicted, annotated):
    with pytest.raises(ValueError, match=r"score|Scores"):
        scoring.quadratic_weighted_kappa(np.array(predicted), np.array(annotated), 5)


def test_decode_rounds_the_expectation():
    np.testing.assert_array_equal(scoring.decode(np.array([[0.6, 0.0, 0.4], [0.9, 0.1, 0.0]])), [1, 0])

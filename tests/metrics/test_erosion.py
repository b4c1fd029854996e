import math

import numpy as np
import pytest

from ramjax.metrics import erosion
from ramjax.metrics.erosion import erosion_metrics, measure_erosions, pooled
from ramjax.metrics.segmentation import segmentation_metrics

NAN = math.nan
SHAPE = (40, 50)


def labels(*boxes: tuple[int, int, int, int, int]) -> np.ndarray:
    """(label, top, left, bottom, right) boxes on background."""
    result = np.zeros(SHAPE, np.uint8)
    for label, top, left, bottom, right in boxes:
        result[top:bottom, left:right] = label
    return result


CLEAN = labels()
ONE = labels((1, 5, 5, 15, 15))
TWO = labels((1, 5, 5, 15, 15), (2, 25, 30, 35, 40))


def test_each_label_and_any_are_measured_as_masks():
    target = labels((1, 5, 5, 15, 15), (2, 25, 30, 35, 40), (3, 30, 5, 32, 9))
    pred = labels((1, 6, 5, 16, 15), (1, 25, 30, 35, 34), (2, 25, 34, 35, 40))
    got = measure_erosions(pred, target)
    planes = [np.stack([x == 1, x == 2, x == 3, x > 0], -1) for x in (pred, target)]
    for row, mode in enumerate(("strict", "compat")):
        for name, value in segmentation_metrics(*planes, mode=mode).items():
            np.testing.assert_array_equal(got[name][row], value, err_msg=name)
    assert erosion.PARTS == ("SvdH-BE-90", "SvdH-BE-50", "Non-SvdH-BE", "any")
    assert got["annotated_px"][0].tolist() == [100, 100, 8, 208]
    assert got["predicted_px"][0].tolist() == [140, 60, 0, 200]
    assert got["both_px"][0].tolist() == [90, 60, 0, 190]


def test_areas_need_the_spacing():
    assert np.isnan(measure_erosions(ONE, TWO)["annotated_mm2"]).all()
    np.testing.assert_allclose(
        measure_erosions(ONE, TWO, pixel_spacing_mm=0.2)["annotated_mm2"][0], [4, 4, 0, 8], atol=1e-12
    )
    np.testing.assert_allclose(measure_erosions(ONE, TWO, pixel_spacing_mm=(0.2, 0.1))["predicted_mm2"][0, 3], 2)


@pytest.mark.parametrize(
    ("pred", "target", "mm", "expected"),
    [  #                                               predicted, annotated, by IoU, by distance
        (CLEAN, CLEAN, 0.2, [0, 0, 0, 0]),
        (ONE, CLEAN, 0.2, [1, 0, 0, 0]),
        (CLEAN, TWO, 0.2, [0, 2, 0, 0]),
        (ONE, ONE, 0.2, [1, 1, 1, 1]),
        (ONE, ONE, NAN, [1, 1, 1, NAN]),
        (TWO, ONE, 0.2, [2, 1, 1, 1]),
        # Moved by 4 of 10 pixels: IoU 60 / 140, 0.8 mm apart.
        (labels((1, 9, 5, 19, 15)), ONE, 0.2, [1, 1, 0, 1]),
        (labels((1, 9, 5, 19, 15)), ONE, 0.6, [1, 1, 0, 0]),
        # IoU exactly one half: 40 of 80 pixels.
        (labels((1, 0, 0, 10, 6)), labels((1, 0, 2, 10, 8)), 0.2, [1, 1, 1, 1]),
        # Two predicted pieces on one lesion are one find and one false one.
        (labels((1, 5, 5, 9, 15), (1, 10, 5, 15, 15)), ONE, 0.2, [2, 1, 1, 1]),
        # One predicted piece over two lesions finds one of them at most.
        (labels((1, 5, 5, 10, 21)), labels((1, 5, 5, 10, 12), (1, 5, 13, 10, 21)), 0.6, [1, 2, 1, 0]),
        # Pieces that touch at a corner are one.
        (labels((1, 5, 5, 7, 7), (1, 7, 7, 9, 9)), labels((1, 5, 5, 7, 7)), 0.2, [1, 1, 1, 1]),
    ],
)
def test_lesions_are_matched_one_to_one(pred, target, mm, expected):
    got = measure_erosions(pred, target, pixel_spacing_mm=mm)
    names = ("lesions_predicted", "lesions_annotated", "matched_iou", "matched_distance")
    np.testing.assert_array_equal([got[name][0, 3] for name in names], expected)


def test_the_most_pairs_are_matched_not_the_nearest_first():
    # Centres along a row at columns (predicted) 10, 14 and (annotated) 13, 17, 5 pixels reach: 14-13 first would
    # leave 10 and 17, which are too far apart; 10-13 and 14-17 are both in reach.
    pred = labels((1, 10, 9, 12, 11), (1, 10, 13, 12, 15))
    target = labels((1, 10, 12, 12, 14), (1, 10, 16, 12, 18))
    assert measure_erosions(pred, target, pixel_spacing_mm=0.5)["matched_distance"][0, 0] == 2


def test_the_split_by_hand():
    """Three eroded hands, found, half found and missed; two clean ones, one with an invented lesion."""
    preds = [ONE, ONE, CLEAN, CLEAN, labels((1, 5, 5, 15, 15))]
    targets = [ONE, TWO, TWO, CLEAN, CLEAN]
    got = erosion_metrics(preds, targets, pixel_spacing_mm=[0.2] * 5)
    assert got["dsc"] == pytest.approx((1 + 0.5 + 0) / 3) and got["dsc/n"] == 3
    assert got["rec"] == pytest.approx((1 + 0.5 + 0) / 3) and got["rec/n"] == 3
    assert got["prec"] == pytest.approx((1 + 1 + 0) / 3) and got["prec/n"] == 3  # hands with a prediction
    assert got["pixel_rec"] == pytest.approx(200 / 500) and got["pixel_prec"] == pytest.approx(200 / 300)
    for by in ("iou", "distance"):
        assert got[f"lesion_rec_{by}"] == pytest.approx(2 / 5) and got[f"lesion_prec_{by}"] == pytest.approx(2 / 3)
        assert got[f"lesion_f1_{by}"] == pytest.approx(4 / 8)
        assert got[f"false_lesions_a_hand_{by}"] == pytest.approx(1 / 5)
    assert got["image_sensitivity"] == pytest.approx(2 / 3) and got["image_specificity"] == 0.5
    assert got["false_area_mm2"] == pytest.approx(2.0)  # 0 and 4 mm^2
    assert got["dsc_or_1"] == pytest.approx((1 + 2 / 3 + 0 + 1 + 0) / 5)  # of any erosion: 2 * 100 / 300 for the second
    assert got["area_bias_mm2"] == pytest.approx((0 - 4 - 8 + 0 + 4) / 5)
    assert got["area_mae_mm2"] == pytest.approx(16 / 5)
    assert got["area_correlation"] == pytest.approx(np.corrcoef([4, 4, 0, 0, 4], [4, 8, 8, 0, 0])[0, 1])


def test_compat_gives_clean_hands_0_in_recall_and_precision():
    got = erosion_metrics([ONE, CLEAN], [ONE, CLEAN], variant="svdh90", mode="compat")
    assert (got["rec"], got["prec"], got["rec/n"]) == (pytest.approx(0.5), pytest.approx(0.5), 2)
    assert (got["dsc"], got["dsc/n"]) == (1, 1)
    strict = erosion_metrics([ONE, CLEAN], [ONE, CLEAN], variant="svdh90")
    assert (strict["rec"], strict["prec"], strict["rec/n"]) == (1, 1, 1)
    # With three labels each absent one adds a 0 as well.
    assert erosion_metrics([ONE, CLEAN], [ONE, CLEAN], mode="compat")["rec"] == pytest.approx(1 / 6)


def test_svdh90_alone_takes_the_other_labels_for_background():
    target = labels((2, 5, 5, 15, 15))
    got = erosion_metrics([target], [target], variant="svdh90", pixel_spacing_mm=[0.2])
    assert math.isnan(got["dsc"]) and got["dsc/n"] == 0 and got["image_specificity"] == 1
    assert erosion_metrics([target], [target])["dsc"] == 1


def test_nothing_counts_is_nan_not_an_error():
    got = erosion_metrics([CLEAN, CLEAN], [CLEAN, CLEAN])
    for name in ("dsc", "pixel_rec", "lesion_f1_iou", "image_sensitivity", "area_correlation", "false_area_mm2"):
        assert math.isnan(got[name]), name
    assert got["image_specificity"] == 1 and got["dsc_or_1"] == 1


def test_pooled_names_all_its_statistics():
    values = {name: value[0][None, 3] for name, value in measure_erosions(ONE, ONE).items()}
    assert list(pooled(values)) == list(erosion.POOLED)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: measure_erosions(ONE, ONE[:9]), r"one shape \(H, W\); got \(40, 50\) predicted, \(9, 50\) annotated"),
        (lambda: measure_erosions(ONE * 4, ONE), "predicted labels are uint8 up to 4; expected uint8 of 0 to 3"),
        (lambda: measure_erosions(ONE, ONE.astype(float)), "annotated labels are float64"),
        (lambda: erosion_metrics([ONE], []), "1 predicted, 0 annotated hands and 0 spacings do not pair up"),
        (lambda: erosion_metrics([], []), "no hands"),
        (lambda: erosion_metrics([ONE], [ONE], variant="all"), "variant is 'all'; use 'labels' or 'svdh90'"),
        (lambda: erosion_metrics([ONE], [ONE], mode="soft"), "mode is 'soft'; use 'strict' or 'compat'"),
    ],
)
def test_bad_input_is_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()

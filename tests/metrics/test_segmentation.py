import json
import math
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from ramjax import anatomy
from ramjax.metrics import segmentation, surface
from ramjax.metrics.segmentation import overlap_metrics, segmentation_metrics
from tests.metrics.golden import masks_cases

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden" / "masks.json").read_text())
NAN, INF = math.nan, math.inf
DISC, EMPTY = masks_cases.cases()["equal"][0], np.zeros(masks_cases.SHAPE, bool)
DIAGONAL = math.hypot(*masks_cases.SHAPE)


def number(value):
    return {None: NAN, "inf": INF}.get(value, value) if not isinstance(value, float) else value


def one(pred, target, **options) -> dict[str, float]:
    return {
        name: float(value[0])
        for name, value in segmentation_metrics(pred[..., None], target[..., None], **options).items()
    }


def slow_reference(pred, target, spacing) -> dict[str, float]:
    """NSD, MSD and HD95 by scipy's erosion and distance transform, pixel by pixel."""
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (pred, target)]
    apart = [ndimage.distance_transform_edt(~edges[1 - i], sampling=spacing)[edges[i]] for i in (0, 1)]
    pooled = np.concatenate(apart)
    return {"nsd": (pooled <= 2).mean(), "msd": pooled.mean(), "hd95": max(np.percentile(d, 95) for d in apart)}


@pytest.mark.parametrize("case", GOLDEN["cases"])
def test_compat_gives_what_the_libraries_of_the_published_evaluators_give(case):
    name, anisotropic, _ = case.partition(", anisotropic")
    options = {"tolerance": 0.6, "spacing": (0.5, 0.25)} if anisotropic else {}
    got = one(*masks_cases.cases()[name], mode="compat", **options)
    for metric, value in GOLDEN["cases"][case].items():
        np.testing.assert_allclose(got[metric], number(value), rtol=1e-6, atol=1e-6, err_msg=metric)


@pytest.mark.parametrize("index", range(4))
def test_compat_of_several_planes_is_that_of_each(index):
    got = segmentation_metrics(*masks_cases.images()[index], mode="compat")
    for metric, values in GOLDEN["images"][index].items():
        np.testing.assert_allclose(got[metric], [number(v) for v in values], rtol=1e-6, atol=1e-6, err_msg=metric)


@pytest.mark.parametrize(
    ("pred", "target", "mode", "expected"),
    [  #                       dsc  iou  voe  nsd  msd       hd95      ravd rec  prec missed invented
        (EMPTY, EMPTY, "strict", [NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, 0]),
        (EMPTY, EMPTY, "compat", [NAN, NAN, NAN, NAN, NAN, NAN, 0, 0, 0, NAN, 0]),
        (DISC, EMPTY, "strict", [NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, 0, NAN, 1]),
        (DISC, EMPTY, "compat", [NAN, NAN, NAN, 0, INF, NAN, 0, 0, 0, NAN, 1]),
        (EMPTY, DISC, "strict", [0, 0, 1, 0, DIAGONAL, DIAGONAL, 1, 0, NAN, 1, NAN]),
        (EMPTY, DISC, "compat", [0, 0, 1, 0, INF, NAN, 1, 0, 0, 1, NAN]),
        (DISC, DISC, "strict", [1, 1, 0, 1, 0, 0, 0, 1, 1, 0, NAN]),
        (DISC, DISC, "compat", [1, 1, 0, 1, 0, 0, 0, 1, 1, 0, NAN]),
    ],
)  # fmt: skip
def test_the_whole_grid_of_empty_and_not(pred, target, mode, expected):
    got = one(pred, target, mode=mode)
    assert list(got) == list(segmentation.METRICS)
    np.testing.assert_allclose(list(got.values()), expected, atol=1e-9)


@pytest.mark.parametrize("mode", ["strict", "compat"])
def test_an_unknown_plane_is_nan_throughout(mode):
    planes = np.stack([DISC, EMPTY, DISC], -1)
    got = segmentation_metrics(planes, planes[..., [1, 0, 2]], mode=mode, known=np.array([False, False, True]))
    for name, values in got.items():
        assert np.isnan(values[:2]).all(), name
    assert got["dsc"][2] == 1


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 0.25)])
@pytest.mark.parametrize(
    "case", [name for name, (p, a) in masks_cases.cases().items() if p.any() and a.any()]
)  # fmt: skip
def test_distances_are_those_of_a_distance_transform(case, spacing):
    pred, target = masks_cases.cases()[case]
    got, expected = one(pred, target, spacing=spacing), slow_reference(pred, target, spacing)
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, abs=1e-12), name


@settings(max_examples=60, deadline=None)
@given(arrays(bool, (9, 11)), arrays(bool, (9, 11)))
def test_symmetry_bounds_and_a_common_shift(pred, target):
    got, swapped = one(pred, target), one(target, pred)
    if pred.any() and target.any():
        for name in ("dsc", "iou", "voe", "nsd", "msd", "hd95"):
            assert got[name] == pytest.approx(swapped[name], abs=1e-12)
        assert (got["rec"], got["prec"]) == (swapped["prec"], swapped["rec"])
        assert got["dsc"] == pytest.approx(2 * got["iou"] / (1 + got["iou"]))
        assert 0 <= got["nsd"] <= 1 and got["hd95"] <= got["hd95"] + 1e-9 and got["msd"] <= math.hypot(9, 11)
        padded = one(np.pad(pred, 3), np.pad(target, 3))
        for name in got:
            np.testing.assert_allclose(padded[name], got[name], atol=1e-12, err_msg=name)


def test_spacing_turns_pixels_into_mm():
    pred, target = masks_cases.cases()["shifted"]
    pixels, mm = one(pred, target), one(pred, target, spacing=0.15, tolerance=0.3)
    assert mm["msd"] == pytest.approx(0.15 * pixels["msd"]) and mm["hd95"] == pytest.approx(0.15 * pixels["hd95"])
    assert mm["nsd"] == pixels["nsd"]
    assert one(EMPTY, DISC, spacing=0.15)["msd"] == pytest.approx(0.15 * DIAGONAL)


def test_overlap_is_measured_pair_by_pair_by_name():
    a, b, c = DISC, np.roll(DISC, 6, 1), np.roll(DISC, -6, 0)
    target, pred = np.stack([a, b, c], -1), np.stack([a, np.roll(b, 1, 0), c], -1)
    got = overlap_metrics(pred, target, pairs=[("c", "a"), ("a", "b")], names=["a", "b", "c"])
    expected = segmentation_metrics(np.stack([a & c, a & pred[..., 1]], -1), np.stack([a & c, a & b], -1))
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name])
    some = overlap_metrics(
        pred, target, pairs=[("c", "a"), ("a", "b")], names=["a", "b", "c"], known=np.array([True, True, False])
    )
    assert np.isnan(some["dsc"][0]) and some["dsc"][1] == expected["dsc"][1]


def test_the_14_published_pairs_are_the_default():
    planes = np.zeros((5, 5, anatomy.NUM_BONES), bool)
    planes[2, 2, [anatomy.BONE_INDEX["MC2"], anatomy.BONE_INDEX["MC3"]]] = True
    dsc = overlap_metrics(planes, planes)["dsc"]
    assert dsc.shape == (14,) and dsc[anatomy.OVERLAP_PAIRS.index(("MC2", "MC3"))] == 1
    assert np.isfinite(dsc).sum() == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 57), st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
def test_planes_are_packed_bit_by_bit(count, height, width, random):
    planes = np.random.default_rng(random.randrange(2**32)).random((height, width, count)) < 0.5
    expected = sum(planes[..., k].astype(np.uint64) << np.uint64(k) for k in range(count))
    np.testing.assert_array_equal(surface.pack(planes), expected)
    np.testing.assert_array_equal(surface.pack(np.asfortranarray(planes)), expected)


def test_more_pixels_than_a_block_are_packed_without_a_seam():
    planes = np.random.default_rng(0).random((301, 307, 3)) < 0.5
    expected = sum(planes[..., k].astype(np.uint64) << np.uint64(k) for k in range(3))
    np.testing.assert_array_equal(surface.pack(planes), expected)


measure, overlap = segmentation_metrics, overlap_metrics
MASKS = np.zeros((4, 5, 2), bool)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: measure(MASKS, MASKS[:3]), r"one shape \(H, W, K\); got \(4, 5, 2\) predicted"),
        (lambda: measure(MASKS[..., 0], MASKS[..., 0]), "one shape"),
        (lambda: measure(np.full((4, 5, 2), np.nan), MASKS), "predicted masks are float64, not bool; compare"),
        (lambda: measure(MASKS, MASKS, mode="lenient"), "mode is 'lenient'; use 'strict' or 'compat'"),
        (lambda: measure(MASKS, MASKS, tolerance=-1), "tolerance is -1; use a finite number"),
        (lambda: measure(MASKS, MASKS, spacing=0.0), "spacing is 0.0; use the distance of pixels in mm"),
        (lambda: measure(MASKS, MASKS, spacing=NAN), "spacing is nan"),
        (lambda: measure(MASKS, MASKS, known=np.ones(3, bool)), r"known has shape \(3,\); expected one bool"),
        (lambda: measure(np.zeros((2, 2, 58), bool), np.zeros((2, 2, 58), bool)), "58 planes cannot be packed"),
        (lambda: overlap(MASKS, MASKS, pairs=[("a", "x")], names=["a", "b"]), "no plane 'x'; the planes are a, b"),
        (lambda: overlap(MASKS, MASKS, pairs=[("a", "b")]), "30 names are given for 2 planes"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()

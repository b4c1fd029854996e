"""Rendered hands: image, masks, boxes and truth agree with each other."""

import dataclasses
import hashlib
import subprocess
import sys

import numpy as np
import pytest

from ramjax import anatomy
from ramjax.phantom import Case, PhantomConfig, assembly, hand, render, skeleton
from ramjax.phantom.cohort import patient_at
from ramjax.phantom.config import stream
from ramjax.phantom.disease import disease_of
from ramjax.phantom.framing import frame
from ramjax.record import unpack_bones

CONFIG = PhantomConfig(patients=40, seed=1, scale=0.25, follow_up_fraction=0.3)


@pytest.fixture(scope="module")
def hands():
    return [render(CONFIG, Case(index, 0, "LR"[index % 2])) for index in range(16)]


def digest(phantom):
    record = phantom.record
    parts = (
        record.image,
        record.bones,
        record.erosions,
        np.array([joint.bbox for joint in record.joints]),
        phantom.truth.joint_center_xy,
    )
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def test_the_same_case_is_the_same_in_any_process_and_order():
    first = digest(render(CONFIG, Case(3, 0, "L")))
    render(CONFIG, Case(5, 0, "R"))
    assert digest(render(CONFIG, Case(3, 0, "L"))) == first
    script = (
        "import sys; sys.path.insert(0, 'tests/phantom'); from test_hand import *; render(CONFIG, Case(9, 0, 'R'));"
        "print(digest(render(CONFIG, Case(3, 0, 'L'))))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == first
    assert digest(render(CONFIG, Case(3, 0, "R"))) != first


def test_records_are_what_the_contract_says(hands):
    for phantom in hands:
        record = phantom.record
        rows, columns = record.image.shape
        assert record.image.dtype == record.bones.dtype == record.erosions.dtype == np.uint8
        assert record.bones.shape == (rows, columns, 4) and record.erosions.shape == (rows, columns)
        assert record.bones_known.all() and record.bones_known.shape == (anatomy.NUM_BONES,)
        assert record.dataset == "ram_phantom" and record.center == "phantom" and record.view == "hand"
        assert record.sex in "FM" and 20.0 <= record.age <= 92.0
        assert record.is_ra == int(phantom.truth.severity > 0)
    assert hands[2].record.id == "phantom_P0002_V0_L" and hands[2].record.patient == "phantom_P0002"


def test_sizes_are_those_of_the_real_sets():
    full = render(PhantomConfig(patients=2), Case(1, 0, "R")).record
    assert 1431 <= full.image.shape[0] <= 1700 and 761 <= full.image.shape[1] <= 1300
    assert full.pixel_spacing_mm in (0.15, 0.175)
    small = render(PhantomConfig(patients=2, scale=0.25), Case(1, 0, "R")).record
    assert small.pixel_spacing_mm == pytest.approx(4 * full.pixel_spacing_mm)
    np.testing.assert_allclose(np.array(small.image.shape) * 4, full.image.shape, atol=3)
    for before, after in zip(full.joints, small.joints, strict=True):
        assert before.site == after.site and before.be == after.be and before.jsn == after.jsn
        np.testing.assert_allclose(before.bbox, after.bbox, atol=0.01)
    wrist = render(PhantomConfig(patients=2, framing="wrist"), Case(1, 0, "R")).record
    assert wrist.image.shape == (600, 600) and wrist.view == "wrist" and wrist.pixel_spacing_mm == 0.15
    assert {"S", "L", "R", "SC"} <= {joint.site for joint in wrist.joints}
    assert "PIP-I" not in {joint.site for joint in wrist.joints}


def test_mixed_framing_has_both_views():
    config = PhantomConfig(patients=12, scale=0.1, framing="mixed")
    views = [render(config, Case(index, 0, "R")).record.view for index in range(12)]
    assert set(views) == {"hand", "wrist"}


def test_every_channel_is_filled_and_flesh_covers_the_bones(hands):
    for phantom in hands:
        planes = unpack_bones(phantom.record.bones)
        assert planes.any(axis=(0, 1)).all()
        flesh = planes[..., anatomy.SOFT_TISSUE]
        bone = np.delete(planes, anatomy.SOFT_TISSUE, axis=-1).any(axis=-1)
        assert (bone & ~flesh).sum() < 0.004 * bone.sum()
        assert 0.1 < flesh.mean() < 0.8


def test_annotated_pairs_overlap(hands):
    overlap = np.zeros(len(anatomy.OVERLAP_PAIRS))
    for phantom in hands:
        planes = unpack_bones(phantom.record.bones)
        for index, (first, second) in enumerate(anatomy.OVERLAP_PAIRS):
            overlap[index] += (planes[..., anatomy.BONE_INDEX[first]] & planes[..., anatomy.BONE_INDEX[second]]).any()
    assert (overlap / len(hands) > 0.3).all(), dict(zip(anatomy.OVERLAP_PAIRS, overlap, strict=True))


def test_joint_centers_lie_between_their_bones(hands):
    for phantom in hands:
        planes, truth = unpack_bones(phantom.record.bones), phantom.truth
        for index, site in enumerate(anatomy.SITES):
            if truth.subluxed[index]:
                continue
            for name in site.bones:
                y, x = np.nonzero(planes[..., anatomy.BONE_INDEX[name]])
                nearest = np.hypot(*(np.stack((x, y), axis=1) + 0.5 - truth.joint_center_xy[index]).T).min()
                assert nearest * phantom.record.pixel_spacing_mm < 4.0, (site.name, name)


def test_boxes_are_within_the_picture_and_around_their_joint(hands):
    for phantom in hands:
        rows, columns = phantom.record.image.shape
        sites = [joint.site for joint in phantom.record.joints]
        assert len(set(sites)) == len(sites) >= 18
        for joint in phantom.record.joints:
            top, left, bottom, right = joint.bbox
            assert 0.0 <= top < bottom <= 1.0 and 0.0 <= left < right <= 1.0
            x, y = phantom.truth.joint_center_xy[anatomy.SITE_INDEX[joint.site]]
            assert left * columns <= x <= right * columns and top * rows <= y <= bottom * rows
            side = (bottom - top) * rows * phantom.record.pixel_spacing_mm
            assert 4.0 < side < 40.0
            assert joint.be == phantom.truth.be[anatomy.SITE_INDEX[joint.site]]
            assert joint.jsn == phantom.truth.jsn[anatomy.SITE_INDEX[joint.site]]


@pytest.mark.parametrize(
    ("inside_mm", "kept", "known"),
    [
        (20.0, True, True), (12.0, True, True), (9.0, False, False), (1.0, False, False), (-5.0, False, False),
        (-14.0, False, True),
    ],
)  # fmt: skip
def test_a_joint_that_the_border_cuts_has_no_box_and_is_not_known(inside_mm, kept, known):
    """MCP boxes are 26 mm wide for a body of size 1: a tenth may be cut, and the box then ends at the border. One that
    is outside is known to be absent."""
    case = Case(4, 0, "R")
    patient, disease = patient_at(CONFIG, 4, 0), disease_of(CONFIG, case, patient_at(CONFIG, 4, 0))
    pose = skeleton.sample_pose(stream(CONFIG, "pose", 4, 0, "R"), disease.drift, patient.severity)
    body = assembly.build(patient, disease, pose, stream(CONFIG, "anatomy", 4))
    picture = frame(CONFIG, case, body, pose)
    x, _ = picture.locate(body.joints)[anatomy.SITE_INDEX["MCP-I"]]
    shift = np.array(((0.0, 0.0, inside_mm * body.size / picture.mm - x), (0.0, 0.0, 0.0)))
    picture = dataclasses.replace(picture, to_pixels=picture.to_pixels + shift)
    joints, joints_known = hand._joints(body, disease, picture, picture.locate(body.joints))
    found = {joint.site: joint for joint in joints}
    assert ("MCP-I" in found) == kept and joints_known[anatomy.SITE_INDEX["MCP-I"]] == known
    if kept:
        _, left, _, right = np.array(found["MCP-I"].bbox) * picture.shape[1] * picture.mm / body.size
        assert (left, right) == pytest.approx((max(inside_mm - 13.0, 0.0), inside_mm + 13.0))


def test_coordinates_are_continuous():
    """At a quarter of the scale they are a quarter: only coordinates that start at a pixel's corner scale so."""
    case, full, small = Case(4, 0, "R"), *(PhantomConfig(patients=6, seed=1, scale=scale) for scale in (1.0, 0.25))
    full, small = render(full, case), render(small, case)
    np.testing.assert_allclose(small.truth.joint_center_xy * 4, full.truth.joint_center_xy, atol=0.1)
    assert full.truth.erosions
    for before, after in zip(full.truth.erosions, small.truth.erosions, strict=True):
        np.testing.assert_allclose(np.array(after.center_xy) * 4, before.center_xy, atol=0.1)


def test_the_left_hand_is_the_mirror_of_the_right(hands):
    for phantom in hands:
        thumb, small = (phantom.truth.joint_center_xy[anatomy.SITE_INDEX[name], 0] for name in ("MCP-T", "MCP-S"))
        assert (thumb < small) == (phantom.record.side == "R")
        middle, radius = (phantom.truth.joint_center_xy[anatomy.SITE_INDEX[name], 1] for name in ("PIP-M", "R"))
        assert middle < radius


def test_erosions_lie_on_bone_and_make_up_the_areas(hands):
    seen = 0
    for phantom in hands:
        record, truth = phantom.record, phantom.truth
        bone = np.delete(unpack_bones(record.bones), anatomy.SOFT_TISSUE, axis=-1).any(axis=-1)
        assert not (record.erosions.astype(bool) & ~bone).any()
        assert set(np.unique(record.erosions)) <= {0, 1, 2, 3}
        total = sum(lesion.area_mm2 for lesion in truth.erosions)
        marked = np.count_nonzero(record.erosions) * record.pixel_spacing_mm**2
        assert marked <= total + 1e-6
        assert marked >= 0.6 * total
        sites = np.zeros(anatomy.NUM_SITES)
        for lesion in truth.erosions:
            seen += 1
            if lesion.site >= 0:
                sites[lesion.site] += lesion.area_mm2
                assert lesion.label in (1, 2) and truth.be[lesion.site] > 0
            else:
                assert lesion.label == 3
        np.testing.assert_allclose(sites, truth.erosion_area_mm2)
    assert seen > 30


def test_higher_erosion_scores_have_larger_areas():
    config = PhantomConfig(patients=60, seed=8, scale=0.25)
    areas = {grade: [] for grade in range(anatomy.BE_MAX + 1)}
    for index in range(40):
        truth = render(config, Case(index, 0, "R")).truth
        for site in anatomy.BE_SITES[:10]:
            areas[int(truth.be[site])].append(truth.erosion_area_mm2[site])
    means = [np.mean(areas[grade]) for grade in range(5)]
    assert means[0] == 0.0
    assert (np.diff(means) > 0).all(), means
    assert means[2] > 5.0


def test_a_follow_up_is_named_and_worse():
    before, after = (render(CONFIG, Case(4, visit, "R")) for visit in (0, 1))
    assert (before.record.visit, after.record.visit) == ("V0", "V1")
    assert before.record.patient == after.record.patient and before.record.id != after.record.id
    assert after.record.age > before.record.age and after.truth.severity >= before.truth.severity
    assert not np.array_equal(before.truth.joint_center_xy, after.truth.joint_center_xy), "the hand lies anew"

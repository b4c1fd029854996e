"""Bones stand where anatomy puts them, and joint spaces are as wide as said."""

import dataclasses

import cv2
import numpy as np
import pytest

from ramjax import anatomy
from ramjax.phantom import PhantomConfig, curves
from ramjax.phantom.assembly import build
from ramjax.phantom.cohort import patient_at
from ramjax.phantom.config import Case, stream
from ramjax.phantom.disease import disease_of
from ramjax.phantom.lesions import locate
from ramjax.phantom.skeleton import LENGTHS, sample_pose


def body_of(config, index, visit=0):
    patient = patient_at(config, index, visit)
    disease = disease_of(config, Case(index, visit, "R"), patient)
    pose = sample_pose(stream(config, "pose", index, visit, "R"), disease.drift, patient.severity)
    return patient, disease, pose, build(patient, disease, pose, stream(config, "anatomy", index))


@pytest.fixture(scope="module")
def bodies():
    config = PhantomConfig(patients=40, seed=2)
    return [body_of(config, index) for index in range(40)]


def dense(outline, steps=6):
    following = np.roll(outline, -1, axis=0)
    return np.concatenate([outline + (following - outline) * t for t in np.linspace(0.0, 1.0, steps, endpoint=False)])


def test_all_bones_are_there(bodies):
    for _, _, _, body in bodies:
        names = [bone.name for bone in body.bones]
        assert set(names) == set(anatomy.BONES) - {"SoftTissue"}
        assert names.count("PisiformTriquetrum") == 2 and names.count("Sesamoid") in (2, 3, 4)
        for bone in body.bones:
            assert abs(curves.signed_area(bone.outline)) > 4.0, bone.name


def test_lengths_are_published_ones_times_the_body(bodies):
    ratios = []
    for patient, _, _, body in bodies:
        for digit in range(1, 6):
            bone = body.bone(f"MC{digit}")
            ratios.append(bone.length / LENGTHS["MC"][digit - 1] / patient.size)
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.01)
    assert 0.01 < np.std(ratios) < 0.04


def test_women_are_eight_to_ten_per_cent_smaller():
    patients = [patient_at(PhantomConfig(patients=600), index, 0) for index in range(600)]
    size = {sex: np.mean([p.size for p in patients if p.sex == sex]) for sex in "FM"}
    assert 0.90 < size["F"] / size["M"] < 0.93


@pytest.mark.parametrize("region", ["MCP", "PIP"])
def test_the_gap_between_finger_bones_is_the_joint_space(bodies, region):
    errors = []
    for _, disease, _, body in bodies:
        for index, site in enumerate(anatomy.SITES):
            if not site.jsn or site.region != region or disease.subluxed[index] or disease.jsn[index] == 4:
                continue
            if body.hidden[index]:
                continue
            head, base = (dense(body.bone(name).body) for name in site.bones)
            head = head[np.hypot(*(head - body.joints[index]).T) < 3.0]
            gap = np.median(np.hypot(*(head[:, None] - base[None]).transpose(2, 0, 1)).min(axis=1))
            errors.append(gap - body.space[index])
    assert abs(np.mean(errors)) < 0.2
    assert np.std(errors) < 0.2


@pytest.mark.parametrize("name", ["CMC-M", "CMC-R", "CMC-S", "SC", "SR"])
def test_the_gap_between_wrist_bones_is_the_joint_space(bodies, name):
    index, drawn, said = anatomy.SITE_INDEX[name], [], []
    for _, disease, _, body in bodies:
        if disease.jsn[index] == 4:
            continue
        first, second = (dense(body.bone(bone).body) for bone in anatomy.SITES[index].bones)
        first = first[np.hypot(*(first - body.joints[index]).T) < 3.5]
        drawn.append(np.median(np.hypot(*(first[:, None] - second[None]).transpose(2, 0, 1)).min(axis=1)))
        said.append(body.space[index])
    assert np.mean(np.abs(np.array(drawn) - said)) < 0.25
    assert np.corrcoef(drawn, said)[0, 1] > 0.75


def test_normal_spaces_lie_in_the_healthy_range(bodies):
    spaces = np.array([body.normal_space for *_, body in bodies])
    assert 1.3 < np.nanmean(spaces[:, :5]) < 1.8
    assert 0.85 < np.nanmean(spaces[:, 5:9]) < 1.15
    assert np.isnan(spaces[:, [not site.jsn for site in anatomy.SITES]]).all()


def test_the_space_drawn_is_the_remaining_share_of_the_normal_one(bodies):
    for _, disease, _, body in bodies:
        scored = [site.jsn for site in anatomy.SITES]
        np.testing.assert_allclose(body.space[scored], (body.normal_space * disease.ratio)[scored])


def test_a_follow_up_keeps_the_anatomy():
    config = PhantomConfig(patients=6, seed=9)
    for index in range(6):
        first, second = body_of(config, index)[3], body_of(config, index, 1)[3]
        np.testing.assert_allclose(first.normal_space, second.normal_space, rtol=0.03)
        for digit in range(2, 6):
            assert first.bone(f"MC{digit}").length == pytest.approx(second.bone(f"MC{digit}").length)


def test_dislocated_bones_leave_their_heads():
    config = PhantomConfig(patients=200, seed=0)
    shifts = []
    for index in range(200):
        patient = patient_at(config, index, 0)
        if patient.severity < 0.8:
            continue
        _, disease, _, body = body_of(config, index)
        for site in np.flatnonzero(disease.dislocated):
            head, distal = (body.bone(name) for name in anatomy.SITES[site].bones)
            along = float((distal.origin - head.at(0.0, head.length)) @ curves.direction(distal.angle))
            shifts.append(along)
    assert len(shifts) > 5
    assert max(shifts) < 0.0, "a dislocated base overrides the head"


def test_splines_pass_through_their_points_and_offsets_point_inwards():
    square = np.array(((0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0)))
    spline = curves.closed_spline(square, steps=5)
    np.testing.assert_allclose(spline[::5], square, atol=1e-9)
    for polygon in (square, square[::-1]):
        inner = polygon + curves.inward_normals(polygon)
        assert abs(curves.signed_area(inner)) < abs(curves.signed_area(polygon))


def test_lesions_go_as_deep_as_their_grade_says(bodies):
    graded = {1: [], 2: [], 3: []}
    config = PhantomConfig(patients=40, seed=2)
    for index, (_, disease, _, body) in enumerate(bodies):
        for lesion in locate(body, disease.lesions, stream(config, "spots", index, side="R")):
            if lesion.plan.grade not in graded or lesion.plan.site < 0:
                continue
            bone = body.bones[lesion.target]
            nearest = np.hypot(*(lesion.outline[:, None] - bone.body[None]).transpose(2, 0, 1)).min(axis=1)
            margin = bone.body.astype(np.float32)
            inside = np.array(
                [cv2.pointPolygonTest(margin, tuple(point), False) > 0 for point in lesion.outline.tolist()]
            )
            assert inside.any(), "a lesion takes some of its bone"
            # Across a flat margin the deepest point lies `depth` from it; where it curves, other parts are nearer.
            assert nearest[inside].max() <= lesion.depth * 1.02 + 0.1, lesion.plan
            graded[lesion.plan.grade].append(lesion.depth)
            assert lesion.depth <= 18.0 * body.size * (0.24, 0.48, 0.72)[lesion.plan.grade - 1] + 1e-6
    assert all(len(found) > 3 for found in graded.values())


def test_contracted_fingers_are_short_bright_and_slide_over_the_bone_before(bodies):
    patient, disease, pose, _ = bodies[0]
    straight, bent = np.zeros((3, 5)), np.zeros((3, 5))
    bent[1, 2] = 86.0
    flat, contracted = (
        build(patient, disease, dataclasses.replace(pose, flexion=flexion), np.random.default_rng(0))
        for flexion in (straight, bent)
    )
    site = anatomy.SITE_INDEX["PIP-M"]
    assert list(np.flatnonzero(contracted.hidden)) == [site] and not flat.hidden.any()
    assert contracted.bone("MP3").length < 0.5 * flat.bone("MP3").length
    assert contracted.bone("MP3").path > 2.0 > 1.1 > flat.bone("MP3").path
    head = contracted.bone("PP3").outline.astype(np.float32)
    covered = [cv2.pointPolygonTest(head, tuple(point), False) > 0 for point in contracted.bone("MP3").outline.tolist()]
    assert np.mean(covered) > 0.2
    for name in ("PP2", "PP3", "MP4"):
        assert contracted.bone(name).length == pytest.approx(flat.bone(name).length)


def test_only_severe_hands_have_contractures():
    def bending(severity):
        poses = (sample_pose(np.random.default_rng(seed), 0.0, severity) for seed in range(200))
        return np.array([pose.flexion.max() for pose in poses])

    assert bending(0.0).max() <= 42.0 and bending(0.5).max() <= 42.0
    assert 0.2 < (bending(1.5) > 50.0).mean() < 0.7 and bending(1.5).max() <= 88.0

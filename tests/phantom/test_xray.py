"""Attenuation: what the beam meets is what is drawn."""

import dataclasses

import cv2
import numpy as np
import pytest

from ramjax.phantom import Case, PhantomConfig, assembly, detector, lesions, skeleton, texture, xray
from ramjax.phantom.cohort import patient_at
from ramjax.phantom.config import stream
from ramjax.phantom.disease import disease_of
from ramjax.phantom.framing import frame

CONFIG = PhantomConfig(patients=60, seed=1, scale=0.4)


def scene(index, side="R"):
    case = Case(index, 0, side)
    patient = patient_at(CONFIG, index, 0)
    disease = disease_of(CONFIG, case, patient)
    pose = skeleton.sample_pose(stream(CONFIG, "pose", index, 0, side), disease.drift, patient.severity)
    body = assembly.build(patient, disease, pose, stream(CONFIG, "anatomy", index))
    placed = lesions.locate(body, disease.lesions, stream(CONFIG, "spots", index, side=side))
    picture = frame(CONFIG, case, body, pose)
    return patient, disease, body, placed, xray.Grid(picture.to_pixels, picture.shape, picture.mm)


@pytest.fixture(scope="module")
def eroded():
    index = next(i for i in range(60) if patient_at(CONFIG, i, 0).severity > 0.9)
    return scene(index)


def attenuation(patient, disease, body, placed, grid):
    return xray.bone_attenuation(body.bones, placed, patient, disease, grid, np.random.default_rng(0))


def test_lesions_take_bone_away(eroded):
    patient, disease, body, placed, grid = eroded
    intact = attenuation(patient, disease, body, (), grid)
    for lesion in placed:
        if lesion.depth < 2.0:
            continue
        single = attenuation(patient, disease, body, (lesion,), grid)
        pixels = grid.pixels(lesion.outline)
        box = grid.box(pixels)
        y0, y1, x0, x1 = box
        own = xray.fill(grid.pixels(body.bones[lesion.target].body), box) & xray.fill(pixels, box)
        own = cv2.erode(own, np.ones((3, 3), np.uint8)) > 0
        if own.sum() < 6:
            continue
        left = single[y0:y1, x0:x1][own].mean() / intact[y0:y1, x0:x1][own].mean()
        assert left < 0.93, (lesion.plan, left)


def test_cortex_is_brightest_along_the_edges_of_a_shaft(eroded):
    patient, disease, body, _, grid = eroded
    total = attenuation(patient, disease, body, (), grid)
    for name in ("MC2", "MC3"):
        bone = body.bone(name)
        across = np.stack([bone.at(u, 0.55 * bone.length) for u in np.linspace(-0.45, 0.45, 31) * bone.widths[1]])
        x, y = grid.pixels(across).round().astype(int).T
        profile = total[y, x]
        assert max(profile[:10].max(), profile[-10:].max()) > 1.15 * profile[13:18].mean()


def test_thinner_cortex_attenuates_less(eroded):
    patient, disease, body, _, grid = eroded
    thin = dataclasses.replace(patient, cortex=0.5 * patient.cortex)
    assert attenuation(thin, disease, body, (), grid).sum() < 0.9 * attenuation(patient, disease, body, (), grid).sum()


def test_bones_outside_the_raster_do_not_matter(eroded):
    patient, disease, body, placed, grid = eroded
    away = xray.Grid(grid.to_pixels + np.array(((0, 0, 1e5), (0, 0, 0))), grid.shape, grid.mm)
    assert not attenuation(patient, disease, body, placed, away).any()


def test_more_attenuation_is_never_darker():
    exposure = dataclasses.replace(
        detector.sample_exposure(np.random.default_rng(3)),
        noise=0.0,
        scatter=0.0,
        edge=0.0,
        equalise=0.0,
        gradient=np.zeros(2),
    )
    ramp = np.repeat(np.linspace(0.0, 1.5, 400, dtype=np.float32)[None], 300, axis=0)
    image = detector.develop(detector.expose(ramp.copy(), exposure, 0.3, np.random.default_rng(0)), exposure, 0.3)
    assert (np.diff(image[150].astype(int)) >= 0).all()
    assert image.max() - image.min() > 80


def test_fused_joints_lose_their_gap():
    field = np.ones((80, 80), np.float32)
    field[38:42] = 0.2
    grid = xray.Grid(np.array(((1 / 0.3, 0.0, 40.0), (0.0, 1 / 0.3, 40.0))), (80, 80), 0.3)
    before = field[40, 40]
    xray.fuse(field, np.zeros((1, 2)), np.array([14.0]), np.array([0.0]), grid)
    assert field[40, 40] > 2.0 * before
    assert field[40, 2] == pytest.approx(before)


def test_texture_tiles_repeat_seamlessly_and_are_normalised():
    for tile in (texture.trabeculae(True), texture.trabeculae(False), texture.grain(), texture.clouds()):
        assert abs(float(tile.mean())) < 0.02 and float(tile.std()) == pytest.approx(1.0, abs=0.02)
    net = texture.trabeculae(False)
    seam = np.abs(net[0] - net[-1]).mean()
    assert seam < 1.3 * np.abs(np.diff(net, axis=0)).mean()
    piece = texture.cut(net, (900, 700), np.random.default_rng(0))
    np.testing.assert_array_equal(piece[:260], piece[640:900])


def test_a_diseased_carpus_clouds_over_and_nothing_else_changes(eroded):
    _, _, body, _, grid = eroded
    field = np.zeros(grid.shape, np.float32)
    carpals = np.zeros(grid.shape, np.uint8)
    for bone in body.bones:
        if bone.kind == "carpal" and bone.name != "Sesamoid":
            pixels = grid.pixels(bone.outline)
            y0, y1, x0, x1 = box = grid.box(pixels)
            carpals[y0:y1, x0:x1] |= xray.fill(pixels, box)
    field[:, ::2] = 1.0  # narrow gaps everywhere
    healthy, diseased = field.copy(), field.copy()
    xray.cloud(healthy, body.bones, 0.0, grid, np.random.default_rng(0))
    xray.cloud(diseased, body.bones, 0.7, grid, np.random.default_rng(0))
    np.testing.assert_array_equal(healthy, field)
    inside = carpals > 0
    far = cv2.dilate(carpals, np.ones((3, 3), np.uint8), iterations=int(8.0 / grid.mm)) == 0
    np.testing.assert_allclose(diseased[far], field[far], atol=1e-4)
    assert diseased[inside & (field == 0)].mean() > 0.15
    assert diseased[inside].std() < 0.9 * field[inside].std()

"""`render` makes one synthetic radiograph with its exact truth."""

import dataclasses
import math

import cv2
import numpy as np

from ramjax import anatomy
from ramjax.phantom import artefacts, assembly, detector, lesions, skeleton, soft_tissue, xray
from ramjax.phantom.cohort import Patient, patient_at
from ramjax.phantom.config import Case, PhantomConfig, stream
from ramjax.phantom.disease import Disease, disease_of
from ramjax.phantom.framing import Frame, frame
from ramjax.phantom.lesions import Lesion
from ramjax.phantom.skeleton import Skeleton
from ramjax.record import Joint, Record

FINEST_MM = 0.36
"""Rasters for the beam are no coarser than this: a cortex of half a millimetre must not fall between pixels."""

COARSE_MM = 0.75
"""Pixel size at which flesh is drawn."""

# Sides of the boxes in mm for a body of mean size, as a reader cuts them: the joint with the ends of its bones.
_BOX = {
    "MCP": 26.0,
    "PIP": 20.0,
    "IP": 22.0,
    "CMC-T": 20.0,
    "R": (25.0, 30.0),
    "U": (18.0, 20.0),
    "CMC": 16.0,
    "SC": 17.0,
    "SR": 18.0,
    "STT": 18.0,
}
_BONE_BOXES = {"Tm": "Trapezium", "S": "Scaphoid", "L": "Lunate"}
_BONE_MARGIN = 3.0

_CUT = 0.1
"""A box that the picture's border shortens by more than this share of its area no longer tells where its joint is."""


@dataclasses.dataclass(frozen=True)
class ErosionTruth:
    """A lesion as it appears: `site` index in `anatomy.SITES` or -1, bone name, label 1-3, grade, area in the
    picture, centre (x, y) in continuous pixel coordinates (pixel i covers [i, i + 1)).
    """

    site: int
    bone: str
    label: int
    grade: int
    area_mm2: float
    depth_mm: float
    center_xy: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Truth:
    """The exact truth, most of which no reader could annotate.

    Attributes:
      joint_space_mm: float (22,), joint space drawn; 0 where ankylosed or dislocated, NaN where narrowing is not
        scored.
      normal_joint_space_mm: float (22,), the patient's healthy joint space there.
      erosion_area_mm2: float (22,), area of the site's lesions on its bones, in the picture.
      erosions: every lesion.
      be, jsn: int (22,), scores whether or not the site is in the picture; -1 where not scored.
      dislocated, subluxed: bool (22,).
      joint_center_xy: float (22, 2), continuous pixel coordinates (pixel i covers [i, i + 1)), whether or not they are
        in the picture.
      severity: of the patient's disease, 0 none.
      disease: the disease in full.
      patient: the patient's traits.
    """

    joint_space_mm: np.ndarray
    normal_joint_space_mm: np.ndarray
    erosion_area_mm2: np.ndarray
    erosions: tuple[ErosionTruth, ...]
    be: np.ndarray
    jsn: np.ndarray
    dislocated: np.ndarray
    subluxed: np.ndarray
    joint_center_xy: np.ndarray
    severity: float
    disease: Disease
    patient: Patient


@dataclasses.dataclass(frozen=True)
class Phantom:
    """A synthetic radiograph: the record as any data set yields it, and the truth behind it."""

    record: Record
    truth: Truth


def render(config: PhantomConfig, case: Case) -> Phantom:
    """Renders one case. The result depends on the configuration's seed, scale and framing and on the case alone.

    A bone's mask is its outline before erosion, as an annotator completes the contour; the erosion mask marks what
    is gone of it.
    """
    patient = patient_at(config, case.patient, case.visit)
    disease = disease_of(config, case, patient)
    pose = skeleton.sample_pose(
        stream(config, "pose", case.patient, case.visit, case.side), disease.drift, patient.severity
    )
    body = assembly.build(patient, disease, pose, stream(config, "anatomy", case.patient))
    placed = lesions.locate(body, disease.lesions, stream(config, "spots", case.patient, side=case.side))
    picture = frame(config, case, body, pose)

    flesh = _flesh(config, case, body, patient, disease, picture)
    silhouette = cv2.resize(flesh[1], picture.shape[::-1], interpolation=cv2.INTER_LINEAR)
    words, bone_masks = _masks(body, picture)
    words |= (silhouette > 0.5).astype(np.uint32) << np.uint32(anatomy.SOFT_TISSUE)
    labels, found = _erosions(placed, bone_masks, body, picture)
    image = _image(config, case, body, placed, patient, disease, picture, flesh)

    centers = picture.locate(body.joints)
    joints, joints_known = _joints(body, disease, picture, centers)
    area = np.zeros(anatomy.NUM_SITES)
    for lesion in found:
        if lesion.site >= 0:
            area[lesion.site] += lesion.area_mm2
    key = f"phantom_P{case.patient:04d}"
    record = Record(
        image=image,
        bones=words.astype("<u4", copy=False).view(np.uint8).reshape(*picture.shape, 4),
        bones_known=np.ones(anatomy.NUM_BONES, bool),
        erosions=labels,
        joints=joints,
        joints_known=joints_known,
        id=f"{key}_V{case.visit}_{case.side}",
        dataset="ram_phantom",
        patient=key,
        visit=f"V{case.visit}",
        center="phantom",
        side=case.side,
        sex=patient.sex,
        age=round(patient.age, 1),
        is_ra=int(patient.severity > 0.0),
        view=picture.view,
        pixel_spacing_mm=picture.mm,
    )
    truth = Truth(
        joint_space_mm=body.space,
        normal_joint_space_mm=body.normal_space,
        erosion_area_mm2=area,
        erosions=found,
        be=disease.be,
        jsn=disease.jsn,
        dislocated=disease.dislocated,
        subluxed=disease.subluxed,
        joint_center_xy=centers,
        severity=patient.severity,
        disease=disease,
        patient=patient,
    )
    return Phantom(record, truth)


def _beam_grid(picture: Frame) -> xray.Grid:
    """Returns the raster for the beam, a whole number of times finer than the picture."""
    finer = max(math.ceil(picture.mm / FINEST_MM - 1e-6), 1)
    rows, columns = picture.shape[0] * finer, picture.shape[1] * finer
    return xray.Grid(picture.resampled(rows, columns), (rows, columns), picture.mm / finer)


def _flesh(
    config: PhantomConfig, case: Case, body: Skeleton, patient: Patient, disease: Disease, picture: Frame
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the flesh's thickness in mm and its silhouette, both float32 on the coarse grid."""
    rows, columns = (max(round(n * picture.mm / COARSE_MM), 8) for n in picture.shape)
    rng = stream(config, "soft_tissue", case.patient)
    return soft_tissue.render(body, patient, disease, picture.resampled(rows, columns), (rows, columns), COARSE_MM, rng)


def _masks(body: Skeleton, picture: Frame) -> tuple[np.ndarray, list[tuple[tuple, np.ndarray]]]:
    """Returns the packed bones uint32 (H, W), and each bone's box and uint8 mask within it."""
    grid = xray.Grid(picture.to_pixels, picture.shape, picture.mm)
    words = np.zeros(picture.shape, np.uint32)
    masks = []
    for bone in body.bones:
        pixels = grid.pixels(bone.outline)
        box = grid.box(pixels)
        mask = xray.fill(pixels, box)
        y0, y1, x0, x1 = box
        words[y0:y1, x0:x1] |= mask.astype(np.uint32) << np.uint32(anatomy.BONE_INDEX[bone.name])
        masks.append((box, mask))
    return words, masks


def _erosions(
    placed: tuple[Lesion, ...], bone_masks: list, body: Skeleton, picture: Frame
) -> tuple[np.ndarray, tuple[ErosionTruth, ...]]:
    """Returns the erosion labels uint8 (H, W), lower numbers on top, and the lesions' truth."""
    grid = xray.Grid(picture.to_pixels, picture.shape, picture.mm)
    labels = np.zeros(picture.shape, np.uint8)
    found = []
    for lesion in sorted(placed, key=lambda lesion: -lesion.plan.label):
        pixels = grid.pixels(lesion.outline)
        box, mask = bone_masks[lesion.target]
        lies = grid.box(pixels)
        y0, y1, x0, x1 = max(box[0], lies[0]), min(box[1], lies[1]), max(box[2], lies[2]), min(box[3], lies[3])
        area = 0.0
        if y1 > y0 and x1 > x0:
            hole = xray.fill(pixels, (y0, y1, x0, x1)) & mask[y0 - box[0] : y1 - box[0], x0 - box[2] : x1 - box[2]]
            labels[y0:y1, x0:x1][hole > 0] = lesion.plan.label
            area = float(np.count_nonzero(hole)) * picture.mm**2
        x, y = picture.locate(lesion.middle[None])[0]
        plan = lesion.plan
        found.append(
            ErosionTruth(plan.site, plan.bone, plan.label, plan.grade, area, lesion.depth, (float(x), float(y)))
        )
    return labels, tuple(found)


def _image(
    config: PhantomConfig,
    case: Case,
    body: Skeleton,
    placed: tuple[Lesion, ...],
    patient: Patient,
    disease: Disease,
    picture: Frame,
    flesh: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Returns the radiograph uint8 (H, W)."""
    key = (case.patient, case.visit, case.side)
    grid, lost = _beam_grid(picture), _wrist_loss(disease)
    texture_rng, exposure_rng, rng = (stream(config, purpose, *key) for purpose in ("texture", "exposure", "artefacts"))
    exposure = detector.sample_exposure(exposure_rng)
    attenuation = xray.bone_attenuation(body.bones, placed, patient, disease, grid, texture_rng)
    attenuation += xray.details(body.bones, lost, body.size, grid, texture_rng)
    thickness, silhouette = (cv2.resize(part, grid.shape[::-1], interpolation=cv2.INTER_LINEAR) for part in flesh)
    thickness *= soft_tissue.skin(silhouette)
    thickness *= np.float32(xray.MU_SOFT)
    attenuation += thickness
    xray.cloud(attenuation, body.bones, lost, grid, texture_rng)
    xray.fuse(attenuation, *_ankylosed(body, disease), grid)
    metal = artefacts.metal(body, grid, case.side, rng)
    if metal is not None:
        attenuation += metal
    light = detector.expose(attenuation, exposure, grid.mm, exposure_rng)
    artefacts.collimate(light, grid.mm, rng)
    if grid.shape != picture.shape:
        light = cv2.resize(light, picture.shape[::-1], interpolation=cv2.INTER_AREA)
    return artefacts.overlay(detector.develop(light, exposure, picture.mm), picture.mm, rng)


def _wrist_loss(disease: Disease) -> float:
    """Returns the mean share of joint space that the wrist has lost, 0 to 1."""
    wrist = [site.jsn and site.region == "wrist" for site in anatomy.SITES]
    return 1.0 - float(disease.ratio[wrist].mean())


def _ankylosed(body: Skeleton, disease: Disease) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns centres (n, 2) and widths (n,) in mm and axes (n,) in degrees of the fused joints."""
    fused = np.flatnonzero((disease.jsn == anatomy.JSN_MAX) & ~disease.dislocated)
    distal = [body.bone(anatomy.SITES[site].bones[-1]) for site in fused]
    widths = [0.9 * bone.widths[0] if bone.kind == "long" else 11.0 * body.size for bone in distal]
    return body.joints[fused], np.array(widths), np.array([bone.angle for bone in distal])


def _joints(
    body: Skeleton, disease: Disease, picture: Frame, centers: np.ndarray
) -> tuple[tuple[Joint, ...], np.ndarray]:
    """Returns the joints whose boxes lie in the picture, but for `_CUT` of their area, which its border cuts off, and
    bool (22,): False where it cuts more, so that the joint is neither whole nor absent.
    """
    rows, columns = picture.shape
    joints, known = [], np.ones(anatomy.NUM_SITES, bool)
    for index, site in enumerate(anatomy.SITES):
        x, y = centers[index]
        if site.name in _BONE_BOXES:
            pixels = picture.locate(body.bone(_BONE_BOXES[site.name]).body)
            margin = _BONE_MARGIN * body.size / picture.mm
            (x0, y0), (x1, y1) = pixels.min(axis=0) - margin, pixels.max(axis=0) + margin
        else:
            side = _BOX.get(site.name) or _BOX.get(site.region) or _BOX[site.name.split("-")[0]]
            tall, wide = np.broadcast_to(side, 2) * body.size / picture.mm
            x0, y0, x1, y1 = x - 0.5 * wide, y - 0.5 * tall, x + 0.5 * wide, y + 0.5 * tall
        whole = np.array((y0 / rows, x0 / columns, y1 / rows, x1 / columns))
        box = np.clip(whole, 0.0, 1.0)
        visible = np.prod(box[2:] - box[:2])
        if visible < (1.0 - _CUT) * np.prod(whole[2:] - whole[:2]):
            known[index] = visible == 0.0
            continue
        joints.append(Joint(tuple(float(v) for v in box), site.name, int(disease.be[index]), int(disease.jsn[index])))
    return tuple(joints), known

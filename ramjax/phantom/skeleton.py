"""The kinematic hand: proportions, pose, and all 29 bones in place.

Lengths are means of adults by Buryanov and Kotiuk (Int J Morphol 2010;28:755-8); widths are textbook values (docs/anatomy.md: metacarpal
shafts 8-9 mm and heads 14-16 mm wide, middle phalanx shafts 7-8 mm), the others in proportion to them as on posteroanterior films.
"""

import dataclasses

import numpy as np

from ramjax import anatomy
from ramjax.phantom import bones, carpus, curves
from ramjax.phantom.bones import Bone
from ramjax.phantom.cohort import Patient
from ramjax.phantom.disease import Disease

LENGTHS = {
    "MC": (46.2, 68.1, 64.6, 58.0, 53.7),
    "PP": (31.6, 39.8, 44.6, 41.4, 32.7),
    "MP": (0.0, 22.4, 26.3, 25.7, 18.1),
    "DP": (21.7, 15.8, 17.4, 17.3, 16.0),
}
"""mm, digits 1 to 5."""

LENGTH_VARIATION = 0.025
"""Standard deviation of a bone's length beyond the body's size."""

# Base, waist and head widths in mm, digits 1 to 5; a metacarpal's base is drawn by `carpus` except the thumb's.
_WIDTHS = {
    "MC": ((15.0, 10.4, 15.4), (15.0, 8.6, 16.4), (14.0, 8.6, 16.6), (10.5, 6.9, 14.4), (12.0, 7.6, 13.6)),
    "PP": ((15.6, 9.2, 12.4), (15.6, 9.0, 11.8), (16.2, 9.3, 12.4), (14.8, 8.3, 11.4), (13.2, 7.0, 9.6)),
    "MP": ((0.0, 0.0, 0.0), (13.2, 7.8, 9.8), (13.8, 8.2, 10.4), (12.8, 7.6, 9.8), (10.6, 6.4, 8.4)),
    "DP": ((13.2, 6.2, 9.2), (10.2, 4.2, 6.8), (10.8, 4.4, 7.2), (10.4, 4.2, 7.0), (9.0, 3.6, 5.8)),
}

# Resting directions in degrees to the ulnar side: metacarpals as they fan out from the carpus, fingers at spread 1.
_FAN = (-38.0, -6.0, 1.0, 8.5, 16.5)
_SPREAD = (0.0, -8.0, -1.5, 5.0, 17.0)
_BASES = np.array(((0.0, 0.0), (-12.6, 0.6), (-0.8, 0.0), (8.9, 2.6), (16.6, 5.0)))

NORMAL_SPACE = {"MCP": 1.75, "PIP": 1.1, "CMC": 1.5, "SC": 1.7, "STT": 1.6, "SR": 2.0}
"""Joint space widths of a healthy young man in mm (docs/anatomy.md; Peloschek et al., Radiology 2007;245:199-206 for the fingers)."""


@dataclasses.dataclass(frozen=True)
class Pose:
    """How the hand lies. Angles in degrees, positive to the ulnar side.

    Attributes:
      spread: of the fingers; 0 closed, 1 relaxed, 1.8 wide.
      thumb: direction of MC1 relative to MC3, about -65 (wide) to -20 (adducted).
      thumb_bend: PP1 and DP1 relative to the bone before (2,).
      wrist: deviation of the wrist, -12 to 12.
      turn: rotation of the whole hand in the image, -15 to 15.
      sway: small deviations of PP, MP, DP of digits 2-5 from their line (3, 4).
      flexion: angle of PP, MP, DP of digits 1-5 out of the image plane (3, 5); a bone appears shorter by its cosine.
    """

    spread: float
    thumb: float
    thumb_bend: np.ndarray
    wrist: float
    turn: float
    sway: np.ndarray
    flexion: np.ndarray


def sample_pose(rng: np.random.Generator, drift: float, extent: float) -> Pose:
    """Draws a pose; with the disease's ulnar drift (degrees) and extent (severity) fingers bend more."""
    spread = float(rng.choice((rng.uniform(-0.1, 0.5), rng.uniform(0.5, 1.4), rng.uniform(1.4, 1.8)), p=(0.25, 0.62, 0.13)))
    curl = np.abs(rng.normal(0.0, 6.0 + 5.0 * extent))
    flexion = np.abs(rng.normal(0.6 * curl, 6.0, (3, 5))) * np.array((0.5, 1.0, 1.0))[:, None]
    bend = np.array((rng.normal(10.0, 9.0), rng.normal(-2.0, 8.0)))
    return Pose(
        spread=spread,
        thumb=float(np.clip(rng.normal(-38.0, 9.0), -64.0, -17.0)),
        thumb_bend=bend,
        wrist=float(np.clip(rng.normal(-0.2 * drift, 4.5), -12.0, 12.0)),
        turn=float(np.clip(rng.normal(0.0, 6.0), -15.0, 15.0)),
        sway=rng.normal(0.0, (3.0,), (3, 4)) * np.array((1.0, 0.8, 1.1))[:, None],
        flexion=np.minimum(flexion, 42.0),
    )


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """The bones of one right hand in mm; x to the ulnar side, y proximal, origin near the capitate - MC3 joint.

    Attributes:
      bones: every bone's outline and make, proximal to distal along each ray; pisiform and sesamoids among them.
      joints: float (22, 2), centre of every site.
      normal_space: float (22,), the patient's healthy joint space in mm; NaN where narrowing is not scored.
      space: float (22,), the joint space drawn, 0 where fused or dislocated.
      size: body size the lengths were scaled by.
    """

    bones: tuple[Bone, ...]
    joints: np.ndarray
    normal_space: np.ndarray
    space: np.ndarray
    size: float

    def bone(self, name: str) -> Bone:
        """Returns the first bone of that name."""
        return next(bone for bone in self.bones if bone.name == name)


def normal_spaces(patient: Patient, rng: np.random.Generator) -> np.ndarray:
    """Returns the patient's healthy joint spaces (22,) in mm; less in women (0.1-0.2 mm) and with age, NaN where not scored."""
    share = 1.0 - (0.08 if patient.sex == "F" else 0.0) - 0.0016 * max(patient.age - 30.0, 0.0)
    share *= rng.normal(1.0, 0.06)
    own = rng.normal(1.0, 0.04, anatomy.NUM_SITES)
    table = [NORMAL_SPACE.get(site.region, NORMAL_SPACE.get(site.name.split("-")[0], 0.0)) for site in anatomy.SITES]
    return np.where([site.jsn for site in anatomy.SITES], np.array(table) * np.clip(share * own, 0.7, 1.2), np.nan)


def build(patient: Patient, disease: Disease, pose: Pose, rng: np.random.Generator) -> Skeleton:
    """Places all bones. `rng` is the patient's anatomy stream: the same at every visit and, but for the mirror, in both hands."""
    size, stout = patient.size, patient.stoutness
    wrist = carpus.SCALE * size
    normal = normal_spaces(patient, rng)
    space = normal * disease.ratio
    gap = dict(zip(anatomy.SITE_NAMES, space, strict=True))
    variation = {kind: rng.normal(1.0, LENGTH_VARIATION, 5) for kind in LENGTHS}
    fan = np.array(_FAN) + rng.normal(0.0, 1.0, 5)
    placed: list[Bone] = []
    joints = np.zeros((anatomy.NUM_SITES, 2))

    def length(kind: str, digit: int, flexion: float = 0.0) -> float:
        return float(LENGTHS[kind][digit - 1] * size * variation[kind][digit - 1] * np.cos(np.deg2rad(flexion)))

    def width(kind: str, digit: int) -> tuple[float, float, float]:
        base, waist, head = (size * stout * w for w in _WIDTHS[kind][digit - 1])
        return base, waist, head

    def site(name: str) -> int:
        return anatomy.SITE_INDEX[name]

    ratios = dict(zip(anatomy.SITE_NAMES, disease.ratio, strict=True))
    normals = dict(zip(anatomy.SITE_NAMES, normal, strict=True))
    joint_widths = carpus.widths(normals, ratios, rng)
    warp = bones.PuzzleWarp.draw(rng, wrist)
    for name, points in carpus.OUTLINES.items():
        outline, body = (warp(carpus.withdrawn(points, joint_widths, wrist, beyond)) for beyond in (carpus.lips(name, rng), None))
        placed.append(bones.carpal(name, outline, body, wrist, rng))
    pisiform = warp(wrist * np.array(((17.6, 19.4),)))[0] + rng.normal(0.0, 0.9, 2) * size
    placed.append(bones.oval("PisiformTriquetrum", pisiform, (5.4 * size, 6.8 * size), rng.normal(-10.0, 12.0), size, rng))

    for digit, letter in enumerate(anatomy.FINGERS, 1):
        angle = pose.thumb if digit == 1 else fan[digit - 1]
        if digit == 1:
            origin = warp(wrist * carpus.SADDLE[None])[0] + curves.direction(angle) * 1.1
            placed.append(bones.thumb_metacarpal(origin, angle, length("MC", 1), width("MC", 1), rng))
        else:
            origin = warp(wrist * _BASES[digit - 1][None])[0]
            name = f"MC{digit}"
            base = tuple(
                warp(carpus.withdrawn(carpus.METACARPAL_BASES[name], joint_widths, wrist, beyond)) for beyond in (carpus.lips(name, rng), None)
            )
            placed.append(bones.metacarpal(name, base, origin, angle, length("MC", digit), width("MC", digit), rng))
        for rank, kind in enumerate(("PP", "MP", "DP")):
            if digit == 1 and kind == "MP":
                continue
            before = placed[-1]
            name = _site_between(kind, letter)
            if digit == 1:
                bend = pose.thumb_bend[0 if kind == "PP" else 1]
                angle = before.angle + bend
            elif kind == "PP":
                angle = fan[2] + pose.spread * (_SPREAD[digit - 1] - _SPREAD[2]) + _SPREAD[2] + pose.sway[0, digit - 2] + disease.drift
            else:
                angle = before.angle + pose.sway[rank, digit - 2]
            index = site(name) if name else -1
            between = gap[name] if name and name in gap and np.isfinite(gap[name]) else 1.0 * size
            dislocated = bool(index >= 0 and disease.dislocated[index])
            subluxed = bool(index >= 0 and disease.subluxed[index])
            width_here = width(kind, digit)
            origin = before.socket(angle, between if between > 0.0 else -0.6)
            if subluxed:
                # The distal bone slips to the ulnar side; dislocated, it also overrides the head.
                origin = origin + curves.lateral(angle) * (0.28 + 0.12 * dislocated) * width_here[0]
                origin = origin - curves.direction(angle) * (0.42 * width_here[0] * dislocated)
            make = bones.distal_phalanx if kind == "DP" else bones.phalanx
            placed.append(make(f"{kind}{digit}", origin, angle, length(kind, digit, pose.flexion[rank, digit - 1]), width_here, rng))
            if index >= 0:
                joints[index] = 0.5 * (before.socket(angle, 0.0) + origin)
    placed += _sesamoids({bone.name: bone for bone in placed}, size, rng)

    placed = [bone.moved(lambda p: carpus.deviate(p, pose.wrist, disease.collapse, wrist), pose.wrist) for bone in placed]
    moved = {bone.name: bone for bone in placed}
    for name in ("MCP-T", "MCP-I", "MCP-M", "MCP-R", "MCP-S", "PIP-I", "PIP-M", "PIP-R", "PIP-S", "IP"):
        joints[site(name)] = carpus.deviate(joints[site(name)][None], pose.wrist, disease.collapse, wrist)[0]
    for name, points in _wrist_points().items():
        joints[site(name)] = carpus.deviate(warp(wrist * points), pose.wrist, disease.collapse, wrist).mean(axis=0)
    for name, bone in (("Tm", "Trapezium"), ("S", "Scaphoid"), ("L", "Lunate")):
        body = moved[bone].body
        joints[site(name)] = 0.5 * (body.min(axis=0) + body.max(axis=0))
    joints[site("CMC-T")] = moved["MC1"].origin + 2.0 * size * curves.direction(moved["MC1"].angle)
    return Skeleton(tuple(placed), joints, normal, space, size)


def _site_between(kind: str, letter: str) -> str | None:
    """Returns the site proximal to a phalanx, None for the unscored joints before the fingers' end phalanges."""
    if kind == "PP":
        return f"MCP-{letter}"
    if letter == "T":
        return "IP"
    return f"PIP-{letter}" if kind == "MP" else None


def _wrist_points() -> dict[str, np.ndarray]:
    """Returns the points whose mean is the centre of each wrist joint, in the neutral wrist's coordinates."""
    shared = {}
    for outline in carpus.OUTLINES.values():
        for x, y, name in outline:
            shared.setdefault(name, set()).add((x, y))
    points = {name: np.array(sorted(shared[name])) for name in ("CMC-M", "CMC-R", "CMC-S", "SC", "SR", "STT")}
    return {**points, "R": np.array(((-20.0, 29.0), (8.0, 37.0))), "U": np.array(((10.0, 36.5), (24.8, 36.5)))}


def _sesamoids(placed: dict[str, Bone], size: float, rng: np.random.Generator) -> list[Bone]:
    """Returns two sesamoids at the thumb's MCP joint and, often, one at MCP 2 and MCP 5 (prevalence about 45 and 70 %)."""
    found = []
    presence = rng.random(3)
    spots = (
        (1, 0.62, 3.4, 1.0), (1, -0.12, 3.6, 1.0), (2, -0.5, 4.2, 0.45), (5, 0.5, 4.0, 0.7),
    )  # fmt: skip
    for (digit, side, below, share), chance in zip(spots, (0.0, presence[0] * 0.9, presence[1], presence[2]), strict=True):
        head = placed[f"MC{digit}"]
        half = 0.5 * head.widths[2]
        at = np.array((side * half * 1.25, head.length - below * size + rng.normal(0.0, 1.0)))
        radii = (rng.uniform(1.5, 2.4) * size, rng.uniform(2.0, 3.1) * size)
        oval = bones.oval("Sesamoid", curves.place(at, head.origin, head.angle), radii, head.angle + rng.normal(0.0, 20.0), size, rng)
        if chance < share:
            found.append(oval)
    return found

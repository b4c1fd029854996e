"""Puts all 29 bones in their places: the wrist, then each digit bone by bone along its ray."""

import dataclasses
from collections.abc import Callable

import numpy as np

from ramjax import anatomy
from ramjax.phantom import bones, carpus, curves
from ramjax.phantom.bones import Bone
from ramjax.phantom.cohort import Patient
from ramjax.phantom.disease import Disease
from ramjax.phantom.skeleton import LENGTH_VARIATION, LENGTHS, WIDTHS, Pose, Skeleton, normal_spaces

# Resting directions in degrees to the ulnar side: metacarpals as they fan out from the carpus, fingers at spread 1.
_FAN = (-38.0, -6.0, 1.0, 8.5, 16.5)
_SPREAD = (0.0, -8.0, -1.5, 5.0, 17.0)

# Middles of the bases of metacarpals 2 to 5 in the wrist's coordinates (`carpus`).
_BASES = {2: (-12.6, 0.6), 3: (-0.8, 0.0), 4: (8.9, 3.0), 5: (16.6, 6.2)}

_END_ON, _END_ON_SPAN, _LONGEST_PATH = 45.0, 40.0, 3.0
"""Degrees of bending from which a bone slides over the one before, and over which it does so in full; and how many
times longer the beam's path through it becomes at most."""

_UNSCORED_SPACE = 1.0
"""mm: joint space of the fingers' distal joints and the thumb's IP, which the score does not grade."""

# A subluxed base lies this share of its width to the ulnar side; a dislocated one more, and it overrides the head.
_SUBLUXED, _DISLOCATED, _OVERRIDING = 0.28, 0.40, 0.42

_ANKYLOSED = -0.6
"""mm: joint space drawn for fused finger bones, which reach into each other."""


def build(patient: Patient, disease: Disease, pose: Pose, rng: np.random.Generator) -> Skeleton:
    """Places all bones.

    `rng` is the patient's anatomy stream: the same at every visit and, but for the mirror, in both hands.
    """
    size, wrist = patient.size, carpus.SCALE * patient.size
    normal = normal_spaces(patient, rng)
    space = normal * disease.ratio
    variation = {kind: rng.normal(1.0, LENGTH_VARIATION, 5) for kind in LENGTHS}
    fan = np.array(_FAN) + rng.normal(0.0, 1.0, 5)
    by_site = [dict(zip(anatomy.SITE_NAMES, values, strict=True)) for values in (normal, disease.ratio)]
    joint_widths = carpus.widths(*by_site, rng)
    warp = bones.PuzzleWarp.draw(rng, wrist)

    def shaped(name: str, points: tuple) -> tuple[np.ndarray, np.ndarray]:
        lips = carpus.lips(name, patient.severity, rng)
        return tuple(warp(carpus.withdrawn(points, joint_widths, wrist, beyond)) for beyond in (lips, None))

    placed = [bones.carpal(name, *shaped(name, points), wrist, rng) for name, points in carpus.OUTLINES.items()]
    pisiform = warp(wrist * carpus.PISIFORM[None])[0] + rng.normal(0.0, 0.9, 2) * size
    radii = (5.4 * size, 6.8 * size)
    placed.append(bones.oval("PisiformTriquetrum", pisiform, radii, rng.normal(-10.0, 12.0), rng))

    joints, hidden = np.zeros((anatomy.NUM_SITES, 2)), np.zeros(anatomy.NUM_SITES, bool)
    for digit in range(1, 6):
        widths = {kind: tuple(size * patient.stoutness * w for w in WIDTHS[kind][digit - 1]) for kind in WIDTHS}
        lengths = {kind: LENGTHS[kind][digit - 1] * size * variation[kind][digit - 1] for kind in LENGTHS}
        if digit == 1:
            origin = warp(wrist * carpus.SADDLE[None])[0] + 1.1 * curves.direction(pose.thumb)
            ray = [bones.thumb_metacarpal(origin, pose.thumb, lengths["MC"], widths["MC"], rng)]
        else:
            origin = warp(wrist * np.array((_BASES[digit],)))[0]
            base = shaped(f"MC{digit}", carpus.METACARPAL_BASES[f"MC{digit}"])
            ray = [bones.metacarpal(f"MC{digit}", base, origin, fan[digit - 1], lengths["MC"], widths["MC"], rng)]
        _extend(ray, digit, lengths, widths, pose, fan[2], disease, space, joints, hidden, size, rng)
        placed += ray
    placed += _sesamoids({bone.name: bone for bone in placed}, size, rng)

    def bend(points: np.ndarray) -> np.ndarray:
        return carpus.deviate(points, pose.wrist, disease.collapse, wrist)

    placed = bones.moved(placed, bend, pose.wrist)
    _center_wrist_joints(joints, placed, lambda points: bend(warp(wrist * points)), bend)
    return Skeleton(tuple(placed), joints, normal, space, hidden, size)


def _extend(
    ray: list[Bone],
    digit: int,
    lengths: dict[str, float],
    widths: dict[str, tuple],
    pose: Pose,
    middle: float,
    disease: Disease,
    space: np.ndarray,
    joints: np.ndarray,
    hidden: np.ndarray,
    size: float,
    rng: np.random.Generator,
) -> None:
    """Adds the phalanges to a ray that begins with its metacarpal, and the centres of its joints to `joints` (22, 2);
    marks in `hidden` (22,) those that its bending covers.

    `middle` is the direction of MC3, from which the fingers spread.
    """
    for rank, kind in enumerate(("PP", "MP", "DP")):
        if digit == 1 and kind == "MP":
            continue
        before, site = ray[-1], _site_before(kind, digit)
        if digit == 1:
            angle = before.angle + pose.thumb_bend[min(rank, 1)]
        elif kind == "PP":
            rest = middle + pose.spread * (_SPREAD[digit - 1] - _SPREAD[2]) + _SPREAD[2]
            angle = rest + pose.sway[0, digit - 2] + disease.drift
        else:
            angle = before.angle + pose.sway[rank, digit - 2]
        gap = _UNSCORED_SPACE * size if site is None or np.isnan(space[site]) else space[site]
        origin = before.socket(angle, gap if gap > 0.0 else _ANKYLOSED)
        flexion = pose.flexion[rank, digit - 1]
        bent = flexion - (pose.flexion[rank - 1, digit - 1] if rank else 0.0)
        thick = 0.7 * widths[kind][0]
        slid = _end_on(bent)
        origin = origin - slid * (before.head_radius + 0.5 * thick) * curves.direction(angle)
        if site is not None:
            aside, over = 0.0, 0.0
            if disease.subluxed[site]:
                aside = _DISLOCATED if disease.dislocated[site] else _SUBLUXED
                over = _OVERRIDING * disease.dislocated[site]
            base = widths[kind][0]
            origin = origin + base * (aside * curves.lateral(angle) - over * curves.direction(angle))
            hidden[site] = slid > 0.0
            joints[site] = 0.5 * (before.socket(angle, 0.0) + origin)
        cos, sin = np.cos(np.deg2rad(flexion)), np.sin(np.deg2rad(flexion))
        seen = float(np.hypot(lengths[kind] * cos, thick * sin))
        base, waist, head = widths[kind]
        round_end = waist + _end_on(flexion) * (0.97 * base - waist)  # its ends cover a shaft seen end-on
        make = bones.distal_phalanx if kind == "DP" else bones.phalanx
        bone = make(f"{kind}{digit}", origin, angle, seen, (base, round_end, max(head, round_end)), rng)
        path = float(min(1.0 / max(cos, 1e-3), lengths[kind] / thick, _LONGEST_PATH))
        ray.append(dataclasses.replace(bone, path=path))


def _end_on(degrees: float) -> float:
    """Returns how far a bone bent so much is seen end-on, 0 to 1."""
    return float(np.clip((degrees - _END_ON) / _END_ON_SPAN, 0.0, 1.0))


def _site_before(kind: str, digit: int) -> int | None:
    """Returns the site proximal to a phalanx, None for the unscored joints before the fingers' end phalanges."""
    letter = anatomy.FINGERS[digit - 1]
    if kind == "PP":
        return anatomy.SITE_INDEX[f"MCP-{letter}"]
    if digit == 1:
        return anatomy.SITE_INDEX["IP"]
    return anatomy.SITE_INDEX[f"PIP-{letter}"] if kind == "MP" else None


def _center_wrist_joints(joints: np.ndarray, placed: list[Bone], to_hand: Callable, bend: Callable) -> None:
    """Completes `joints` (22, 2): bends those of the fingers with the wrist, and finds the wrist's.

    `to_hand` maps points of the wrist's drawing (`carpus`) to the hand.
    """
    shared: dict[str, set] = {}
    for outline in carpus.OUTLINES.values():
        for x, y, name in outline:
            shared.setdefault(name, set()).add((x, y))
    points = {name: sorted(shared[name]) for name in ("CMC-M", "CMC-R", "CMC-S", "SC", "SR", "STT")}
    points.update(carpus.FOREARM_ENDS)
    bones_by_name = {bone.name: bone for bone in placed}
    for index, site in enumerate(anatomy.SITES):
        if site.region != "wrist":
            joints[index] = bend(joints[index][None])[0]
        elif site.name in points:
            joints[index] = to_hand(np.array(points[site.name])).mean(axis=0)
        elif site.name == "CMC-T":
            joints[index] = bones_by_name["MC1"].at(0.0, 0.0)
        else:
            body = bones_by_name[site.bones[0]].body
            joints[index] = 0.5 * (body.min(axis=0) + body.max(axis=0))


def _sesamoids(placed: dict[str, Bone], size: float, rng: np.random.Generator) -> list[Bone]:
    """Returns two sesamoids at the thumb's MCP joint and, in a share of hands, one at MCP 2 and one at MCP 5."""
    found = []
    # Digit, place in half widths of the head to the ulnar side and in mm below its top, share of hands that have it.
    for digit, side, below, share in (
        (1, 0.78, 3.4, 1.0),
        (1, -0.15, 3.6, 1.0),
        (2, -0.62, 4.2, 0.45),
        (5, 0.62, 4.0, 0.7),
    ):
        head = placed[f"MC{digit}"]
        at = head.at(0.5 * side * head.widths[2], head.length - below * size + rng.normal(0.0, 1.0))
        radii = (rng.uniform(1.5, 2.4) * size, rng.uniform(2.0, 3.1) * size)
        oval = bones.oval("Sesamoid", at, radii, head.angle + rng.normal(0.0, 20.0), rng)
        if rng.random() < share:
            found.append(oval)
    return found

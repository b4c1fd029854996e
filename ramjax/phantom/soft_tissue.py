"""The soft tissue: its silhouette and its thickness along the beam, drawn on a coarse grid, smoothed and enlarged."""

import itertools

import cv2
import numpy as np

from ramjax import anatomy
from ramjax.phantom import carpus, curves
from ramjax.phantom.cohort import Patient
from ramjax.phantom.disease import Disease
from ramjax.phantom.skeleton import Skeleton

# Half widths in mm of digits 1 to 5 at the base of the proximal phalanx, the PIP (thumb: IP) joint, the DIP joint
# and the tip.
_DIGIT_HALF_WIDTHS = (
    (12.5, 10.8, 10.2, 8.6),
    (11.0, 9.6, 8.4, 7.4),
    (11.2, 9.8, 8.6, 7.6),
    (10.4, 9.0, 8.0, 7.2),
    (9.2, 7.8, 7.0, 6.2),
)

_END_ON_PATH = 1.6
"""A middle phalanx with this `Bone.path` stands far enough out of the image plane that flesh is seen end-on."""

_FOLD = 3.0
"""mm that the strongest fold of the skin adds to the flesh."""

FLATNESS = 0.82
"""Thickness of a finger along the beam relative to its width."""


def render(
    skeleton: Skeleton,
    patient: Patient,
    disease: Disease,
    to_grid: np.ndarray,
    shape: tuple[int, int],
    mm: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Renders the flesh on a coarse grid.

    Args:
      to_grid: float (2, 3), affine map from hand coordinates in mm to grid coordinates in pixels.
      shape: (rows, columns) of the grid.
      mm: side of a grid pixel.

    Returns:
      thickness float32 (rows, columns) in mm, to be ended at the skin by `skin`; silhouette float32 (rows, columns),
      inside above 0.5, smooth enough to enlarge.
    """
    plump = patient.size * patient.stoutness * float(np.clip(rng.normal(1.0, 0.07), 0.86, 1.2))
    bones = {bone.name: bone for bone in skeleton.bones}
    outlines = [_finger(bones, digit, plump, disease, rng) for digit in range(1, 6)]
    domes = [(0.95 * width, 2.0 * FLATNESS * width) for _, width in outlines]
    outlines = [outline for outline, _ in outlines]
    outlines.append(_palm(bones, skeleton, plump, rng))
    balls = [ball for digit in range(2, 6) if (ball := _ball(bones, digit, plump))]
    domes.append((15.0 * plump, float(rng.uniform(23.0, 30.0)) * plump))
    thickness = np.zeros(shape, np.float32)
    # The silhouette is drawn finer and averaged: its edge must not step with the coarse grid.
    fine = 3
    cover = np.zeros((shape[0] * fine, shape[1] * fine), np.uint8)
    to_fine = fine * to_grid
    to_fine[:, 2] += 0.5 * fine - 0.5
    for outline, (reach, height) in zip(outlines, domes, strict=True):
        part = np.zeros(shape, np.uint8)
        _fill(part, outline, to_grid)
        np.maximum(thickness, _dome(part, mm, reach, height), out=thickness)
        _fill(cover, outline, to_fine, 255)
    for outline, reach, height in balls:
        part = np.zeros(shape, np.uint8)
        _fill(part, outline, to_grid)
        thickness += _dome(part, mm, reach, height)
        _fill(cover, outline, to_fine, 255)
    silhouette = cv2.resize(cover, shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    silhouette = cv2.GaussianBlur(silhouette, (0, 0), 1.2 / mm)
    inside = (silhouette > 0.5).astype(np.float32)
    rows, columns = np.indices(shape, dtype=np.float32)
    for center, radii, angle, gain in _muscles(bones, skeleton, rng):
        x, y = to_grid @ np.append(center, 1.0)
        turned = to_grid[:, :2] @ curves.direction(angle)
        along = turned / np.hypot(*turned)
        across = np.array((-along[1], along[0]))
        dx, dy = columns - np.float32(x), rows - np.float32(y)
        far = ((dx * along[0] + dy * along[1]) * (mm / radii[1])) ** 2 + (
            (dx * across[0] + dy * across[1]) * (mm / radii[0])
        ) ** 2
        thickness += gain * np.exp(-0.9 * far.astype(np.float32)) * inside
    thickness += _folds(bones, skeleton, to_grid, shape, mm, rng) * inside
    return cv2.GaussianBlur(thickness, (0, 0), 0.6 / mm), silhouette


def skin(silhouette: np.ndarray) -> np.ndarray:
    """Returns the share of the flesh's thickness near the skin: 0 outside, rising as steeply as a round body does."""
    return np.sqrt(np.clip(3.0 * (silhouette - np.float32(0.5)), 0.0, 1.0))


def _fill(canvas: np.ndarray, outline: np.ndarray, to_grid: np.ndarray, value: int = 1) -> None:
    points = outline @ to_grid[:, :2].T + to_grid[:, 2]
    cv2.fillPoly(canvas, [np.round(points * 16).astype(np.int32)], value, cv2.LINE_8, 4)


def _dome(mask: np.ndarray, mm: float, reach: float, height: float) -> np.ndarray:
    """Returns the thickness in mm of a body with an elliptic edge: 0 at the mask's rim, `height` from `reach` mm
    inwards.
    """
    inside = np.minimum(cv2.distanceTransform(mask, cv2.DIST_L2, 5) * np.float32(mm / reach), 1.0)
    return np.float32(height) * np.sqrt(inside * (2.0 - inside))


def _finger(
    bones: dict, digit: int, plump: float, disease: Disease, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Returns a digit's closed outline (n, 2) in mm, from the metacarpal head to beyond the tuft, and its mean half
    width.
    """
    letter = anatomy.FINGERS[digit - 1]
    base, pip, dip, tip = (plump * w * rng.normal(1.0, 0.025) for w in _DIGIT_HALF_WIDTHS[digit - 1])
    chain = [bones[f"{kind}{digit}"] for kind in ("PP", "MP", "DP") if f"{kind}{digit}" in bones]
    head, end = bones[f"MC{digit}"], chain[-1]
    swollen_mcp = disease.swelling[anatomy.SITE_INDEX[f"MCP-{letter}"]]
    swollen_pip = disease.swelling[anatomy.SITE_INDEX["IP" if digit == 1 else f"PIP-{letter}"]]
    knots = [
        (head.at(0.0, 0.72 * head.length), head.angle, base),
        (chain[0].origin, chain[0].angle, base + 2.5 * swollen_mcp),
    ]
    knots.append((chain[0].at(0.0, 0.5 * chain[0].length), chain[0].angle, 0.5 * (base + pip) * 0.97))
    knots.append((chain[1].origin, 0.5 * (chain[0].angle + chain[1].angle), pip + 2.8 * swollen_pip))
    if digit == 1:
        knots.append((end.at(0.0, 0.45 * end.length), end.angle, dip))
    else:
        knots.append((chain[1].at(0.0, 0.55 * chain[1].length), chain[1].angle, 0.5 * (pip + dip) * 0.98))
        knots.append((end.origin, 0.5 * (chain[1].angle + end.angle), dip))
    knots.append((end.at(0.0, 0.75 * end.length), end.angle, tip))
    left = [at - half * curves.lateral(angle) for at, angle, half in knots]
    right = [at + half * curves.lateral(angle) for at, angle, half in knots]
    over = end.length + plump * rng.uniform(3.2, 5.0)
    cap = [
        end.at(side * tip, over - drop * tip)
        for side, drop in ((-0.84, 0.55), (-0.45, 0.12), (0.45, 0.12), (0.84, 0.55))
    ]
    return curves.closed_spline(np.array([*left, *cap, *reversed(right)])), 0.5 * (pip + dip)


def _ball(bones: dict, digit: int, plump: float) -> tuple[np.ndarray, float, float] | None:
    """Returns outline (n, 2), reach and height in mm of the flesh that a finger seen end-on adds; None for others."""
    bone, width = bones[f"MP{digit}"], plump * _DIGIT_HALF_WIDTHS[digit - 1][1]
    if bone.path < _END_ON_PATH:
        return None
    phase = np.linspace(0.0, 2.0 * np.pi, 32, endpoint=False)
    local = np.stack((1.08 * width * np.cos(phase), width * np.sin(phase) + 0.5 * bone.length), axis=1)
    return curves.place(local, bone.origin, bone.angle), 0.7 * width, 8.0 * (bone.path - 1.0)


def _folds(
    bones: dict, skeleton: Skeleton, to_grid: np.ndarray, shape: tuple[int, int], mm: float, rng: np.random.Generator
) -> np.ndarray:
    """Returns what folds of the skin add in mm, float32 (rows, columns): in some hands, across the wrist, along the
    thenar, and over the bases of the fingers.
    """
    canvas, size = np.zeros(shape, np.uint8), skeleton.size
    thumb, index = bones["MC1"], bones["MC2"]
    y, bow = rng.uniform(24.0, 44.0) * size, rng.normal(0.0, 3.0, 2)
    folds = [np.array(((-27.0, y), (-10.0, y + bow[0]), (8.0, y + bow[1]), (28.0, y + rng.normal(0.0, 3.0))))]
    folds.append(
        np.array((
            thumb.at(9.0, 1.05 * thumb.length), thumb.at(rng.uniform(10.0, 16.0), 0.75 * thumb.length),
            index.at(-6.0, 0.45 * index.length), index.at(rng.uniform(-4.0, 6.0), 0.15 * index.length),
        ))
    )  # fmt: skip
    for digit in range(2, 6):
        bone, v, sag = bones[f"PP{digit}"], rng.uniform(0.3, 0.55), rng.normal(0.0, 1.5)
        folds.append(np.array([bone.at(u, v * bone.length + sag * (1.0 - (u / 9.0) ** 2)) for u in (-9.0, -3, 3, 9.0)]))
    for fold in folds:
        if rng.random() < 0.22:
            curve = curves.closed_spline(np.concatenate((fold, fold[-2:0:-1])), 8)[: 8 * (len(fold) - 1)]
            points = np.round((curve @ to_grid[:, :2].T + to_grid[:, 2]) * 16).astype(np.int32)
            cv2.polylines(canvas, [points], False, int(rng.uniform(60, 255)), max(round(1.0 / mm), 1), cv2.LINE_AA, 4)
    return canvas.astype(np.float32) * np.float32(_FOLD / 255.0)


def _palm(bones: dict, skeleton: Skeleton, plump: float, rng: np.random.Generator) -> np.ndarray:
    """Returns the closed outline (n, 2) in mm of palm, wrist and forearm, the webs between the fingers included."""
    thumb, index, little = bones["MC1"], bones["MC2"], bones["MC5"]
    web = [bones[f"PP{digit}"].at(0.0, 0.26 * bones[f"PP{digit}"].length) for digit in (2, 3, 4, 5)]
    edge = [
        bones["PP2"].at(-9.5 * plump, 0.1 * bones["PP2"].length),
        bones["PP5"].at(8.0 * plump, 0.1 * bones["PP5"].length),
    ]
    size = skeleton.size * carpus.SCALE
    between = 0.5 * (
        bones["PP1"].at(4.0 * plump, 0.16 * bones["PP1"].length) + index.at(-9.0 * plump, 0.62 * index.length)
    )
    crotch = 0.35 * bones["PP1"].at(0.0, 0.1 * bones["PP1"].length) + 0.65 * index.at(0.0, 0.55 * index.length)
    crotch = 0.6 * crotch + 0.4 * between
    hypothenar = float(rng.uniform(9.0, 13.0)) * plump
    wide = rng.uniform(1.0, 1.22)
    y = 32.0 * size
    radial = float(bones["Radius"].outline[:, 0].min()) - rng.uniform(4.5, 7.5) * plump
    ulnar = float(bones["Ulna"].outline[:, 0].max()) + rng.uniform(4.5, 8.0) * plump
    trapezium, triquetrum = bones["Trapezium"].outline[:, 0].min(), bones["PisiformTriquetrum"].outline[:, 0].max()
    beside_hamate = np.array((max(triquetrum + 7.0 * plump, ulnar - 2.0), 17.0 * size))
    beside_trapezium = np.array((min(trapezium - 5.5 * plump, radial + 2.0), 14.0 * size))
    forearm = [
        (ulnar, y), (ulnar - 0.5, y + 20.0), (ulnar * wide, 88.0), (ulnar * wide * 1.04, 170.0),
        (radial * wide * 1.04, 170.0), (radial * wide, 88.0), (radial + 0.5, y + 20.0), (radial, y),
    ]  # fmt: skip
    outline = [
        edge[0], *[0.5 * (a + b) for a, b in itertools.pairwise(web)], edge[1],
        little.at(hypothenar, 0.8 * little.length), little.at(hypothenar * 1.12, 0.35 * little.length),
        beside_hamate, *np.array(forearm), beside_trapezium, thumb.at(-9.5 * plump, 0.12 * thumb.length),
        thumb.at(-11.2 * plump, 0.6 * thumb.length), thumb.at(-11.0 * plump, 0.95 * thumb.length),
        bones["PP1"].at(0.0, 0.3 * bones["PP1"].length), crotch, index.at(-9.0 * plump, 0.72 * index.length),
        index.at(-10.5 * plump, 0.95 * index.length),
    ]  # fmt: skip
    return curves.closed_spline(np.array(outline))


def _muscles(
    bones: dict, skeleton: Skeleton, rng: np.random.Generator
) -> list[tuple[np.ndarray, tuple[float, float], float, float]]:
    """Returns thicker places as (centre, (half width, half length), direction, extra mm): thenar, hypothenar, wrist,
    forearm, tendons.
    """
    size, thumb, index, little = skeleton.size, bones["MC1"], bones["MC2"], bones["MC5"]
    thenar = 0.55 * thumb.at(0.0, 0.55 * thumb.length) + 0.45 * index.at(0.0, 0.35 * index.length)
    first_web = 0.5 * thumb.at(0.0, 0.8 * thumb.length) + 0.5 * index.at(0.0, 0.6 * index.length)
    return [
        (thenar, (13.0 * size, 22.0 * size), -28.0, float(rng.uniform(7.0, 14.0))),
        (first_web, (10.0 * size, 14.0 * size), -35.0, float(rng.uniform(-1.0, 4.0))),
        (little.at(3.0, 0.3 * little.length), (10.0 * size, 24.0 * size), 12.0, float(rng.uniform(3.0, 8.0))),
        (np.array((0.0, 24.0 * size)), (24.0 * size, 22.0 * size), 0.0, float(rng.uniform(5.0, 11.0))),
        (np.array((0.0, 120.0)), (34.0, 62.0), 0.0, float(rng.uniform(12.0, 20.0))),
        (np.array((0.5, -22.0 * size)), (3.5 * size, 26.0 * size), 1.0, float(rng.uniform(0.5, 2.5))),
    ]

"""Bones in the beam: masks, and the path through cortex and trabeculae turned into attenuation.

A bone is a body with an elliptic edge: a cortical shell around a trabecular core. `d` is the distance from the outline
in mm. The path through the whole is 2 h sqrt(x (2 - x)), x = min(d / p, 1); the path through the core is the same with
d, h and p reduced by the thickness of the cortex. The difference is the path through cortex, which is long where the
beam runs along the cortex: it is bright there, as on film.

Attenuation in 1/mm: NIST's tables give about 0.2 for cortex and 0.035 for soft tissue near 33 keV, the mean energy at
50-55 kV. The constants here are about 0.55 of that, an effective value after beam hardening. Within this order of
magnitude, they and the share of cancellous bone were chosen by eye so that images look like films; they were not
measured.
"""

import dataclasses

import cv2
import numpy as np

from ramjax.phantom import curves, texture
from ramjax.phantom.bones import Bone
from ramjax.phantom.cohort import Patient
from ramjax.phantom.disease import COLLAPSE_GRADE, LABEL_50, Disease
from ramjax.phantom.lesions import Lesion

MU_SOFT = 0.019
MU_CORTEX = 0.085
MU_TRABECULAR = 0.023
"""1/mm; the latter two above soft tissue."""

_SHIFT = 4
_KNOTS = np.linspace(0.0, 1.0, 256)


@dataclasses.dataclass(frozen=True)
class Grid:
    """A raster over the hand.

    Attributes:
      to_pixels: float (2, 3), affine map from hand coordinates in mm to pixel coordinates (x, y).
      shape: (rows, columns).
      mm: side of a pixel.
    """

    to_pixels: np.ndarray
    shape: tuple[int, int]
    mm: float

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Maps (n, 2) points in mm to pixel coordinates, pixel centres at whole numbers."""
        return points @ self.to_pixels[:, :2].T + self.to_pixels[:, 2]

    def box(self, pixels: np.ndarray, margin: int = 2) -> tuple[int, int, int, int]:
        """Returns rows and columns (y0, y1, x0, x1) around pixel coordinates (n, 2), clipped to the raster; may be
        empty.
        """
        low = np.floor(pixels.min(axis=0)).astype(int) - margin
        high = np.ceil(pixels.max(axis=0)).astype(int) + margin + 1
        x0, y0 = np.maximum(low, 0)
        x1, y1 = np.minimum(high, self.shape[::-1])
        return int(y0), int(max(y1, y0)), int(x0), int(max(x1, x0))


def fill(pixels: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Returns the uint8 0/1 mask of a closed polygon within a box."""
    y0, y1, x0, x1 = box
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    if mask.size:
        cv2.fillPoly(mask, [np.round((pixels - (x0, y0)) * (1 << _SHIFT)).astype(np.int32)], 1, cv2.LINE_8, _SHIFT)
    return mask


def bone_attenuation(
    bones: tuple[Bone, ...],
    lesions: tuple[Lesion, ...],
    patient: Patient,
    disease: Disease,
    grid: Grid,
    rng: np.random.Generator,
) -> np.ndarray:
    """Returns the attenuation of all bones above soft tissue, float32 (rows, columns), eroded where lesions are."""
    total = np.zeros(grid.shape, np.float32)
    for index, bone in enumerate(bones):
        pixels = grid.pixels(bone.outline)
        box = grid.box(pixels)
        layer = _layer(bone, grid.pixels(bone.body), box, patient, disease, grid, rng)
        if bone.body is not bone.outline:
            layer += _lips(pixels, box, layer, grid)
        for lesion in lesions:
            if lesion.target == index:
                _erode(layer, lesion, box, grid, rng)
        y0, y1, x0, x1 = box
        total[y0:y1, x0:x1] += layer
    return total


def _layer(
    bone: Bone, pixels: np.ndarray, box: tuple, patient: Patient, disease: Disease, grid: Grid, rng: np.random.Generator
) -> np.ndarray:
    """Returns one intact bone's attenuation within its box."""
    y0, y1, x0, x1 = box
    shape = (y1 - y0, x1 - x0)
    wander = rng.uniform(0.8, 1.2, 3)
    if 0 in shape:
        return np.zeros(shape, np.float32)
    inside = fill(pixels, box)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    distance *= np.float32(grid.mm)
    cortex, trabecular, thickness, edge = _make(bone, patient, disease, wander)
    along = _along(bone, box, grid)
    shell = cv2.LUT(along, cortex)
    shell += np.minimum(shell, np.float32(0.6)) * _unevenness(shape, grid, rng)
    spongy = cv2.LUT(along, trabecular)
    half = cv2.LUT(along, thickness)
    oriented = bone.kind != "carpal"
    tile = texture.trabeculae(oriented)
    net = texture.rotated(tile, shape, _image_angle(bone, grid), grid.mm / texture.TILE_MM, rng)
    whole = np.minimum(distance * np.float32(1.0 / edge), 1.0)
    whole = half * np.sqrt(whole * (2.0 - whole))
    core = np.clip((distance - shell) / (edge - shell), 0.0, 1.0)
    core = (half - shell) * np.sqrt(core * (2.0 - core))
    contrast = np.float32(0.12 + 0.14 * wander[1])
    spongy *= core
    spongy *= 1.0 + contrast * net
    whole -= core
    whole *= np.float32(2.0 * MU_CORTEX)
    # Cortex is porous and ridged within: it shares the grain, faintly.
    whole *= 1.0 + np.float32(0.3) * contrast * net
    whole += spongy
    whole *= np.float32(bone.path)
    return whole


def _unevenness(shape: tuple[int, int], grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """Returns slow noise above -0.7 (rows, columns), a bump about 6 mm: no cortex is equally thick all around."""
    step = 0.3 / grid.mm
    small = texture.cut(texture.clouds(), (int(shape[0] / step) + 2, int(shape[1] / step) + 2), rng)
    field = cv2.resize(small, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.maximum(np.float32(0.3) * field, np.float32(-0.7))


def _lips(pixels: np.ndarray, box: tuple, layer: np.ndarray, grid: Grid) -> np.ndarray | float:
    """Returns the attenuation of what the outline adds to the body: thin plates with a bright edge."""
    mask = fill(pixels, box)
    if not mask.size:
        return 0.0
    edge = np.minimum(cv2.distanceTransform(mask, cv2.DIST_L2, 3) * np.float32(grid.mm / 1.1), 1.0)
    return np.where(layer > 0.0, np.float32(0.0), np.float32(1.5 * MU_CORTEX) * np.sqrt(edge * (2.0 - edge)))


def _make(
    bone: Bone, patient: Patient, disease: Disease, wander: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Returns how a bone is made along its axis, float32 (256,) each: cortical thickness in mm, attenuation of the
    core in 1/mm and half the thickness along the beam in mm; and the width of its rounded edge in mm."""
    thick = patient.cortex * patient.size * (0.7 + 0.3 * wander[0])
    dense = 2.0 * MU_TRABECULAR * patient.density * wander[1]
    loss = 1.0 - disease.osteopenia
    base, waist, head = bone.widths
    if bone.kind == "carpal":
        small = bone.length < 8.0 * patient.size
        parts = ((0.28 if small else 0.34) * thick**0.5, dense * loss, 0.5 * bone.depth)
        cortex, core, half = (np.full(256, value, np.float32) for value in parts)
        return cortex, core, half, 0.36 * min(base, bone.length)
    if bone.kind == "forearm":
        knots, shell = (0.0, 0.55, 0.72, 0.83, 0.93, 1.0), np.array((2.7, 2.5, 1.6, 0.7, 0.38, 0.38))
        core = np.array((0.16, 0.2, 0.4, 0.68, 0.88, 0.95))
        ends = np.array((0.0, 0.0, 0.2, 0.6, 1.0, 1.0))
        half = 0.5 * bone.depth * np.array((0.68, 0.68, 0.72, 0.85, 0.95, 0.9))
        edge = 0.5 * waist
    else:
        # Along the beam a metacarpal is as thick as wide at its ends; phalanges are flat, towards their heads above
        # all.
        flat_base, flat_shaft, flat_head = {
            "MC": (0.9, 1.02, 0.92),
            "PP": (0.68, 0.8, 0.68),
            "MP": (0.66, 0.76, 0.62),
            "DP": (0.62, 0.75, 0.45),
        }[bone.name[:2]]
        knots = (0.0, 0.06, 0.2, 0.38, 0.6, 0.76, 0.9, 1.0)
        shaft = 0.2 * waist
        shell = np.array((0.34, 0.32, 0.55 * shaft, 1.05 * shaft, 1.15 * shaft, 0.6 * shaft, 0.3, 0.32))
        core = np.array((0.95, 0.9, 0.6, 0.32, 0.28, 0.52, 0.85, 0.95))
        ends = np.array((1.0, 1.0, 0.6, 0.1, 0.0, 0.5, 1.0, 1.0))
        low, middle, high = 0.5 * flat_base * base, 0.5 * flat_shaft * waist, 0.5 * flat_head * head
        half = np.array((low, low, 0.5 * (low + middle), middle, middle, 0.6 * middle + 0.4 * high, high, high))
        edge = 0.475 * waist
    shell = np.minimum(shell * thick, 0.55 * min(edge, float(half.min())))
    core = core * dense * (1.0 - ends * (1.0 - loss))
    half = half * (0.85 + 0.15 * wander[2])
    cortex, core, half = (np.interp(_KNOTS, knots, values).astype(np.float32) for values in (shell, core, half))
    return cortex, core, half, float(edge)


def _along(bone: Bone, box: tuple, grid: Grid) -> np.ndarray:
    """Returns the position along the axis as uint8 (rows, columns): 0 at the base, 255 at the end."""
    y0, y1, x0, x1 = box
    start, end = grid.pixels(np.stack((bone.at(0.0, 0.0), bone.at(0.0, bone.length))))
    axis = (end - start) / max(float(np.dot(end - start, end - start)), 1e-6)
    x = ((np.arange(x0, x1) - start[0]) * axis[0] * 255.0).astype(np.float32)
    y = ((np.arange(y0, y1) - start[1]) * axis[1] * 255.0).astype(np.float32)
    return np.clip(y[:, None] + x[None, :], 0.0, 255.0).astype(np.uint8)


def _image_angle(bone: Bone, grid: Grid) -> float:
    """Returns the axis' direction in the image in degrees clockwise from up."""
    x, y = grid.to_pixels[:, :2] @ curves.direction(bone.angle)
    return float(np.rad2deg(np.arctan2(x, -y)))


def _erode(layer: np.ndarray, lesion: Lesion, box: tuple, grid: Grid, rng: np.random.Generator) -> None:
    """Takes a lesion out of a bone's layer, and leaves a rim of denser bone where it is of the kind that has one."""
    pixels = grid.pixels(lesion.outline)
    y0, y1, x0, x1 = grid.box(pixels, margin=int(np.ceil(2.0 / grid.mm)))
    y0, y1, x0, x1 = max(y0, box[0]), min(y1, box[1]), max(x0, box[2]), min(x1, box[3])
    if y1 <= y0 or x1 <= x0:
        return
    plan, step = lesion.plan, 1.0 / grid.mm
    mask = fill(pixels, (y0, y1, x0, x1))
    hole = mask.astype(np.float32)
    blur = 0.5 if plan.label == LABEL_50 else 0.2
    # A bite is a bowl: it takes least of the beam's path at its deep border.
    bowl = cv2.distanceTransform(mask, cv2.DIST_L2, 5) * np.float32(grid.mm / max(0.3 * lesion.depth, 0.5))
    crumbs = 1.0 + (0.35 if plan.grade == COLLAPSE_GRADE else 0.12) * texture.cut(texture.clouds(), hole.shape, rng)
    gone = cv2.GaussianBlur(np.minimum(0.45 + 0.55 * bowl, 1.0) * hole, (0, 0), blur * step) * crumbs
    halo = cv2.GaussianBlur(hole, (0, 0), (blur + 0.4) * step) * (1.0 - hole)
    rim = 1.3 if plan.pocket else (0.5 if plan.label != LABEL_50 and plan.grade != COLLAPSE_GRADE else 0.0)
    part = layer[y0 - box[0] : y1 - box[0], x0 - box[2] : x1 - box[2]]
    part *= (1.0 - np.minimum(plan.loss * gone, 1.0)) * (1.0 + rim * halo)


def fuse(attenuation: np.ndarray, centers: np.ndarray, widths: np.ndarray, angles: np.ndarray, grid: Grid) -> None:
    """Bridges ankylosed joints in place: plates and gap give way to continuous bone.

    `centers` (n, 2) and `widths` (n,) in mm, `angles` (n,) the joint's axis in degrees.
    """
    for center, width, angle in zip(centers, widths, angles, strict=True):
        local = np.array(((-0.55, -0.34), (0.55, -0.34), (0.55, 0.34), (-0.55, 0.34))) * width
        pixels = grid.pixels(curves.place(local, center, angle))
        y0, y1, x0, x1 = grid.box(pixels, margin=int(2.0 / grid.mm) + 1)
        if y1 <= y0 or x1 <= x0:
            continue
        part = attenuation[y0:y1, x0:x1]
        weight = cv2.GaussianBlur(
            fill(pixels, (y0, y1, x0, x1)).astype(np.float32), (0, 0), 1.0 / grid.mm
        ) * np.float32(0.8)
        part += weight * (1.04 * cv2.GaussianBlur(part, (0, 0), 1.5 / grid.mm) - part)


def cloud(attenuation: np.ndarray, bones: tuple[Bone, ...], lost: float, grid: Grid, rng: np.random.Generator) -> None:
    """Clouds a diseased carpus in place: bones that tilt over each other and fuse blur into one uneven, denser mass.

    `lost` is the wrist's mean share of joint space that is gone, 0 to 1.
    """
    outlines = [grid.pixels(bone.outline) for bone in bones if bone.kind == "carpal" and bone.name != "Sesamoid"]
    box = grid.box(np.concatenate(outlines), margin=int(3.0 / grid.mm) + 1)
    y0, y1, x0, x1 = box
    if lost <= 0.0 or y1 <= y0 or x1 <= x0:
        return
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    for outline in outlines:
        mask |= fill(outline, box)
    weight = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0 / grid.mm)
    step = 0.5 / grid.mm
    small = texture.cut(texture.clouds(), (int(mask.shape[0] / step) + 2, int(mask.shape[1] / step) + 2), rng)
    uneven = cv2.resize(small, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    part = attenuation[y0:y1, x0:x1]
    # Gaps and seams fill up; plates seen edge-on stay.
    filled = np.maximum(np.float32(1.05) * cv2.GaussianBlur(part, (0, 0), 0.9 / grid.mm), part)
    part += weight * np.clip(np.float32(lost) * (0.7 + 0.4 * uneven), 0.0, 0.9) * (filled - part)
    part *= 1.0 + weight * np.float32(lost) * np.clip(0.03 + 0.16 * uneven, -0.25, 0.35)


def details(bones: tuple[Bone, ...], lost: float, size: float, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """Returns the attenuation of plates seen edge-on that no outline shows, float32 (rows, columns).

    The floor of the proximal phalanges' sockets, the hook of the hamate (a ring), the tubercle of the scaphoid (a
    ring), the ridge of the radius behind its joint surface, rims of the metacarpals' bases, and growth-plate
    scars at their heads. `lost` as in `cloud`.
    """
    canvas = np.zeros(grid.shape, np.uint8)
    by_name = {bone.name: bone for bone in bones}

    def draw(points: np.ndarray, strength: float, mm: float, closed: bool = False) -> None:
        pixels = np.round(grid.pixels(points) * (1 << _SHIFT)).astype(np.int32)
        width = max(1, round(mm / grid.mm))
        cv2.polylines(canvas, [pixels], closed, int(255 * min(strength, 1.0)), width, cv2.LINE_AA, _SHIFT)

    for digit in range(1, 6):
        for kind, lift in (("PP", 1.0), ("MP", 0.55), ("DP", 0.5)):
            bone = by_name.get(f"{kind}{digit}")
            if bone is None:
                continue
            half = 0.5 * bone.widths[0]
            u = np.linspace(-0.8, 0.8, 9)
            sag = (1.0 - u**2) * (0.16 if kind == "PP" else 0.05)
            local = np.stack((u * half, (lift * size * rng.uniform(0.7, 1.4) + sag * half)), axis=1)
            draw(curves.place(local, bone.origin, bone.angle), rng.uniform(0.35, 0.75), 0.4)
        head = by_name[f"MC{digit}"]
        half = 0.5 * head.widths[0]
        u = np.linspace(-0.9, 0.9, 7)
        for _ in range(2):
            rim = np.stack((u * half, size * (rng.uniform(0.8, 3.4) + rng.normal(0.0, 0.45, 7))), axis=1)
            draw(curves.place(rim, head.origin, head.angle), rng.uniform(0.1, 0.5), 0.45)
        half = 0.5 * head.widths[2]
        u = np.linspace(-0.75, 0.75, 9)
        scar = np.stack((u * half, head.length - half * (1.75 + 0.2 * np.cos(4.0 * u + rng.uniform(0, 6)))), axis=1)
        draw(curves.place(scar, head.origin, head.angle), rng.uniform(0.05, 0.3), 0.4)
    phase = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    ring = np.stack((np.cos(phase), np.sin(phase)), axis=1)
    for name, at, radii, strength in (
        ("Hamate", (0.05, 0.2), (2.3, 3.2), 0.75),
        ("Scaphoid", (-0.55, 0.55), (2.8, 2.6), 0.5),
        ("Trapezium", (0.3, -0.1), (3.0, 4.0), 0.35),
    ):
        bone = by_name[name]
        center = (
            bone.origin + np.array(at) * 0.5 * np.array((bone.widths[0], -bone.length)) + rng.normal(0.0, 0.5, 2) * size
        )
        draw(
            center + size * np.array(radii) * rng.uniform(0.8, 1.15, 2) * ring,
            strength * rng.uniform(0.6, 1.1),
            0.5,
            closed=True,
        )
    for bone in bones:
        # A carpal bone's dorsal and palmar rims lie on two contours; the inner one is seen as a second, fainter line.
        # Diseased bones tilt and grow spurs: more such lines, further in.
        lines = 1 + round(4.0 * lost) if bone.kind == "carpal" and bone.length > 9.0 * size else 0
        for _ in range(lines):
            start, span = rng.integers(len(bone.body)), int(len(bone.body) * rng.uniform(0.3, 0.8))
            inner = bone.origin + (bone.body - bone.origin) * rng.uniform(0.8 - 0.5 * lost, 0.92, 2)
            inner += rng.normal(0.0, 0.5 + 1.5 * lost, 2) * size
            draw(np.roll(inner, -start, axis=0)[:span], rng.uniform(0.15, 0.55), 0.45)
    radius = by_name["Radius"].body
    top = radius[radius[:, 1] < radius[:, 1].min() + 0.62 * by_name["Radius"].widths[0]]
    face = top[
        (top[:, 0] > np.percentile(top[:, 0], 25))
        & (top[:, 0] < np.percentile(top[:, 0], 95))
        & (top[:, 1] < np.median(top[:, 1]) + 3.0)
    ]
    face = face[np.argsort(face[:, 0])]
    if len(face) > 3:
        draw(face + np.array((0.0, 1.9 * size)), rng.uniform(0.4, 0.8), 0.6)
    plates = cv2.GaussianBlur(canvas, (0, 0), 0.25 / grid.mm) if grid.mm < 0.25 else canvas
    return plates.astype(np.float32) * np.float32(0.2 / 255.0)

"""Outlines of single bones, with the features by which a reader recognises them, and their material. Lengths in mm.

A bone's frame has its origin at the middle of its base, u to the ulnar side and v distal.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from ramjax.phantom import curves


@dataclasses.dataclass(frozen=True)
class Bone:
    """A bone in place.

    Attributes:
      name: of `anatomy.BONES`; pisiform and triquetrum share theirs, and so do all sesamoids.
      outline: float (n, 2), closed, before any erosion: the bone's whole projection, its mask.
      body: float (n, 2), closed: the outline without the lips that reach over a neighbour; its edges bound the joint
        spaces.
      kind: ``long``, ``carpal`` or ``forearm``: how it is built inside.
      origin: (2,), middle of the base (long bones), centre otherwise.
      angle: direction of its axis in degrees to the ulnar side.
      length: along the axis.
      widths: of base, waist and head, in the image plane.
      depth: thickness along the beam at the thick end.
      head_radius: radius of the arc on which the next bone turns; 0 where none follows.
      path: how many times longer the beam's path through it is than through a bone that lies flat.
    """

    name: str
    outline: np.ndarray
    body: np.ndarray
    kind: str
    origin: np.ndarray
    angle: float
    length: float
    widths: tuple[float, float, float]
    depth: float
    head_radius: float = 0.0
    path: float = 1.0

    def at(self, u: float, v: float) -> np.ndarray:
        """Returns the point (2,) at (u, v) of the bone's frame."""
        return curves.place(np.array((u, v)), self.origin, self.angle)

    def socket(self, angle: float, gap: float) -> np.ndarray:
        """Returns where the base of a following bone lies that points to `angle` and leaves a joint space of `gap`."""
        return self.at(0.0, self.length - self.head_radius) + (self.head_radius + gap) * curves.direction(angle)


def moved(bones: list[Bone], move: Callable[[np.ndarray], np.ndarray], turn: float) -> list[Bone]:
    """Returns the bones after a map of the plane, (n, 2) to (n, 2), that turns their axes by `turn` degrees.

    Bones of the forearm keep their axes. All points go through the map at once.
    """
    points = [part for bone in bones for part in (bone.outline, bone.body, bone.origin[None])]
    parts = np.split(move(np.concatenate(points)), np.cumsum([len(part) for part in points])[:-1])
    return [
        dataclasses.replace(
            bone,
            outline=outline,
            body=outline if bone.body is bone.outline else body,
            origin=origin[0],
            angle=bone.angle + (0.0 if bone.kind == "forearm" else turn),
        )
        for bone, outline, body, origin in zip(bones, parts[0::3], parts[1::3], parts[2::3], strict=True)
    ]


@dataclasses.dataclass(frozen=True)
class PuzzleWarp:
    """A smooth deformation of the wrist that makes every patient's carpus different but keeps neighbours in touch."""

    matrix: np.ndarray
    waves: np.ndarray
    phases: np.ndarray
    amplitude: np.ndarray
    cupping: float
    size: float

    @classmethod
    def draw(cls, rng: np.random.Generator, size: float) -> "PuzzleWarp":
        matrix = np.eye(2) + rng.normal(0.0, 0.02, (2, 2))
        return cls(
            matrix,
            rng.normal(0.0, 1.0 / (9.0 * size), (4, 2)),
            rng.uniform(0, 2 * np.pi, 4),
            rng.normal(0.0, 0.28 * size, (4, 2)),
            rng.normal(0.0, 0.1),
            size,
        )

    def __call__(self, points: np.ndarray) -> np.ndarray:
        warped = points @ self.matrix.T + np.sin(points @ self.waves.T + self.phases) @ self.amplitude
        # A cupped palm shows the ulnar metacarpals further proximal, a flat one further distal; the proximal row stays.
        x, y = points.T / self.size
        warped[:, 1] += self.size * self.cupping * np.clip(x - 2.0, 0.0, 20.0) * np.clip(1.0 - y / 20.0, 0.0, 1.0)
        return warped


def _jitter(rng: np.random.Generator, points: list[tuple[float, float]] | np.ndarray, width: float) -> np.ndarray:
    """Varies each control point by about half a per cent of the bone's width."""
    return np.array(points) + rng.normal(0.0, 0.006 * width, (len(points), 2))


def _arc_drop(u: np.ndarray, radius: float) -> np.ndarray:
    """Returns how far an arc's point falls below its top at offset u."""
    return radius - np.sqrt(np.maximum(radius**2 - np.square(u), 0.0))


def metacarpal_radius(head: float) -> float:
    """Returns the radius of a metacarpal head's arc in the image plane, flatter than a circle of the head's width."""
    return 0.58 * head


def condyle_radius(head: float) -> float:
    """Returns the radius about which the bone beyond a two-condyled head turns."""
    return 0.5 * head


def _metacarpal_head(length: float, waist: float, head: float) -> tuple[list, list]:
    """Returns the ulnar side going up and the head's arc going to the radial side, in the bone's frame."""
    h, w, radius = 0.5 * head, 0.5 * waist, metacarpal_radius(head)
    taper, neck = max(0.59 * h, 1.08 * w), length - 2.65 * h
    side = [
        (w, 0.26 * (length + neck)), (1.04 * w, 0.13 * length + 0.65 * neck), (taper, neck),
        (max(0.73 * h, 1.14 * w), length - 1.95 * h), (0.97 * h, length - 1.36 * h), (1.0 * h, length - 1.08 * h),
        (0.94 * h, length - 0.76 * h), (0.91 * h, length - 0.5 * h),
    ]  # fmt: skip
    arc = [(u * h, length - float(_arc_drop(np.array(u * h), radius))) for u in (0.72, 0.38, 0.0, -0.38, -0.72)]
    return side, arc


def _mirror(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(-u, v) for u, v in reversed(points)]


def metacarpal(
    name: str,
    bases: tuple[np.ndarray, np.ndarray],
    origin: np.ndarray,
    angle: float,
    length: float,
    widths: tuple,
    rng: np.random.Generator,
) -> Bone:
    """Returns metacarpal 2 to 5: a waisted shaft and a rounded head with tubercles on a base that `carpus` drew.

    `bases` are two (n, 2), from the radial to the ulnar side: of the outline and of the body.
    """
    _, waist, head = widths
    side, arc = _metacarpal_head(length, waist, head)
    flare = [(1.22 * 0.5 * waist, 0.2 * length)]
    local = [*flare, *side, *arc, *_mirror(side), *_mirror(flare)]
    rest = curves.place(_jitter(rng, local, head), origin, angle)
    outline, body = (curves.closed_spline(np.concatenate((base, rest))) for base in bases)
    return Bone(name, outline, body, "long", origin, angle, length, widths, 0.95 * head, metacarpal_radius(head))


def thumb_metacarpal(origin: np.ndarray, angle: float, length: float, widths: tuple, rng: np.random.Generator) -> Bone:
    """Returns MC1: broad, with a saddle for a base."""
    base, waist, head = widths
    b = 0.5 * base
    side, arc = _metacarpal_head(length, waist, head)
    foot = [(0.55 * b, -0.2), (0.88 * b, -0.6), (1.03 * b, 1.4), (0.99 * b, 4.0), (0.82 * b, 0.2 * length)]
    local = [(0.0, 0.3), *foot, *side, *arc, *_mirror(side), *_mirror(foot)]
    outline = curves.closed_spline(curves.place(_jitter(rng, local, head), origin, angle))
    return Bone("MC1", outline, outline, "long", origin, angle, length, widths, 0.9 * head, metacarpal_radius(head))


def _rounded(points: list[tuple[float, float]], length: float, half: float) -> np.ndarray:
    """Returns control points (n, 2), drawn onto an oval where the bone, seen end-on, is hardly longer than its base is
    broad.
    """
    drawn, middle = np.array(points), np.array((0.0, 0.5 * length))
    share = float(np.clip((2.2 * half - length) / (0.6 * half), 0.0, 1.0))
    phase = np.arctan2(*(drawn - middle).T)
    oval = middle + np.stack((half * np.sin(phase), 0.5 * length * np.cos(phase)), axis=1)
    return (1.0 - share) * drawn + share * oval


def phalanx(
    name: str, origin: np.ndarray, angle: float, length: float, widths: tuple, rng: np.random.Generator
) -> Bone:
    """Returns a proximal or middle phalanx: cupped or double-cupped base, waisted shaft, two condyles with a notch
    between.
    """
    base, waist, head = widths
    b, w, h = 0.5 * base, 0.5 * waist, 0.5 * head
    notch = 0.052 * h
    tall = min(h, 0.36 * length)  # seen end-on, a bone is shorter than its head is broad
    if name.startswith("PP"):
        cup = [(u * b, -0.75 * float(_arc_drop(np.array(u * b), 0.78 * base))) for u in (0.0, 0.35, 0.68)]
        rim = cup[-1][1]
        foot = [
            *cup,
            (0.93 * b, rim + 0.02 * length),
            (1.0 * b, rim + 0.075 * length),
            (0.93 * b, 0.12 * length),
            (0.78 * b, 0.23 * length),
        ]
    else:
        foot = [
            (0.0, -1.6 * notch), (0.3 * b, -0.7 * notch), (0.58 * b, -0.25 * notch), (0.88 * b, -1.7 * notch),
            (1.0 * b, 0.035 * length), (0.96 * b, 0.1 * length), (0.76 * b, 0.22 * length),
        ]  # fmt: skip
    neck = length - 1.5 * tall
    side = [
        (1.12 * w, 0.2 * length + 0.25 * neck), (w, 0.1 * length + 0.6 * neck), (w, 0.9 * neck),
        (0.5 * (w + 0.95 * h), neck), (1.0 * h, length - 0.95 * tall), (0.99 * h, length - 0.5 * tall),
        (0.86 * h, length - 0.16 * tall),
    ]  # fmt: skip
    top = [(0.5 * h, length), (0.0, length - 1.6 * notch), (-0.5 * h, length)]
    local = _rounded([*foot, *side, *top, *_mirror(side), *_mirror(foot[1:])], length, b)
    outline = curves.closed_spline(curves.place(_jitter(rng, local, head), origin, angle))
    return Bone(name, outline, outline, "long", origin, angle, length, widths, 0.85 * head, condyle_radius(head))


def distal_phalanx(
    name: str, origin: np.ndarray, angle: float, length: float, widths: tuple, rng: np.random.Generator
) -> Bone:
    """Returns an end phalanx: a broad base, a slim waist and a tuft."""
    base, waist, tuft = widths
    b, w, t = 0.5 * base, 0.5 * waist, 0.5 * tuft
    foot = [
        (0.0, -0.35),
        (0.4 * b, 0.15),
        (0.82 * b, -0.15),
        (1.0 * b, 0.06 * length),
        (0.84 * b, 0.135 * length),
        (0.53 * b, 0.25 * length),
    ]
    side = [
        (1.1 * w, 0.46 * length),
        (w, 0.62 * length),
        (1.05 * w, 0.73 * length),
        (0.98 * t, 0.8 * length),
        (t, 0.88 * length),
        (0.7 * t, 0.965 * length),
    ]
    local = [*foot, *side, (0.0, length), *_mirror(side), *_mirror(foot[1:])]
    points = _jitter(rng, local, base)
    points[len(foot) + 3 : len(foot) + 10] += rng.normal(0.0, 0.025 * tuft, (7, 2))
    outline = curves.closed_spline(curves.place(points, origin, angle))
    return Bone(name, outline, outline, "long", origin, angle, length, widths, 0.7 * base)


def carpal(name: str, points: np.ndarray, body_points: np.ndarray, size: float, rng: np.random.Generator) -> Bone:
    """Returns a carpal bone, radius or ulna from the control points (n, 2) of its outline and its body."""
    forearm = name in ("Radius", "Ulna")
    outline, body = curves.closed_spline(points), curves.closed_spline(body_points)
    if not forearm:
        shift = curves.wobble(body, rng, 0.06 * size) - body
        outline, body = outline + shift, body + shift
    low, high = body.min(axis=0), body.max(axis=0)
    depth = {"Radius": 20.0, "Ulna": 14.0, "Capitate": 17.0, "Hamate": 15.0, "Trapezoid": 13.0}.get(name, 15.0) * size
    if forearm:
        top = points[points[:, 1] < 45.0 * size]
        origin = np.array((0.5 * (top[:, 0].min() + top[:, 0].max()), high[1]))
        width = float(np.ptp(top[:, 0]))
        return Bone(
            name, outline, body, "forearm", origin, 0.0, float(high[1] - low[1]), (width, 0.45 * width, width), depth
        )
    channel = "PisiformTriquetrum" if name == "Triquetrum" else name
    width, height = high - low
    return Bone(channel, outline, body, "carpal", 0.5 * (low + high), 0.0, float(height), (float(width),) * 3, depth)


def oval(name: str, center: np.ndarray, radii: tuple[float, float], angle: float, rng: np.random.Generator) -> Bone:
    """Returns an egg-shaped bone: pisiform or sesamoid."""
    phase = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
    local = np.stack((radii[0] * np.cos(phase), radii[1] * np.sin(phase)), axis=1)
    outline = curves.place(curves.wobble(local, rng, 0.03 * radii[0]), center, angle)
    return Bone(name, outline, outline, "carpal", center, angle, 2.0 * radii[1], (2.0 * radii[0],) * 3, 1.7 * radii[0])

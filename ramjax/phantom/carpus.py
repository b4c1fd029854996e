"""The wrist as a whole: carpal bones, radius, ulna and metacarpal bases share the joints between them.

Control points are (x, y, joint) in mm for an adult of mean size, right hand, neutral wrist: x to the ulnar side, y
proximal, origin at the capitate - MC3 joint. Two neighbouring bones list the same points. Each is moved away from a
shared point by half the width of the joint, so that the gap has the given width. Points with joint '' are free: there
outlines overlap as projections do (pisiform over triquetrum, trapezium over trapezoid, metacarpal bases over their
neighbours).

The arrangement is that of textbook posteroanterior views (three smooth carpal arcs); the points were placed by eye
beside open radiographs. The carpal height is 0.55 of MC3 (healthy mean about 0.53-0.54, range 0.45 to 0.60).
"""

import numpy as np

from ramjax.phantom import curves

# Shared points. Names: the joint's site where the score has one, else the initials of its bones; 'IC' is capitate -
# lunate.
_CM = ((-6.4, -1.0, "CMC-M"), (-3.2, -0.5, "CMC-M"), (0.5, 0.3, "CMC-M"), (4.6, 0.9, "CMC-M"))
_CR = ((5.8, 1.6, "CMC-R"), (8.6, 2.9, "CMC-R"), (11.6, 4.1, "CMC-R"))
_CS = ((12.4, 4.5, "CMC-S"), (15.6, 5.9, "CMC-S"), (19.0, 8.0, "CMC-S"))
_TM2 = ((-15.8, 1.0, "TM2"), (-12.4, -0.9, "TM2"), (-8.2, 1.4, "TM2"))
_CAPITATE_HAMATE = ((5.3, 4.0, "CH"), (4.7, 8.0, "CH"), (4.1, 12.6, "CH"), (6.0, 18.2, "CH"))
_CAPITATE_LUNATE = ((5.0, 20.7, "IC"), (2.0, 22.7, "IC"), (-1.6, 23.2, "IC"))
_SC = ((-5.0, 21.6, "SC"), (-7.1, 17.6, "SC"), (-7.0, 13.2, "SC"))
_CAPITATE_TRAPEZOID = ((-7.7, 9.4, "CT"), (-7.3, 5.0, "CT"))
_STT = ((-9.3, 9.4, "STT"), (-12.8, 9.3, "STT"), (-16.6, 10.4, "STT"), (-20.0, 13.0, "STT"))
_SL = ((-2.7, 27.4, "SL"), (-2.9, 31.0, "SL"))
_SR = ((-6.5, 30.4, "SR"), (-11.6, 27.2, "SR"), (-16.0, 22.9, "SR"))
_RL = ((0.6, 32.9, "RL"), (6.2, 33.5, "RL"))
_LUNATE_TRIQUETRUM = ((9.6, 22.3, "LT"), (12.6, 27.0, "LT"))
_HAMATE_TRIQUETRUM = ((8.9, 19.7, "HT"), (13.2, 15.3, "HT"), (17.4, 11.6, "HT"))


def _rev(points):
    return tuple(reversed(points))


# fmt: off
OUTLINES: dict[str, tuple[tuple[float, float, str], ...]] = {
    "Capitate": (*_CM, *_CAPITATE_HAMATE, *_CAPITATE_LUNATE, *_SC, *_CAPITATE_TRAPEZOID),
    "Hamate": (*_CR, *_CS, (20.0, 9.4, ""), *_rev(_HAMATE_TRIQUETRUM), (7.6, 20.2, "IC"), *_rev(_CAPITATE_HAMATE)),
    "Trapezoid": (*_TM2, *_rev(_CAPITATE_TRAPEZOID), *_STT[:2], (-15.6, 7.4, ""), (-16.8, 4.0, "")),
    "Trapezium": (
        (-17.2, -1.0, ""), (-14.0, 1.4, ""), (-12.6, 5.4, ""), *_STT[1:], (-22.6, 15.8, ""), (-25.6, 14.8, ""),
        (-26.6, 11.0, ""), (-25.6, 7.4, "T1"), (-22.8, 4.0, "T1"), (-20.2, 1.2, "T1"),
    ),
    "Scaphoid": (
        (-1.8, 23.4, "IC"), *_SL, *_SR, (-18.6, 19.8, ""), (-20.2, 18.2, ""), (-21.8, 16.0, ""), (-21.4, 13.4, ""),
        *_rev(_STT), *_rev(_SC),
    ),
    "Lunate": (
        *_rev(_CAPITATE_LUNATE), (7.2, 20.6, "IC"), *_LUNATE_TRIQUETRUM, (11.6, 30.4, ""), (9.2, 32.9, "RL"),
        *_rev(_RL), *_rev(_SL),
    ),
    "Triquetrum": (
        *_rev(_HAMATE_TRIQUETRUM), *_LUNATE_TRIQUETRUM, (15.6, 28.0, ""), (19.2, 25.0, ""), (21.0, 19.6, ""),
        (21.2, 14.6, ""), (19.8, 11.6, ""),
    ),
    "Radius": (
        *_SR, (-18.4, 21.2, ""), (-20.6, 21.6, ""), (-22.0, 25.4, ""), (-22.3, 31.0, ""), (-21.2, 39.0, ""),
        (-17.6, 51.0, ""), (-14.6, 64.0, ""), (-13.2, 84.0, ""), (-12.8, 110.0, ""), (-13.0, 150.0, ""),
        (0.6, 150.0, ""), (0.6, 110.0, ""), (0.8, 84.0, ""), (1.4, 66.0, ""), (4.2, 53.0, ""), (8.0, 43.0, ""),
        (8.8, 38.5, ""), (9.3, 35.2, "RL"), (8.4, 33.6, "RL"), *_rev(_RL), (-3.2, 31.6, "RL"),
    ),
    "Ulna": (
        (10.6, 150.0, ""), (10.5, 110.0, ""), (10.8, 74.0, ""), (11.8, 56.0, ""), (11.2, 46.5, ""), (10.0, 40.5, ""),
        (10.0, 36.6, ""), (11.4, 34.8, ""), (14.6, 34.2, ""), (18.2, 35.2, ""), (19.8, 34.8, ""), (21.2, 33.4, ""),
        (22.2, 31.4, ""), (23.8, 31.3, ""), (24.6, 34.0, ""), (25.0, 39.0, ""), (23.6, 47.0, ""), (21.6, 57.0, ""),
        (20.8, 74.0, ""), (20.6, 110.0, ""), (20.6, 150.0, ""),
    ),
}
# fmt: on

METACARPAL_BASES: dict[str, tuple[tuple[float, float, str], ...]] = {
    "MC2": ((-18.6, -6.0, ""), (-19.2, -1.2, ""), *_TM2, (-6.6, 2.0, "IC"), (-5.9, -2.2, ""), (-6.9, -6.4, "")),
    "MC3": ((-6.6, -7.6, ""), (-8.0, -2.8, ""), *_CM, (5.6, -1.2, ""), (5.4, -6.2, "")),
    "MC4": ((5.0, -4.0, ""), (4.7, 0.2, ""), *_CR, (12.8, 2.2, ""), (12.8, -3.0, "")),
    "MC5": ((11.9, -3.0, ""), (11.4, 2.4, ""), *_CS, (22.4, 8.4, ""), (23.4, 5.0, ""), (22.2, -0.8, "")),
}
"""Bases from the radial to the ulnar side, free points overlapping the neighbours'."""

PISIFORM = np.array((17.6, 19.4))
"""Middle of the pisiform, over the triquetrum."""

FOREARM_ENDS = {"R": ((-20.0, 29.0), (8.0, 37.0)), "U": ((10.0, 36.5), (24.8, 36.5))}
"""Points about the distal ends of radius and ulna, whose mean is the site's centre."""

SADDLE = np.array((-24.0, 3.4))
"""Middle of the trapezium's joint with MC1."""

SCALE = 1.08
"""Brings the drawing to the carpal height of the metacarpals of `skeleton.LENGTHS`."""

_ROTATION_CENTER = np.array((0.5, 19.0))
_DEVIATION_FROM, _DEVIATION_TO = 36.0, 12.0


_FUSED = -0.3
"""mm: fused bones reach into each other."""

_UNSCORED = {
    "IC": (0.75, 1.0),
    "CH": (-0.5, 0.9),
    "CT": (-0.6, 0.9),
    "SL": (0.2, 1.0),
    "LT": (-0.3, 1.0),
    "HT": (0.3, 1.1),
    "TM2": (0.1, 1.0),
}
"""Width of joints that are not scored relative to scaphoid - capitate, least and most; below 0 the bones'
projections overlap.
"""


def widths(normal: dict[str, float], ratio: dict[str, float], rng: np.random.Generator) -> dict[str, float]:
    """Returns the width in mm of every joint named in the control points, from the scored joints' normal widths and
    remaining ratios.

    Joints that are not scored follow their neighbours: the carpus narrows as a whole, and unevenly.
    """
    carpal = float(np.mean([ratio[site] for site in ("SC", "STT", "CMC-M", "CMC-R")]))
    lost = 0.9 * (1.0 - carpal)
    width = {
        name: normal["SC"] * rng.uniform(low - lost, high) * (0.25 + 0.75 * carpal)
        for name, (low, high) in _UNSCORED.items()
    }
    width["RL"] = normal["SR"] * (0.3 + 0.7 * 0.5 * (carpal + ratio["SR"]))
    for site in ("CMC-M", "CMC-R", "CMC-S", "SC", "SR", "STT"):
        width[site] = normal[site] * ratio[site] if ratio[site] > 0.0 else _FUSED
    return {**width, "T1": 1.2, "": 0.0}


LIPS: dict[str, dict[str, float]] = {
    "Radius": {"SR": 2.2, "RL": 2.6},
    "Scaphoid": {"STT": 2.4, "SC": 1.2, "SL": 1.0},
    "Lunate": {"SL": 1.6},
    "Trapezium": {"T1": 2.0},
    "Trapezoid": {"TM2": 1.4},
    "Capitate": {"CMC-M": 1.2, "CT": 1.0},
    "Hamate": {"CMC-R": 1.4, "CMC-S": 1.4},
    "MC2": {"TM2": 1.6},
    "MC3": {"CMC-M": 1.6},
    "MC4": {"CMC-R": 1.2},
    "MC5": {"CMC-S": 1.4},
}
"""Greatest reach in mm of a bone's dorsal or palmar lip beyond a joint: there the bone's projection overlaps its
neighbour's while the joint space shows through. These are the overlaps that RAM-H1200 annotates
(`anatomy.OVERLAP_PAIRS`)."""


def lips(name: str, severity: float, rng: np.random.Generator) -> dict[str, float]:
    """Draws how far a bone's lips reach beyond its joints in mm; about a quarter of them do not.

    In disease they reach further: bones tilt, and osteophytes grow.
    """
    further = 1.0 + 0.6 * min(severity, 1.5)
    return {
        joint: float(max(rng.uniform(-0.3, 1.0), 0.0) * most * further) for joint, most in LIPS.get(name, {}).items()
    }


def withdrawn(
    points: tuple[tuple[float, float, str], ...],
    width: dict[str, float],
    size: float,
    beyond: dict[str, float] | None = None,
) -> np.ndarray:
    """Returns control points (n, 2) of a closed outline in mm at a body size, each drawn back by half its joint's
    width.

    `beyond` names joints over which the outline instead reaches out by so many millimetres.
    """
    xy = size * np.array([point[:2] for point in points])
    half = np.array([0.5 * width[point[2]] for point in points])
    if beyond:
        half = np.array(
            [
                min(-size * beyond[joint], h) if beyond.get(joint) else h
                for (_, _, joint), h in zip(points, half, strict=True)
            ]
        )
    return xy + half[:, None] * curves.inward_normals(xy)


def deviate(points: np.ndarray, degrees: float, collapse: float, size: float) -> np.ndarray:
    """Bends (n, 2) points about the capitate's head for a deviation of the wrist and takes height from a collapsed
    carpus.

    The forearm stays, the distal row and all beyond it turn as one, the proximal row slides in between.
    """
    y = points[:, 1] / size
    share = np.clip((_DEVIATION_FROM - y) / (_DEVIATION_FROM - _DEVIATION_TO), 0.0, 1.0)
    share = share * share * (3.0 - 2.0 * share)
    turned = curves.rotate(points, degrees * share, size * _ROTATION_CENTER)
    turned[:, 1] += collapse * size * np.clip(34.0 - y, 0.0, 34.0)
    turned[:, 0] += 0.6 * collapse * size * np.clip(34.0 - y, 0.0, 34.0)
    return turned

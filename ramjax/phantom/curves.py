"""Plane curves: frames, closed splines, inward offsets.

Points are float64 (n, 2) in mm, x to the ulnar side of a right hand, y proximal.
"""

import numpy as np


def direction(angle: float) -> np.ndarray:
    """Returns the unit vector (2,) that points distally, turned by `angle` degrees to the ulnar side."""
    radians = np.deg2rad(angle)
    return np.array((np.sin(radians), -np.cos(radians)))


def lateral(angle: float) -> np.ndarray:
    """Returns the unit vector (2,) a quarter turn to the ulnar side of `direction(angle)`."""
    radians = np.deg2rad(angle)
    return np.array((np.cos(radians), np.sin(radians)))


def place(local: np.ndarray, origin: np.ndarray, angle: float) -> np.ndarray:
    """Maps (..., 2) points from a bone's frame (u to the ulnar side, v distal) to the hand's."""
    local = np.asarray(local, float)
    return origin + local[..., :1] * lateral(angle) + local[..., 1:] * direction(angle)


def rotate(points: np.ndarray, degrees: float | np.ndarray, center: np.ndarray) -> np.ndarray:
    """Rotates (n, 2) points about a centre, from distal to the ulnar side, by one angle or by one a point (n,)."""
    radians = np.deg2rad(degrees)
    x, y = (points - center).T
    cos, sin = np.cos(radians), np.sin(radians)
    return center + np.stack((cos * x - sin * y, sin * x + cos * y), axis=1)


def _next(points: np.ndarray) -> np.ndarray:
    """Returns each row's successor on a closed curve; much faster than np.roll on curves of some dozen points."""
    return np.concatenate((points[1:], points[:1]))


def _previous(points: np.ndarray) -> np.ndarray:
    """Returns each row's predecessor on a closed curve."""
    return np.concatenate((points[-1:], points[:-1]))


def closed_spline(points: np.ndarray, steps: int = 6) -> np.ndarray:
    """Returns (n * steps, 2) points on the closed centripetal Catmull-Rom spline through (n, 2) points.

    Centripetal knots neither overshoot nor loop where control points are unevenly spaced.
    """
    following = _next(points)
    chord = np.sqrt(np.maximum(np.hypot(*(following - points).T), 1e-6))[:, None]
    slope = (following - points) / chord
    before, slope_before = _previous(chord), _previous(slope)
    tangent = (slope * before + slope_before * chord) / (chord + before)
    t = (np.arange(steps) / steps)[None, :, None]
    start, end = points[:, None], following[:, None]
    m0, m1 = (chord * tangent)[:, None], (chord * _next(tangent))[:, None]
    t2, t3 = t * t, t * t * t
    curve = (2 * t3 - 3 * t2 + 1) * start + (t3 - 2 * t2 + t) * m0 + (3 * t2 - 2 * t3) * end + (t3 - t2) * m1
    return curve.reshape(-1, 2)


def inward_normals(points: np.ndarray) -> np.ndarray:
    """Returns the inward unit normals (n, 2) at the vertices of a closed polygon (n, 2) of either orientation."""
    tangent = _next(points) - _previous(points)
    tangent /= np.maximum(np.hypot(*tangent.T), 1e-9)[:, None]
    normal = np.stack((-tangent[:, 1], tangent[:, 0]), axis=1)
    return normal if signed_area(points) > 0 else -normal


def signed_area(points: np.ndarray) -> float:
    """Returns the polygon's area, positive where x towards y runs along it."""
    x, y = points.T
    return 0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def wobble(points: np.ndarray, rng: np.random.Generator, size: float) -> np.ndarray:
    """Displaces a closed polygon's vertices along their normals by smooth noise of about `size` mm: no two bones are
    alike.
    """
    phase = np.linspace(0.0, 2.0 * np.pi, len(points), endpoint=False)
    order = np.arange(2, 7)
    amplitude = rng.normal(0.0, size, len(order)) / order**0.5
    offset = rng.uniform(0.0, 2.0 * np.pi, len(order))
    shift = (amplitude * np.cos(phase[:, None] * order + offset)).sum(axis=1)
    return points + shift[:, None] * inward_normals(points)

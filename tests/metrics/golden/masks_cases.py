"""Pairs of masks at the borders of every definition, for the golden values and the tests that compare with them."""

import numpy as np

SHAPE = (26, 31)


def cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By name, predicted and annotated mask, bool `SHAPE`."""
    empty, full = np.zeros(SHAPE, bool), np.ones(SHAPE, bool)
    disc, ring = _disc(12, 14, 7), _disc(12, 14, 7) & ~_disc(12, 14, 4)
    rng = np.random.default_rng(4)
    return {
        "both empty": (empty, empty),
        "annotated empty": (disc, empty),
        "predicted empty": (empty, disc),
        "equal": (disc, disc),
        "shifted": (np.roll(disc, (2, 1), (0, 1)), disc),
        "far": (_box(1, 1, 4, 5), _box(20, 25, 24, 30)),
        "one pixel each": (_box(5, 6, 6, 7), _box(8, 10, 9, 11)),
        "one pixel, the same": (_box(5, 6, 6, 7), _box(5, 6, 6, 7)),
        "one pixel predicted": (_box(0, 0, 1, 1), disc),
        "one pixel annotated": (disc, _box(25, 30, 26, 31)),
        "touching the border": (_box(0, 0, 9, 31), _box(0, 0, 7, 29)),
        "in a corner": (_box(20, 24, 26, 31), _box(21, 25, 26, 31)),
        "everything annotated": (disc, full),
        "everything predicted": (full, ring),
        "everything in both": (full, full),
        "a hole": (disc, ring),
        "two pieces": (_box(2, 2, 8, 8) | _box(15, 20, 20, 26), _box(2, 3, 8, 8)),
        "a line": (_box(10, 3, 11, 28), _box(12, 2, 13, 27)),
        "exactly the tolerance apart": (_box(5, 5, 15, 6), _box(5, 7, 15, 8)),
        "noise": (rng.random(SHAPE) < 0.3, rng.random(SHAPE) < 0.3),
    }


def images() -> list[tuple[np.ndarray, np.ndarray]]:
    """Four images of planes as an evaluator would see them, bool (H, W, 4), the third without any annotation and the
    last with nothing at all."""
    of = cases()
    rows = [
        ("shifted", "one pixel each", "a hole", "both empty"),
        ("predicted empty", "touching the border", "annotated empty", "equal"),
        ("annotated empty", "both empty", "annotated empty", "both empty"),
        ("both empty", "both empty", "both empty", "both empty"),
    ]
    return [tuple(np.stack([of[name][which] for name in row], -1) for which in (0, 1)) for row in rows]


def _disc(row: int, column: int, radius: float) -> np.ndarray:
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def _box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[top:bottom, left:right] = True
    return mask

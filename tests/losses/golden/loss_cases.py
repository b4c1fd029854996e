"""Logits and targets for the golden values of losses, and for the tests that compare with them."""

import numpy as np

SHAPE = (3, 14, 11, 4)
"""Images, rows, columns and masks."""


def masks() -> tuple[np.ndarray, np.ndarray]:
    """Logits and targets of masks that overlap, float32 `SHAPE`: the third image has an empty and a full one."""
    rng = np.random.default_rng(7)
    target = np.zeros(SHAPE, np.float32)
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    target[0, 2:6, 3:9, 0] = 1
    target[0, 5:13, 4, 1] = 1  # a line
    target[0, ..., 2] = (rows - 7) ** 2 + (columns - 5) ** 2 < 16
    target[0, :3, :, 3] = 1  # at the border
    target[1] = rng.random(SHAPE[1:]) < 0.3
    target[2, ..., 0] = (rows - 3) ** 2 + (columns - 9) ** 2 < 9
    target[2, 13, 10, 1] = 1  # one pixel, in the corner
    target[2, ..., 3] = 1
    logits = 2 * rng.normal(size=SHAPE) + 2 * target - 1
    return logits.astype(np.float32), target


def labels() -> tuple[np.ndarray, np.ndarray]:
    """Logits and targets of labels that exclude each other; the second image has the background alone."""
    rng = np.random.default_rng(8)
    chosen = rng.choice(SHAPE[-1], SHAPE[:-1], p=[0.7, 0.15, 0.1, 0.05])
    chosen[1] = 0
    target = np.eye(SHAPE[-1], dtype=np.float32)[chosen]
    return (2 * rng.normal(size=SHAPE) + target).astype(np.float32), target


def directions() -> np.ndarray:
    """Directions along which gradients are compared, float64 (3, *SHAPE)."""
    return np.random.default_rng(9).normal(size=(3, *SHAPE))

"""The images and the logits behind sliding_window.json; numpy only, for the script and for the test."""

import numpy as np

TILE = (24, 32)
SIGMA = 0.125
SIZES = {
    "smaller": (17, 21),
    "equal": TILE,
    "smaller_one_way": (20, 61),
    "odd": (33, 47),
    "larger": (50, 75),
}
OVERLAPS = (0.0, 0.25, 0.5, 0.75)
BLENDINGS = ("gaussian", "constant")
KEPT = (slice(1, None, 3), slice(2, None, 4))
"""Rows and columns whose values are kept; the sums are over all of them."""

KERNEL = np.random.default_rng(1).normal(size=(3, 3, 1, 2)).astype(np.float32)
"""Of a zero-padded convolution: rows, columns, in, out."""

_ROWS, _COLUMNS = np.mgrid[: TILE[0], : TILE[1]]
PLACE = np.stack([np.sin(0.4 * _ROWS - 0.7 * _COLUMNS), _ROWS / 5 - _COLUMNS / 9], -1).astype(np.float32)
"""Added to the convolution: the same pixel has other logits in another tile, so that blending shows."""


def image(size: tuple[int, int]) -> np.ndarray:
    """float32 (H, W) in 0..1."""
    return np.random.default_rng(size).random(size, np.float32)


def key(name: str, overlap: float, blending: str) -> str:
    return f"{name}/{overlap}/{blending}"

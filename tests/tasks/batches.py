"""Random batches in the shape the pipeline yields, for tests of tasks and steps."""

import numpy as np

from ramjax import anatomy


def random_batch(batch: int = 2, height: int = 64, width: int = 48, seed: int = 0) -> dict[str, np.ndarray]:
    """A batch with random labels of every task; half-open boxes of 12 pixels lie wholly inside."""
    rng = np.random.default_rng(seed)
    n = anatomy.NUM_SITES
    corners = np.stack([rng.uniform(0, height - 12, (batch, n)), rng.uniform(0, width - 12, (batch, n))], -1)
    graded = np.arange(n)
    return {
        "image": rng.random((batch, height, width, 1), np.float32),
        "padding": np.zeros((batch, height, width), bool),
        "bones": rng.integers(0, 2**30, (batch, height, width)).astype(np.uint32),
        "bones_known": np.ones((batch, anatomy.NUM_BONES), bool),
        "erosions": (rng.random((batch, height, width)) < 0.1).astype(np.uint8)
        * rng.integers(1, 4, (batch, height, width)).astype(np.uint8),
        "boxes": np.concatenate([corners, corners + 12], -1).astype(np.float32),
        "present": np.ones((batch, n), bool),
        "joints_known": np.ones((batch, n), bool),
        "be": np.where(np.isin(graded, anatomy.BE_SITES), rng.integers(0, 6, (batch, n)), -1).astype(np.int32),
        "jsn": np.where(np.isin(graded, anatomy.JSN_SITES), rng.integers(0, 5, (batch, n)), -1).astype(np.int32),
        **{f"has_{name}": np.ones(batch, bool) for name in ("bones", "erosions", "joints", "be", "jsn")},
        "shows_right": rng.integers(0, 2, batch).astype(np.int32),
        "shows_hand": rng.integers(0, 2, batch).astype(np.int32),
        "valid": np.ones(batch, bool),
        "index": np.arange(batch, dtype=np.int32),
        "pixel_spacing_mm": np.full(batch, 0.5, np.float32),
    }

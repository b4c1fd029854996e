"""A hand of joint sites alone."""

import numpy as np

from ramjax import anatomy
from ramjax.data import geometry


def stick_hand(lean: float, size: float, x: float, y: float) -> np.ndarray:
    """Boxes (22, 4) of a stick hand: wrist sites below, knuckles in the middle, finger joints above, then turned."""
    rows = {"wrist": 1.0, "MCP": -0.2, "PIP": -1.0}
    points = np.array(
        [((i % 5 - 2) * 0.15, rows[site.region] + 0.02 * (i % 3)) for i, site in enumerate(anatomy.SITES)]
    )
    points = geometry.apply(geometry.rotate(lean), points * size) + np.array((x, y))
    return np.concatenate([points[:, ::-1] - 2, points[:, ::-1] + 2], axis=1)

"""How the hand lies in the picture: pixel size, picture size, mirroring, rotation and shift."""

import dataclasses

import numpy as np

from ramjax.phantom import curves
from ramjax.phantom.config import Case, PhantomConfig, stream
from ramjax.phantom.skeleton import Pose, Skeleton

SPACINGS = (0.15, 0.175)
"""mm a pixel at scale 1, those of RAM-H1200."""

HEIGHTS, WIDTHS = (1431, 1700), (761, 1300)
"""Least and most pixels of a hand image at scale 1, those of RAM-H1200."""

WRIST_PIXELS = 600
"""Side of a wrist image at scale 1 and 0.15 mm, that of RAM-W600."""


@dataclasses.dataclass(frozen=True)
class Frame:
    """A picture's place over the hand.

    Attributes:
      view: ``hand`` or ``wrist``.
      shape: (rows, columns).
      mm: side of a pixel.
      to_pixels: float (2, 3), affine map from hand coordinates in mm to the drawing's pixel coordinates (x, y), with
        pixel centres at whole numbers as OpenCV draws. What leaves this package is continuous: see `locate`.
    """

    view: str
    shape: tuple[int, int]
    mm: float
    to_pixels: np.ndarray

    def locate(self, points: np.ndarray) -> np.ndarray:
        """Maps (n, 2) points in mm to continuous pixel coordinates (x, y): pixel i covers [i, i + 1)."""
        return points @ self.to_pixels[:, :2].T + self.to_pixels[:, 2] + 0.5

    def resampled(self, rows: int, columns: int) -> np.ndarray:
        """Returns the affine map (2, 3) to a raster of other size over the same picture."""
        ratio = np.array((columns / self.shape[1], rows / self.shape[0]))
        scaled = self.to_pixels * ratio[:, None]
        scaled[:, 2] += 0.5 * ratio - 0.5
        return scaled


def frame(config: PhantomConfig, case: Case, skeleton: Skeleton, pose: Pose) -> Frame:
    """Returns the picture: much forearm or little, close or with room around, fingertips now and then cut."""
    rng = stream(config, "framing", case.patient, case.visit, case.side)
    view = config.framing if config.framing != "mixed" else ("hand", "wrist")[int(rng.random() < 0.5)]
    turn = curves.rotate(np.eye(2), pose.turn, np.zeros(2)).T
    if case.side == "L":
        turn = np.diag((-1.0, 1.0)) @ turn
    if view == "wrist":
        spacing, rows, columns = SPACINGS[0], WRIST_PIXELS, WRIST_PIXELS
        middle = turn @ (skeleton.size * np.array((-1.0, 17.0))) + rng.normal(0.0, 4.0, 2)
        low = middle - 0.5 * spacing * np.array((columns, rows))
    else:
        spacing = float(rng.choice(SPACINGS))
        points = np.concatenate([bone.outline for bone in skeleton.bones]) @ turn.T
        forearm = np.array(((-24.0, 42.0), (26.0, 42.0))) * skeleton.size @ turn.T
        distal = np.concatenate([bone.outline for bone in skeleton.bones if bone.kind != "forearm"]) @ turn.T
        hull = np.concatenate((distal, forearm))
        left, right = hull[:, 0].min() - 10.0, hull[:, 0].max() + 10.0
        top, bottom = points[:, 1].min() - 7.0, forearm[:, 1].max()
        margins = rng.gamma(1.6, 6.0, 2)
        columns = int(np.clip((right - left + margins.sum()) / spacing, *WIDTHS))
        rows = int(np.clip((bottom - top + rng.gamma(1.5, 14.0)) / spacing, *HEIGHTS))
        spare = columns * spacing - (right - left)
        share = np.clip(0.5 + 0.3 * rng.standard_normal(), 0.05, 0.95)
        above = max(rows * spacing - (bottom - top), 0.0) * rng.choice(
            (rng.uniform(0.0, 0.3), rng.uniform(0.3, 0.9)), p=(0.6, 0.4)
        )
        low = np.array((left - spare * share, top - above + (rng.uniform(3.0, 12.0) if rng.random() < 0.05 else 0.0)))
    mm = spacing / config.scale
    shape = (max(round(rows * config.scale), 8), max(round(columns * config.scale), 8))
    to_pixels = np.concatenate((turn / mm, (-low / mm - 0.5)[:, None]), axis=1)
    return Frame(view, shape, mm, to_pixels)

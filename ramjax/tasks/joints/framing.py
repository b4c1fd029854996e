"""How a radiograph should be shown to the network: joint sites tell whether it is a hand, how large, and where."""

import math
from collections.abc import Mapping

import numpy as np

from ramjax import anatomy
from ramjax.config import CanvasConfig
from ramjax.data import geometry
from ramjax.data.geometry import Placement
from ramjax.tasks.base import CONFIDENT

HAND_SPAN, HAND_CENTER, HAND_LEAN = 0.6, 0.565, 8.0
"""A whole hand in training: rows its sites span and their middle row, over the canvas height, and the degrees by which
the line from the wrist to knuckles 2 to 5 leans to the small finger. Means over synthetic hands fit to the canvas."""

CARPAL_SPANS = (0.155, 0.25)
"""Rows spanned by the wrist's sites, over the canvas height, at hand size and magnified."""

MIN_SITES = 4
"""So many confident sites are needed to frame a hand anew."""

CARPUS_TO_PALM, CARPUS_TOLERANCE = 0.25, 0.15
"""Spread of the wrist's sites over their distance from knuckles 2 to 5 in a hand (synthetic ones vary by 2 %), and the
logarithm of the factor by which it may be larger. Knuckles seen by mistake in a wrist film lie too near the carpus."""

_MIN_SPAN = 0.05  # of the canvas height; sites closer than that say nothing of the hand's size
_CARPAL = np.isin(np.arange(anatomy.NUM_SITES), anatomy.WRIST_SITES)
_KNUCKLES = np.array([site.region == "MCP" and site.name != "MCP-T" for site in anatomy.SITES])


def certainty(predictions: Mapping[str, np.ndarray], view: str = "") -> np.ndarray:
    """How sure to be of each image, (b,), 0 to 1.

    As a hand: the mean confidence of all sites times the plausibility of their layout. As a wrist: that of the wrist's
    sites, times the confidence that there are no fingers unless `view` says so. '' takes the better of the two.
    """
    boxes, confidence = np.asarray(predictions["boxes"]), np.asarray(predictions["confidence"])
    hand = confidence.mean(axis=1) * [plausibility(*one) for one in zip(boxes, confidence, strict=True)]
    wrist = confidence[:, _CARPAL].mean(axis=1)
    if view:
        return hand if view == "hand" else wrist
    return np.maximum(hand, wrist * (1 - confidence[:, ~_CARPAL].mean(axis=1)))


def reframed(
    placement: Placement, predictions: Mapping[str, np.ndarray], canvas: CanvasConfig, view: str = ""
) -> list[Placement]:
    """Placements that bring the sites found to the size and place they had in training; [] where too few were found.

    Args:
      placement: where the radiograph stands now.
      predictions: ``boxes`` (22, 4) on the canvas and ``confidence`` (22,).
      canvas: the canvas.
      view: ``wrist`` leaves the fingers out.
    """
    boxes, confidence = predictions["boxes"], predictions["confidence"]
    sure = confidence >= CONFIDENT
    centers = (np.asarray(boxes, float)[:, [1, 0]] + np.asarray(boxes, float)[:, [3, 2]]) / 2
    carpal, knuckles = centers[sure & _CARPAL], centers[sure & _KNUCKLES]
    if min(len(carpal), len(knuckles)) >= 2 and view != "wrist":
        x, y = knuckles.mean(axis=0) - carpal.mean(axis=0)
        upright = HAND_LEAN if canvas.mirror_left else 0.0
        turns = 0.0, upright - math.degrees(math.atan2(x, -y))
        points, ways = centers[sure], [(turn, HAND_SPAN, HAND_CENTER) for turn in turns]
    elif len(carpal) >= MIN_SITES:
        points, ways = carpal, [(0.0, span, 0.5) for span in CARPAL_SPANS]
    else:
        return []
    if np.ptp(points[:, 1]) < _MIN_SPAN * canvas.height:
        return []
    return [_frame(placement, points, *way, canvas) for way in ways]


def plausibility(boxes: np.ndarray, confidence: np.ndarray) -> float:
    """1 for boxes (22, 4) laid out as in a hand, or with too few confident sites to tell; towards 0 for no hand."""
    sure = confidence >= CONFIDENT
    centers = (np.asarray(boxes, float)[:, :2] + np.asarray(boxes, float)[:, 2:]) / 2
    carpal, knuckles = centers[sure & _CARPAL], centers[sure & _KNUCKLES]
    if len(carpal) < MIN_SITES or len(knuckles) < 2:
        return 1.0
    spread = np.sqrt(((carpal - carpal.mean(axis=0)) ** 2).sum(axis=1).mean())
    palm = np.linalg.norm(knuckles.mean(axis=0) - carpal.mean(axis=0))
    if spread == 0:
        return 1.0
    excess = max(0.0, math.log(spread / (CARPUS_TO_PALM * max(palm, 1e-6))) - CARPUS_TOLERANCE)
    return math.exp(-0.5 * (excess / CARPUS_TOLERANCE) ** 2)


def _frame(
    placement: Placement, points: np.ndarray, degrees: float, span: float, center: float, canvas: CanvasConfig
) -> Placement:
    """Turns the canvas by `degrees`, then scales and shifts it so that `points` span and centre as asked."""
    turn = geometry.rotate(degrees)
    turned = geometry.apply(turn, points)
    lower, upper = turned.min(axis=0), turned.max(axis=0)
    size = span * canvas.height / (upper[1] - lower[1])
    x, y = (lower + upper) / 2
    to = geometry.translate(canvas.width / 2, center * canvas.height)
    return placement.then(geometry.compose(to, geometry.scale(size, size), geometry.translate(-x, -y), turn))

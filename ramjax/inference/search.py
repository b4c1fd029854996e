"""Where on the canvas a radiograph is shown to the network: several candidates, and the choice by confidence.

The network was trained on right hands, or left ones mirrored, at one size. A radiograph from elsewhere may show either
side, a whole hand or a wrist alone, and much forearm or empty film. Every candidate is one placement; all go through
the network in batches of one fixed shape, and the one whose joint sites are the most certain wins.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ramjax import anatomy
from ramjax.config import CanvasConfig, Config
from ramjax.data import canvas as canvases
from ramjax.data import geometry
from ramjax.data.geometry import Placement
from ramjax.io.radiograph import Radiograph
from ramjax.record import Record

PredictFn = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Image float32 (b, h, w, 1) to the network's predictions, each (b, ...)."""

BATCH = 4
"""Candidates a forward pass; fewer are filled up with blanks, so that nothing is compiled twice."""

WRIST_HEIGHTS = (0.36, 0.48, 0.64)
"""Height of a wrist film over that of the canvas: 90 mm at the size of a whole hand, and two magnifications."""

HAND_SPAN, HAND_CENTER, HAND_LEAN = 0.6, 0.565, 8.0
"""A whole hand in training: rows its sites span and their middle row, over the canvas height, and the degrees by which
the line from the wrist to knuckles 2 to 5 leans to the small finger. Means over synthetic hands fit to the canvas."""

CARPAL_SPANS = (0.155, 0.25)
"""Rows spanned by the wrist's sites, over the canvas height, at hand size and magnified."""

CONFIDENT = 0.3
"""Sites at least this certain say where the hand is."""

MIN_SITES = 4
"""So many confident sites are needed to frame a hand anew."""

DOUBTFUL, TURN_GAIN = 0.3, 0.1
"""Below this certainty the film is tried on its sides and upside down too; a turned one must be surer by the gain."""

CARPUS_TO_PALM, CARPUS_TOLERANCE = 0.25, 0.15
"""Spread of the wrist's sites over their distance from knuckles 2 to 5 in a hand (synthetic ones vary by 2 %), and the
logarithm of the factor by which it may be larger. Knuckles seen by mistake in a wrist film lie too near the carpus."""

_MIN_SPAN = 0.05  # of the canvas height; sites closer than that say nothing of the hand's size
_DENSE = ("bones", "erosions")
_CARPAL = np.isin(np.arange(anatomy.NUM_SITES), anatomy.WRIST_SITES)
_KNUCKLES = np.array([site.region == "MCP" and site.name != "MCP-T" for site in anatomy.SITES])


@dataclasses.dataclass(frozen=True)
class Found:
    """The candidate that won, and what the network said about it.

    Attributes:
      placement: where the radiograph stands on the canvas.
      canvas: the canvas it stands on.
      predictions: the network's predictions without the batch axis.
      certainty: see `certainties`.
      other_side: the best certainty among candidates mirrored the other way; NaN where there were none.
      quarter_turns: by which the radiograph was turned clockwise, 0 to 3.
    """

    placement: Placement
    canvas: CanvasConfig
    predictions: dict[str, np.ndarray]
    certainty: float
    other_side: float = math.nan
    quarter_turns: int = 0


def search(radiograph: Radiograph, config: Config, predict: PredictFn, side: str, view: str) -> Found:
    """Shows `radiograph` in every plausible way, then the best of them framed anew, and returns the most certain.

    Args:
      radiograph: what was read.
      config: of the run.
      predict: the network.
      side: ``L``, ``R``, or '' to try both.
      view: ``hand``, ``wrist``, or '' to try both.
    """
    canvas = canvas_for(radiograph, config)
    best = _search_turned(radiograph, canvas, predict, side, view, 0)
    if best.certainty < DOUBTFUL and "confidence" in best.predictions and canvas.sizing == "fit":
        turned = [_search_turned(radiograph, canvas, predict, side, view, turns) for turns in (1, 2, 3)]
        if _best(turned).certainty > best.certainty + TURN_GAIN:
            return _best(turned)
    return best


def canvas_for(radiograph: Radiograph, config: Config) -> CanvasConfig:
    """The run's canvas; enlarged where the run shows images at a given scale and this one is larger than the canvas.

    The network is convolutional, so that a run trained on crops predicts whole radiographs.
    """
    canvas, stride = config.data.canvas, config.model.max_stride
    # Few distinct shapes, so few compilations.
    steps = tuple(stride * math.ceil(side / 4 / stride) for side in (canvas.height, canvas.width))
    return canvases.enlarged(canvas, radiograph.pixels.shape, radiograph.pixel_spacing_mm, steps)


def candidates(
    radiograph: Radiograph, canvas: CanvasConfig, side: str, view: str, quarter_turns: int = 0
) -> list[Placement]:
    """The placements to try: as trained, and, unless the scale is given, as a wrist film; mirrored for a left hand.

    The radiograph is first turned clockwise by `quarter_turns`; other than 0 they are for canvases it is fitted to.
    """
    placed = canvases.place(as_record(radiograph), canvas)
    if quarter_turns:
        placed = _turned(placed, radiograph, canvas, quarter_turns)
    upright = []
    if view != "wrist" or canvas.sizing != "fit":
        upright.append(placed)
    if view != "hand" and canvas.sizing == "fit":
        height, width = radiograph.pixels.shape
        fitting = geometry.linear_scale(placed.affine)
        for share in WRIST_HEIGHTS:
            shrink = share * canvas.height / (fitting * max(height, width))
            if shrink < 1:
                upright.append(_about_center(placed, geometry.scale(shrink, shrink), canvas))
    mirrored = [placement.then_mirror(canvas.width) for placement in upright]
    if not canvas.mirror_left or side == "R":
        return upright
    return mirrored if side == "L" else upright + mirrored


def reframed(
    placement: Placement, boxes: np.ndarray, confidence: np.ndarray, canvas: CanvasConfig, view: str = ""
) -> list[Placement]:
    """Placements that bring the sites found to the size and place they had in training; [] where too few were found.

    Args:
      placement: where the radiograph stands now.
      boxes: (22, 4) on the canvas.
      confidence: (22,).
      canvas: the canvas.
      view: ``wrist`` leaves the fingers out.
    """
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


def as_record(radiograph: Radiograph) -> Record:
    """The radiograph as a record that knows nothing but its image and spacing."""
    return Record.unlabelled(radiograph.pixels, radiograph.pixel_spacing_mm)


def certainties(predictions: Mapping[str, np.ndarray], view: str = "") -> np.ndarray:
    """How sure to be of each candidate, (b,), 0 to 1.

    As a hand: the mean confidence of all sites times the plausibility of their layout. As a wrist: that of the wrist's
    sites, times the confidence that there are no fingers unless `view` says so. '' takes the better of the two.
    Without a joints task: the mean of the bones' best pixels.
    """
    if "confidence" in predictions:
        boxes, confidence = np.asarray(predictions["boxes"]), np.asarray(predictions["confidence"])
        hand = confidence.mean(axis=1) * [plausibility(*one) for one in zip(boxes, confidence, strict=True)]
        wrist = confidence[:, _CARPAL].mean(axis=1)
        if view:
            return hand if view == "hand" else wrist
        return np.maximum(hand, wrist * (1 - confidence[:, ~_CARPAL].mean(axis=1)))
    if "bones" in predictions:
        return np.delete(np.asarray(predictions["bones"]).max(axis=(1, 2)), anatomy.SOFT_TISSUE, axis=1).mean(axis=1)
    return np.zeros(len(next(iter(predictions.values()))))


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


def _search_turned(
    radiograph: Radiograph, canvas: CanvasConfig, predict: PredictFn, side: str, view: str, quarter_turns: int
) -> Found:
    """The most certain candidate of a radiograph turned clockwise; the best of each side is framed anew."""
    tried = _show(radiograph, canvas, candidates(radiograph, canvas, side, view, quarter_turns), predict, view)
    if "confidence" in tried[0].predictions and canvas.sizing == "fit":
        framed = []
        for mirrored in {found.placement.mirrored for found in tried}:
            best = _best([found for found in tried if found.placement.mirrored == mirrored])
            boxes, confidence = best.predictions["boxes"], best.predictions["confidence"]
            framed += reframed(best.placement, boxes, confidence, canvas, view)
        tried += _show(radiograph, canvas, framed, predict, view)
    best = _best(tried)
    others = [found.certainty for found in tried if found.placement.mirrored != best.placement.mirrored]
    return dataclasses.replace(best, other_side=max(others, default=math.nan), quarter_turns=quarter_turns)


def _show(
    radiograph: Radiograph, canvas: CanvasConfig, placements: Sequence[Placement], predict: PredictFn, view: str
) -> list[Found]:
    """Runs the network on every placement, `BATCH` at a time; keeps the dense maps of each batch's best only."""
    record = as_record(radiograph)
    tried = []
    for start in range(0, len(placements), BATCH):
        some = placements[start : start + BATCH]
        images = np.zeros((BATCH, canvas.height, canvas.width, 1), np.float32)
        for row, placement in zip(images, some, strict=False):
            row[:] = canvases.render(record, placement, canvas)["image"]
        predictions = predict(images)
        sure = certainties(predictions, view)[: len(some)]
        for i, placement in enumerate(some):
            keys = [key for key in predictions if i == np.argmax(sure) or key not in _DENSE]
            kept = {key: np.asarray(predictions[key][i]) for key in keys}
            tried.append(Found(placement, canvas, kept, float(sure[i])))
    return tried


def _best(tried: Sequence[Found]) -> Found:
    return max(tried, key=lambda found: found.certainty)


def _turned(placed: Placement, radiograph: Radiograph, canvas: CanvasConfig, quarter_turns: int) -> Placement:
    """The radiograph turned clockwise about its centre, and fitted to the canvas again."""
    height, width = radiograph.pixels.shape
    shown_height, shown_width = (width, height) if quarter_turns % 2 else (height, width)
    size = min(canvas.height / shown_height, canvas.width / shown_width)
    affine = geometry.compose(
        geometry.translate(canvas.width / 2, canvas.height / 2),
        geometry.scale(size, size),
        geometry.rotate(90 * quarter_turns),
        geometry.translate(-width / 2, -height / 2),
    )
    return dataclasses.replace(placed, affine=affine)


def _about_center(placement: Placement, affine: np.ndarray, canvas: CanvasConfig) -> Placement:
    return placement.then(geometry.about(affine, canvas.width / 2, canvas.height / 2))


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

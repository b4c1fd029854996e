"""Where on the canvas a radiograph is shown to the network: several candidates, and the choice of the most certain.

The network was trained on right hands, or left ones mirrored, at one size. A radiograph from elsewhere may show either
side, a whole hand or a wrist alone, and much forearm or empty film. Every candidate is one placement. All candidates
are predicted in batches of one fixed shape, and the one with the highest certainty wins. The certainty comes from the
task that finds boxes, or else from the first task that can tell (`Task.certainty`).

Certainties compare placements of one side and view well. Between sides, and more so between hand and wrist, they depend
on how a network was trained. So where a task was trained to tell these (`Task.positioning`), it is asked first. What it
is sure of is settled, and only candidates of that side or view are tried.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from ramjax.config import CanvasConfig, Config
from ramjax.data import canvas as canvases
from ramjax.data import geometry
from ramjax.data.geometry import Placement
from ramjax.inference.network import TrainedNetwork
from ramjax.io.radiograph import Radiograph
from ramjax.record import Record
from ramjax.tasks import Task, predictions_of
from ramjax.tasks.base import Kind
from ramjax.tasks.findings import able

BATCH = 4
"""Candidates a forward pass; fewer are filled up with blanks, so that nothing is compiled twice."""

WRIST_HEIGHTS = (0.36, 0.48, 0.64)
"""Height of a wrist film over that of the canvas: 90 mm at the size of a whole hand, and two magnifications."""

SURE = 0.9
"""A side or view with at least this chance is settled."""

DOUBTFUL, TURN_GAIN = 0.3, 0.1
"""Below this certainty the film is tried on its sides and upside down too; a turned one must be surer by the gain."""


@dataclasses.dataclass(frozen=True)
class Positioning:
    """The chances, 0 to 1, that a radiograph shows a right hand, not a left one, and a whole hand, not a wrist."""

    right: float
    hand: float

    @property
    def side(self) -> str:
        """``R`` or ``L`` where that is sure, else ''."""
        return _sure(self.right, "R", "L")

    @property
    def view(self) -> str:
        """``hand`` or ``wrist`` where that is sure, else ''."""
        return _sure(self.hand, "hand", "wrist")


def _sure(chance: float, one: str, other: str) -> str:
    return one if chance >= SURE else other if 1 - chance >= SURE else ""


@dataclasses.dataclass(frozen=True)
class Found:
    """The candidate that won, and what the network said about it.

    Attributes:
      placement: where the radiograph stands on the canvas.
      canvas: the canvas it stands on.
      predictions: the network's predictions without the batch axis.
      certainty: see `Task.certainty`.
      other_side: the best certainty among candidates mirrored the other way; NaN where there were none.
      quarter_turns: by which the radiograph was turned clockwise, 0 to 3.
      positioning: the chances of side and view; None where no task could tell, or nothing was asked.
    """

    placement: Placement
    canvas: CanvasConfig
    predictions: dict[str, np.ndarray]
    certainty: float
    other_side: float = math.nan
    quarter_turns: int = 0
    positioning: Positioning | None = None


def search(radiograph: Radiograph, network: TrainedNetwork, side: str, view: str) -> Found:
    """Tries every plausible placement of `radiograph`, then reframes the best ones, and returns the most certain.

    Args:
      radiograph: what was read.
      network: that is asked.
      side: ``L``, ``R``, or '' to try both.
      view: ``hand``, ``wrist``, or '' to try both.
    """
    canvas = canvas_for(radiograph, network.config)
    best = _search_turned(radiograph, canvas, network, side, view, 0)
    # Boxes tell a hand from what is none; what else is certain of one film may be of another turned as well.
    finds_boxes = any(task.finds_boxes for task in able(network.tasks, best.predictions))
    if best.certainty < DOUBTFUL and finds_boxes and canvas.sizing == "fit":
        turned = [_search_turned(radiograph, canvas, network, side, view, turns) for turns in (1, 2, 3)]
        if _best(turned).certainty > best.certainty + TURN_GAIN:
            return _best(turned)
    return best


def canvas_for(radiograph: Radiograph, config: Config) -> CanvasConfig:
    """The run's canvas; enlarged where the run shows images at a given scale and this one is larger than the canvas.

    The network is convolutional, so a run that was trained on crops can predict whole radiographs.
    """
    canvas, stride = config.data.canvas, config.model.max_stride
    # Few distinct shapes, so few compilations.
    steps = tuple(stride * math.ceil(side / 4 / stride) for side in (canvas.height, canvas.width))
    return canvases.enlarged(canvas, radiograph.pixels.shape, radiograph.pixel_spacing_mm, steps)


def candidates(
    radiograph: Radiograph, canvas: CanvasConfig, side: str, view: str, quarter_turns: int = 0
) -> list[Placement]:
    """The placements to try: as trained, and, unless the scale is given, as a wrist film; mirrored for a left hand.

    The radiograph is first turned clockwise by `quarter_turns`, which must be 0 unless it is fitted to the canvas.
    """
    placed = _placed(radiograph, canvas, quarter_turns)
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


def as_record(radiograph: Radiograph) -> Record:
    """The radiograph as a record that knows nothing but its image and spacing."""
    return Record.unlabelled(radiograph.pixels, radiograph.pixel_spacing_mm)


def certainties(tasks: Sequence[Task], predictions: Mapping[str, np.ndarray], view: str = "") -> np.ndarray:
    """How sure to be of each candidate, (b,), 0 to 1; zeros where no task can tell."""
    for task in sorted(able(tasks, predictions), key=lambda task: not task.finds_boxes):
        sure = task.certainty(predictions, view)
        if sure is not None:
            return sure
    return np.zeros(len(next(iter(predictions.values()))))


def _search_turned(
    radiograph: Radiograph, canvas: CanvasConfig, network: TrainedNetwork, side: str, view: str, quarter_turns: int
) -> Found:
    """The most certain candidate of a radiograph turned clockwise; the best of each side is framed anew."""
    told = None if side and view else _position(radiograph, canvas, network, quarter_turns)
    if told is not None:
        side, view = side or told.side, view or told.view
    tried = _show(radiograph, canvas, candidates(radiograph, canvas, side, view, quarter_turns), network, view)
    if canvas.sizing == "fit":
        framed, seen = [], {name for found in tried for name in found.predictions}
        for mirrored in {found.placement.mirrored for found in tried}:
            best = _best([found for found in tried if found.placement.mirrored == mirrored])
            for task in able(network.tasks, seen):
                framed += task.reframed(best.placement, best.predictions, canvas, view)
        tried += _show(radiograph, canvas, framed, network, view)
    best = _best(tried)
    others = [found.certainty for found in tried if found.placement.mirrored != best.placement.mirrored]
    other = max(others, default=math.nan)
    return dataclasses.replace(best, other_side=other, quarter_turns=quarter_turns, positioning=told)


def _position(
    radiograph: Radiograph, canvas: CanvasConfig, network: TrainedNetwork, quarter_turns: int
) -> Positioning | None:
    """What a task that can tell says of the radiograph and of its mirror image, fit to the canvas.

    The two views have opposite answers as to the side and the same one as to the rest, so the mean of their log odds
    leaves out whether the network saw more right than left hands in training.
    """
    task = next((task for task in network.tasks if task.tells_positioning), None)
    if task is None:
        return None
    placed = _placed(radiograph, canvas, quarter_turns)
    told = task.positioning(_predict(radiograph, canvas, [placed, placed.then_mirror(canvas.width)], network))
    right, hand = (np.clip(np.asarray(chances, float)[:2], 1e-6, 1 - 1e-6) for chances in told)
    right, hand = (np.log(chances / (1 - chances)) for chances in (right, hand))
    odds = (right[0] - right[1]) / 2, hand.mean() if canvas.sizing == "fit" else 0.0
    return Positioning(*(float(1 / (1 + np.exp(-of))) for of in odds))


def _show(
    radiograph: Radiograph, canvas: CanvasConfig, placements: Sequence[Placement], network: TrainedNetwork, view: str
) -> list[Found]:
    """Runs the network on every placement, `BATCH` at a time; keeps the dense maps of each batch's best only."""
    kinds, tried = predictions_of(network.tasks), []
    for start in range(0, len(placements), BATCH):
        some = placements[start : start + BATCH]
        predictions = _predict(radiograph, canvas, some, network)
        sure = certainties(network.tasks, predictions, view)[: len(some)]
        for i, placement in enumerate(some):
            keys = [key for key in predictions if i == np.argmax(sure) or kinds[key] is not Kind.DENSE]
            kept = {key: np.asarray(predictions[key][i]) for key in keys}
            tried.append(Found(placement, canvas, kept, float(sure[i])))
    return tried


def _predict(
    radiograph: Radiograph, canvas: CanvasConfig, placements: Sequence[Placement], network: TrainedNetwork
) -> Mapping[str, np.ndarray]:
    """The network's predictions of at most `BATCH` placements; the rest of the batch is blank."""
    record = as_record(radiograph)
    images = np.zeros((BATCH, canvas.height, canvas.width, canvas.detail**2), np.float32)
    for row, placement in zip(images, placements, strict=False):
        row[:] = canvases.render(record, placement, canvas)["image"]
    return network.predict(images)


def _best(tried: Sequence[Found]) -> Found:
    return max(tried, key=lambda found: found.certainty)


def _placed(radiograph: Radiograph, canvas: CanvasConfig, quarter_turns: int) -> Placement:
    """The radiograph as it was trained on, turned clockwise first."""
    placed = canvases.place(as_record(radiograph), canvas)
    return _turned(placed, radiograph, canvas, quarter_turns) if quarter_turns else placed


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

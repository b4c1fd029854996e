"""Measures one hand: its predictions, put on the grid of the measurement, against its annotations."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from ramjax.config import EvaluationConfig
from ramjax.data.grid import grid_of
from ramjax.data.regrid import check_finite
from ramjax.metrics.cases import ATTRIBUTES, Case
from ramjax.record import Record
from ramjax.tasks import Task


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What the network says of one radiograph.

    Attributes:
      maps: the predictions of the tasks, without the batch axis; those of tasks that could not be judged are absent.
      affine: float64 (2, 3), pixels of the radiograph to canvas pixels.
      canvas_height: in pixels.
    """

    maps: Mapping[str, np.ndarray]
    affine: np.ndarray
    canvas_height: int


def measure(
    tasks: Sequence[Task], record: Record, prediction: Prediction, settings: EvaluationConfig, picture: str = ""
) -> Case:
    """Measures everything that is predicted; what is not annotated is NaN.

    Args:
      tasks: of the network.
      record: as annotated.
      prediction: of the same radiograph.
      settings: the grid, and the tolerance of boundaries in strict mode; compat always takes the published 2 pixels.
      picture: name of the case's picture.

    Raises:
      ValueError: a prediction is not finite, or an annotation cannot be right; the message names the record.
    """
    maps = prediction.maps
    grid = grid_of(record, settings.grid, prediction.affine, prediction.canvas_height)
    check_finite(maps, grid.name)
    values = {}
    for task in tasks:
        if all(name in maps for name in task.predictions):
            values |= task.measure(record, maps, grid, settings)
    spacing = math.sqrt(math.prod(grid.spacing_mm))
    known = {key: getattr(record, key) for key in ATTRIBUTES if key not in ("pixel_spacing_mm", "picture")}
    return Case({**known, "pixel_spacing_mm": spacing, "picture": picture}, values)

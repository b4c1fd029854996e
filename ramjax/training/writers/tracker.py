"""What a tracker is: a place where people look at runs, such as TensorBoard, Weights & Biases or MLflow."""

import math
import pathlib
from collections.abc import Mapping
from typing import Any, Protocol


class Tracker(Protocol):
    """The interface of a tracker. Every method may raise what its own package raises.

    Attributes:
      id: by which the tracker knows the run again; '' where it needs none.
    """

    id: str

    def hyperparameters(self, config: Mapping[str, Any]) -> None:
        """Takes the config of the run, a nested dict; called first, each time that the tracker is opened."""

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Takes metrics of a training step, such as ``train/loss`` and ``validation/canvas/bones/dsc``."""

    def test(self, step: int, metrics: Mapping[str, float]) -> None:
        """Takes the metrics of the test split, named ``test/...``, in place of those of an earlier test."""

    def pictures(self, step: int, pictures: Mapping[str, pathlib.Path]) -> None:
        """Takes image files by name, in place of earlier ones of that name."""

    def close(self, failed: bool) -> None:
        """Ends the session; `failed` says that the run was stopped or broke off."""


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics that are finite numbers; the others are gaps."""
    return {name: float(value) for name, value in metrics.items() if value is not None and math.isfinite(value)}

"""Settings of the test."""

import dataclasses
from typing import Literal

from ramjax.typed import ConfigError, check


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """The evaluation of the test split. Its keys may change when a run is evaluated again (``--mode=eval``).

    Attributes:
      grid: ``native`` measures on the radiograph's own pixels, ``square512`` on the whole of it stretched to 512 x 512,
        as the wrist papers do.
      tolerance: distance within which a boundary counts as near in the normalised surface Dice.
      unit: of the tolerance and of distances, ``px`` of the grid or ``mm``.
      overlap: share of a tile that the next one covers again, where the canvas shows a part of the radiograph.
      mirror: average with the prediction of the mirror image; for networks that have seen both sides.
      scales: factors at which the canvas is shown, averaged; one of at most 1.
      ensemble: run directories whose best checkpoints are averaged with this run's; of the same network and tasks;
        ``~`` is expanded.
    """

    grid: Literal["native", "square512"] = "native"
    tolerance: float = 2.0
    unit: Literal["px", "mm"] = "px"
    overlap: float = 0.5
    mirror: bool = False
    scales: tuple[float, ...] = (1.0,)
    ensemble: tuple[str, ...] = ()

    def __post_init__(self):
        check(self, "tolerance", least=0, most=1e6)
        check(self, "overlap", least=0, most=0.95)
        if not self.scales or not all(0.01 <= scale <= 100 for scale in self.scales) or min(self.scales) > 1:
            raise ConfigError(f"scales is {self.scales}; give factors in 0.01..100, one of them at most 1.")
        if not all(workdir.strip() for workdir in self.ensemble):
            raise ConfigError(f"ensemble is {self.ensemble}; name a run directory in each place.")

"""What a report says of a system: its measures with their intervals, ready for tables and charts."""

import dataclasses
import math

import numpy as np

from ramjax.figures.content import Cell
from ramjax.metrics.cases import Cases, Mode
from ramjax.metrics.metric import Metric


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A measure of a system.

    Attributes:
      value: mean over the seeds.
      low, high: 95 % interval; NaN where there is none, as the measure rests on too few patients.
      sd: standard deviation over cases (mean over the seeds); NaN but for means over cases.
      seed_sd: standard deviation over the seeds; NaN with one.
      n: cases or sites behind it.
    """

    value: float
    low: float
    high: float
    sd: float
    seed_sd: float
    n: int

    def cell(self, digits: int = 3, sd: bool = False) -> Cell:
        """As a cell of a table, with the standard deviation over cases if `sd`."""
        return Cell(self.value, self.low, self.high, self.sd if sd else math.nan, self.n, digits)


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """A system on a data set. A system is one run, or several that differ in their seed alone.

    Attributes:
      name: of the system.
      key: for ids: letters, digits and hyphens.
      runs: the names of its runs.
      parameters: of the network; None where it is not known.
      dataset: name of the data set.
      cases: of each run, those that all of them have, in the same order.
      metrics: by mode and name, one a run.
      estimates: by mode and name.
    """

    name: str
    key: str
    runs: tuple[str, ...]
    parameters: int | None
    dataset: str
    cases: tuple[Cases, ...]
    metrics: dict[Mode, dict[str, tuple[Metric, ...]]]
    estimates: dict[Mode, dict[str, Estimate]]

    @property
    def patients(self) -> np.ndarray:
        return self.cases[0].attributes["patient"]

    def has(self, group: str) -> bool:
        """Whether a group of values was measured."""
        return self.cases[0].has(group)

    def estimate(self, name: str, mode: Mode = "strict") -> Estimate:
        """The estimate of a measure; one of nothing where it was not measured."""
        return self.estimates[mode].get(name, Estimate(*[math.nan] * 5, 0))

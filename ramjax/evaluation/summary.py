"""What an evaluation comes to: its named metrics, each with the data and the statistic behind it.

So that one idea serves everywhere, a metric is data with a leading axis of cases and a function of such data: its
value is the function of all cases, its interval comes from resampling them, and two runs are compared on the cases
they share.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

Data = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric of a split.

    Attributes:
      data: arrays with a leading axis of cases, of all cases of the split (NaN where a case does not count).
      statistic: takes such data, of any choice of cases, and returns a float; NaN where nothing counts.
      n: how many cases, or sites where they are pooled, are behind it.
    """

    data: Data
    statistic: Callable[[Data], float]
    n: int

    @property
    def value(self) -> float:
        """The statistic of all cases."""
        return float(self.statistic(self.data))

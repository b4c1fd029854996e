"""A metric of a split: data with a leading axis of cases, and a function of such data.

Its value is the function of all cases, its interval comes from resampling them, and two runs are compared on the cases
that they share.
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
      resampled: whether its interval is worth the time; False for values that take long, such as average precision.
    """

    data: Data
    statistic: Callable[[Data], float]
    n: int
    resampled: bool = True

    @property
    def value(self) -> float:
        """The statistic of all cases."""
        return float(self.statistic(self.data))


@dataclasses.dataclass(frozen=True)
class Headline:
    """A metric that tables show.

    Attributes:
      metric: its name, such as ``bones/dsc``.
      title: a few words for people.
      better: 1 where higher is better, -1 where lower is, 0 where 0 is best, as of a bias.
      by_group: whether it is also shown of each centre and diagnosis.
      in_summary: whether summaries and comparisons of runs show it; False for what tells something of groups alone.
    """

    metric: str
    title: str
    better: int = 1
    by_group: bool = False
    in_summary: bool = True


@dataclasses.dataclass(frozen=True)
class Ranking:
    """What cases are ranked by.

    Attributes:
      by: the value, in words.
      values: float64 (N,), of each case; NaN where it has no place.
      better: 1 where higher is better, -1 where lower is.
    """

    by: str
    values: np.ndarray
    better: int = 1


def mean_metric(values: np.ndarray) -> Metric:
    """The mean over the cases (N,) whose value is finite."""
    return pooled_metric(values[:, None])


def pooled_metric(values: np.ndarray) -> Metric:
    """The mean over all finite values (N, K), whatever case they are of."""
    finite = np.isfinite(values)
    data = {"sum": np.where(finite, values, 0.0).sum(1), "count": finite.sum(1)}
    return Metric(data, _pooled_mean, int(finite.sum()))


def constant_metric(value: float, n: int) -> Metric:
    """A value that was computed of all cases at once, and has no interval."""
    return Metric({}, lambda data: float(value), int(n), resampled=False)


def spread(metric: Metric) -> float:
    """Standard deviation over the cases (ddof 1) of a mean over cases; NaN of any other metric."""
    if set(metric.data) != {"sum", "count"} or metric.data["count"].max(initial=0) > 1:
        return float("nan")
    values = metric.data["sum"][metric.data["count"] > 0]
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def _pooled_mean(data: Data) -> float:
    count = data["count"].sum()
    return float(data["sum"].sum() / count) if count else float("nan")

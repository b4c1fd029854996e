"""The measures of systems with their intervals, and the differences of systems, by resampling patients."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from ramjax.evaluation import summary
from ramjax.evaluation.summary import Metric
from ramjax.figures.content import Cell
from ramjax.metrics import statistics
from ramjax.metrics.cases import MODES, Cases, Mode
from ramjax.reporting.runs import System, of_dataset, shared_cases

SEED = 0
"""Of the bootstrap, so that a report comes out the same each time."""


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
    """A system on a data set.

    Attributes:
      system: its runs.
      dataset: name of the data set.
      cases: of each run, those that all of them have, in the same order.
      metrics: by mode and name, one a run.
      estimates: by mode and name.
    """

    system: System
    dataset: str
    cases: tuple[Cases, ...]
    metrics: dict[Mode, dict[str, tuple[Metric, ...]]]
    estimates: dict[Mode, dict[str, Estimate]]

    @property
    def name(self) -> str:
        return self.system.name

    @property
    def key(self) -> str:
        """For ids."""
        return self.system.key

    @property
    def patients(self) -> np.ndarray:
        return self.cases[0].attributes["patient"]

    def has(self, task: str) -> bool:
        return task in self.cases[0].values

    def estimate(self, name: str, mode: Mode = "strict") -> Estimate:
        """The estimate of a measure; one of nothing where it was not measured."""
        return self.estimates[mode].get(name, Estimate(*[math.nan] * 5, 0))


@dataclasses.dataclass(frozen=True)
class Difference:
    """System a less system b, on the `cases` that both have, by name of the measure."""

    a: str
    b: str
    cases: int
    comparisons: dict[str, statistics.Comparison]


def measure(system: System, dataset: str) -> Evaluated | None:
    """Measures a system on a data set, without intervals yet; None where it has no case of it."""
    cases = tuple(shared_cases([of_dataset(run.cases, dataset) for run in system.runs]))
    if not len(cases[0]):
        return None
    metrics = {mode: _by_name([summary.metrics(of, mode) for of in cases]) for mode in MODES}
    metrics["strict"] |= _by_name([summary.parts(of) for of in cases])
    estimates = {mode: {name: _estimate(of) for name, of in by_name.items()} for mode, by_name in metrics.items()}
    return Evaluated(system, dataset, cases, metrics, estimates)


def with_intervals(evaluated: Evaluated, replicates: int, advance: Callable[[], None] = lambda: None) -> Evaluated:
    """Adds the intervals of the strict measures; `advance` is called after each."""
    estimates = {}
    for name, of_runs in evaluated.metrics["strict"].items():
        estimates[name] = _with_interval(evaluated.estimates["strict"][name], of_runs, evaluated.patients, replicates)
        advance()
    return dataclasses.replace(evaluated, estimates=evaluated.estimates | {"strict": estimates})


def compare(
    evaluated: Sequence[Evaluated], names: Sequence[str], replicates: int, advance: Callable[[], None] = lambda: None
) -> list[Difference]:
    """Each pair of systems on the cases that both have, by the named measures, strict."""
    differences = []
    for b, a in itertools.combinations(evaluated, 2):
        shared = shared_cases([*a.cases, *b.cases])
        if not len(shared[0]):
            differences.append(Difference(a.name, b.name, 0, {}))
            continue
        of_runs = [summary.metrics(cases, "strict") for cases in shared]
        comparisons = {}
        for name in names:
            if all(name in of for of in of_runs):
                comparisons[name] = _compare([of[name] for of in of_runs], len(a.cases), shared[0], replicates)
            advance()
        differences.append(Difference(a.name, b.name, len(shared[0]), comparisons))
    return differences


def _by_name(of_runs: Sequence[dict[str, Metric]]) -> dict[str, tuple[Metric, ...]]:
    """The measures that all runs have."""
    names = [name for name in of_runs[0] if all(name in of for of in of_runs)]
    return {name: tuple(of[name] for of in of_runs) for name in names}


def _estimate(of_runs: Sequence[Metric]) -> Estimate:
    values = np.array([metric.value for metric in of_runs])
    sd = float(np.mean([summary.spread(metric) for metric in of_runs]))
    seed_sd = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    n = round(float(np.mean([metric.n for metric in of_runs])))
    return Estimate(float(values.mean()), math.nan, math.nan, sd, seed_sd, n)


def _with_interval(estimate: Estimate, of_runs: Sequence[Metric], patients: np.ndarray, replicates: int) -> Estimate:
    data = [metric.data for metric in of_runs]
    try:
        interval = statistics.bootstrap(data, of_runs[0].statistic, patients, replicates=replicates, seed=SEED)
    except ValueError as error:
        _check_too_few(error)
        return estimate
    return dataclasses.replace(estimate, low=interval.low, high=interval.high)


def _compare(of_runs: Sequence[Metric], count: int, cases: Cases, replicates: int) -> statistics.Comparison:
    data = [metric.data for metric in of_runs]
    patients, statistic = cases.attributes["patient"], of_runs[0].statistic
    try:
        return statistics.compare(data[:count], data[count:], statistic, patients, replicates=replicates, seed=SEED)
    except ValueError as error:
        _check_too_few(error)
        values = [metric.value for metric in of_runs]
        difference = float(np.mean(values[:count]) - np.mean(values[count:]))
        nan = math.nan
        return statistics.Comparison(difference, nan, nan, 0.95, nan, len(cases), len(set(patients)), 0, 0)


def _check_too_few(error: ValueError) -> None:
    """Raises the error unless it says that a measure rests on too few patients, which then has no interval."""
    if "undefined in" not in str(error):
        raise error

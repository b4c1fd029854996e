"""The measures of systems with their intervals, and the differences of systems, by resampling patients."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Collection, Sequence

import numpy as np

from ramjax.figures.estimates import Estimate, Evaluated
from ramjax.metrics import statistics
from ramjax.metrics.cases import MODES, Cases, Mode
from ramjax.metrics.metric import Metric, spread
from ramjax.reporting.runs import System, of_dataset, shared_cases
from ramjax.tasks import Task, measured_by

SEED = 0
"""Of the bootstrap, so that a report comes out the same each time."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """System a less system b on a data set.

    Attributes:
      dataset: name of the data set.
      a, b: names of the systems.
      cases: that both have.
      comparisons: by name of the measure.
      corrected: p-values corrected for all comparisons of the report, by name of the measure.
    """

    dataset: str
    a: str
    b: str
    cases: int
    comparisons: dict[str, statistics.Comparison]
    corrected: dict[str, float] = dataclasses.field(default_factory=dict)


def measure(system: System, dataset: str, tasks: Sequence[Task]) -> Evaluated | None:
    """Measures a system on a data set, without intervals; returns None if it was not evaluated on that data set."""
    cases = tuple(shared_cases([of_dataset(run.cases, dataset) for run in system.runs]))
    if not len(cases[0]):
        return None
    metrics = {mode: _by_name([metrics_of(tasks, of, mode) for of in cases]) for mode in MODES}
    metrics["strict"] |= _by_name([_part_metrics(tasks, of) for of in cases])
    estimates = {mode: {name: _estimate(of) for name, of in by_name.items()} for mode, by_name in metrics.items()}
    runs = tuple(run.name for run in system.runs)
    return Evaluated(system.name, system.key, runs, system.runs[0].parameters, dataset, cases, metrics, estimates)


def with_intervals(
    evaluated: Evaluated,
    replicates: int,
    advance: Callable[[], None] = lambda: None,
    names: Collection[str] | None = None,
) -> Evaluated:
    """Returns the measures with bootstrap intervals of the strict ones; calls `advance` after each interval.

    With `names` only these get intervals.
    """
    estimates = {}
    for name, of_runs in evaluated.metrics["strict"].items():
        if names is not None and name not in names:
            estimates[name] = evaluated.estimates["strict"][name]
            continue
        estimates[name] = _with_interval(evaluated.estimates["strict"][name], of_runs, evaluated.patients, replicates)
        advance()
    return dataclasses.replace(evaluated, estimates=evaluated.estimates | {"strict": estimates})


def pairs(evaluated: Sequence[Evaluated], baseline: System | None = None) -> list[tuple[Evaluated, Evaluated]]:
    """The pairs (a, b) to compare, of the same data set each: all, or every other system a with the baseline b."""
    together = [(a, b) for b, a in itertools.combinations(evaluated, 2) if a.dataset == b.dataset]
    if baseline is None:
        return together
    with_baseline = [pair for pair in together if baseline.key in (pair[0].key, pair[1].key)]
    return [(b, a) if a.key == baseline.key else (a, b) for a, b in with_baseline]


def compare(
    evaluated: Sequence[Evaluated],
    tasks: Sequence[Task],
    names: Sequence[str],
    replicates: int,
    advance: Callable[[], None] = lambda: None,
    baseline: System | None = None,
) -> list[Difference]:
    """The `pairs` of systems on the cases that both have, by the named measures, strict; `advance` after each.

    The p-values are corrected by Holm's method for all measures, pairs and data sets together.
    """
    return compare_pairs(pairs(evaluated, baseline), tasks, names, replicates, advance)


def compare_pairs(
    pairs: Sequence[tuple[Evaluated, Evaluated]],
    tasks: Sequence[Task],
    names: Sequence[str],
    replicates: int,
    advance: Callable[[], None] = lambda: None,
) -> list[Difference]:
    """As `compare`, for these pairs, which are one family for the correction."""
    differences = []
    for a, b in pairs:
        shared = shared_cases([*a.cases, *b.cases])
        if not len(shared[0]):
            differences.append(Difference(a.dataset, a.name, b.name, 0, {}))
            continue
        of_runs = [metrics_of(tasks, cases, "strict") for cases in shared]
        comparisons = {}
        for name in names:
            if all(name in of for of in of_runs):
                comparisons[name] = _compare([of[name] for of in of_runs], len(a.cases), shared[0], replicates)
            advance()
        differences.append(Difference(a.dataset, a.name, b.name, len(shared[0]), comparisons))
    return _corrected(differences)


def _corrected(differences: Sequence[Difference]) -> list[Difference]:
    corrected = iter(statistics.holm([c.p_value for of in differences for c in of.comparisons.values()]).tolist())
    return [dataclasses.replace(of, corrected={name: next(corrected) for name in of.comparisons}) for of in differences]


def metrics_of(tasks: Sequence[Task], cases: Cases, mode: Mode) -> dict[str, Metric]:
    """The metrics of the tasks that measured the cases."""
    return {name: metric for task in measured_by(tasks, cases) for name, metric in task.metrics(cases, mode).items()}


def _part_metrics(tasks: Sequence[Task], cases: Cases) -> dict[str, Metric]:
    found = {name: of for task in measured_by(tasks, cases) for name, of in task.part_metrics(cases).items()}
    return {name: metric for name, metric in found.items() if metric.n}


def _by_name(of_runs: Sequence[dict[str, Metric]]) -> dict[str, tuple[Metric, ...]]:
    """The measures that all runs have."""
    names = [name for name in of_runs[0] if all(name in of for of in of_runs)]
    return {name: tuple(of[name] for of in of_runs) for name in names}


def _estimate(of_runs: Sequence[Metric]) -> Estimate:
    values = np.array([metric.value for metric in of_runs])
    sd = float(np.mean([spread(metric) for metric in of_runs]))
    seed_sd = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    n = round(float(np.mean([metric.n for metric in of_runs])))
    return Estimate(float(values.mean()), math.nan, math.nan, sd, seed_sd, n)


def _with_interval(estimate: Estimate, of_runs: Sequence[Metric], patients: np.ndarray, replicates: int) -> Estimate:
    if not (estimate.n and of_runs[0].resampled):
        return estimate
    data = [metric.data for metric in of_runs]
    try:
        interval = statistics.bootstrap(data, of_runs[0].statistic, patients, replicates=replicates, seed=SEED)
    except ValueError as error:
        _check_too_few(error)
        return estimate
    return dataclasses.replace(estimate, low=interval.low, high=interval.high)


def _compare(of_runs: Sequence[Metric], count: int, cases: Cases, replicates: int) -> statistics.Comparison:
    patients, statistic = cases.attributes["patient"], of_runs[0].statistic
    if of_runs[0].resampled:
        data = [metric.data for metric in of_runs]
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

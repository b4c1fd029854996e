"""Confidence intervals of metrics by bootstrap over patients: of one run, or of the difference of two.

The hands and visits of a patient resemble each other. So patients are drawn, each with all their cases, instead of
single cases. Sources: Efron B, Tibshirani RJ. An Introduction to the Bootstrap. Chapman & Hall 1993 (percentile
interval, chapter 13; its use as a test, section 15.4); drawing whole clusters, Field CA, Welsh AH. J R Stat Soc B
2007;69:369-90.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

Data = np.ndarray | Mapping[str, np.ndarray]
"""An array, or arrays by name, with a leading axis of cases."""

Run = Data | Sequence[Data]
"""The cases of a run; or a list of such, of runs that differ in their random seed alone, with the same cases."""

Statistic = Callable[[Data], float]
"""A function of any choice of cases, repeated ones among them; NaN where it is not defined."""

MAX_DROPPED = 0.2
"""Share of replicates that may be undefined before their interval would tell of the others alone."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """A statistic with its confidence interval.

    Attributes:
      estimate: of all cases; the mean over the seeds.
      low, high: ends of the interval; NaN where the estimate is not finite or there is a single patient.
      level: of the interval, such as 0.95.
      n_cases, n_patients, n_seeds: what was resampled.
      seed_sd: standard deviation of the seeds' estimates (ddof 1), cases fixed; NaN with one seed.
      replicates: those the interval comes from.
      dropped: further ones in which the statistic was not finite.
    """

    estimate: float
    low: float
    high: float
    level: float
    n_cases: int
    n_patients: int
    n_seeds: int
    seed_sd: float
    replicates: int
    dropped: int


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The difference of two runs on the same cases.

    Attributes:
      difference: statistic of run a less that of run b, all cases; each the mean over its seeds.
      low, high: ends of its interval; NaN where the difference is not finite or there is a single patient.
      level: of the interval, such as 0.95.
      p_value: two-sided, of no difference; see `compare`. NaN where the interval is.
      n_cases, n_patients: what was resampled.
      replicates: those the interval comes from.
      dropped: further ones in which the difference was not finite.
    """

    difference: float
    low: float
    high: float
    level: float
    p_value: float
    n_cases: int
    n_patients: int
    replicates: int
    dropped: int


def bootstrap(
    data: Run,
    statistic: Statistic,
    patients: Sequence[str] | np.ndarray,
    *,
    replicates: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a statistic, by drawing patients with replacement.

    With several seeds a replicate draws patients and, crossed with them, seeds, and takes the mean over the seeds
    drawn: the interval then covers another sample of patients and another training, but is a little too narrow where
    the seeds are few. Source: Owen AB. The pigeonhole bootstrap. Ann Appl Stat 2007;1:386-411.

    Args:
      data: the cases of a run, or of several seeds of it.
      statistic: of such data.
      patients: (N,) keys, '' unknown: the case is then taken for a patient of its own.
      replicates: number of draws.
      level: of the interval, between 0 and 1.
      seed: same seed, same numbers.

    Raises:
      ValueError: there is no case, lengths differ, or the statistic is undefined in too many replicates.
    """
    runs, clusters = _checked([data], patients, replicates, level)
    by_seed = np.array([statistic(cases) for cases in runs[0]], np.float64)
    estimate = float(by_seed.mean())
    values, dropped = _replicate(runs, statistic, clusters, replicates, seed) if np.isfinite(estimate) else _NOTHING
    low, high = _percentiles(values[:, 0], level)
    seed_sd = float(by_seed.std(ddof=1)) if len(by_seed) > 1 else float("nan")
    sizes = (len(clusters.order), len(clusters.counts), len(by_seed))
    return Interval(estimate, low, high, level, *sizes, seed_sd, len(values), dropped)


def compare(
    run_a: Run,
    run_b: Run,
    statistic: Statistic,
    patients: Sequence[str] | np.ndarray,
    *,
    replicates: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Paired bootstrap: both runs are resampled by the same draw of patients, and the difference is taken.

    The p-value is the one that belongs to the interval: with B replicates, b of them on the rarer side of 0 (or at 0),
    it is 2 (b + 1) / (B + 1), at most 1; but for the added 1 it is below 1 - level where 0 lies outside the interval.
    It says how rarely another set of patients would reverse the sign of the difference. It is approximate with few
    patients, is not corrected for multiple comparisons (see `holm`), and is never below 2 / (B + 1). The seeds of each
    run are drawn independently, because seeds of different methods are not paired.

    Sources: Efron & Tibshirani 1993, section 15.4; the added 1, Davison AC, Hinkley DV. Bootstrap Methods and their
    Application. Cambridge 1997, section 4.2.

    Args:
      run_a, run_b: the same cases in the same order, each of one seed or several.
      statistic, patients, replicates, level, seed: as for `bootstrap`.

    Raises:
      ValueError: as for `bootstrap`.
    """
    runs, clusters = _checked([run_a, run_b], patients, replicates, level)
    a, b = (float(np.mean([statistic(cases) for cases in run])) for run in runs)
    difference = a - b
    values, dropped = _replicate(runs, statistic, clusters, replicates, seed) if np.isfinite(difference) else _NOTHING
    differences = values[:, 0] - values[:, -1]
    low, high = _percentiles(differences, level)
    p_value = float("nan")
    if len(differences):
        rarer = min((differences <= 0).sum(), (differences >= 0).sum())
        p_value = min(1.0, 2 * (int(rarer) + 1) / (len(differences) + 1))
    sizes = (len(clusters.order), len(clusters.counts))
    return Comparison(difference, low, high, level, p_value, *sizes, len(values), dropped)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's correction: p-values that stay below alpha keep the chance of any false finding among them below alpha.

    The smallest of m is multiplied by m, the next by m - 1 and so on; none ends below one that was smaller before, and
    none above 1. It holds however the tests depend on each other. Source: Holm S. A simple sequentially rejective
    multiple test procedure. Scand J Stat 1979;6:65-70.

    Args:
      p_values: of one family of tests, 0 to 1; NaN for a test that could not be made, which does not count.

    Returns:
      The corrected ones, float64 in the same order, NaN where they were NaN.

    Raises:
      ValueError: a p-value is not in 0..1.
    """
    p = np.asarray(p_values, np.float64)
    tested = np.flatnonzero(~np.isnan(p))
    if ((p[tested] < 0) | (p[tested] > 1)).any():
        raise ValueError(f"p_values has {p[tested].min():g} to {p[tested].max():g}; expected 0 to 1.")
    order = tested[np.argsort(p[tested], kind="stable")]
    corrected = np.full(p.shape, np.nan)
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return corrected


@dataclasses.dataclass(frozen=True)
class _Clusters:
    """Cases by patient: patient p has cases ``order[starts[p] : starts[p] + counts[p]]``."""

    order: np.ndarray
    starts: np.ndarray
    counts: np.ndarray

    def draws(self, rng: np.random.Generator, replicates: int) -> Iterator[np.ndarray]:
        """Cases of as many patients as there are, drawn with replacement."""
        for _ in range(replicates):
            drawn = rng.integers(len(self.counts), size=len(self.counts))
            counts = self.counts[drawn]
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            yield self.order[np.repeat(self.starts[drawn], counts) + within]


_NOTHING = (np.zeros((0, 1)), 0)


def _replicate(
    runs: list[list[Data]], statistic: Statistic, clusters: _Clusters, replicates: int, seed: int
) -> tuple[np.ndarray, int]:
    """Returns float64 (replicates, runs) without those that are not finite, and how many those were."""
    if len(clusters.counts) < 2:
        return _NOTHING
    cases_rng, seeds_rng = (np.random.default_rng((seed, stream)) for stream in range(2))
    values = np.empty((replicates, len(runs)))
    for replicate, cases in enumerate(clusters.draws(cases_rng, replicates)):
        for column, run in enumerate(runs):
            drawn = np.bincount(seeds_rng.integers(len(run), size=len(run)), minlength=len(run))
            of_seeds = [times * statistic(_take(run[i], cases)) for i, times in enumerate(drawn) if times]
            values[replicate, column] = sum(of_seeds) / len(run)
    finite = np.isfinite(values).all(1)
    dropped = int((~finite).sum())
    if dropped > MAX_DROPPED * replicates:
        raise ValueError(
            f"The statistic is undefined in {dropped} of {replicates} bootstrap replicates, as it rests on too few "
            "patients; pool more sites or cases."
        )
    return values[finite], dropped


def _percentiles(values: np.ndarray, level: float) -> tuple[float, float]:
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _checked(
    runs: Sequence[Run], patients: Sequence[str] | np.ndarray, replicates: int, level: float
) -> tuple[list[list[Data]], _Clusters]:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a share between 0 and 1, such as 0.95.")
    if replicates < 1:
        raise ValueError(f"replicates is {replicates}; expected 1 or more.")
    clusters = _clusters(patients)
    of_seeds = [list(run) if isinstance(run, list | tuple) else [run] for run in runs]
    for run in of_seeds:
        if not run:
            raise ValueError("A run has no seed; expected the cases of at least one.")
        for data in run:
            named = data if isinstance(data, Mapping) else {"data": data}
            for name, values in named.items():
                if len(values) != len(clusters.order):
                    raise ValueError(
                        f"{name} has {len(values)} cases and patients has {len(clusters.order)}; expected as many."
                    )
    return of_seeds, clusters


def _clusters(patients: Sequence[str] | np.ndarray) -> _Clusters:
    keys = np.asarray(patients).astype(str)
    if keys.ndim != 1 or not len(keys):
        raise ValueError(f"patients has shape {keys.shape}; expected (N,), the patient of each of one or more cases.")
    unknown = keys == ""
    names, number = np.unique(keys, return_inverse=True)
    number[unknown] = len(names) + np.arange(unknown.sum())
    order = np.argsort(number, kind="stable")
    _, starts, counts = np.unique(number[order], return_index=True, return_counts=True)
    return _Clusters(order, starts, counts)


def _take(data: Data, cases: np.ndarray) -> Data:
    if isinstance(data, Mapping):
        return {name: values[cases] for name, values in data.items()}
    return data[cases]

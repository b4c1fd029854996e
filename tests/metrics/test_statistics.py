import dataclasses
import itertools
import time

import numpy as np
import pytest

from ramjax.metrics import scoring, statistics


def mean_of_values(data):
    return data["values"].mean()


def assert_same(a, b):
    np.testing.assert_array_equal(dataclasses.astuple(a), dataclasses.astuple(b))  # NaN equals NaN


def clustered(rng: np.random.Generator, patients: int, cases: int) -> tuple[np.ndarray, np.ndarray]:
    """Values (patients * cases,) with true mean 0 whose variance lies mostly between patients, and keys."""
    values = rng.normal(size=(patients, 1)) + 0.5 * rng.normal(size=(patients, cases))
    return values.ravel(), np.repeat([f"p{i:03}" for i in range(patients)], cases)


def test_replicates_of_a_hand_enumerable_case():
    # Patients a: 0, and b: 1 and 1. The four equally likely draws aa, ab, ba, bb have means 0, 2/3, 2/3 and 1.
    values, patients = np.array([1.0, 0, 1]), ["b", "a", "b"]
    interval = statistics.bootstrap(values, np.mean, patients, level=0.95)
    assert (interval.estimate, interval.low, interval.high) == (pytest.approx(2 / 3), 0, 1)
    middle = statistics.bootstrap(values, np.mean, patients, level=0.4)
    assert (middle.low, middle.high) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (interval.n_cases, interval.n_patients, interval.replicates, interval.dropped) == (3, 2, 2000, 0)
    assert interval.n_seeds == 1 and np.isnan(interval.seed_sd)


def test_quantiles_and_p_value_come_near_those_of_all_draws():
    values = np.array([0.9, -0.5, 0.4, 0.3])
    means = np.array([np.mean(draw) for draw in itertools.product(values, repeat=4)])
    replicates = 40000
    found = statistics.compare(values, np.zeros(4), np.mean, list("abcd"), replicates=replicates, level=0.8)
    assert found.difference == pytest.approx(values.mean())
    np.testing.assert_allclose([found.low, found.high], np.quantile(means, [0.1, 0.9]), atol=0.03)
    assert found.p_value == pytest.approx(2 * (means <= 1e-12).mean(), abs=0.01)


def test_intervals_cover_the_truth_where_cases_of_a_patient_resemble_each_other():
    rng = np.random.default_rng(1)
    covered, covered_by_case = [], []
    for trial in range(200):
        values, patients = clustered(rng, 40, 4)
        for keys, hits in ((patients, covered), ([""] * len(values), covered_by_case)):
            interval = statistics.bootstrap(values, np.mean, keys, replicates=200, seed=trial)
            hits.append(interval.low <= 0 <= interval.high)
    assert 0.89 <= np.mean(covered) <= 0.98
    assert np.mean(covered_by_case) < 0.8  # the interval of cases taken as independent is much too narrow


def test_p_values_of_no_difference_are_seldom_small_and_a_difference_is_found():
    rng = np.random.default_rng(2)
    p_values = []
    for trial in range(200):
        values, patients = clustered(rng, 40, 2)
        other = values + clustered(rng, 40, 2)[0]
        p_values.append(statistics.compare(values, other, np.mean, patients, replicates=200, seed=trial).p_value)
    assert 0.01 <= np.mean(np.array(p_values) < 0.05) <= 0.11
    assert np.mean(np.array(p_values) < 0.5) == pytest.approx(0.5, abs=0.12)
    values, patients = clustered(rng, 40, 2)
    better = statistics.compare(values + 0.2 + 0.1 * rng.normal(size=80), values, np.mean, patients)
    assert better.p_value == pytest.approx(2 / 2001) and 0.1 < better.low < better.high < 0.3


def test_pairing_removes_what_both_runs_share():
    rng = np.random.default_rng(3)
    values, patients = clustered(rng, 30, 2)
    paired = statistics.compare(values + 0.05, values, np.mean, patients)
    assert paired.low == pytest.approx(0.05) and paired.high == pytest.approx(0.05)


def test_invariances():
    rng = np.random.default_rng(4)
    values, patients = clustered(rng, 20, 3)
    interval = statistics.bootstrap(values, np.mean, patients)
    order = rng.permutation(len(values))
    shuffled = statistics.bootstrap(values[order], np.mean, patients[order])
    assert (shuffled.low, shuffled.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    shifted = statistics.bootstrap(values + 7, np.mean, patients)
    assert (shifted.low, shifted.high) == (pytest.approx(interval.low + 7), pytest.approx(interval.high + 7))
    assert_same(interval, statistics.bootstrap(values, np.mean, patients))
    named = {"values": values, "other": values}
    assert_same(interval, statistics.bootstrap(named, mean_of_values, patients.astype(object)))
    assert statistics.bootstrap(values, np.mean, patients, seed=1).low != interval.low
    wider = statistics.bootstrap(values, np.mean, patients, level=0.99)
    assert wider.low < interval.low < interval.estimate < interval.high < wider.high


def test_a_run_compared_to_itself_and_either_way_round():
    rng = np.random.default_rng(5)
    values, patients = clustered(rng, 20, 3)
    same = statistics.compare(values, values, np.mean, patients)
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    other = values + 0.3 * rng.normal(size=len(values))
    there, back = (statistics.compare(*runs, np.mean, patients) for runs in ((values, other), (other, values)))
    assert there.difference == -back.difference and there.p_value == back.p_value
    assert (there.low, there.high) == (pytest.approx(-back.high), pytest.approx(-back.low))
    seeds = [values, other]
    assert statistics.compare(seeds, seeds[::-1], np.mean, patients).p_value > 0.9


def test_seeds_are_pooled_and_their_spread_is_told():
    rng = np.random.default_rng(6)
    values, patients = clustered(rng, 30, 2)
    seeds = [values - 1, values, values + 1]
    pooled = statistics.bootstrap(seeds, np.mean, patients)
    assert pooled.estimate == pytest.approx(values.mean()) and pooled.seed_sd == pytest.approx(1)
    assert pooled.n_seeds == 3
    single = statistics.bootstrap(values, np.mean, patients)
    # The variance is that of the patients and that of the mean of three seeds drawn from -1, 0, 1: (2 / 3) / 3.
    half = 1.96 * np.sqrt(((single.high - single.low) / 3.92) ** 2 + 2 / 9)
    assert (pooled.high - pooled.low) / 2 == pytest.approx(half, rel=0.07)
    alike = statistics.bootstrap([values, values], np.mean, patients)
    assert (alike.low, alike.high) == (pytest.approx(single.low), pytest.approx(single.high))
    assert alike.seed_sd == 0
    against = statistics.compare(seeds, values + 0.5, np.mean, patients)
    assert against.difference == pytest.approx(-0.5)
    assert against.low < -1 and against.high > 0 and against.p_value > 0.1


def test_holm_of_a_hand_worked_case():
    """Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, and 0.04, which may not fall below 0.06."""
    corrected = statistics.holm([0.01, 0.04, float("nan"), 0.03, 0.005])
    np.testing.assert_allclose(corrected, [0.03, 0.06, np.nan, 0.06, 0.02], rtol=1e-12)


def test_holm_is_the_closed_test_of_bonferroni():
    """Corrected is the largest, over all sets of tests that contain it, of the set's Bonferroni p-value."""
    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 6):
        p = rng.choice([rng.uniform(0, 0.1, count), np.round(rng.uniform(0, 1, count), 1)])  # the latter with ties
        sets = [s for size in range(1, count + 1) for s in itertools.combinations(range(count), size)]
        expected = [max(min(1, len(s) * p[list(s)].min()) for s in sets if i in s) for i in range(count)]
        np.testing.assert_allclose(statistics.holm(p), expected, rtol=1e-12)


def test_holm_keeps_the_order_and_lies_between_the_p_values_and_bonferroni():
    p = np.random.default_rng(1).uniform(0, 0.05, 40)
    corrected = statistics.holm(p)
    assert (corrected >= p).all() and (corrected <= np.minimum(1, 40 * p)).all()
    assert (np.diff(corrected[np.argsort(p)]) >= 0).all()
    assert statistics.holm([]).size == 0 and statistics.holm([0.2])[0] == 0.2
    shuffled = np.random.default_rng(2).permutation(40)
    np.testing.assert_array_equal(statistics.holm(p[shuffled]), corrected[shuffled])


@pytest.mark.parametrize("p", [[-0.1, 0.5], [0.5, 1.1]])
def test_holm_refuses_what_is_no_p_value(p):
    with pytest.raises(ValueError, match=r"p_values has .* expected 0 to 1"):
        statistics.holm(p)


def test_unknown_patients_are_patients_of_their_own():
    values = np.arange(6.0)
    unknown = statistics.bootstrap(values, np.mean, [""] * 6)
    assert unknown.n_patients == 6
    assert_same(unknown, statistics.bootstrap(values, np.mean, list("abcdef")))
    assert statistics.bootstrap(values, np.mean, ["a", "", "a", "", "", "b"]).n_patients == 5


def test_undefined_replicates_are_dropped_counted_and_refused_when_many():
    values = np.array([1.0, np.nan, np.nan, np.nan, np.nan, 2.0, 3.0, 4.0, 5.0, 6.0])

    def mean_of_known(data):
        return data[~np.isnan(data)].mean() if (~np.isnan(data)).any() else np.nan

    patients = [str(i) for i in range(10)]
    interval = statistics.bootstrap(values, mean_of_known, patients, replicates=5000)
    assert interval.dropped + interval.replicates == 5000
    few = np.where(np.arange(10) < 2, values[5:7].repeat(5), np.nan)
    # Of ten patients two count: (8 / 10)^10 = 0.107 of the draws have neither.
    dropped = statistics.bootstrap(few, mean_of_known, patients, replicates=5000).dropped
    assert dropped / 5000 == pytest.approx(0.8**10, abs=0.02)
    one = np.where(np.arange(10) < 1, 1.0, np.nan)
    with pytest.raises(ValueError, match=r"undefined in \d+ of 2000 .* too few patients"):
        statistics.bootstrap(one, mean_of_known, patients)
    nothing = statistics.bootstrap(np.full(10, np.nan), mean_of_known, patients)
    assert np.isnan([nothing.estimate, nothing.low, nothing.high]).all() and nothing.replicates == 0
    assert np.isnan(statistics.compare(values, np.full(10, np.nan), mean_of_known, patients).p_value)


def test_a_single_patient_has_an_estimate_and_no_interval():
    alone = statistics.bootstrap(np.array([1.0, 3.0]), np.mean, ["a", "a"])
    assert alone.estimate == 2 and np.isnan([alone.low, alone.high]).all() and alone.n_patients == 1
    assert np.isnan(statistics.compare(np.ones(2), np.zeros(2), np.mean, ["a", "a"]).p_value)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.zeros(3), np.mean, ["a", "b"]), {}, "data has 3 cases and patients has 2"),
        (({"x": np.zeros(2), "y": np.zeros(4)}, np.mean, ["a", "b"]), {}, "y has 4 cases"),
        (([np.zeros(2), np.zeros(3)], np.mean, ["a", "b"]), {}, "data has 3 cases"),
        (([], np.mean, ["a"]), {}, "no seed"),
        ((np.zeros(0), np.mean, []), {}, "one or more cases"),
        ((np.zeros(2), np.mean, ["a", "b"]), dict(level=95), "level is 95"),
        ((np.zeros(2), np.mean, ["a", "b"]), dict(replicates=0), "replicates is 0"),
    ],
)
def test_bad_input_is_one_clear_error(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        statistics.bootstrap(*arguments, **options)


def test_kappa_of_a_test_set_is_resampled_in_about_a_second():
    rng = np.random.default_rng(8)
    target = rng.integers(0, 6, (267, 16))
    pred = np.clip(target + rng.integers(-1, 2, target.shape), 0, 5)
    patients = [f"p{i // 2}" for i in range(267)]
    start = time.perf_counter()
    of_scores = statistics.bootstrap(
        {"pred": pred, "target": target},
        lambda data: scoring.quadratic_weighted_kappa(data["pred"], data["target"], 6),
        patients,
    )
    assert time.perf_counter() - start < 5  # 0.3 s where nothing else runs
    of_counts = statistics.bootstrap(
        scoring.confusion_matrices(pred, target, 6),
        lambda counts: scoring.confusion_metrics(counts.sum(0))["qwk"],
        patients,
    )
    assert (of_scores.low, of_scores.high) == (pytest.approx(of_counts.low), pytest.approx(of_counts.high))

"""Folds: every record tested once, no patient on both sides."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramjax.data.patients import patient_key
from ramjax.data.source import open_source
from ramjax.sweep import folds, plan

PATIENTS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=40)


@given(PATIENTS, st.integers(2, 5))
def test_folds_divide_patients(patients, count):
    if len(set(patients)) < count:
        with pytest.raises(ValueError, match=f"{len(set(patients))} patients"):
            folds.divide(patients, count)
        return
    parts = folds.divide(patients, count)
    assert sorted(index for part in parts for index in part) == list(range(len(patients)))
    of_parts = [{patients[index] for index in part} for part in parts]
    assert sum(map(len, of_parts)) == len(set(patients))
    assert all(of_parts)
    most = max(map(patients.count, set(patients)))
    assert max(map(len, parts)) - min(map(len, parts)) <= most
    assert parts == folds.divide(patients, count)


def test_the_order_of_the_data_set_is_not_that_of_the_folds():
    parts = folds.divide([f"{index:03}" for index in range(100)], 2)
    assert 15 < sum(index < 50 for index in parts[0]) < 35
    assert parts[0] not in (list(range(50)), list(range(0, 100, 2)))


def test_unknown_patients_are_patients_of_their_own():
    names = [patient_key(name, index) for index, name in enumerate([b"", "", b"P1"])]
    assert len(set(names)) == 3 and names[2] == "P1"


def test_splits_of_a_data_set(debug_config):
    data = debug_config.data
    splits = folds.fold_splits(data, 2)
    (dataset,) = data.datasets

    def ids(split):
        source = open_source(dataset, data.data_dir, split)
        return [(source[index].id, source[index].patient) for index in range(len(source))]

    everything = ids("train")
    assert len({patient for _, patient in everything}) < len(everything)  # or the test would show nothing
    tested = []
    for train, test in splits:
        trained_on, tested_on = ids(train), ids(test)
        assert sorted(trained_on + tested_on) == sorted(everything)
        assert not {patient for _, patient in trained_on} & {patient for _, patient in tested_on}
        tested += tested_on
    assert sorted(tested) == sorted(everything)


def test_runs_of_folds(debug_config, tmp_path):
    fixed = [f"--config.data.data_dir={debug_config.data.data_dir}"]
    runs = plan.make_runs("experiments/debug.py", tmp_path, grid=["seed=0,1"], folds=2, fixed=fixed)
    assert [run.name for run in runs] == ["seed=0,fold=1", "seed=0,fold=2", "seed=1,fold=1", "seed=1,fold=2"]
    assert runs[1].settings == {"seed": 0, "fold": 2}
    splits = folds.fold_splits(debug_config.data, 2)
    assert [(run.config.data.train_split, run.config.data.test_split) for run in runs] == [*splits, *splits]
    assert {run.config.data.validation_split for run in runs} == {"validation"}


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"datasets": ("ram_phantom/tiny", "ram_h1200"), "weights": (1.0, 1.0)}, "one data set"),
        ({"train_split": "train[:2]"}, r"train\[:2\]"),
        ({"validation_split": "train[:2]"}, "of which folds would train"),
    ],
)
def test_what_cannot_be_divided(debug_config, changed, named):
    with pytest.raises(ValueError, match=named):
        folds.fold_splits(dataclasses.replace(debug_config.data, **changed), 2)


def test_more_folds_than_patients(debug_config):
    with pytest.raises(ValueError, match="2 patients cannot be divided among 5 folds"):
        folds.fold_splits(debug_config.data, 5)

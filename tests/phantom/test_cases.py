"""The list of cases and the random streams."""

import pytest

from ramjax.phantom import PhantomConfig, cases
from ramjax.phantom.config import stream


def test_cases_are_ordered_by_patient_visit_and_side():
    found = cases(PhantomConfig(patients=30, follow_up_fraction=0.5, seed=4))
    assert list(found) == sorted(found, key=lambda case: (case.patient, case.visit, case.side))
    assert len(set(found)) == len(found)
    assert {case.patient for case in found} == set(range(30))
    followed = {case.patient for case in found if case.visit == 1}
    assert 5 < len(followed) < 25


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, 2), (1.0, 4)])
def test_every_visit_has_both_hands(fraction, expected):
    found = cases(PhantomConfig(patients=7, follow_up_fraction=fraction))
    assert len(found) == 7 * expected
    assert {case.side for case in found} == {"L", "R"}


def test_a_patient_does_not_depend_on_how_many_there_are():
    few, many = (cases(PhantomConfig(patients=n, follow_up_fraction=0.5)) for n in (5, 50))
    assert few == many[: len(few)]


@pytest.mark.parametrize(
    "change",
    [{"patients": 0}, {"follow_up_fraction": 1.5}, {"seed": -1}, {"scale": 0.0}, {"scale": 2.0}, {"framing": "foot"}],
)
def test_impossible_configurations_are_named(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        PhantomConfig(**{"patients": 1, **change})


def test_streams_differ_in_every_argument_but_repeat():
    config = PhantomConfig(patients=2)
    keys = [
        ("pose", 0, 0, "L"),
        ("pose", 0, 0, "R"),
        ("pose", 0, 1, "L"),
        ("pose", 1, 0, "L"),
        ("texture", 0, 0, "L"),
        ("pose", 0, None, None),
    ]
    draws = [stream(config, *key).random() for key in keys]
    assert len(set(draws)) == len(keys)
    assert draws == [stream(config, *key).random() for key in keys]
    assert draws[0] != stream(PhantomConfig(patients=2, seed=1), *keys[0]).random()

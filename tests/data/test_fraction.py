"""A share of the patients of the training split."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramjax.data import pipeline
from ramjax.data.patients import choose_fraction, slices
from ramjax.typed import ConfigError

PATIENTS = st.lists(st.sampled_from([f"P{number}" for number in range(12)]), min_size=1, max_size=40)


@given(PATIENTS, st.floats(0.001, 1), st.floats(0.001, 1))
def test_a_share_keeps_patients_whole_and_lies_within_a_larger_one(patients, one, other):
    small, large = (choose_fraction(patients, share) for share in sorted((one, other)))
    assert set(small) <= set(large) and small == sorted(small)
    of_small = {patients[index] for index in small}
    assert small == [index for index, patient in enumerate(patients) if patient in of_small]
    assert len(of_small) == max(1, round(min(one, other) * len(set(patients))))


def test_a_share_does_not_depend_on_the_order_and_all_are_all():
    patients = [f"P{number}" for number in range(30)]
    chosen = {patients[index] for index in choose_fraction(patients, 0.4)}
    assert {patients[::-1][index] for index in choose_fraction(patients[::-1], 0.4)} == chosen
    assert chosen != set(patients[:12])  # not those that happen to come first
    assert choose_fraction(patients, 1.0) == list(range(30))


def test_slices_are_written_as_tfds_writes_them():
    assert slices([("train", 5), ("train", 0), ("train", 1), ("test", 0)]) == "test[0:1]+train[0:2]+train[5:6]"
    assert slices([]) == ""


def test_a_share_of_a_data_set_is_opened(debug_config):
    """Also of a slice, and of records that are kept decoded."""
    for split, cache in (("train", "none"), ("train", "host"), ("train[1:]", "none")):
        data = dataclasses.replace(debug_config.data, train_split=split, cache=cache)
        (whole,) = pipeline.open_train_sources(data)
        (part,) = pipeline.open_train_sources(dataclasses.replace(data, fraction=0.5))
        of_whole, of_part = ({source[i].id: source[i] for i in range(len(source))} for source in (whole, part))
        patients = {record.patient for record in of_whole.values()}
        kept = {record.patient for record in of_part.values()}
        assert len(patients) > len(kept) == max(1, round(len(patients) / 2))
        assert of_part.keys() == {name for name, record in of_whole.items() if record.patient in kept}
        assert all((of_part[name].image == of_whole[name].image).all() for name in of_part)
        prints = [pipeline.fingerprint(data, (source,)) for source in (whole, part)]
        assert prints[0] != prints[1]
    assert (
        pipeline.open_sources(data, "validation")[0].name
        == pipeline.open_sources(dataclasses.replace(data, fraction=0.5), "validation")[0].name
    )  # the other splits are whole


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5])
def test_a_share_that_cannot_be(share, debug_config):
    with pytest.raises(ConfigError, match="fraction is"):
        dataclasses.replace(debug_config.data, fraction=share)

"""A share of the patients whose labels are known, the same radiographs of all."""

import dataclasses

import numpy as np
import pytest

from ramjax.data import pipeline
from ramjax.data.patients import choose_fraction, patient_keys
from ramjax.record import LABEL_FLAGS
from ramjax.tasks import labels_of, make_tasks
from ramjax.typed import ConfigError


def batches(config, share, make=pipeline.make_train_batches):
    data = dataclasses.replace(config.data, labelled_fraction=share)
    sources = pipeline.open_train_sources(data)
    labels = labels_of(make_tasks(config))
    return list(make(data, sources, seed=0, start_step=0, steps=3, labels=labels)), sources


@pytest.mark.parametrize("make", [pipeline.make_train_batches, pipeline.make_train_plans])
def test_labels_are_withheld_by_patient_and_images_are_the_same(debug_config, make):
    config = dataclasses.replace(debug_config, tasks=("bones", "erosions", "joints", "scores", "patient"))
    augment = dataclasses.replace(config.data.augment, wrist_crop=0.0)  # which follows the annotated joints
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, augment=augment))
    (some, sources), (every, _) = batches(config, 0.5, make), batches(config, 1.0, make)
    patients = patient_keys(sources[0])
    known = {patients[index] for index in choose_fraction(patients, 0.5)}
    assert len(known) == len(set(patients)) / 2
    seen = set()
    for one, other in zip(some, every, strict=True):
        labelled = np.array([patients[index] in known for index in one["index"]])
        seen |= set(labelled.tolist())
        for flag in LABEL_FLAGS:
            np.testing.assert_array_equal(one[flag], labelled & other[flag])
        assert not one["joints_known"][~labelled].any() and not one["present"][~labelled].any()
        assert (one["patient_sex"][~labelled] == -1).all() and np.isnan(one["patient_age"][~labelled]).all()
        for name in ("image", "padding", "affine", "index", "pixel_spacing_mm", "valid"):
            if name in one:
                np.testing.assert_array_equal(one[name], other[name], err_msg=name)
        for name in one:
            np.testing.assert_array_equal(one[name][labelled], other[name][labelled], err_msg=name)
    assert seen == {True, False}


def test_all_patients_are_labelled_by_default_and_runs_know_which_share_they_had(debug_config):
    data = debug_config.data
    sources = pipeline.open_train_sources(data)
    assert data.labelled_fraction == 1
    assert pipeline.fingerprint(dataclasses.replace(data, labelled_fraction=0.5), sources) != pipeline.fingerprint(
        data, sources
    )


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_that_is_none(share, debug_config):
    with pytest.raises(ConfigError, match="labelled_fraction is"):
        dataclasses.replace(debug_config.data, labelled_fraction=share)

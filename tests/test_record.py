"""The record: what its flags are called, and what one without annotations says."""

import dataclasses
import math

import numpy as np

from ramjax.record import LABEL_FLAGS, Record


def test_the_flags_are_those_of_the_record():
    assert {field.name for field in dataclasses.fields(Record) if field.name.startswith("has_")} == set(LABEL_FLAGS)


def test_an_unlabelled_record_knows_its_image_only():
    image = np.full((7, 5), 9, np.uint8)
    record = Record.unlabelled(image, 0.2)
    assert record.image is image and record.pixel_spacing_mm == 0.2
    assert not any(getattr(record, name) for name in LABEL_FLAGS)
    assert record.bones.shape == (7, 5, 4) and record.erosions.shape == (7, 5) and record.joints == ()
    assert not record.bones.any() and not record.bones_known.any() and not record.erosions.any()
    assert math.isnan(Record.unlabelled(image).pixel_spacing_mm)

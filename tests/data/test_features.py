import dataclasses
import io
import math

import handmade
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ramjax import anatomy
from ramjax.data import features
from ramjax.record import Joint, Record, pack_bones, unpack_bones


def round_trip(record: Record, decoders=None) -> dict:
    tfds_features = features.features()
    data = tfds_features.serialize_example(tfds_features.encode_example(features.encode(record)))
    return tfds_features.deserialize_example_np(data, decoders=decoders)


def test_record_survives_to_the_pixel():
    record = handmade.make_record(77, 53, age=61.25, sex="F", visit="V0", center="c", is_ra=1, has_jsn=False)
    back = features.decode(round_trip(record, features.skip_image_decoding()))
    for field in dataclasses.fields(Record):
        expected, got = getattr(record, field.name), getattr(back, field.name)
        if field.name == "joints":
            assert [(j.site, j.be, j.jsn) for j in got] == [(j.site, j.be, j.jsn) for j in expected]
            np.testing.assert_allclose([j.bbox for j in got], [j.bbox for j in expected], atol=1e-6)
        elif isinstance(expected, np.ndarray):
            np.testing.assert_array_equal(got, expected)
            assert got.dtype == expected.dtype
        else:
            assert got == expected, field.name


def test_unknowns_survive():
    record = handmade.make_record(age=math.nan, pixel_spacing_mm=math.nan, side="", patient="", joints=())
    back = features.decode(round_trip(record, features.skip_image_decoding()))
    assert math.isnan(back.age) and math.isnan(back.pixel_spacing_mm)
    assert (back.side, back.patient, back.is_ra, back.joints) == ("", "", -1, ())


def test_other_readers_see_the_same_bytes():
    """TFDS's own decoding, and any PNG reader, give the first byte of a word as the first channel."""
    record = handmade.make_record()
    example = round_trip(record)
    np.testing.assert_array_equal(example["bones"], record.bones)
    np.testing.assert_array_equal(example["image"][..., 0], record.image)
    png = features.encode(record)["bones"]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png.getvalue()))), record.bones)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_packing_bones_round_trips_and_bit_k_is_channel_k(seed):
    planes = np.random.default_rng(seed).random((5, 4, anatomy.NUM_BONES)) < 0.5
    packed = pack_bones(planes)
    np.testing.assert_array_equal(unpack_bones(packed), planes)
    words = packed.view("<u4")[..., 0]
    for channel in range(anatomy.NUM_BONES):
        np.testing.assert_array_equal((words >> channel) & 1, planes[..., channel])


def test_encode_names_what_is_wrong():
    with pytest.raises(ValueError, match=r"erosions of record hand_0 .* expected uint8 \(120, 90\)"):
        features.encode(handmade.make_record(erosions=np.zeros((3, 3), np.uint8)))
    with pytest.raises(ValueError, match="Box of MCP-I in record hand_0"):
        features.encode(handmade.make_record(joints=(Joint((0.5, 0.5, 1.2, 0.9), "MCP-I"),)))


def test_damaged_image_is_named():
    example = round_trip(handmade.make_record(), features.skip_image_decoding())
    with pytest.raises(ValueError, match="record hand_0 is damaged"):
        features.decode({**example, "erosions": b"not a png"})

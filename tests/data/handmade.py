"""Hand-made records, so that the data tests stand on their own."""

import dataclasses

import cv2
import numpy as np

from ramjax import anatomy
from ramjax.config import AugmentConfig, CanvasConfig, DataConfig
from ramjax.data import features
from ramjax.data.joint_labels import JOINT_LABELS
from ramjax.data.source import Source
from ramjax.record import Joint, Record, pack_bones
from ramjax.tasks.bones import learning as bones
from ramjax.tasks.erosions import learning as erosions

LABELS = (bones.LABELS, erosions.LABELS, JOINT_LABELS)
"""What the four tasks learn from."""


def make_record(height=120, width=90, seed=0, side="R", **changes) -> Record:
    """A record whose every plane is filled, with every site's box inside the image."""
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.integers(0, 255, (height, width), dtype=np.uint8), (0, 0), 2)
    words = rng.integers(0, 2**anatomy.NUM_BONES, (2, height, width), dtype=np.uint32)
    erosions = rng.integers(0, anatomy.NUM_EROSION_LABELS, (height, width), dtype=np.uint8)
    joints = []
    for site in anatomy.SITES:
        y, x = rng.uniform(0.1, 0.7, 2)
        joints.append(
            Joint(
                (y, x, y + 0.15, x + 0.2),
                site.name,
                int(rng.integers(6)) if site.be else -1,
                int(rng.integers(5)) if site.jsn else -1,
            )
        )
    values = dict(
        image=image,
        bones=np.bitwise_and(*words).astype("<u4")[..., None].view(np.uint8),
        bones_known=np.ones(anatomy.NUM_BONES, bool),
        erosions=erosions,
        joints=tuple(joints),
        joints_known=np.ones(anatomy.NUM_SITES, bool),
        id=f"hand_{seed}",
        dataset="handmade",
        patient=f"P{seed}",
        side=side,
        pixel_spacing_mm=0.15,
    )
    return Record(**{**values, **changes})


WRIST_SET_SITES = ("CMC-T", "Tm", "S", "L", "R", "U")
"""The sites that a set of wrist radiographs marks."""

NO_AUGMENT = {field.name: 0.0 for field in dataclasses.fields(AugmentConfig)}
FULL_AUGMENT = dict(
    rotation=20.0, scale=0.3, shift=0.1, stretch=0.1, wrist_crop=0.3, mirror=0.3,
    contrast=0.4, brightness=0.1, gamma=0.5, noise=0.03, blur=0.8, erase=0.5,
)  # fmt: skip


def make_canvas(height=64, width=48, sizing="fit", scale=1.0, mm_per_pixel=0.6, mirror_left=True) -> CanvasConfig:
    return CanvasConfig(height, width, sizing, scale, mm_per_pixel, mirror_left)


def make_augment(**changes) -> AugmentConfig:
    return AugmentConfig(**{**NO_AUGMENT, **changes})


def make_data(**changes) -> DataConfig:
    values = dict(
        datasets=("ram_phantom/tiny",),
        batch_size=4,
        eval_batch_size=4,
        workers=0,
        prefetch=2,
        canvas=make_canvas(),
        augment=AugmentConfig(**FULL_AUGMENT),
    )
    return DataConfig(**{**values, **changes})


def make_source(count=7, **changes) -> Source:
    """A source of `count` different records, sides alternating, that needs no prepared data set."""
    records = [make_record(height=120 + 8 * i, seed=i, side="RL"[i % 2], **changes) for i in range(count)]
    return source_of(records, "handmade train")


def make_wrist_source(count=5) -> Source:
    """A source of square wrists that know the 14 bones of the wrist, and of the sites six with their BE alone."""
    return source_of([make_wrist_record(seed=100 + i) for i in range(count)], "handmade wrists")


def make_wrist_record(seed=100, **changes) -> Record:
    record = make_record(height=100, width=100, seed=seed, has_erosions=False, has_jsn=False, view="wrist", **changes)
    return dataclasses.replace(
        record,
        bones_known=np.isin(anatomy.BONES, anatomy.WRIST_BONES),
        joints=tuple(joint for joint in record.joints if joint.site in WRIST_SET_SITES),
        joints_known=np.isin(anatomy.SITE_NAMES, WRIST_SET_SITES),
    )


def source_of(records, name: str) -> Source:
    """The records as a prepared data set would hold them."""
    tfds_features = features.features()
    decoders = features.skip_image_decoding()
    examples = []
    for record in records:
        data = tfds_features.serialize_example(tfds_features.encode_example(features.encode(record)))
        examples.append(tfds_features.deserialize_example_np(data, decoders=decoders))
    return Source(name, examples)


def rectangle_record(box, height=160, width=120, channel=3, site="MCP-M", side="R", round_shape=False) -> Record:
    """A record with one bright shape that is also a bone, an erosion and a site's box (ymin to xmax), in pixels."""
    ymin, xmin, ymax, xmax = box
    y, x = np.mgrid[:height, :width] + 0.5
    if round_shape:
        shape = ((y - (ymin + ymax) / 2) / (ymax - ymin)) ** 2 + ((x - (xmin + xmax) / 2) / (xmax - xmin)) ** 2 <= 0.25
    else:
        shape = (y > ymin) & (y < ymax) & (x > xmin) & (x < xmax)
    planes = np.zeros((height, width, anatomy.NUM_BONES), bool)
    planes[..., channel] = shape
    return make_record(
        image=np.where(shape, 200, 20).astype(np.uint8),
        bones=pack_bones(planes),
        erosions=shape.astype(np.uint8) * 2,
        joints=(Joint((ymin / height, xmin / width, ymax / height, xmax / width), site, 3, 2),),
        side=side,
    )


def assert_equal(one: dict, other: dict) -> None:
    """Both examples or batches hold the same, NaN equal to NaN."""
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)

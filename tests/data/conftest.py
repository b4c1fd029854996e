"""Hand-made records, so that the data tests stand on their own."""

import dataclasses

import cv2
import numpy as np
import pytest

from ramjax import anatomy
from ramjax.config import AugmentConfig, CanvasConfig, DataConfig
from ramjax.record import Joint, Record, pack_bones


def make_record(height=120, width=90, seed=0, side="R", **changes) -> Record:
    """A record whose every plane is filled, with every site's box inside the image."""
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.integers(0, 255, (height, width), dtype=np.uint8), (0, 0), 2)
    planes = rng.random((height, width, anatomy.NUM_BONES)) < 0.2
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
        bones=pack_bones(planes),
        bones_known=np.ones(anatomy.NUM_BONES, bool),
        erosions=erosions,
        joints=tuple(joints),
        id=f"hand_{seed}",
        dataset="handmade",
        patient=f"P{seed}",
        side=side,
        pixel_spacing_mm=0.15,
    )
    return Record(**{**values, **changes})


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
        dataset="ram_phantom",
        builder_config="tiny",
        data_dir="data",
        train_split="train",
        validation_split="validation",
        test_split="test",
        batch_size=4,
        eval_batch_size=4,
        workers=0,
        prefetch=2,
        canvas=make_canvas(),
        augment=AugmentConfig(**FULL_AUGMENT),
    )
    return DataConfig(**{**values, **changes})


@pytest.fixture
def record() -> Record:
    return make_record()

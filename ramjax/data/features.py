"""The record on disk: its TFDS features, `encode` to an example and `decode` back.

Images are lossless PNG bytes, written and read by OpenCV. TFDS never sees an array, so it never imports TensorFlow.
"""

import io
import math
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds

from ramjax import anatomy
from ramjax.record import LABEL_FLAGS, Joint, Record

_FAST_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER)
"""Level 1 writes several times faster than the default and reads as fast; one filter for all rows, which follows here,
spares trying five, and undoing whichever was best."""

_MASK_PNG = (*_FAST_PNG, cv2.IMWRITE_PNG_FILTER_NONE)
"""Runs of one value need no filter: written four times as fast as with all, read in two thirds of the time."""

_GREY_PNG = (*_FAST_PNG, cv2.IMWRITE_PNG_FILTER_UP, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
"""Noise has no matches worth searching for."""

_TEXTS = ("id", "dataset", "patient", "visit", "center", "side", "sex", "view")


def features() -> tfds.features.FeaturesDict:
    """Features of every data set of the project (the attributes are documented in `ramjax.record.Record`)."""
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 1), encoding_format="png", doc="Grey values, unflipped."),
            "bones": tfds.features.Image(
                shape=(None, None, 4),
                encoding_format="png",
                doc="One little-endian 32-bit word a pixel (R first); bit k is channel k of ramjax.anatomy.BONES.",
            ),
            "bones_known": tfds.features.Tensor(
                shape=(anatomy.NUM_BONES,), dtype=np.bool_, doc="Channels annotated here; unknown is not absent."
            ),
            "erosions": tfds.features.Image(
                shape=(None, None, 1), encoding_format="png", doc="Labels 0-3 of ramjax.anatomy.EROSION_LABELS."
            ),
            "joints": tfds.features.Sequence(
                {
                    "bbox": tfds.features.BBoxFeature(doc="ymin, xmin, ymax, xmax as fractions."),
                    "site": tfds.features.ClassLabel(names=anatomy.SITE_NAMES),
                    "be": tfds.features.Scalar(np.int32, doc="Bone erosion 0-5, -1 unknown."),
                    "jsn": tfds.features.Scalar(np.int32, doc="Joint space narrowing 0-4, -1 unknown."),
                }
            ),
            "joints_known": tfds.features.Tensor(
                shape=(anatomy.NUM_SITES,), dtype=np.bool_, doc="Sites annotated or absent; unknown is not absent."
            ),
            **{name: tfds.features.Scalar(np.bool_) for name in LABEL_FLAGS},
            **{name: tfds.features.Text() for name in _TEXTS},
            "age": tfds.features.Scalar(np.float32, doc="Years, NaN unknown."),
            "is_ra": tfds.features.Scalar(np.int32, doc="1 rheumatoid arthritis, 0 not, -1 unknown."),
            "pixel_spacing_mm": tfds.features.Scalar(np.float32, doc="Side of a pixel, NaN unknown."),
        }
    )


def encode(record: Record) -> dict[str, Any]:
    """Returns the example of a record as TFDS's `_generate_examples` takes it; images as PNG in `io.BytesIO`.

    Raises ValueError naming the record where planes differ in size or dtype, or a box leaves the image.
    """
    shape = record.image.shape
    for name, expected in (("image", shape[:2]), ("bones", (*shape[:2], 4)), ("erosions", shape[:2])):
        plane = getattr(record, name)
        if plane.dtype != np.uint8 or plane.shape != expected:
            raise ValueError(f"{name} of record {record.id} is {plane.dtype} {plane.shape}; expected uint8 {expected}.")
    for joint in record.joints:
        ymin, xmin, ymax, xmax = joint.bbox
        if not (0 <= ymin < ymax <= 1 and 0 <= xmin < xmax <= 1):
            raise ValueError(f"Box of {joint.site} in record {record.id} is {joint.bbox}; expected fractions in 0..1.")
    return {
        "image": _to_png(record.image, _GREY_PNG),
        # OpenCV stores what it takes for blue first; swapped here so that byte 0 is the first channel for every reader.
        "bones": _to_png(cv2.cvtColor(record.bones, cv2.COLOR_RGBA2BGRA), _MASK_PNG),
        "bones_known": np.asarray(record.bones_known, np.bool_),
        "erosions": _to_png(record.erosions, _MASK_PNG),
        "joints": [
            {
                "bbox": tfds.features.BBox(*map(float, joint.bbox)),
                "site": joint.site,
                "be": int(joint.be),
                "jsn": int(joint.jsn),
            }
            for joint in record.joints
        ],
        "joints_known": np.asarray(record.joints_known, np.bool_),
        **{name: bool(getattr(record, name)) for name in LABEL_FLAGS},
        **{name: str(getattr(record, name)) for name in _TEXTS},
        "age": float(record.age),
        "is_ra": int(record.is_ra),
        "pixel_spacing_mm": float(record.pixel_spacing_mm),
    }


def skip_image_decoding() -> dict[str, Any]:
    """Decoders for `builder.as_data_source` under which images stay PNG bytes, so that `decode` reads them once."""
    return {name: tfds.decode.SkipDecoding() for name in ("image", "bones", "erosions")}


def decode(example: dict[str, Any]) -> Record:
    """Returns the record of an example read with `skip_image_decoding`; the inverse of `encode`.

    Boxes, age and spacing come back in single precision.
    """
    joints = example["joints"]
    texts = {name: _to_text(example[name]) for name in _TEXTS}
    return Record(
        image=_from_png(example["image"], texts["id"]),
        bones=cv2.cvtColor(_from_png(example["bones"], texts["id"]), cv2.COLOR_BGRA2RGBA),
        bones_known=np.asarray(example["bones_known"], np.bool_),
        erosions=_from_png(example["erosions"], texts["id"]),
        joints=tuple(
            Joint(tuple(map(float, bbox)), anatomy.SITE_NAMES[int(site)], int(be), int(jsn))
            for bbox, site, be, jsn in zip(joints["bbox"], joints["site"], joints["be"], joints["jsn"], strict=True)
        ),
        joints_known=np.asarray(example["joints_known"], np.bool_),
        **{name: bool(example[name]) for name in LABEL_FLAGS},
        **texts,
        age=_to_float(example["age"]),
        is_ra=int(example["is_ra"]),
        pixel_spacing_mm=_to_float(example["pixel_spacing_mm"]),
    )


def _to_png(plane: np.ndarray, options: tuple[int, ...]) -> io.BytesIO:
    done, data = cv2.imencode(".png", plane, options)
    if not done:
        raise ValueError(f"OpenCV could not write an image of shape {plane.shape} as PNG.")
    return io.BytesIO(data.tobytes())


def _from_png(data: bytes, record_id: str) -> np.ndarray:
    plane = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if plane is None:
        raise ValueError(
            f"An image of record {record_id} is damaged; delete the prepared data set to prepare it again."
        )
    return plane


def _to_text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _to_float(value: Any) -> float:
    """The shortest decimal of a stored float32, so that 0.15 mm is read as 0.15."""
    value = np.float32(value)
    return math.nan if np.isnan(value) else float(str(value))

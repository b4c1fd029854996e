"""The record: one radiograph and all that is known about it. Every builder makes it, and every pipeline reads it.

`Record` is the decoded form, plain numpy. On disk a record is an example of `ramjax.data.features`.
"""

import dataclasses
import math

import numpy as np

from ramjax import anatomy

UNKNOWN_SCORE = -1

LABEL_FLAGS: tuple[str, ...] = ("has_bones", "has_erosions", "has_joints", "has_be", "has_jsn")
"""The attributes of `Record`, and keys of examples and batches, that say what was annotated at all."""


@dataclasses.dataclass(frozen=True)
class Joint:
    """A joint region.

    Attributes:
      bbox: (ymin, xmin, ymax, xmax) as fractions of height and width, 0 to 1.
      site: a name of `anatomy.SITE_NAMES`; each occurs at most once in a record.
      be: bone erosion score 0-5, -1 where unknown or not scored at this site.
      jsn: joint space narrowing score 0-4, -1 where unknown or not scored at this site.
    """

    bbox: tuple[float, float, float, float]
    site: str
    be: int = UNKNOWN_SCORE
    jsn: int = UNKNOWN_SCORE


@dataclasses.dataclass(frozen=True)
class Record:
    """One radiograph, unflipped and at native resolution.

    Attributes:
      image: uint8 (H, W).
      bones: uint8 (H, W, 4): one little-endian 32-bit word a pixel, bit k = channel k of `anatomy.BONES`.
      bones_known: bool (30,): the channels annotated here; an unknown bone is not an absent bone.
      erosions: uint8 (H, W): labels 0-3 of `anatomy.EROSION_LABELS`.
      joints: the annotated joint regions.
      joints_known: bool (22,): the sites of `anatomy.SITES` that are annotated or known to be absent; where False, the
        site may be there without a box (a wrist set marks six sites, a border cuts a joint).
      has_bones, has_erosions, has_joints, has_be, has_jsn: what was annotated at all; an empty mask does not tell.
      id: unique within the data set.
      dataset: name of the data set, e.g. ``ram_phantom``.
      patient: key of the patient, unique across centres; '' unknown.
      visit: key of the visit within the patient, in time order; '' unknown.
      center: where it was taken; '' unknown.
      side: ``L`` or ``R``; '' unknown.
      sex: ``F``, ``M`` or ``O``; '' unknown.
      age: years; NaN unknown.
      is_ra: 1 rheumatoid arthritis, 0 not, -1 unknown.
      view: ``hand`` or ``wrist``.
      pixel_spacing_mm: side of a square pixel at the detector in mm; NaN unknown.
    """

    image: np.ndarray
    bones: np.ndarray
    bones_known: np.ndarray
    erosions: np.ndarray
    joints: tuple[Joint, ...]
    joints_known: np.ndarray
    id: str
    dataset: str
    has_bones: bool = True
    has_erosions: bool = True
    has_joints: bool = True
    has_be: bool = True
    has_jsn: bool = True
    patient: str = ""
    visit: str = ""
    center: str = ""
    side: str = ""
    sex: str = ""
    age: float = math.nan
    is_ra: int = -1
    view: str = "hand"
    pixel_spacing_mm: float = math.nan

    @classmethod
    def unlabelled(cls, image: np.ndarray, pixel_spacing_mm: float = math.nan) -> "Record":
        """A record without annotations: its image, uint8 (H, W), and perhaps its pixel spacing."""
        return cls(
            image=image,
            bones=np.zeros((*image.shape, 4), np.uint8),
            bones_known=np.zeros(anatomy.NUM_BONES, bool),
            erosions=np.zeros(image.shape, np.uint8),
            joints=(),
            joints_known=np.zeros(anatomy.NUM_SITES, bool),
            id="",
            dataset="",
            **dict.fromkeys(LABEL_FLAGS, False),
            pixel_spacing_mm=pixel_spacing_mm,
        )

    def without_labels(self) -> "Record":
        """The same radiograph, of which nothing is known that a task learns from: no annotation, sex, age or RA."""
        return dataclasses.replace(
            self,
            bones_known=np.zeros(anatomy.NUM_BONES, bool),
            joints=(),
            joints_known=np.zeros(anatomy.NUM_SITES, bool),
            sex="",
            age=math.nan,
            is_ra=-1,
            **dict.fromkeys(LABEL_FLAGS, False),
        )


def pack_bones(planes: np.ndarray) -> np.ndarray:
    """Packs bool (..., 30) planes into uint8 (..., 4) little-endian words, bit k = channel k."""
    if planes.shape[-1] != anatomy.NUM_BONES:
        raise ValueError(f"Expected {anatomy.NUM_BONES} bone planes in the last axis, got shape {planes.shape}.")
    return np.packbits(np.asarray(planes, bool), axis=-1, bitorder="little")


def unpack_bones(packed: np.ndarray) -> np.ndarray:
    """Unpacks uint8 (..., 4) words into bool (..., 30) planes; the inverse of `pack_bones`."""
    if packed.shape[-1] != 4 or packed.dtype != np.uint8:
        raise ValueError(f"Expected uint8 words of 4 bytes in the last axis, got {packed.dtype} {packed.shape}.")
    bits = np.unpackbits(packed.ravel(), bitorder="little").view(bool)  # several times faster than along an axis
    return bits.reshape(*packed.shape[:-1], 32)[..., : anatomy.NUM_BONES]

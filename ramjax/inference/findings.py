"""The network's answer on the radiograph's own grid: regions, boxes and scores in input pixels."""

import dataclasses
import math
from collections.abc import Mapping

import cv2
import numpy as np

from ramjax import anatomy
from ramjax.data import geometry, regrid
from ramjax.metrics import scoring

SPECK = 0.1
"""A piece smaller than this share of a bone's largest piece is noise; sesamoids and soft tissue come in pieces."""

MIN_INSIDE = 0.9
"""A site is judged when at least this share of its box lies in the picture."""

_IN_PIECES = (anatomy.SESAMOID, anatomy.SOFT_TISSUE)


@dataclasses.dataclass(frozen=True)
class Region:
    """A mask in its bounding rectangle.

    Attributes:
      name: of `anatomy.BONES`.
      top, left: where the rectangle starts, in input pixels.
      mask: bool (h, w), not empty.
    """

    name: str
    top: int
    left: int
    mask: np.ndarray

    @classmethod
    def tight(cls, name: str, top: int, left: int, mask: np.ndarray) -> "Region":
        """The region of a mask, not empty, whose rectangle at `top`, `left` may be larger than need be."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        inner = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return cls(name, top + int(rows[0]), left + int(columns[0]), inner)

    @property
    def area(self) -> int:
        """Input pixels."""
        return int(np.count_nonzero(self.mask))


@dataclasses.dataclass(frozen=True)
class Grade:
    """A score and the probability of each."""

    score: int
    probabilities: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class JointFinding:
    """A joint site that was found.

    Attributes:
      site: of `anatomy.SITE_NAMES`.
      box: ymin, xmin, ymax, xmax in input pixels.
      confidence: that the site is there, 0 to 1.
      be, jsn: None where the site is not scored so, or scores were not trained.
    """

    site: str
    box: tuple[float, float, float, float]
    confidence: float
    be: Grade | None = None
    jsn: Grade | None = None


@dataclasses.dataclass(frozen=True)
class NotJudged:
    """A site, bone or whole task without an answer.

    Attributes:
      kind: ``site``, ``bone`` or ``task``.
      name: of it.
      reason: one clause for people.
    """

    kind: str
    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Findings:
    """All that was found in one radiograph.

    Attributes:
      bones: one region a bone that was found.
      erosions: uint8 (H, W) labels of `anatomy.EROSION_LABELS`; None without an erosions task.
      joints: sites found, in the order of `anatomy.SITES`.
      not_judged: everything without an answer, and why.
    """

    bones: tuple[Region, ...]
    erosions: np.ndarray | None
    joints: tuple[JointFinding, ...]
    not_judged: tuple[NotJudged, ...]

    def total(self, scale: str) -> tuple[int, int]:
        """(sum, number of sites) of the scores ``be`` or ``jsn``."""
        grades = [getattr(joint, scale) for joint in self.joints]
        scores = [grade.score for grade in grades if grade is not None]
        return sum(scores), len(scores)


def packed_bones(findings: Findings, shape: tuple[int, int]) -> np.ndarray:
    """The bones' masks as uint8 (H, W, 4), the packed words of `ramjax.record`."""
    words = np.zeros(shape, "<u4")
    for bone in findings.bones:
        height, width = bone.mask.shape
        window = words[bone.top : bone.top + height, bone.left : bone.left + width]
        window |= bone.mask.astype("<u4") << np.uint32(anatomy.BONE_INDEX[bone.name])
    return words.view(np.uint8).reshape(*shape, 4)


def from_predictions(
    predictions: Mapping[str, np.ndarray],
    affine: np.ndarray,
    canvas_height: int,
    shape: tuple[int, int],
    min_confidence: float,
) -> Findings:
    """Carries the network's predictions for one canvas to the grid of the radiograph shown on it.

    Args:
      predictions: of the network, without the batch axis; those of tasks not trained are absent.
      affine: (2, 3), input pixels to canvas pixels.
      canvas_height: in pixels.
      shape: the radiograph's (H, W).
      min_confidence: sites found less surely, or not wholly in the picture, are not judged.
    """
    not_judged = [
        NotJudged("task", task, reason)
        for task, key, reason in (
            ("bones", "bones", "the model was not trained on bones"),
            ("erosions", "erosions", "the model was not trained on erosions"),
            ("joints", "confidence", "the model was not trained to find joints"),
            ("scores", "be", "the model was not trained on scores, or not to find the joints they belong to"),
        )
        if key not in predictions
    ]
    bones: tuple[Region, ...] = ()
    if "bones" in predictions:
        bones = _bones(predictions["bones"], affine, canvas_height, shape)
        seen = {bone.name for bone in bones}
        not_judged += [NotJudged("bone", name, "not found") for name in anatomy.BONES if name not in seen]
    erosions = None
    if "erosions" in predictions:
        erosions = regrid.erosion_labels(predictions["erosions"], affine, canvas_height, shape)
    joints: list[JointFinding] = []
    if "confidence" in predictions:
        joints, sites = _joints(predictions, affine, shape, min_confidence)
        not_judged += sites
    return Findings(bones, erosions, tuple(joints), tuple(not_judged))


def is_finger(site: str) -> bool:
    """Whether a site belongs to a finger or the thumb, not to the wrist."""
    return anatomy.SITE_INDEX[site] not in anatomy.WRIST_SITES


def _bones(
    probabilities: np.ndarray, affine: np.ndarray, canvas_height: int, shape: tuple[int, int]
) -> tuple[Region, ...]:
    regions = []
    for channel, (top, left, _, _), mask in regrid.bone_masks(probabilities, affine, canvas_height, shape):
        if channel not in _IN_PIECES:
            mask = _without_specks(mask)
        if mask.any():
            regions.append(Region.tight(anatomy.BONES[channel], top, left, mask))
    return tuple(regions)


def _without_specks(mask: np.ndarray) -> np.ndarray:
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    keep = areas >= SPECK * areas.max()
    keep[0] = False
    return keep[pieces] if count > 2 else mask


def _joints(
    predictions: Mapping[str, np.ndarray], affine: np.ndarray, shape: tuple[int, int], min_confidence: float
) -> tuple[list[JointFinding], list[NotJudged]]:
    boxes = geometry.apply_to_boxes(geometry.invert(affine), predictions["boxes"])
    joints, not_judged = [], []
    for index, site in enumerate(anatomy.SITES):
        box, confidence = boxes[index], float(predictions["confidence"][index])
        if not math.isfinite(confidence) or confidence < min_confidence:
            not_judged.append(NotJudged("site", site.name, f"not found with confidence ({confidence:.2f})"))
        elif _share_inside(box, shape) < MIN_INSIDE:
            not_judged.append(NotJudged("site", site.name, "not wholly in the picture"))
        else:
            joints.append(
                JointFinding(
                    site=site.name,
                    box=tuple(float(v) for v in np.clip(box, 0, (*shape, *shape))),
                    confidence=confidence,
                    be=_grade(predictions["be"][index]) if site.be and "be" in predictions else None,
                    jsn=_grade(predictions["jsn"][index]) if site.jsn and "jsn" in predictions else None,
                )
            )
    return joints, not_judged


def _share_inside(box: np.ndarray, shape: tuple[int, int]) -> float:
    sides = np.maximum(box[2:] - box[:2], 1e-6)
    inside = np.clip(np.minimum(box[2:], shape) - np.maximum(box[:2], 0), 0, None)
    return float((inside / sides).prod())


def _grade(probabilities: np.ndarray) -> Grade:
    return Grade(int(scoring.decode(probabilities)), tuple(float(p) for p in probabilities))

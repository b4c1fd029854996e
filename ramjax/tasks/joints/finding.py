"""The joint sites of one radiograph, for people: boxes, and which part of the hand they tell of.

Keys of the report:

| key | meaning |
|---|---|
| joints[].site | of `anatomy.SITE_NAMES`, each at most once |
| joints[].bbox | ymin, xmin, ymax, xmax in pixels |
| joints[].confidence | that the site is there, 0 to 1 |
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ramjax import anatomy
from ramjax.data.grid import Grid
from ramjax.figures.overlay import FAR, INK, UNKNOWN, Box, Colour, Shape
from ramjax.figures.panel import Block, Cell, Column, Table
from ramjax.record import Record
from ramjax.tasks.base import NotJudged
from ramjax.tasks.joints.framing import MIN_SITES

MIN_INSIDE = 0.9
"""A site is judged when at least this share of its box lies in the picture."""

MIN_FINGERS = 3
"""A radiograph shows a hand when so many finger joints were found, else a wrist."""

SITES_HEAD = "Site"
"""Heading of the table of sites beside the picture."""

LEGEND: tuple[tuple[str, Colour], ...] = (("Joint boxes:", INK), ("missed", FAR), ("not compared", UNKNOWN))
"""What the colours of boxes without scores mean."""

_FEW = "Few joint sites were found: is this one hand or wrist, from back to front, fingers up, bright bone on dark?"


@dataclasses.dataclass(frozen=True)
class JointFinding:
    """A joint site that was found.

    Attributes:
      site: of `anatomy.SITE_NAMES`.
      box: ymin, xmin, ymax, xmax in input pixels.
      confidence: that the site is there, 0 to 1.
    """

    site: str
    box: tuple[float, float, float, float]
    confidence: float


Finding = tuple[JointFinding, ...]
"""Sites found, in the order of `anatomy.SITES`."""


def find(
    maps: Mapping[str, np.ndarray], grid: Grid, min_confidence: float, found: Mapping[str, Any]
) -> tuple[Finding, list[NotJudged]]:
    """The sites that are found with confidence and lie in the picture."""
    del found
    joints, not_judged = [], []
    for site, box, confidence in zip(anatomy.SITES, grid.boxes(maps["boxes"]), maps["confidence"], strict=True):
        confidence = float(confidence)
        if not math.isfinite(confidence) or confidence < min_confidence:
            not_judged.append(NotJudged("site", site.name, f"not found with confidence ({confidence:.2f})"))
        elif _share_inside(box, grid.shape) < MIN_INSIDE:
            not_judged.append(NotJudged("site", site.name, "not wholly in the picture"))
        else:
            inside = tuple(float(v) for v in np.clip(box, 0, (*grid.shape, *grid.shape)))
            joints.append(JointFinding(site.name, inside, confidence))
    return tuple(joints), not_judged


def annotated(record: Record) -> Finding | None:
    if not record.has_joints:
        return None
    return tuple(
        JointFinding(joint.site, tuple(float(v) for v in np.multiply(joint.bbox, 2 * record.image.shape)), 1.0)
        for joint in sorted(record.joints, key=lambda joint: anatomy.SITE_INDEX[joint.site])
    )


def view(finding: Finding) -> str:
    """By the number of finger joints; '' where nothing is found."""
    if not finding:
        return ""
    fingers = sum(anatomy.SITE_INDEX[joint.site] not in anatomy.WRIST_SITES for joint in finding)
    return "hand" if fingers >= MIN_FINGERS else "wrist"


def doubts(finding: Finding) -> list[str]:
    return [_FEW] if len(finding) < MIN_SITES else []


def write(finding: Finding | None, written: dict[str, Any], spacing_mm: float) -> dict[str, Any]:
    """The sites, first of all."""
    del spacing_mm
    joints = [
        {"site": joint.site, "bbox": [round(v, 2) for v in joint.box], "confidence": round(joint.confidence, 4)}
        for joint in finding or ()
    ]
    return {"joints": joints, **written}


def cells(report: Mapping[str, Any]) -> dict[str, Any]:
    return {"sites_found": len(report["joints"])}


def draw(finding: Finding, drawn: list[Shape]) -> list[Shape]:
    return [*drawn, *(Box(joint.site, joint.box, INK) for joint in finding)]


def panel(finding: Finding, report: Mapping[str, Any], blocks: list[Block]) -> list[Block]:
    """All sites and how surely they were found, above what the tasks before say."""
    del report
    cells = {joint.site: Cell(f"{joint.confidence:.2f}") for joint in finding}
    missing = frozenset(anatomy.SITE_NAMES) - cells.keys()
    confidence = Column("Confidence", cells | dict.fromkeys(missing, Cell("not found")))
    return [Table(SITES_HEAD, anatomy.SITE_NAMES, missing, (confidence,)), *blocks]


def contrast(truth: Finding | None, finding: Finding | None, drawn: list[Shape]) -> list[Shape]:
    """The boxes that were found, and those that were missed."""
    seen = {joint.site for joint in finding or ()}
    missed = [joint for joint in truth or () if joint.site not in seen]
    return [
        *drawn,
        *(Box(joint.site, joint.box, UNKNOWN) for joint in finding or ()),
        *(Box(joint.site, joint.box, FAR, mark="missed") for joint in missed),
    ]


def remark(truth: Finding | None, finding: Finding | None, spacing_mm: float) -> str:
    """How many annotated sites were found, and how far off their centres are in the mean."""
    truths, founds = ({joint.site: joint.box for joint in joints or ()} for joints in (truth, finding))
    both = [site for site in truths if site in founds]
    if not both:
        return ""
    apart = np.linalg.norm(_centers([truths[s] for s in both]) - _centers([founds[s] for s in both]), axis=1)
    pixels = float(apart.mean())
    error = f"{pixels * spacing_mm:.1f} mm" if math.isfinite(spacing_mm) else f"{pixels:.1f} px"
    return f"{len(both)} of {len(truths)} sites, {error} apart"


def legend(entries: list[tuple[str, Colour]]) -> list[tuple[str, Colour]]:
    return [*LEGEND, *entries]


def _centers(boxes: Sequence[tuple[float, ...]]) -> np.ndarray:
    array = np.array(boxes)
    return (array[:, :2] + array[:, 2:]) / 2


def _share_inside(box: np.ndarray, shape: tuple[int, int]) -> float:
    sides = np.maximum(box[2:] - box[:2], 1e-6)
    inside = np.clip(np.minimum(box[2:], shape) - np.maximum(box[:2], 0), 0, None)
    return float((inside / sides).prod())

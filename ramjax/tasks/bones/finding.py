"""The bones of one radiograph, for people: regions, areas, masks, outlines.

Keys of the report:

| key | meaning |
|---|---|
| bones[].name | of `anatomy.BONES`, those found |
| bones[].area_px, bones[].area_mm2 | of its mask; mm2 null without pixel spacing |
"""

import colorsys
import dataclasses
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from ramjax import anatomy
from ramjax.data import regrid
from ramjax.data.grid import Grid
from ramjax.figures.overlay import Colour, Outline, Shape
from ramjax.figures.panel import Block, Legend
from ramjax.record import Record
from ramjax.tasks.base import NotJudged
from ramjax.tasks.masks import area

SPECK = 0.1
"""A piece smaller than this share of a bone's largest piece is noise; sesamoids and soft tissue come in pieces."""

_IN_PIECES = (anatomy.SESAMOID, anatomy.SOFT_TISSUE)
_SHORT = {"PisiformTriquetrum": "Pisif.+Triq."}


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


def certainty(predictions: Mapping[str, np.ndarray], view: str) -> np.ndarray:
    """The mean of the bones' best pixels."""
    del view
    return np.delete(np.asarray(predictions["bones"]).max(axis=(1, 2)), anatomy.SOFT_TISSUE, axis=1).mean(axis=1)


def find(
    maps: Mapping[str, np.ndarray], grid: Grid, min_confidence: float, found: Mapping[str, Any]
) -> tuple[tuple[Region, ...], list[NotJudged]]:
    """A region of each bone that is found, in the order of the channels."""
    del min_confidence, found
    regions = []
    for channel, (top, left, _, _), mask in regrid.bone_masks(
        maps["bones"], grid.to_canvas, grid.canvas_height, grid.shape
    ):
        if channel not in _IN_PIECES:
            mask = _without_specks(mask)
        if mask.any():
            regions.append(Region.tight(anatomy.BONES[channel], top, left, mask))
    seen = {region.name for region in regions}
    missing = [NotJudged("bone", name, "not found", plain=True) for name in anatomy.BONES if name not in seen]
    return tuple(regions), missing


def annotated(record: Record) -> tuple[Region, ...] | None:
    if not record.has_bones:
        return None
    words = np.ascontiguousarray(record.bones).view("<u4")[..., 0]
    masks = ((words >> np.uint32(channel)) & 1 > 0 for channel in range(anatomy.NUM_BONES))
    return tuple(
        Region.tight(name, 0, 0, mask)
        for name, known, mask in zip(anatomy.BONES, record.bones_known, masks, strict=True)
        if known and mask.any()
    )


def write(finding: tuple[Region, ...] | None, written: dict[str, Any], spacing_mm: float) -> dict[str, Any]:
    return {**written, "bones": [{"name": bone.name, **area(bone.area, spacing_mm)} for bone in finding or ()]}


def masks(finding: tuple[Region, ...], shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """The bones' masks as uint8 (H, W, 4), the packed words of `ramjax.record`; nothing where none is found."""
    if not finding:
        return {}
    words = np.zeros(shape, "<u4")
    for bone in finding:
        height, width = bone.mask.shape
        window = words[bone.top : bone.top + height, bone.left : bone.left + width]
        window |= bone.mask.astype("<u4") << np.uint32(anatomy.BONE_INDEX[bone.name])
    return {"bones": words.view(np.uint8).reshape(*shape, 4)}


def draw(finding: tuple[Region, ...], drawn: list[Shape]) -> list[Shape]:
    """Outlines, that of soft tissue below the others."""
    bones = sorted(finding, key=lambda bone: bone.name != anatomy.BONES[anatomy.SOFT_TISSUE])
    return [*drawn, *(Outline(bone.mask, bone.top, bone.left, colour(bone.name)) for bone in bones)]


def panel(finding: tuple[Region, ...], report: Mapping[str, Any], blocks: list[Block]) -> list[Block]:
    """What the outlines' colours mean."""
    del report
    entries = tuple((colour(bone.name), _SHORT.get(bone.name, bone.name)) for bone in finding)
    return [*blocks, Legend("Outlines", entries)]


def colour(name: str) -> Colour:
    """A hue of its own for each bone, far from its neighbours'; soft tissue is grey."""
    index = anatomy.BONE_INDEX[name]
    if index == anatomy.SOFT_TISSUE:
        return (130, 138, 146)
    hue = (index * 0.618034 + 0.08) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, 0.66 if index % 2 else 0.58, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def _without_specks(mask: np.ndarray) -> np.ndarray:
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    keep = areas >= SPECK * areas.max()
    keep[0] = False
    return keep[pieces] if count > 2 else mask

"""Joint boxes of a detection file, checked: in pixels, larger than one, mostly inside their image."""

import dataclasses
import pathlib
from collections.abc import Collection, Container, Iterable, Mapping

import numpy as np

from ramjax.data.report import Finding
from ramjax.io.coco import CocoFile
from ramjax.io.errors import ReleaseError

Box = tuple[float, float, float, float]
"""ymin, xmin, ymax, xmax in pixels."""

NOWHERE: Box = (0.0, 0.0, 0.0, 0.0)
"""The box of a site that is there, not known where."""

LEAST_SIDE = 1.0
"""Pixels that both sides of a box must exceed."""

LEAST_INSIDE = 0.5
"""Share of a box's area that must lie inside its image."""

_FEWEST = 3
"""Boxes from which on the boxes of an image can be told to be in another unit or order; fewer are judged one by one."""

_FRACTION, _PERCENT = 1.01, 101.0
"""The end of an image in boxes of another unit, with an allowance for rounding."""


@dataclasses.dataclass(frozen=True)
class Detection:
    """What the detection files tell of one image.

    Attributes:
      boxes: by site; `NOWHERE` where the site is there, not known where.
      searched: the sites that are annotated where they are.
      sizes: of the image by file, (height, width) or None where it is not stated.
    """

    boxes: Mapping[str, Box] = dataclasses.field(default_factory=dict)
    searched: frozenset[str] = frozenset()
    sizes: Mapping[pathlib.Path, tuple[int, int] | None] = dataclasses.field(default_factory=dict)

    def joined(self, other: "Detection") -> "Detection":
        """Of two files; where both have a site, the smallest box around both."""
        boxes = dict(self.boxes)
        for site, b in other.boxes.items():
            a = boxes.get(site, NOWHERE)
            known = a if b == NOWHERE else b
            around = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
            boxes[site] = known if NOWHERE in (a, b) else around
        return Detection(boxes, self.searched | other.searched, {**self.sizes, **other.sizes})

    def checked(self, shape: tuple[int, int], path: pathlib.Path) -> tuple["Detection", list[Finding]]:
        """Returns it with boxes that cannot be right set to `NOWHERE`, and a finding for each of them.

        Args:
          shape: (height, width) of the image.
          path: of the image.

        Raises:
          ReleaseError: a file states another size, or the boxes are in another unit or order.
        """
        for file, size in self.sizes.items():
            if size not in (None, shape):
                raise ReleaseError(
                    f"{path} is {shape[1]} x {shape[0]} pixels, {file} says {size[1]} x {size[0]}; image and "
                    "boxes are of different releases, fetch both again."
                )
        reason = _unit_or_order([box for box in self.boxes.values() if box != NOWHERE], *shape)
        if reason:
            files = " and ".join(map(str, self.sizes))
            raise ReleaseError(f"{files}, {path.name}: the boxes {reason}.")
        boxes, findings = {}, []
        for site, box in self.boxes.items():
            what = _fault(box, *shape)
            boxes[site] = NOWHERE if what else box
            if what:
                findings.append(Finding(f"detected boxes {what}", f"{path.stem} {site}"))
        return dataclasses.replace(self, boxes=boxes), findings


def boxes_by_image(
    coco: CocoFile, names: Mapping[str, str], stems: Container[str]
) -> tuple[dict[str, Detection], list[Finding]]:
    """Returns what a detection file tells of each image, by stem, and what was amiss.

    Of several boxes of a site in one image the first counts, as for the released crops. Categories that are no site of
    the score are left out.

    Args:
      coco: the file.
      names: joint sites by the name of their category.
      stems: of the images of the release.

    Raises:
      ReleaseError: no category is a joint site, or most boxes are fractions of their images.
    """
    sites = {name: names[name] for name in coco.categories if name in names}
    if not sites:
        raise ReleaseError(
            f"{coco.path}: none of the categories {', '.join(coco.categories)} is a joint site; known are "
            f"{', '.join(names)}."
        )
    by_stem: dict[str, Detection] = {}
    findings = list(coco.findings)
    for image in coco.images:
        stem = image.stem_in(stems)
        if stem is None:
            findings.append(Finding("detections without an image", image.names[0]))
            continue
        boxes: dict[str, Box] = {}
        for annotation in image.annotations:
            site = sites.get(annotation.category)
            if site is None:
                findings.append(Finding("detections of no site of the score", f"{stem} {annotation.category}"))
            elif site in boxes:
                findings.append(Finding("further boxes of a site, left out", f"{stem} {site}"))
            else:
                x, y, width, height = annotation.bbox or NOWHERE
                boxes[site] = (y, x, y + height, x + width)
        size = None if image.height is None else (image.height, image.width)
        there = Detection(boxes, frozenset(sites.values()), {coco.path: size})
        by_stem[stem] = by_stem[stem].joined(there) if stem in by_stem else there
    every = [box for detection in by_stem.values() for box in detection.boxes.values() if box != NOWHERE]
    if every and _most(min(box) >= 0 and max(box) <= _FRACTION for box in every):
        raise ReleaseError(
            f"{coco.path}: the boxes look like fractions of the image (0..1), the first is y {every[0][0]:g} to "
            f"{every[0][2]:g}; multiply x and width by the image's width, y and height by its height."
        )
    return by_stem, findings


def clipped(box: Box, height: int, width: int) -> Box:
    """The part of a box that lies inside an image."""
    return tuple(float(np.clip(v, 0, top)) for v, top in zip(box, (height, width, height, width), strict=True))


def _fault(box: Box, height: int, width: int) -> str:
    """Why a box cannot be a joint's, '' where it can."""
    ymin, xmin, ymax, xmax = clipped(box, height, width)
    if ymax <= ymin or xmax <= xmin:
        return "that are empty or outside the image"
    if min(ymax - ymin, xmax - xmin) <= LEAST_SIDE:
        return "of a pixel or less, left out"
    return "" if _inside(box, height, width) >= LEAST_INSIDE else "that are mostly outside the image, left out"


def _inside(box: Box, height: int, width: int) -> float:
    """Share of a box's area inside an image; 0 of an empty box."""
    areas = [max(ymax - ymin, 0) * max(xmax - xmin, 0) for ymin, xmin, ymax, xmax in (clipped(box, height, width), box)]
    return areas[0] / areas[1] if areas[1] > 0 else 0.0


def _unit_or_order(boxes: Collection[Box], height: int, width: int) -> str:
    """What is wrong with the boxes of an image, and the remedy; '' where nothing is, or there are too few to tell."""
    if len(boxes) < _FEWEST:
        return ""
    if min(height, width) > 2 * _PERCENT and all(min(box) >= 0 and max(box) <= _PERCENT for box in boxes):
        return (
            f"look like percent of the image (0..100), for none goes beyond 100 of its {width} x {height} pixels; "
            "multiply x and width by a hundredth of the width, y and height by a hundredth of the height"
        )
    outside = any(_inside(box, height, width) < LEAST_INSIDE for box in boxes)
    corners = [(ymax - ymin, xmax - xmin) for ymin, xmin, ymax, xmax in boxes]
    if outside and _most(
        ymin < y <= height and xmin < x <= width for (ymin, xmin, _, _), (y, x) in zip(boxes, corners, strict=True)
    ):
        return "look like two corners (x0, y0, x1, y1); COCO has x, y, width, height, so subtract the first corner"
    return ""


def _most(true: Iterable[bool]) -> bool:
    """Whether more than half are true."""
    true = list(true)
    return 2 * sum(true) > len(true)

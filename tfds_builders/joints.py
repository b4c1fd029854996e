"""Joint regions of a released radiograph: scores by site, and boxes from a detection file or from released crops."""

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np

from ramjax import anatomy
from ramjax.data.report import Counts, Finding
from ramjax.io.coco import CocoFile
from ramjax.io.crops import CropFinder
from ramjax.io.errors import ReleaseError
from ramjax.io.images import read_bmp
from ramjax.record import UNKNOWN_SCORE, Joint

Box = tuple[float, float, float, float]
"""ymin, xmin, ymax, xmax in pixels."""


@dataclasses.dataclass(frozen=True)
class Regions:
    """What a release tells of the joints of one radiograph.

    Attributes:
      scores: by scale (``be``, ``jsn``) that was read, the score of each site.
      detected: boxes by site of a detection file.
      searched: the sites that the detection file annotates where they are; none where it does not list the radiograph.
      crops: by scale, the files of released regions by site.
    """

    scores: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    detected: Mapping[str, Box] = dataclasses.field(default_factory=dict)
    searched: frozenset[str] = frozenset()
    crops: Mapping[str, Mapping[str, pathlib.Path]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Placed:
    """The joints of a record, which sites are known, and what was found on the way."""

    joints: tuple[Joint, ...]
    known: np.ndarray
    counts: Counts
    findings: tuple[Finding, ...]


def place(image: np.ndarray, regions: Regions, record_id: str) -> Placed:
    """Joins boxes and scores of one radiograph, uint8 (H, W), by site.

    A box is that of the detection file. A site without one gets it from its released crops, each an exact sub-image:
    the smallest box around those of both scales. A score whose site has no box has no place in the record.
    """
    height, width = image.shape
    counts, findings = Counts(), []
    boxes = {site: _clipped(box, height, width) for site, box in regions.detected.items()}
    counts["boxes", "of the detection file"] = len(boxes)
    finder: CropFinder | None = None
    for site in anatomy.SITE_NAMES:
        paths = [crops[site] for crops in regions.crops.values() if site in crops]
        if site in boxes or not paths:
            continue
        finder = finder or CropFinder(image)
        found = [box for path in paths if (box := _find(finder, path, counts, findings)) is not None]
        if not found:
            continue
        edges = np.array(found)
        boxes[site] = (*edges[:, :2].min(0).tolist(), *edges[:, 2:].max(0).tolist())
        if len(found) > 1:
            shift = int(np.abs(edges[0] - edges[1]).max())
            counts["boxes", "of two crops"] += 1
            if shift:
                counts["boxes", "of two crops that differ"] += 1
                counts["BE and JSN crops differ at most by (pixels)", f"{shift:4d}"] += 1
    joints = []
    for site, box in boxes.items():
        if box[2] <= box[0] or box[3] <= box[1]:
            findings.append(Finding("boxes outside their image, left out", f"{record_id} {site}"))
            continue
        fractions = tuple(float(v) for v in np.array(box) / (height, width, height, width))
        scores = {scale: regions.scores.get(scale, {}).get(site, UNKNOWN_SCORE) for scale in anatomy.SCALES}
        joints.append(Joint(fractions, site, **scores))
    placed = {joint.site for joint in joints}
    for scale, scores in regions.scores.items():
        lost = sorted(set(scores) - placed)
        findings += [Finding(f"{scale.upper()} scores without a box, left out", f"{record_id} {s}") for s in lost]
    known = np.array([site in placed or site in regions.searched for site in anatomy.SITE_NAMES])
    return Placed(tuple(joints), known, counts, tuple(findings))


def read_score(value: object, scale: str, site: str, where: str) -> int:
    """Returns a score as an int; raises ReleaseError naming `where` for one that the scale or site does not have."""
    top, sites = anatomy.SCALES[scale]
    if anatomy.SITE_INDEX[site] not in sites:
        raise ReleaseError(f"{where}: {site} is no site of the {scale.upper()} score; check the file.")
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = float("nan")
    if isinstance(value, bool) or score not in range(top + 1):
        raise ReleaseError(f"{where} is {value!r}; a {scale.upper()} score is a whole number in 0..{top}.")
    return int(score)


def detections(coco: CocoFile) -> tuple[dict[str, dict[str, Box]], frozenset[str], list[Finding]]:
    """Returns the boxes of a detection file by the image's stem and site, the sites it annotates, and what was amiss.

    Of several boxes of a site in one image the first counts, as for the released crops. Categories that are no site of
    the score are left out.

    Raises:
      ReleaseError: no category is a joint site.
    """
    sites = {name: anatomy.SITE_ALIASES.get(name, name) for name in coco.categories}
    sites = {name: site for name, site in sites.items() if site in anatomy.SITE_INDEX}
    if not sites:
        raise ReleaseError(
            f"{coco.path}: none of the categories {', '.join(coco.categories)} is a joint site; known are "
            f"{', '.join(anatomy.SITE_NAMES)} and the aliases {', '.join(anatomy.SITE_ALIASES)}."
        )
    by_stem: dict[str, dict[str, Box]] = {}
    findings = []
    for image in coco.images:
        stem = pathlib.PurePath(image.original).stem
        boxes = by_stem.setdefault(stem, {})
        for annotation in image.annotations:
            site = sites.get(annotation.category)
            if site is None or annotation.bbox is None:
                findings.append(Finding("detections of no site or without a box", f"{stem} {annotation.category}"))
            elif site in boxes:
                findings.append(Finding("further boxes of a site, left out", f"{stem} {site}"))
            else:
                x, y, width, height = annotation.bbox
                boxes[site] = (y, x, y + height, x + width)
    return by_stem, frozenset(sites.values()), findings


def union(one: Mapping[str, Box], other: Mapping[str, Box]) -> dict[str, Box]:
    """Boxes by site of two files; where both have a site, the smallest box around both."""
    boxes = dict(one)
    for site, b in other.items():
        a = boxes.get(site, b)
        boxes[site] = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
    return boxes


def _find(finder: CropFinder, path: pathlib.Path, counts: Counts, findings: list[Finding]) -> Box | None:
    crop = read_bmp(path)
    places = finder.find(crop)
    where = "/".join(path.parts[-2:])
    if len(places) == 1:
        counts["boxes", "of crops found in the image"] += 1
        (y, x), (height, width) = places[0], crop.shape
        return (y, x, y + height, x + width)
    kind = "crops that stand in several places of the image" if places else "crops that are not in the image"
    counts["boxes", kind] += 1
    findings.append(Finding(kind, where))
    return None


def _clipped(box: Box, height: int, width: int) -> Box:
    return tuple(float(np.clip(v, 0, top)) for v, top in zip(box, (height, width, height, width), strict=True))

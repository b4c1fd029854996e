"""Joint regions of a released radiograph: scores by site, and boxes from a detection file or from released crops."""

import dataclasses
import pathlib
from collections.abc import Container, Mapping

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
class Detection:
    """What the detection files tell of one image.

    Attributes:
      boxes: by site; one that is empty says that the site is there, not where.
      searched: the sites that are annotated where they are.
      sizes: of the image by file, (height, width), where it is stated.
    """

    boxes: Mapping[str, Box] = dataclasses.field(default_factory=dict)
    searched: frozenset[str] = frozenset()
    sizes: Mapping[pathlib.Path, tuple[int, int]] = dataclasses.field(default_factory=dict)

    def joined(self, other: "Detection") -> "Detection":
        """Of two files; where both have a site, the smallest box around both."""
        boxes = dict(self.boxes)
        for site, b in other.boxes.items():
            a = boxes.get(site, b)
            boxes[site] = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
        return Detection(boxes, self.searched | other.searched, {**self.sizes, **other.sizes})

    def check_size(self, image: np.ndarray, path: pathlib.Path) -> None:
        """Raises ReleaseError where a file states another size than the image (H, W) at `path` has."""
        for file, (height, width) in self.sizes.items():
            if (height, width) != image.shape:
                raise ReleaseError(
                    f"{path} is {image.shape[1]} x {image.shape[0]} pixels, {file} says {width} x {height}; image and "
                    "boxes are of different releases, fetch both again."
                )


@dataclasses.dataclass(frozen=True)
class Regions:
    """What a release tells of the joints of one radiograph.

    Attributes:
      scores: by scale (``be``, ``jsn``) that was read, the score of each site.
      detection: of the detection files.
      crops: by scale, the files of released regions by site.
    """

    scores: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    detection: Detection = Detection()
    crops: Mapping[str, Mapping[str, pathlib.Path]] = dataclasses.field(default_factory=dict)

    @property
    def lacks_boxes(self) -> bool:
        """Whether a site has a score and no box in a detection file, so that its place is only in a released crop."""
        return any(site not in self.detection.boxes for scores in self.scores.values() for site in scores)


@dataclasses.dataclass(frozen=True)
class Placed:
    """The joints of a record, which sites are known, and what was found on the way."""

    joints: tuple[Joint, ...]
    known: np.ndarray
    counts: Counts
    findings: tuple[Finding, ...]


def place(image: np.ndarray, regions: Regions, record_id: str) -> Placed:
    """Joins boxes and scores of one radiograph, uint8 (H, W), by site.

    A box is that of the detection files. A site without one gets it from its released crops, each an exact sub-image:
    the smallest box around those of both scales. A score whose site has no box has no place in the record, and a site
    of which there is any sign but no box is not known.
    """
    height, width = image.shape
    counts, findings = Counts(), []
    detected = {site: _clipped(box, height, width) for site, box in regions.detection.boxes.items()}
    boxes = {site: box for site, box in detected.items() if box[2] > box[0] and box[3] > box[1]}
    findings += [
        Finding("detected boxes that are empty or outside the image", f"{record_id} {site}")
        for site in detected
        if site not in boxes
    ]
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
    joints = tuple(
        Joint(
            tuple(float(v) for v in np.array(box) / (height, width, height, width)),
            site,
            **{scale: regions.scores.get(scale, {}).get(site, UNKNOWN_SCORE) for scale in anatomy.SCALES},
        )
        for site, box in boxes.items()
    )
    for scale, scores in regions.scores.items():
        lost = sorted(set(scores) - set(boxes))
        findings += [Finding(f"{scale.upper()} scores without a box, left out", f"{record_id} {s}") for s in lost]
    signs = set(detected).union(*regions.scores.values(), *regions.crops.values())
    absent = regions.detection.searched - signs
    known = np.array([site in boxes or site in absent for site in anatomy.SITE_NAMES])
    return Placed(joints, known, counts, tuple(findings))


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


def detections(
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
      ReleaseError: no category is a joint site.
    """
    sites = {name: names[name] for name in coco.categories if name in names}
    if not sites:
        raise ReleaseError(
            f"{coco.path}: none of the categories {', '.join(coco.categories)} is a joint site; known are "
            f"{', '.join(names)}."
        )
    by_stem: dict[str, Detection] = {}
    findings = []
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
                x, y, width, height = annotation.bbox or (0.0,) * 4
                boxes[site] = (y, x, y + height, x + width)
        stated = None not in (image.height, image.width)
        sizes = {coco.path: (image.height, image.width)} if stated else {}
        there = Detection(boxes, frozenset(sites.values()), sizes)
        by_stem[stem] = by_stem[stem].joined(there) if stem in by_stem else there
    return by_stem, findings


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

"""Joint regions of a released radiograph: scores by site, and boxes from a detection file or from released crops."""

import dataclasses
import math
import pathlib
import struct
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ramjax import anatomy
from ramjax.data.report import Counts, Finding
from ramjax.io.crops import CropFinder
from ramjax.io.errors import ReleaseError
from ramjax.io.images import read_bmp
from ramjax.io.json_file import shown, whole
from ramjax.io.spreadsheet import to_number
from ramjax.record import UNKNOWN_SCORE, Joint
from tfds_builders.detection import NOWHERE, Box, Detection, clipped

SIDE_OF_CROP = 1.3
"""Times that the sides of boxes may be longer or shorter than those of crops: both were drawn with some margin."""

_LOOKED_AT = 5
"""Crops of a radiograph whose sizes are compared with boxes."""


@dataclasses.dataclass(frozen=True)
class Regions:
    """What a release tells of the joints of one radiograph.

    Attributes:
      scores: by scale (``be``, ``jsn``) that was read, the score of each site.
      detection: of the detection files.
      crops: by scale, the files of released regions by site.
    """

    scores: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    detection: Detection = dataclasses.field(default_factory=Detection)
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
    detected = regions.detection.boxes
    inside = {site: clipped(box, height, width) for site, box in detected.items()}
    boxes = {site: box for site, box in inside.items() if box[2] > box[0] and box[3] > box[1]}
    findings += [
        Finding("detected boxes outside the part that the image shows", f"{record_id} {site}")
        for site, box in detected.items()
        if site not in boxes and box != NOWHERE
    ]
    counts["boxes", "of the detection file"] = len(boxes)
    findings += _of_other_size(boxes, regions.crops, record_id)
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
    score = whole(to_number(value.strip()) if isinstance(value, str) else value)
    if score not in range(top + 1):
        raise ReleaseError(f"{where} is {shown(value)}; a {scale.upper()} score is a whole number in 0..{top}.")
    return score


def agreed(
    entries: Mapping[str, Sequence[Mapping[str, int]]], scale: str, sites: Collection[str] = anatomy.SITE_NAMES
) -> tuple[dict[str, dict[str, int]], list[Finding]]:
    """Returns the scores of each radiograph by site, of all entries that a file has of it, and what was amiss.

    A site of which two entries differ has no score; a radiograph without any score is left out.

    Args:
      entries: by stem, the scores of each of its entries by site.
      scale: ``be`` or ``jsn``.
      sites: those that the data set has.
    """
    name = scale.upper()
    graded = [anatomy.SITE_NAMES[site] for site in anatomy.SCALES[scale][1] if anatomy.SITE_NAMES[site] in sites]
    scores, findings = {}, []
    for stem, of_stem in entries.items():
        stated = {site: {entry[site] for entry in of_stem if site in entry} for site in graded}
        found = {site: min(values) for site, values in stated.items() if len(values) == 1}
        differ = [f"{stem} {site}" for site, values in stated.items() if len(values) > 1]
        findings += [Finding(f"{name} scores that differ between two entries, left out", where) for where in differ]
        if not found:
            findings.append(Finding(f"radiographs without any {name} score", stem))
            continue
        scores[stem] = found
        findings += [Finding(f"sites without a {name} score", f"{stem} {site}") for site in graded if not stated[site]]
    return scores, findings


def _of_other_size(
    boxes: Mapping[str, Box], crops: Mapping[str, Mapping[str, pathlib.Path]], record_id: str
) -> list[Finding]:
    """A finding where the sides of most boxes are not those of the released crops of their sites.

    Boxes in another unit, or of the image in another size, may lie well within the image; the crops, where they are
    there, tell. A few of them are looked at, and of these only the headers.
    """
    pairs = [(boxes[site], path) for of_scale in crops.values() for site, path in of_scale.items() if site in boxes]
    sizes = [(box, size) for box, path in pairs[:_LOOKED_AT] if (size := _bmp_size(path))]
    if len(sizes) < _LOOKED_AT:
        return []
    sides = [math.sqrt((box[2] - box[0]) * (box[3] - box[1]) / (height * width)) for box, (height, width) in sizes]
    side = sorted(sides)[_LOOKED_AT // 2]
    if 1 / SIDE_OF_CROP <= side <= SIDE_OF_CROP:
        return []
    what = "radiographs whose detected boxes are not of the size of their released crops"
    return [Finding(what, f"{record_id} (sides {side:.2g} times as long)")]


def _bmp_size(path: pathlib.Path) -> tuple[int, int] | None:
    """Height and width in the header of a BMP; None where it has no such header or cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(26)
    except OSError:
        return None
    if len(head) < 26 or head[:2] != b"BM":
        return None
    width, height = struct.unpack_from("<ii", head, 18)
    return (abs(height), width) if width > 0 and height else None  # a negative height counts from the top


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

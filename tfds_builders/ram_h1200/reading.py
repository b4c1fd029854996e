"""Reads a RAM-H1200 release: first which hands there are and what belongs to each, then one record a hand."""

import dataclasses
import pathlib
import re
from collections.abc import Collection, Iterator, Mapping, Set
from typing import Any

import numpy as np

from ramjax import anatomy
from ramjax.data.report import Counts, Finding, Made, Report
from ramjax.io import coco
from ramjax.io.coco import CocoFile, CocoImage
from ramjax.io.errors import ReleaseError
from ramjax.io.images import read_bmp
from ramjax.io.release_parts import FOREIGN
from ramjax.record import Record
from tfds_builders import joints, metadata, release
from tfds_builders.detection import Detection, boxes_by_image
from tfds_builders.joints import Regions

STEM = re.compile(r"^JP_(?P<center>[A-Z0-9]+)_P(?P<patient>\d{4})_(?P<visit>\d{8})_(?P<tag>\d{4})_(?P<side>[LR])$")
BONE_FILE, EROSION_FILE = "_annotations_bone_rle.coco.json", "_annotations_be_rle.coco.json"
SCORING = {"be": "SvdH_Scoring/SvdH_BE_Scoring", "jsn": "SvdH_Scoring/SvdH_JSN_Scoring"}
SCORE_FILES = {"be": "_annotation_be_scores.json", "jsn": "_annotation_jsn_scores.json"}

COLUMNS = {"sex": "Sex", "age": "Age", "is_ra": "isRA", "pixel_spacing_mm": "PixelSpacing"}
_IGNORED = ("Background", "background")
_BONE_CATEGORIES = {*anatomy.BONES, *anatomy.BONE_ALIASES, *FOREIGN, *_IGNORED}


@dataclasses.dataclass(frozen=True)
class Hand:
    """One radiograph of the release and all that belongs to it.

    Attributes:
      path: of the image.
      bones, erosions: its entry in the annotation file, or None where that does not list it.
      known: the bone categories of the annotation file.
      regions: scores, boxes and crops of its joints.
      cells: of its study in the metadata sheet, or None.
    """

    path: pathlib.Path
    bones: CocoImage | None
    erosions: CocoImage | None
    known: frozenset[str]
    regions: Regions
    cells: metadata.Traits | None


def read_splits(folder: pathlib.Path, report: Report) -> dict[str, list[Hand]]:
    """Returns the hands of each split, in the order of their names; the report takes what is amiss.

    Raises:
      ReleaseError: a file that cannot be trusted: damaged, a pointer, unknown categories or scores, a hand in two
        splits.
    """
    segmentation = folder / "Segmentation"
    splits = dict(release.split_folders(segmentation))
    if not splits:
        raise ReleaseError(f"{segmentation} has none of the folders train, val, test; fetch the release again.")
    images = {split: release.list_files(path, ".bmp") for split, path in splits.items()}
    _check_disjoint(images)
    every = {stem for stems in images.values() for stem in stems}
    if not every:
        raise ReleaseError(f"{segmentation} has no images in its folders; fetch the release again.")
    amiss: list[Finding] = []
    detections = _read_detections(folder, every, amiss)
    studies = {release.parse_stem(stem, STEM).study for stem in every}
    rows = metadata.read_metadata(folder, studies, COLUMNS, amiss)
    report.find("all", amiss)
    hands = {}
    for split, path in splits.items():
        stems = images[split]
        bones, bone_names = _read_masks(path / BONE_FILE, stems, _BONE_CATEGORIES, split, report)
        erosions, erosion_names = _read_masks(path / EROSION_FILE, stems, anatomy.EROSION_LABELS, split, report)
        known = frozenset(_bone_channels(bone_names, path / BONE_FILE))
        missing = [name for name in anatomy.BONES if bones and name not in known]
        report.find(split, [Finding(f"bones without a category in {BONE_FILE}, unknown", name) for name in missing])
        if erosions and not set(erosion_names) & set(anatomy.EROSION_LABELS):
            raise ReleaseError(
                f"{path / EROSION_FILE}: the categories are {', '.join(erosion_names)}; one of "
                f"{', '.join(anatomy.EROSION_LABELS[1:])} is needed; fetch the release again."
            )
        parents = {scale: dict(release.split_folders(folder / name)).get(split) for scale, name in SCORING.items()}
        scores = {scale: _read_scores(parent, scale, split, stems, report) for scale, parent in parents.items()}
        hands[split] = []
        for stem, image in stems.items():
            regions = Regions(
                scores={scale: by_stem[stem] for scale, by_stem in scores.items() if stem in by_stem},
                detection=detections.get(stem, Detection()),
                crops={scale: _crops(parent, stem) for scale, parent in parents.items()},
            )
            cells = rows.get(release.parse_stem(stem, STEM).study)
            hands[split].append(Hand(image, bones.get(stem), erosions.get(stem), known, regions, cells))
    return hands


def make_record(hand: Hand) -> Made:
    """Makes the record of a hand; picklable, for worker processes.

    Raises:
      ImageError, ReleaseError: a file that cannot be trusted.
    """
    stem = hand.path.stem
    image = read_bmp(hand.path)
    counts, findings = Counts(), []
    for entry, file in ((hand.bones, BONE_FILE), (hand.erosions, EROSION_FILE)):
        if entry is None:
            findings.append(Finding(f"images that {file} does not list", stem))
        elif (entry.height, entry.width) not in ((None, None), image.shape):
            raise ReleaseError(
                f"{hand.path} is {image.shape[1]} x {image.shape[0]} pixels, {file} says {entry.width} x "
                f"{entry.height}; image and annotations are of different releases, fetch both again."
            )
    words = _bones(hand, image.shape, counts, findings)
    checked, odd = hand.regions.detection.checked(image.shape, hand.path)
    findings += odd
    placed = joints.place(image, dataclasses.replace(hand.regions, detection=checked), stem)
    told = release.parse_stem(stem, STEM)
    if not told.patient:
        findings.append(Finding("file names of an unknown pattern", stem))
    if hand.cells is None:
        findings.append(Finding("images without a metadata row", stem))
    record = Record(
        image=image,
        bones=words.astype("<u4", copy=False)[..., None].view(np.uint8),
        bones_known=np.array([name in hand.known for name in anatomy.BONES]) & (hand.bones is not None),
        erosions=_erosions(hand, image.shape, findings),
        joints=placed.joints,
        joints_known=placed.known,
        has_bones=hand.bones is not None,
        has_erosions=hand.erosions is not None,
        has_joints=bool(placed.known.any()),
        has_be="be" in hand.regions.scores,
        has_jsn="jsn" in hand.regions.scores,
        id=stem,
        dataset="ram_h1200",
        # Numbers start again in every centre.
        patient=f"JP_{told.center}_P{told.patient}" if told.patient else told.study,
        visit=told.visit,
        center=told.center,
        side=told.side,
        view="hand",
        **metadata.traits(hand.cells, COLUMNS),
    )
    return Made(record, counts + placed.counts, (*findings, *placed.findings))


def _read_detections(folder: pathlib.Path, stems: Set[str], amiss: list[Finding]) -> dict[str, Detection]:
    """Reads every joint detection file below a folder, by stem; where it lies and what it is called is not specified.

    A detection file is COCO, is not one of the mask files, and has a category that is the short name of a joint site.
    """
    found: dict[str, Detection] = {}
    names = {name: name for name in anatomy.SITE_NAMES}
    for path in sorted(folder.rglob("*.json")):
        masks = "bone_rle" in path.name or "be_rle" in path.name
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if masks or hidden or path.name in SCORE_FILES.values():
            continue
        values = coco.read_json(path)
        if not coco.is_coco(values):
            continue
        file = coco.parse_coco(values, path)
        if not set(file.categories) & names.keys():
            amiss.append(Finding("COCO files without a joint site as category, not read", path.name))
            continue
        there, findings = boxes_by_image(file, names, stems)
        amiss += findings
        for stem, detection in there.items():
            found[stem] = found.get(stem, Detection()).joined(detection)
    return found


def _check_disjoint(images: Mapping[str, Mapping[str, pathlib.Path]]) -> None:
    seen: dict[str, pathlib.Path] = {}
    for stems in images.values():
        for stem, path in stems.items():
            if stem in seen:
                raise ReleaseError(f"{path} is also in another split, as {seen[stem]}; fetch the release again.")
            seen[stem] = path


def _read_masks(
    path: pathlib.Path, stems: Mapping[str, pathlib.Path], known: Collection[str], split: str, report: Report
) -> tuple[dict[str, CocoImage], tuple[str, ...]]:
    """Returns the entries of a mask file by stem, and its category names; nothing where there is no file.

    A category of id 0 that is none of the `known` names is the annotation tool's placeholder and left out.
    """
    if not path.exists():
        report.find(split, [Finding("annotation files are missing", path.name)])
        return {}, ()
    file: CocoFile = coco.read_coco(path)
    report.categories(split, path.name, file.categories)
    report.find(split, file.findings)
    placeholder = "" if file.placeholder in known else file.placeholder
    entries: dict[str, CocoImage] = {}
    for image in file.images:
        stem = image.stem_in(stems)
        if stem is None:
            report.find(split, [Finding(f"entries of {path.name} without an image", image.names[0])])
            continue
        annotations = tuple(a for a in image.annotations if a.category != placeholder)
        if len(annotations) != len(image.annotations):
            report.find(split, [Finding(f"images with annotations of the placeholder {placeholder}", stem)])
        if stem in entries:
            report.find(split, [Finding(f"images that {path.name} lists twice, joined", stem)])
            before = entries[stem]
            if (before.height, before.width) != (image.height, image.width):
                raise ReleaseError(
                    f"{path} lists {stem} twice, with sizes that differ; take out the one that is wrong."
                )
            annotations = before.annotations + annotations
        entries[stem] = dataclasses.replace(image, annotations=annotations)
    return entries, tuple(name for name in file.categories if name != placeholder)


def _bone_channels(names: tuple[str, ...], path: pathlib.Path) -> Iterator[str]:
    """Canonical bones of the category names that are no foreign objects."""
    for name in names:
        if name not in (*FOREIGN, *_IGNORED):
            try:
                yield anatomy.canonical_bone(name)
            except ValueError as error:
                raise ReleaseError(f"{path}, categories: {error}") from None


def _read_scores(
    parent: pathlib.Path | None, scale: str, split: str, stems: Mapping[str, pathlib.Path], report: Report
) -> dict[str, dict[str, int]]:
    """Returns scores by stem and site; nothing where the scoring folder of the split, `parent`, is missing."""
    path = None if parent is None else parent / SCORE_FILES[scale]
    if path is None or not path.exists():
        report.find(split, [Finding("annotation files are missing", f"{SCORING[scale]}/{split}/{SCORE_FILES[scale]}")])
        return {}
    values, prefix = coco.read_json(path), f"{scale.upper()}_"
    if not isinstance(values, dict) or not all(isinstance(entry, dict) for entry in values.values()):
        raise ReleaseError(f"{path} must map file names to scores; fetch it again.")
    entries: dict[str, list[dict[str, int]]] = {}
    for name, entry in values.items():
        stem = name[:-4] if name.lower().endswith(".bmp") else name
        if stem not in stems:
            report.find(split, [Finding(f"{scale.upper()} scores of no image of the split, left out", stem)])
            continue
        entries.setdefault(stem, []).append(_hand_scores(entry, prefix, scale, f"{path}, {name}"))
    scores, findings = joints.agreed(entries, scale)
    what = f"images that {path.name} leaves out"
    report.find(split, [*findings, *(Finding(what, stem) for stem in stems if stem not in entries)])
    return scores


def _hand_scores(entry: Mapping[str, Any], prefix: str, scale: str, where: str) -> dict[str, int]:
    scores = {}
    for key, value in entry.items():
        if not key.startswith(prefix):
            continue
        site = key.removeprefix(prefix)
        if site not in anatomy.SITE_INDEX:
            raise ReleaseError(f"{where}, {key}: {site} is no joint site; known are {', '.join(anatomy.SITE_NAMES)}.")
        scores[site] = joints.read_score(value, scale, site, f"{where}, {key}")
    return scores


def _crops(parent: pathlib.Path | None, stem: str) -> dict[str, pathlib.Path]:
    """Files of the regions of a hand by site; further crops of a site (``MCP-T_2.bmp``) have no score and no place."""
    found = {} if parent is None else release.list_files(parent / stem, ".bmp")
    return {site: path for site, path in found.items() if site in anatomy.SITE_INDEX}


def _bones(hand: Hand, shape: tuple[int, int], counts: Counts, findings: list[Finding]) -> np.ndarray:
    """The packed masks, uint32 (H, W); several annotations of a bone are its parts."""
    words = np.zeros(shape, np.uint32)
    for annotation in hand.bones.annotations if hand.bones else ():
        if annotation.category in FOREIGN:
            counts["foreign objects (instances)", annotation.category] += 1
        elif annotation.category not in _IGNORED:
            bit = np.uint32(1) << np.uint32(anatomy.BONE_INDEX[anatomy.canonical_bone(annotation.category)])
            where = f"{hand.path.with_name(BONE_FILE)}, {hand.path.name}, {annotation.category}"
            rows, columns, mask = coco.decode_mask(annotation.segmentation, *shape, where)
            words[rows, columns] |= mask * bit
            if not mask.any():
                findings.append(Finding("empty bone masks", f"{hand.path.stem} {annotation.category}"))
    return words


def _erosions(hand: Hand, shape: tuple[int, int], findings: list[Finding]) -> np.ndarray:
    """The exclusive labels, uint8 (H, W): where lesions overlap the lower label wins. Other categories do not count."""
    labels = np.zeros(shape, np.uint8)
    annotations = hand.erosions.annotations if hand.erosions else ()
    for annotation in annotations:
        if annotation.category not in (*anatomy.EROSION_LABELS, *_IGNORED):
            what = f"{hand.path.stem} {annotation.category}"
            findings.append(Finding(f"annotations of {EROSION_FILE} that are no erosion label, left out", what))
    found = [
        (anatomy.EROSION_LABELS.index(annotation.category), annotation)
        for annotation in annotations
        if annotation.category in anatomy.EROSION_LABELS[1:]
    ]
    for label, annotation in sorted(found, key=lambda pair: -pair[0]):
        where = f"{hand.path.with_name(EROSION_FILE)}, {hand.path.name}, {annotation.category}"
        rows, columns, mask = coco.decode_mask(annotation.segmentation, *shape, where)
        labels[rows, columns][mask > 0] = label
        if not mask.any():
            findings.append(Finding("empty erosion masks", f"{hand.path.stem} {annotation.category}"))
    return labels

"""Reads a RAM-H1200 release: first which hands there are and what belongs to each, then one record a hand."""

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ramjax import anatomy
from ramjax.data.report import Counts, Finding, Made, Report
from ramjax.io import coco
from ramjax.io.coco import CocoFile, CocoImage
from ramjax.io.errors import ReleaseError
from ramjax.io.images import read_bmp
from ramjax.io.spreadsheet import Row
from ramjax.record import Record
from tfds_builders import joints, release
from tfds_builders.joints import Box, Regions

STEM = re.compile(r"^JP_(?P<center>[A-Z0-9]+)_P(?P<patient>\d{4})_(?P<visit>\d{8})_(?P<tag>\d{4})_(?P<side>[LR])$")
FOREIGN = ("Ring", "Metal Implant", "Intravenous cannula")
"""Categories of the bone file that are no part of the hand: counted, in no mask."""

BONE_FILE, EROSION_FILE = "_annotations_bone_rle.coco.json", "_annotations_be_rle.coco.json"
SCORING = {"be": "SvdH_Scoring/SvdH_BE_Scoring", "jsn": "SvdH_Scoring/SvdH_JSN_Scoring"}
SCORE_FILES = {"be": "_annotation_be_scores.json", "jsn": "_annotation_jsn_scores.json"}

COLUMNS = {"sex": "Sex", "age": "Age", "is_ra": "isRA", "spacing": "PixelSpacing"}
_IGNORED = ("Background", "background")


@dataclasses.dataclass(frozen=True)
class Hand:
    """One radiograph of the release and all that belongs to it.

    Attributes:
      path: of the image.
      bones, erosions: its entry in the annotation file, or None where that does not list it.
      known: the bone categories of the annotation file.
      regions: scores, boxes and crops of its joints.
      row: of the metadata sheet, or None.
    """

    path: pathlib.Path
    bones: CocoImage | None
    erosions: CocoImage | None
    known: frozenset[str]
    regions: Regions
    row: Row | None


@dataclasses.dataclass(frozen=True)
class Detections:
    """Joint boxes of all detection files: by stem and site, and by stem the sites that are annotated at all."""

    boxes: Mapping[str, Mapping[str, Box]]
    searched: Mapping[str, frozenset[str]]
    findings: tuple[Finding, ...]


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
    detections = read_detections(folder)
    amiss = list(detections.findings)
    rows = release.read_metadata(folder, {_parse(stem).study for stems in images.values() for stem in stems}, amiss)
    report.find("all", amiss)
    hands = {}
    for split, path in splits.items():
        stems = images[split]
        bones, bone_names = _read_masks(path / BONE_FILE, stems, split, report)
        erosions, erosion_names = _read_masks(path / EROSION_FILE, stems, split, report)
        known = frozenset(_bone_channels(bone_names, path / BONE_FILE))
        if erosions and not set(erosion_names) & set(anatomy.EROSION_LABELS):
            raise ReleaseError(
                f"{path / EROSION_FILE}: the categories are {', '.join(erosion_names)}; one of "
                f"{', '.join(anatomy.EROSION_LABELS[1:])} is needed; fetch the release again."
            )
        scores = {scale: _read_scores(folder, scale, split, stems, report) for scale in SCORING}
        hands[split] = []
        for stem, image in stems.items():
            regions = Regions(
                scores={scale: by_stem[stem] for scale, by_stem in scores.items() if stem in by_stem},
                detected=detections.boxes.get(stem, {}),
                searched=detections.searched.get(stem, frozenset()),
                crops={scale: _crops(folder, scale, split, stem) for scale in SCORING},
            )
            row = rows.get(_parse(stem).study)
            hands[split].append(Hand(image, bones.get(stem), erosions.get(stem), known, regions, row))
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
    placed = joints.place(image, hand.regions, stem)
    told = _parse(stem)
    if STEM.match(stem) is None:
        findings.append(Finding("file names of an unknown pattern", stem))
    if hand.row is None:
        findings.append(Finding("images without a metadata row", stem))
    record = Record(
        image=image,
        bones=words.astype("<u4", copy=False)[..., None].view(np.uint8),
        bones_known=np.array([name in hand.known for name in anatomy.BONES]) & (hand.bones is not None),
        erosions=_erosions(hand, image.shape),
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
        **release.traits(hand.row, COLUMNS),
    )
    return Made(record, counts + placed.counts, (*findings, *placed.findings))


def read_detections(folder: pathlib.Path) -> Detections:
    """Reads every joint detection file below a folder; where it lies and what it is called is not specified.

    A detection file is COCO, is not one of the mask files, and has a category that is a joint site. Where several have
    a site of an image, its box is the smallest around all.
    """
    boxes: dict[str, dict[str, Box]] = {}
    searched: dict[str, frozenset[str]] = {}
    findings: list[Finding] = []
    for path in sorted(folder.rglob("*.json")):
        if path.name in (BONE_FILE, EROSION_FILE, *SCORE_FILES.values()) or ".cache" in path.parts:
            continue
        values = coco.read_json(path)
        if not coco.is_coco(values):
            continue
        file = coco.parse_coco(values, path)
        if not set(file.categories) & {*anatomy.SITE_NAMES, *anatomy.SITE_ALIASES}:
            continue
        found, sites, amiss = joints.detections(file)
        findings += amiss
        for stem, there in found.items():
            boxes[stem] = joints.union(boxes.get(stem, {}), there)
            searched[stem] = searched.get(stem, frozenset()) | sites
    return Detections(boxes, searched, tuple(findings))


def _parse(stem: str) -> release.Stem:
    return release.parse_stem(stem, STEM) or release.last_token(stem)


def _check_disjoint(images: Mapping[str, Mapping[str, pathlib.Path]]) -> None:
    seen: dict[str, pathlib.Path] = {}
    for stems in images.values():
        for stem, path in stems.items():
            if stem in seen:
                raise ReleaseError(f"{path} is also in another split, as {seen[stem]}; fetch the release again.")
            seen[stem] = path


def _read_masks(
    path: pathlib.Path, stems: Mapping[str, pathlib.Path], split: str, report: Report
) -> tuple[dict[str, CocoImage], tuple[str, ...]]:
    """Returns the entries of a mask file by stem, and its category names; nothing where there is no file."""
    if not path.exists():
        report.find(split, [Finding("annotation files are missing", path.name)])
        return {}, ()
    file: CocoFile = coco.parse_coco(coco.read_json(path), path)
    report.categories(split, path.name, file.categories)
    entries: dict[str, CocoImage] = {}
    for image in file.images:
        names = (pathlib.PurePath(name).stem for name in image.names)
        stem = next((name for name in names if name in stems), None)
        if stem is None:
            report.find(split, [Finding(f"entries of {path.name} without an image", image.names[0])])
            continue
        annotations = tuple(a for a in image.annotations if a.category != file.placeholder)
        if len(annotations) != len(image.annotations):
            report.find(split, [Finding(f"images with annotations of the placeholder {file.placeholder}", stem)])
        if stem in entries:
            report.find(split, [Finding(f"images that {path.name} lists twice, joined", stem)])
            annotations = entries[stem].annotations + annotations
        entries[stem] = dataclasses.replace(image, annotations=annotations)
    return entries, tuple(name for name in file.categories if name != file.placeholder)


def _bone_channels(names: tuple[str, ...], path: pathlib.Path) -> Iterator[str]:
    """Canonical bones of the category names that are no foreign objects."""
    for name in names:
        if name not in (*FOREIGN, *_IGNORED):
            try:
                yield anatomy.canonical_bone(name)
            except ValueError as error:
                raise ReleaseError(f"{path}, categories: {error}") from None


def _read_scores(
    folder: pathlib.Path, scale: str, split: str, stems: Mapping[str, pathlib.Path], report: Report
) -> dict[str, dict[str, int]]:
    """Returns scores by stem and site; nothing where the scoring folder of the split is missing."""
    parent = dict(release.split_folders(folder / SCORING[scale])).get(split)
    path = None if parent is None else parent / SCORE_FILES[scale]
    if path is None or not path.exists():
        report.find(split, [Finding("annotation files are missing", f"{SCORING[scale]}/{split}/{SCORE_FILES[scale]}")])
        return {}
    values, prefix = coco.read_json(path), f"{scale.upper()}_"
    if not isinstance(values, dict) or not all(isinstance(entry, dict) for entry in values.values()):
        raise ReleaseError(f"{path} must map file names to scores; fetch it again.")
    scores: dict[str, dict[str, int]] = {}
    for name, entry in values.items():
        stem = name[:-4] if name.lower().endswith(".bmp") else name
        if stem not in stems:
            report.find(split, [Finding(f"{scale.upper()} scores of no image of the split, left out", stem)])
            continue
        scores[stem] = _hand_scores(entry, prefix, scale, f"{path}, {name}")
        missing = [s for s in map(anatomy.SITES.__getitem__, anatomy.SCALES[scale][1]) if s.name not in scores[stem]]
        report.find(split, [Finding(f"sites without a {scale.upper()} score", f"{stem} {s.name}") for s in missing])
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


def _crops(folder: pathlib.Path, scale: str, split: str, stem: str) -> dict[str, pathlib.Path]:
    """Files of the regions of a hand by site; further crops of a site (``MCP-T_2.bmp``) have no score and no place."""
    parent = dict(release.split_folders(folder / SCORING[scale])).get(split)
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
            rows, columns, mask = coco.decode_mask(annotation.segmentation, *shape, f"{BONE_FILE}, {hand.path.name}")
            words[rows, columns] |= mask * bit
            if not mask.any():
                findings.append(Finding("empty bone masks", f"{hand.path.stem} {annotation.category}"))
    return words


def _erosions(hand: Hand, shape: tuple[int, int]) -> np.ndarray:
    """The exclusive labels, uint8 (H, W): where lesions overlap the lower label wins. Other categories do not count."""
    labels = np.zeros(shape, np.uint8)
    found = [
        (anatomy.EROSION_LABELS.index(annotation.category), annotation)
        for annotation in (hand.erosions.annotations if hand.erosions else ())
        if annotation.category in anatomy.EROSION_LABELS[1:]
    ]
    for label, annotation in sorted(found, key=lambda pair: -pair[0]):
        rows, columns, mask = coco.decode_mask(annotation.segmentation, *shape, f"{EROSION_FILE}, {hand.path.name}")
        labels[rows, columns][mask > 0] = label
    return labels

"""Reads a RAM-W600 release: first which wrists there are and what belongs to each, then one record a wrist.

The release has no split of its radiographs: each level has one, told by the folder of a case. `assign` makes one of
both, by patient.
"""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence, Set

import numpy as np

from ramjax import anatomy
from ramjax.data.report import UNASSIGNED, Counts, Finding, Made, Report
from ramjax.io import coco
from ramjax.io.crops import CropFinder
from ramjax.io.errors import ReleaseError
from ramjax.io.images import read_bmp
from ramjax.io.json_file import shown
from ramjax.io.spreadsheet import column
from ramjax.record import Record
from tfds_builders import joints, metadata, release
from tfds_builders.detection import NOWHERE, Detection, boxes_by_image
from tfds_builders.joints import Regions
from tfds_builders.ram_w600.masks import read_mask

STEM = re.compile(r"^(?P<patient>\d{4})_(?P<visit>\d{4})_(?P<side>[LR])$")

LEVELS = ("bones", "scores")
"""What has official splits: the masks, and the scores with their boxes."""

SPLITS = ("train", "validation", "test")
SEGMENTATION, DETECTION, SCORING = "BoneSegmentation", "JointLocationDetection", "SvdHBEScoreClassification"
DETECTION_FILE = "Joints.coco.json"
ORIGINAL_SCORES, PROCESSED_SCORES = "JointBE_SvdH_GT_Ori.json", "JointBE_SvdH_GT.json"

COLUMNS = {"sex": "PatientSex", "age": "PatientAge", "is_ra": "IsRA", "pixel_spacing_mm": "ImagerPixelSpacing"}
CENTER, PATIENT = "InstitutionName", "NormalizedPatientID"

LEAST_CORRELATION = 0.98
"""Of two images of one size: below it they do not show the same, whatever was done to the grey values of one."""


@dataclasses.dataclass(frozen=True)
class Wrist:
    """One radiograph of the release and all that belongs to it.

    Attributes:
      stem: name of its files.
      paths: of the image in the segmentation folder and in the detection folder, one or both.
      mask: file of its bone masks, or None.
      splits: by level of `LEVELS`, the official split, where there is one.
      regions: scores, boxes and crops of its joints, boxes in pixels of the image of the detection folder.
      cells: of its study in the metadata sheet, or None.
      patient: key of the patient; center: where it was taken, '' unknown.
    """

    stem: str
    paths: Mapping[str, pathlib.Path]
    mask: pathlib.Path | None
    splits: Mapping[str, str]
    regions: Regions
    cells: metadata.Traits | None
    patient: str
    center: str

    def keep(self, levels: Sequence[str]) -> "Wrist":
        """The wrist with what is annotated on these levels alone."""
        scores = self.regions if "scores" in levels else Regions()
        return dataclasses.replace(self, mask=self.mask if "bones" in levels else None, regions=scores)


def read_wrists(folder: pathlib.Path, report: Report) -> list[Wrist]:
    """Returns the wrists of a release, in the order of their names; the report takes what is amiss.

    Raises:
      ReleaseError: a file that cannot be trusted: damaged, a pointer, unknown joints or scores, a case in two splits.
    """
    amiss: list[Finding] = []
    paths = {name: release.list_files(_first(folder / name, "images", "image"), ".bmp") for name in _IMAGE_FOLDERS}
    masks, mask_splits = _by_split(_first(folder / SEGMENTATION, "masks", "mask"), _mask_files)
    cases, case_splits = _by_split(folder / SCORING, _case_folders)
    scores = _read_scores(folder / SCORING, amiss)
    stems = sorted(set().union(*paths.values()))
    if not stems:
        raise ReleaseError(f"{folder} has no images in {' or '.join(_IMAGE_FOLDERS)}/images; fetch the release again.")
    detections = _read_detections(folder / DETECTION / DETECTION_FILE, set(stems), amiss, report)
    told = {stem: release.parse_stem(stem, STEM) for stem in stems}
    studies = {name.study for name in told.values()}
    rows = metadata.read_metadata(folder, studies, COLUMNS, amiss, texts=(CENTER, PATIENT))
    for what, names in (
        ("masks without an image", set(masks) - set(stems)),
        ("score folders without an image", set(cases) - set(stems)),
        ("scores without an image", set(scores) - set(stems)),
        ("score folders without scores", set(cases) - set(scores)),
        ("scores without a folder", set(scores) - set(cases)),
    ):
        amiss += [Finding(what, name) for name in sorted(names)]
    centers = _centers(rows)
    wrists = []
    for stem in stems:
        cells, number = rows.get(told[stem].study), told[stem].patient
        center = centers.get(number, "") if number else (cells or {}).get(column(CENTER), "")
        number = number or (cells or {}).get(column(PATIENT), "")
        splits = {level: by[stem] for level, by in zip(LEVELS, (mask_splits, case_splits), strict=True) if stem in by}
        regions = Regions(
            scores={"be": scores[stem]} if scores.get(stem) and stem in cases else {},
            detection=detections.get(stem, Detection()),
            crops={"be": cases.get(stem, {})},
        )
        here = {name: images[stem] for name, images in paths.items() if stem in images}
        patient = "_".join(filter(None, ("W600", center, number))) if number else told[stem].study
        wrists.append(Wrist(stem, here, masks.get(stem), splits, regions, cells, patient, center))
    report.find("all", amiss)
    return wrists


def assign(wrists: Sequence[Wrist], levels: Sequence[str], report: Report) -> dict[str, list[Wrist]]:
    """Returns the wrists by split.

    One level: its official split as released, nothing else. Several: a patient goes where the most held-out split
    (test, then validation) of any of its radiographs on any level is, and what the official split of a level puts
    elsewhere is withheld, so that no patient and no test label leaks into training; the report counts it.
    """
    splits: dict[str, list[Wrist]] = {split: [] for split in (*SPLITS, UNASSIGNED)}
    if len(levels) == 1:
        for wrist in wrists:
            if levels[0] in wrist.splits:
                splits[wrist.splits[levels[0]]].append(wrist.keep(levels))
        return splits
    rank: dict[str, int] = collections.defaultdict(int)
    for wrist in wrists:
        rank[wrist.patient] = max([rank[wrist.patient], *(SPLITS.index(s) for s in wrist.splits.values())])
    for wrist in wrists:
        if not wrist.splits:
            splits[UNASSIGNED].append(wrist)
            continue
        split = SPLITS[rank[wrist.patient]]
        kept = [level for level in levels if wrist.splits.get(level, split) == split]
        withheld = [level for level in levels if level not in kept]
        report.find(
            split,
            [Finding(f"{level} of the split {wrist.splits[level]}, withheld", wrist.stem) for level in withheld],
        )
        if set(kept) & set(wrist.splits):
            splits[split].append(wrist.keep(kept))
    return splits


def make_record(wrist: Wrist) -> Made:
    """Makes the record of a wrist; picklable, for worker processes.

    Raises:
      ImageError, ReleaseError: a file that cannot be trusted.
    """
    counts, findings = Counts(), []
    images = {name: read_bmp(path) for name, path in wrist.paths.items()}
    image = images.get(SEGMENTATION, images.get(DETECTION))
    regions = wrist.regions
    regions = _with_checked_boxes(regions, images, wrist, findings)
    if len(images) == 2:
        counts["records with", "both images"] += 1
        regions = _on_segmentation_grid(regions, images, wrist.stem, counts, findings)
    if wrist.cells is None:
        findings.append(Finding("images without a metadata row", wrist.stem))
    told = release.parse_stem(wrist.stem, STEM)
    if not told.patient:
        findings.append(Finding("file names of an unknown pattern", wrist.stem))
    placed = joints.place(image, regions, wrist.stem)
    known = np.isin(np.array(anatomy.BONES), anatomy.WRIST_BONES) & (wrist.mask is not None)
    record = Record(
        image=image,
        bones=np.zeros((*image.shape, 4), np.uint8) if wrist.mask is None else read_mask(wrist.mask, image.shape),
        bones_known=known,
        erosions=np.zeros(image.shape, np.uint8),
        joints=placed.joints,
        joints_known=placed.known,
        has_bones=wrist.mask is not None,
        has_erosions=False,
        has_joints=bool(placed.known.any()),
        has_be="be" in regions.scores,
        has_jsn=False,
        id=wrist.stem,
        dataset="ram_w600",
        patient=wrist.patient,
        visit=told.visit,
        center=wrist.center,
        side=told.side,
        view="wrist",
        **metadata.traits(wrist.cells, COLUMNS),
    )
    return Made(record, counts + placed.counts, (*findings, *placed.findings))


_IMAGE_FOLDERS = (SEGMENTATION, DETECTION)


def _first(parent: pathlib.Path, *names: str) -> pathlib.Path:
    return next((parent / name for name in names if (parent / name).is_dir()), parent / names[0])


def _by_split(parent, list_cases) -> tuple[dict, dict[str, str]]:
    """Returns what `list_cases` finds in each split folder, by stem, and each stem's split."""
    cases, splits = {}, {}
    for split, folder in release.split_folders(parent):
        for stem, case in list_cases(folder).items():
            if stem in splits:
                raise ReleaseError(f"{folder / stem} is also in the split {splits[stem]}; fetch the release again.")
            cases[stem], splits[stem] = case, split
    return cases, splits


def _mask_files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    return release.list_files(folder, ".npy")


def _case_folders(folder: pathlib.Path) -> dict[str, dict[str, pathlib.Path]]:
    """Files of the regions of each case of a split by site; the scoring has no other sites than `SITE_ALIASES`."""
    cases = {}
    for case in sorted(path for path in folder.iterdir() if path.is_dir()):
        found = release.list_files(case, ".bmp")
        cases[case.name] = {
            anatomy.SITE_ALIASES[name]: path for name, path in found.items() if name in anatomy.SITE_ALIASES
        }
    return cases


def _read_detections(path: pathlib.Path, stems: Set[str], amiss: list[Finding], report: Report) -> dict[str, Detection]:
    if not path.exists():
        amiss.append(Finding("files are missing", f"{DETECTION}/{path.name}"))
        return {}
    file = coco.read_coco(path)
    report.categories("all", path.name, file.categories)
    names = {name: name for name in anatomy.SITE_NAMES} | anatomy.SITE_ALIASES
    found, findings = boxes_by_image(file, names, stems)
    amiss += findings
    return found


def _read_scores(folder: pathlib.Path, amiss: list[Finding]) -> dict[str, dict[str, int]]:
    """Returns BE scores by stem and site: the original ones where they are there, else those processed for the task."""
    files = {name: _read_score_file(folder / name, amiss) for name in (ORIGINAL_SCORES, PROCESSED_SCORES)}
    original, processed = files.values()
    amiss += [Finding("files are missing", f"{SCORING}/{name}") for name, scores in files.items() if scores is None]
    for stem in sorted(set(original or {}) & set(processed or {})):
        for site in set(original[stem]) & set(processed[stem]):
            before, after = original[stem][site], processed[stem][site]
            if before != after:
                amiss.append(Finding(f"scores {before} that the processed file has as {after}", f"{stem} {site}"))
    only = sorted(set(processed or {}) - set(original or {})) if original is not None else []
    amiss += [Finding("cases with processed scores alone, which count", stem) for stem in only]
    return {**(processed or {}), **(original or {})}


def _read_score_file(path: pathlib.Path, amiss: list[Finding]) -> dict[str, dict[str, int]] | None:
    if not path.exists():
        return None
    values = coco.read_json(path)
    if not isinstance(values, list):
        raise ReleaseError(f"{path} must be a list of identifier and joints; fetch it again.")
    entries: dict[str, list[dict[str, int]]] = {}
    for entry in values:
        stem, scores = (entry.get(key) for key in ("identifier", "joints")) if isinstance(entry, dict) else (None, None)
        if not isinstance(stem, str) or not isinstance(scores, dict):
            raise ReleaseError(f"{path} must be a list of identifier and joints, not {shown(entry)}; fetch it again.")
        of_stem = entries.setdefault(stem, [])
        for name, value in scores.items():
            where = f"{path}, {stem}, {name}"
            if name not in anatomy.SITE_ALIASES:
                raise ReleaseError(f"{where}: unknown joint; known are {', '.join(anatomy.SITE_ALIASES)}.")
            site = anatomy.SITE_ALIASES[name]
            of_stem.append({site: joints.read_score(value, "be", site, where)})
    found, findings = joints.agreed(entries, "be", tuple(anatomy.SITE_ALIASES.values()))
    amiss += [dataclasses.replace(finding, where=f"{path.name} {finding.where}") for finding in findings]
    return found


def _centers(rows: Mapping[str, metadata.Traits]) -> dict[str, str]:
    """The centre of each patient number of the file names, '' where its rows name none, or several."""
    named: dict[str, set[str]] = collections.defaultdict(set)
    for study, cells in rows.items():
        named[study.partition("_")[0]].add(cells.get(column(CENTER), ""))
    return {number: min(centers - {""}, default="") for number, centers in named.items() if len(centers - {""}) < 2}


def _with_checked_boxes(
    regions: Regions, images: Mapping[str, np.ndarray], wrist: Wrist, findings: list[Finding]
) -> Regions:
    """The regions with the boxes that can be right in the detection folder's image, or in one of the stated size."""
    name = DETECTION if DETECTION in images else SEGMENTATION
    shape, sizes = images[name].shape, regions.detection.sizes.values()
    if name != DETECTION and any(size not in (None, shape) for size in sizes):
        findings.append(Finding("boxes of a missing image of another size, left out", wrist.stem))
        return dataclasses.replace(regions, detection=Detection())
    checked, odd = regions.detection.checked(shape, wrist.paths[name])
    findings += odd
    return dataclasses.replace(regions, detection=checked)


def _on_segmentation_grid(
    regions: Regions, images: Mapping[str, np.ndarray], stem: str, counts: Counts, findings: list[Finding]
) -> Regions:
    """Moves the boxes of the detection folder's image to that of the segmentation folder.

    Both are usually the same; where one is cut out of the other, its place is found; else the boxes cannot be placed.
    """
    grid, other = images[SEGMENTATION], images[DETECTION]
    if np.array_equal(grid, other):
        return regions
    if grid.shape == other.shape:
        correlation = float(np.corrcoef(grid.ravel(), other.ravel())[0, 1])
        if correlation > LEAST_CORRELATION:
            findings.append(Finding("images that differ in grey values between both folders", stem))
            return regions
        places = []
    else:
        inner, outer = sorted((grid, other), key=lambda image: image.size)
        places = CropFinder(outer).find(inner)
    if len(places) != 1:
        findings.append(Finding("images of other content in both folders, boxes left out", stem))
        return dataclasses.replace(regions, detection=Detection())
    counts["boxes", "moved to the other image's grid"] += len(regions.detection.boxes)
    y, x = places[0] if outer is grid else (-places[0][0], -places[0][1])
    moved = {
        site: box if box == NOWHERE else (box[0] + y, box[1] + x, box[2] + y, box[3] + x)
        for site, box in regions.detection.boxes.items()
    }
    return dataclasses.replace(regions, detection=Detection(moved, regions.detection.searched))

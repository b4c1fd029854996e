"""Writes records in the layout of the RAM-H1200 or RAM-W600 release, which other tools for these data sets read.

The layout is that of the releases: folder and file names with their misspellings, COCO files, crops, sheets. With
``quirks`` the tree also has what makes real releases hard to read: masks in three forms, 8 and 24-bit BMP, a
placeholder category, foreign objects, names changed by the annotation tool, different crops for the two scores, second
crops, metadata rows without an image, scores as text. Without ``quirks`` it is the plainest tree of that layout.

    records = release_tree.as_h1200(records)   # what such a release can say of them, under its names
    release_tree.write_h1200({"train": records[:80], "test": records[80:]}, "RAM-H1200-v1")
"""

import dataclasses
import datetime
import pathlib
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np

from ramjax import anatomy
from ramjax.io import release_parts as parts
from ramjax.record import UNKNOWN_SCORE, Joint, Record, pack_bones, unpack_bones

FOLDERS = {"train": "train", "validation": "val", "test": "test"}
"""The releases' names of the splits."""

H1200_CENTERS = ("HMCRD", "SARC", "SCGH", "HU1", "HU2", "HU3")
PER_HAND_CENTER = "SARC"
"""The centre whose metadata have one row a hand, and whose two hands of a visit have different tags."""

W600_CENTERS = ("HMCRD", "SCGH", "HU")
W600_SITES: dict[str, str] = {
    "CMC-T": "Metacarpal1st", "Tm": "Trapzium", "S": "Scaphoid", "L": "Lunate", "R": "DistalRadius", "U": "DistalUlna",
}  # fmt: skip
"""RAM-W600's names of its six sites, misspelling included."""

_H1200_COLUMNS = (
    "Mapped Image Stem", "StudyID", "Normalized PatientID", "isRA", "Sex", "Age", "Center", "PixelSpacing", "ImageSize",
    "LR",
)  # fmt: skip
_W600_COLUMNS = (
    "Mapped Image Stem", "NormalizedPatientID", "NormalizedStudyID", "InstitutionName", "IsRA", "PatientAge",
    "PatientSex", "StudyDate (Days)", "ImagerPixelSpacing", "[Rows, Columns]",
)  # fmt: skip
_FIRST_VISIT, _BETWEEN_VISITS = datetime.date(2020, 1, 15), datetime.timedelta(days=366)


def as_h1200(records: Iterable[Record], *, detections: bool = False) -> list[Record]:
    """Returns the records as a RAM-H1200 release can hold them: its names and keys, boxes of whole pixels.

    Patients are spread over the six centres, in each of which their numbers start at 1. A bone file cannot tell unknown
    from absent bones, so a hand with unknown bones is written without bones. A detection file cannot tell unknown from
    absent sites either: with `detections`, a site without a box becomes absent, even if the border cut it; without
    `detections`, a site without a crop is unknown.

    Raises:
      ValueError: a record has no patient or side, or two have the same patient, visit, side and spacing.
    """
    patients: dict[str, tuple[str, int]] = {}
    numbers = dict.fromkeys(H1200_CENTERS, 0)
    visits, spacings = _Numbers(), _Numbers()
    renamed = []
    for record in records:
        if record.patient not in patients:
            center = H1200_CENTERS[len(patients) % len(H1200_CENTERS)]
            numbers[center] += 1
            patients[record.patient] = center, numbers[center]
        center, number = patients[record.patient]
        visit = visits.number(record.patient, record.visit)
        date = f"{_FIRST_VISIT + visit * _BETWEEN_VISITS:%Y%m%d}"
        # A metadata row has one spacing, so hands of another are another study: the tag tells them apart.
        tag = 1000 + 7 * number + spacings.number((record.patient, record.visit), str(record.pixel_spacing_mm))
        if center == PER_HAND_CENTER and record.side == "R":
            tag += 3500
        joints = tuple(_whole_pixels(joint, record.image.shape) for joint in record.joints) if record.has_joints else ()
        boxed = np.isin(anatomy.SITE_NAMES, [joint.site for joint in joints])
        known = np.full(anatomy.NUM_SITES, True) if detections and record.has_joints else boxed
        has_bones = record.has_bones and bool(np.all(record.bones_known))
        renamed.append(
            dataclasses.replace(
                record,
                has_bones=has_bones,
                bones=record.bones * np.uint8(has_bones),
                bones_known=record.bones_known & has_bones,
                id=f"JP_{center}_P{number:04d}_{date}_{tag:04d}_{record.side}",
                dataset="ram_h1200",
                patient=f"JP_{center}_P{number:04d}",
                visit=date,
                center=center,
                joints=joints,
                joints_known=known,
                has_joints=bool(known.any()),
            )
        )
    return _checked(renamed)


def as_w600(records: Iterable[Record]) -> list[Record]:
    """Returns the records as a RAM-W600 release can hold them: its names and keys, 14 bones, six sites with BE.

    Limits of a release and errors are as in `as_h1200`.
    """
    wrist = np.isin(anatomy.BONES, anatomy.WRIST_BONES)
    patients, studies = _Numbers(), _Numbers()
    renamed = []
    for record in records:
        number = patients.number(None, record.patient) + 1
        # A metadata row has one spacing, so wrists of another are another study.
        study = f"{studies.number(record.patient, (record.visit, str(record.pixel_spacing_mm))) + 1:04d}"
        center = W600_CENTERS[number % len(W600_CENTERS)]
        joints = tuple(
            dataclasses.replace(_whole_pixels(joint, record.image.shape), jsn=UNKNOWN_SCORE)
            for joint in record.joints
            if record.has_joints and joint.site in W600_SITES
        )
        known = np.isin(anatomy.SITE_NAMES, list(W600_SITES)) & record.has_joints
        has_bones = record.has_bones and bool(np.all(record.bones_known[wrist]))
        renamed.append(
            dataclasses.replace(
                record,
                has_bones=has_bones,
                bones=pack_bones(unpack_bones(record.bones) & wrist & has_bones),
                bones_known=wrist & has_bones,
                erosions=np.zeros_like(record.erosions),
                joints=joints,
                joints_known=known,
                has_erosions=False,
                has_jsn=False,
                id=f"{number:04d}_{study}_{record.side}",
                dataset="ram_w600",
                patient=f"W600_{center}_{number:04d}",
                visit=study,
                center=center,
                view="wrist",
            )
        )
    return _checked(renamed)


def _checked(renamed: list[Record]) -> list[Record]:
    """The records, where each has a name of its own and says whose hand it is."""
    seen: set[str] = set()
    for record in renamed:
        if not record.side or record.id in seen:
            raise ValueError(
                f"Record {record.id} of a release would have no side or the name of another; give each record a "
                "patient, a visit and a side of its own."
            )
        seen.add(record.id)
    return renamed


def write_h1200(
    splits: Mapping[str, Iterable[Record]],
    folder: str | pathlib.Path,
    *,
    detections: bool = False,
    quirks: bool = False,
) -> None:
    """Writes records of `as_h1200` by split (``train``, ``validation``, ``test``) as a RAM-H1200 release.

    Args:
      splits: each iterated once, so that a generator needs no memory.
      folder: made; it must not exist.
      detections: write a joint detection file too. Its place and name in the release are unknown; here it is
        ``Joint_Detection/<split>/_annotations_joint.coco.json``.
      quirks: see the module.

    Raises:
      FileExistsError: the folder exists.
    """
    with parts.whole_folder(folder) as root:
        rows: dict[str, list[Any]] = {}
        for shift, (split, records) in enumerate(splits.items()):
            name = FOLDERS[split]
            bones = parts.Coco([*parts.bone_names(), *(parts.FOREIGN if quirks else ())], quirks, shift * quirks)
            erosions = parts.Coco(anatomy.EROSION_LABELS[1:], quirks, shift * quirks)
            joints = parts.Coco(anatomy.SITE_NAMES, False, 0)
            scores: dict[str, dict[str, dict[str, Any]]] = {"be": {}, "jsn": {}}
            for number, record in enumerate(records):
                odd = number if quirks else None
                file = f"{record.id}.bmp"
                parts.write_bmp(root / "Segmentation" / name / file, record.image, odd is not None and odd % 7 == 3)
                if record.has_bones:
                    bones.add_image(record, odd is not None and odd % 5 == 2)
                    parts.add_bones(bones, record, odd)
                if record.has_erosions:
                    erosions.add_image(record, False)
                    parts.add_erosions(erosions, record, odd)
                if record.has_joints and detections:
                    joints.add_image(record, False)
                    for joint in record.joints:
                        joints.add_box(joint.site, parts.pixel_box(joint, record.image.shape))
                for scale, entries in scores.items():
                    parent = root / f"SvdH_Scoring/SvdH_{scale.upper()}_Scoring" / name
                    parts.write_crops(parent / record.id, record, scale, odd)
                    if getattr(record, f"has_{scale}"):
                        key = record.id if odd is not None and odd % 6 == 5 else file
                        entries[key] = parts.score_entry(record, scale, odd)
                _add_h1200_row(rows, record, odd)
            parts.write_json(root / f"Segmentation/{name}/_annotations_bone_rle.coco.json", bones.values)
            parts.write_json(root / f"Segmentation/{name}/_annotations_be_rle.coco.json", erosions.values)
            for scale, entries in scores.items():
                path = f"SvdH_Scoring/SvdH_{scale.upper()}_Scoring/{name}/_annotation_{scale}_scores.json"
                parts.write_json(root / path, entries)
            if detections:
                parts.write_json(root / f"Joint_Detection/{name}/_annotations_joint.coco.json", joints.values)
        for orphan in range(3 * quirks):
            stem = f"JP_HMCRD_P9{orphan:03d}_20210101_0000"
            rows[stem] = [stem, 1, 9000 + orphan, 1, "O", 50.0, "HMCRD", "[0.15, 0.15]", "1670x2010", "LR"]
        parts.write_sheet(root / "Metadata.xlsx", _H1200_COLUMNS, rows.values())


def write_w600(splits: Mapping[str, Iterable[Record]], folder: str | pathlib.Path, *, quirks: bool = False) -> None:
    """Writes records of `as_w600` by split as a RAM-W600 release; arguments and errors as `write_h1200`.

    Masks and scores have the same splits here. A record that lacks masks or boxes is written without them.
    """
    with parts.whole_folder(folder) as root:
        detection = parts.Coco(W600_SITES.values(), quirks, 0)
        original: list[dict[str, Any]] = []
        rows: dict[str, list[Any]] = {}
        number = -1
        for split, records in splits.items():
            for record in records:
                number += 1
                wide = quirks and number % 2 == 1
                _add_w600_row(rows, record, quirks)
                if record.has_bones:
                    parts.write_bmp(root / f"BoneSegmentation/images/{record.id}.bmp", record.image, wide)
                    planes = unpack_bones(record.bones)[..., [anatomy.BONE_INDEX[b] for b in anatomy.WRIST_BONES]]
                    planes = planes if quirks and number % 5 == 4 else planes.transpose(2, 0, 1)
                    path = root / "BoneSegmentation/masks" / FOLDERS[split] / f"{record.id}.npy"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    np.save(path, planes.astype(bool if wide else np.uint8))
                if record.has_joints or not record.has_bones:
                    parts.write_bmp(root / f"JointLocationDetection/images/{record.id}.bmp", record.image, not wide)
                if record.has_joints:
                    detection.add_image(record, False)
                    for joint in record.joints:
                        detection.add_box(W600_SITES[joint.site], parts.pixel_box(joint, record.image.shape))
                if record.has_be:
                    case = root / "SvdHBEScoreClassification" / FOLDERS[split] / record.id
                    case.mkdir(parents=True, exist_ok=True)
                    for joint in record.joints:
                        ymin, xmin, ymax, xmax = parts.pixel_box(joint, record.image.shape)
                        parts.write_bmp(
                            case / f"{W600_SITES[joint.site]}.bmp", record.image[ymin:ymax, xmin:xmax], wide
                        )
                    scores = {W600_SITES[j.site]: j.be for j in record.joints if j.be != UNKNOWN_SCORE}
                    original.append({"identifier": record.id, "joints": scores})
        if quirks:
            original.append({"identifier": "9999_0001_L", "joints": dict.fromkeys(W600_SITES.values(), 0)})
            (root / "SvdHBEScoreClassification/train/9998_0001_R").mkdir(parents=True, exist_ok=True)
            rows["9997_0001"] = ["9997_0001", "9997", "0001", "HU", 1, "Unknown", "O", 0, "[0.149, 0.149]", "[9, 9]"]
        processed = [
            {**entry, "joints": {joint: 3 if score == 5 else score for joint, score in entry["joints"].items()}}
            for entry in original
        ]
        parts.write_json(root / "JointLocationDetection/Joints.coco.json", detection.values)
        parts.write_json(root / "SvdHBEScoreClassification/JointBE_SvdH_GT_Ori.json", original)
        parts.write_json(root / "SvdHBEScoreClassification/JointBE_SvdH_GT.json", processed)
        parts.write_sheet(root / "Metadata.xlsx", _W600_COLUMNS, rows.values())


class _Numbers:
    """Numbers the keys of each group from 0, in the order in which they first occur."""

    def __init__(self):
        self._seen: dict[Hashable, dict[Hashable, int]] = {}

    def number(self, group: Hashable, value: Hashable) -> int:
        seen = self._seen.setdefault(group, {})
        return seen.setdefault(value, len(seen))


def _whole_pixels(joint: Joint, shape: tuple[int, int]) -> Joint:
    """The joint with the box of its crop, which has whole pixels."""
    height, width = shape
    box = parts.pixel_box(joint, shape)
    return dataclasses.replace(
        joint, bbox=tuple(v / side for v, side in zip(box, (height, width, height, width), strict=True))
    )


def _add_h1200_row(rows: dict[str, list[Any]], record: Record, odd: int | None) -> None:
    """A row a study, or a hand in the centre that has it so; sizes in the three forms of the release."""
    study = record.id.rpartition("_")[0]
    per_hand = record.center == PER_HAND_CENTER
    height, width = record.image.shape
    sizes = (f"{height}x{width}", f"[{height}, {width}]")
    spacing = "" if np.isnan(record.pixel_spacing_mm) else f"[{record.pixel_spacing_mm}, {record.pixel_spacing_mm}]"
    rows[study] = [
        study, 1, int(record.patient[-4:]), record.is_ra, record.sex, record.age, record.center, spacing,
        sizes[(odd or 0) % 2], record.side if per_hand else "LR",
    ]  # fmt: skip


def _add_w600_row(rows: dict[str, list[Any]], record: Record, quirks: bool) -> None:
    """A row a study; an unknown age is text."""
    study = record.id.rpartition("_")[0]
    height, width = record.image.shape
    spacing = "" if np.isnan(record.pixel_spacing_mm) else f"[{record.pixel_spacing_mm}, {record.pixel_spacing_mm}]"
    age = "Unknown" if np.isnan(record.age) else record.age
    rows[study] = [
        study, record.patient[-4:], record.visit, record.center, record.is_ra, age, record.sex, 0, spacing,
        f"[{height}, {width}]" if quirks else f"{height}x{width}",
    ]  # fmt: skip

"""The files that a release tree is made of: COCO files, bitmaps, crops, scores, sheets (see `release_tree`).

Where a function takes ``odd``, None writes the plainest form, and a number chooses one of the forms that occur in real
releases.
"""

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import openpyxl
from PIL import Image

from ramjax import anatomy
from ramjax.io.coco import Form, bounding_box, encode_mask
from ramjax.record import UNKNOWN_SCORE, Joint, Record, unpack_bones

PLACEHOLDER = "bone-6U7D-RuyD"
"""The category of id 0 that the annotation tool makes for itself."""

FOREIGN = ("Intravenous cannula", "Metal Implant", "Ring")
"""Categories of objects that are no part of the hand."""

FORMS: tuple[Form, ...] = ("compressed", "uncompressed", "polygons")

_RELEASED_BONES = {"PisiformTriquetrum": "Pisifrom_Triquetrum"}

Box = tuple[int, int, int, int]
"""ymin, xmin, ymax, xmax in whole pixels, half open."""


class Coco:
    """A COCO file under construction; `values` is its content.

    Args:
      names: of the categories, whose ids follow the alphabet from `first` + 1 on.
      placeholder: whether there is a category of id 0 that means nothing.
      first: ids differ between splits in real releases.
    """

    def __init__(self, names: Iterable[str], placeholder: bool, first: int):
        self._ids = {name: first + number for number, name in enumerate(sorted(names), 1)}
        categories = [{"id": key, "name": name, "supercategory": PLACEHOLDER} for name, key in self._ids.items()]
        if placeholder:
            categories.insert(0, {"id": 0, "name": PLACEHOLDER, "supercategory": "none"})
        self.values: dict[str, Any] = {"images": [], "categories": categories, "annotations": []}

    def add_image(self, record: Record, renamed: bool) -> None:
        """Adds an image; `renamed` as the annotation tool exports it, with the true name as an extra."""
        file, (height, width) = f"{record.id}.bmp", record.image.shape
        image = {"id": len(self.values["images"]), "file_name": file, "height": height, "width": width}
        if renamed:
            image |= {"file_name": f"{record.id}_bmp.rf.0a1b2c3d.jpg", "extra": {"name": file}}
        self.values["images"].append(image)

    def add_mask(self, name: str, mask: np.ndarray, form: Form) -> None:
        """Adds a mask (H, W) of a category to the last image."""
        x, y, width, height = bounding_box(mask)
        self._add(name, [x, y, width, height], {"segmentation": encode_mask(mask, form), "area": int(mask.sum())})

    def add_box(self, name: str, box: Box) -> None:
        """Adds a box of a category to the last image."""
        ymin, xmin, ymax, xmax = box
        self._add(name, [xmin, ymin, xmax - xmin, ymax - ymin], {"segmentation": []})

    def _add(self, name: str, bbox: list[float], more: dict[str, Any]) -> None:
        annotations = self.values["annotations"]
        image = self.values["images"][-1]["id"]
        annotations.append(
            {"id": len(annotations), "image_id": image, "category_id": self._ids[name], "bbox": bbox, "iscrowd": 0}
            | more
        )


def bone_names() -> list[str]:
    """The released spelling of the bone categories."""
    return [_RELEASED_BONES.get(name, name) for name in anatomy.BONES]


def add_bones(coco: Coco, record: Record, odd: int | None) -> None:
    """Adds the known bones of a record, each piece of the sesamoids apart, and now and then a foreign object."""
    planes = unpack_bones(record.bones)
    for channel, name in enumerate(bone_names()):
        if not (record.bones_known[channel] and planes[..., channel].any()):
            continue
        pieces = [planes[..., channel]]
        if channel == anatomy.SESAMOID:
            count, labels = cv2.connectedComponents(pieces[0].astype(np.uint8))
            pieces = [labels == piece for piece in range(1, count)]
        for piece in pieces:
            coco.add_mask(name, piece, FORMS[0 if odd is None else (odd + channel) % len(FORMS)])
    if odd is not None and odd % 3 == 1:
        ring = np.zeros(record.image.shape, bool)
        ring[: ring.shape[0] // 8, : ring.shape[1] // 8] = True
        coco.add_mask(FOREIGN[odd // 3 % len(FOREIGN)], ring, "compressed")


def add_erosions(coco: Coco, record: Record, odd: int | None) -> None:
    """Adds the erosion labels of a record; with `odd`, lesions extend under those that take precedence."""
    for label, name in enumerate(anatomy.EROSION_LABELS[1:], 1):
        mask = record.erosions == label
        if mask.any():
            under = odd is not None and odd % 2 == 0
            mask = (record.erosions > 0) & (record.erosions <= label) if under else mask
            coco.add_mask(name, mask, FORMS[0 if odd is None else (odd + label) % len(FORMS)])


def write_crops(folder: pathlib.Path, record: Record, scale: str, odd: int | None) -> None:
    """Writes the regions of the sites that a scale grades.

    `odd` ones have crops of the two scales that differ, a second crop of a site, and 24 bits in some.
    """
    if not record.has_joints:
        return
    graded = [anatomy.SITE_NAMES[site] for site in anatomy.SCALES[scale][1]]
    for number, joint in enumerate(joint for joint in record.joints if joint.site in graded):
        ymin, xmin, ymax, xmax = pixel_box(joint, record.image.shape)
        site = anatomy.SITES[anatomy.SITE_INDEX[joint.site]]
        if odd is not None and odd % 4 == 1 and site.be and site.jsn and xmax - xmin > 8:
            xmin, xmax = (xmin, xmax - 2) if scale == "be" else (xmin + 3, xmax)
        crop, wide = record.image[ymin:ymax, xmin:xmax], odd is not None and (odd + number) % 3 == 0
        write_bmp(folder / f"{joint.site}.bmp", crop, wide)
        if odd is not None and odd % 4 == 2 and number == 0:
            write_bmp(folder / f"{joint.site}_2.bmp", crop[1:, 1:], wide)


def score_entry(record: Record, scale: str, odd: int | None) -> dict[str, Any]:
    """The scores of a hand by released key; with `odd` they are text or decimals, beside an unrelated key."""
    graded = [anatomy.SITE_NAMES[site] for site in anatomy.SCALES[scale][1]]
    entry: dict[str, Any] = {}
    for number, joint in enumerate(joint for joint in record.joints if joint.site in graded):
        score = getattr(joint, scale)
        if score != UNKNOWN_SCORE:
            forms = (score,) if odd is None else (score, str(score), float(score))
            entry[f"{scale.upper()}_{joint.site}"] = forms[number % len(forms)]
    if odd is not None and odd % 5 == 0:
        entry["reader"] = "A"
    return entry


def pixel_box(joint: Joint, shape: tuple[int, int]) -> Box:
    """The box of a joint's released crop: rounded to whole pixels, within the image, at least one pixel.

    Raises:
      ValueError: the box is not in fractions of the image, most likely in pixels, or not finite.
    """
    height, width = shape
    if not all(-1 <= v <= 2 for v in joint.bbox):
        raise ValueError(f"The box of {joint.site} is {joint.bbox}; it must be in fractions of the image, 0 to 1.")
    ymin, xmin, ymax, xmax = (
        round(v * side) for v, side in zip(joint.bbox, (height, width, height, width), strict=True)
    )
    ymin, xmin = min(max(ymin, 0), height - 1), min(max(xmin, 0), width - 1)
    return ymin, xmin, max(min(ymax, height), ymin + 1), max(min(xmax, width), xmin + 1)


def write_bmp(path: pathlib.Path, image: np.ndarray, wide: bool) -> None:
    """Writes uint8 (H, W) as BMP of 8 bits with a grey palette, or of 24 bits where `wide`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = Image.fromarray(np.ascontiguousarray(image))
    (grey.convert("RGB") if wide else grey).save(path)


def write_json(path: pathlib.Path, values: Any) -> None:
    """Writes a JSON file on one line, as the releases have them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")


def write_sheet(path: pathlib.Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes an Excel file of one sheet; NaN becomes an empty cell."""
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    sheet.append(list(columns))
    for row in rows:
        sheet.append([None if isinstance(cell, float) and np.isnan(cell) else cell for cell in row])
    book.save(path)


@contextlib.contextmanager
def whole_folder(folder: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """A context with a temporary folder: moved to its place when all is written, removed when something fails."""
    folder = pathlib.Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists; name a new folder for the release.")
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    beside.mkdir(parents=True)
    try:
        yield beside
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)

"""COCO files: categories, images and annotations by name, and masks in all forms in which they are stored."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Container, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pycocotools import mask as coco_mask

from ramjax.io.errors import ReleaseError

Form = Literal["compressed", "uncompressed", "polygons"]

_MIN_POLYGON = 6
"""Numbers of the smallest polygon, a triangle; the released code skips what is shorter."""


@dataclasses.dataclass(frozen=True)
class Annotation:
    """One object: the name of its category, its box (x, y, width, height) in pixels or None, its segmentation."""

    category: str
    bbox: tuple[float, float, float, float] | None
    segmentation: Any


@dataclasses.dataclass(frozen=True)
class CocoImage:
    """An image and what is annotated in it.

    Attributes:
      names: file names under which it may be found, the likeliest first.
      height, width: in pixels, or None where the file does not say.
      annotations: in the order of the file.
    """

    names: tuple[str, ...]
    height: int | None
    width: int | None
    annotations: tuple[Annotation, ...]

    def stem_in(self, stems: Container[str]) -> str | None:
        """The first of `names`, without its suffix, that is one of `stems`; None where none is."""
        return next((stem for name in self.names if (stem := pathlib.PurePath(name).stem) in stems), None)


@dataclasses.dataclass(frozen=True)
class CocoFile:
    """A COCO file.

    Attributes:
      path: where it was read from.
      categories: names in the order of their ids.
      placeholder: the name of the category with id 0, which the annotation tool adds; '' where there is none.
      images: in the order of the file.
    """

    path: pathlib.Path
    categories: tuple[str, ...]
    placeholder: str
    images: tuple[CocoImage, ...]


def read_json(path: pathlib.Path) -> Any:
    """Reads a JSON file; raises ReleaseError naming it where it is missing, a Git LFS pointer or damaged."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if text.startswith("version https://git-lfs"):
            raise ReleaseError(f"{path} is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`.")
        return json.loads(text)
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read ({error.strerror}); fetch it again.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ReleaseError(f"{path} is no whole JSON file ({error}); fetch it again.") from error


def is_coco(values: Any) -> bool:
    """Whether the content of a JSON file looks like COCO."""
    return isinstance(values, dict) and all(
        isinstance(values.get(key), list) for key in ("images", "annotations", "categories")
    )


def parse_coco(values: Any, path: pathlib.Path) -> CocoFile:
    """Returns the content of a COCO file that was read from `path`.

    A category of id 0 that no annotation uses is left out.

    Raises:
      ReleaseError: it is not COCO, lacks a key, has an id twice, or has an invalid box.
    """
    if not is_coco(values):
        raise ReleaseError(f"{path} is no COCO file: images, annotations and categories are needed; fetch it again.")
    try:
        used = {annotation["category_id"] for annotation in values["annotations"]}
        names = {c["id"]: str(c["name"]) for c in values["categories"] if c["id"] != 0 or c["id"] in used}
        by_image: dict[int, list[Annotation]] = {image["id"]: [] for image in values["images"]}
        for kind, ids in (("image", by_image), ("category", {c["id"] for c in values["categories"]})):
            if len(ids) != len(values["images" if kind == "image" else "categories"]):
                raise ValueError(f"two {kind} entries have the same id")
        for a in values["annotations"]:
            bbox = tuple(float(v) for v in a["bbox"]) if a.get("bbox") else None
            if bbox is not None and (len(bbox) != 4 or not all(map(math.isfinite, bbox))):
                raise ValueError(f"the bbox {a['bbox']} of annotation {a.get('id')} is no x, y, width, height")
            by_image[a["image_id"]].append(Annotation(names[a["category_id"]], bbox, a.get("segmentation")))
        images = tuple(
            CocoImage(_names(image), image.get("height"), image.get("width"), tuple(by_image[image["id"]]))
            for image in values["images"]
        )
        categories = tuple(names[key] for key in sorted(names))
    except (KeyError, TypeError, ValueError) as error:
        raise ReleaseError(
            f"{path} is not laid out as COCO ({type(error).__name__}: {error}); fetch it again."
        ) from None
    return CocoFile(path, categories, names.get(0, ""), images)


def decode_mask(segmentation: Any, height: int, width: int, where: str) -> tuple[slice, slice, np.ndarray]:
    """Returns the rows and columns of the smallest box around a mask, and uint8 0 or 1 within it.

    A segmentation is run lengths as text or numbers, or polygons, which are filled by the rule of the COCO reference
    code; those of fewer than three corners are left out. An empty mask has an empty box.

    Raises:
      ReleaseError: an unknown form, or run lengths of another size; `where` names file and image.
    """
    if isinstance(segmentation, Mapping) and list(segmentation.get("size", ())) != [height, width]:
        raise ReleaseError(
            f"{where}: a mask is {segmentation.get('size')}, the image {[height, width]}; "
            "image and annotations are of different releases, fetch both again."
        )
    try:
        runs = _to_run_lengths(segmentation, height, width)
        x, y, w, h = (int(v) for v in coco_mask.toBbox(runs))
        rows, columns = slice(y, y + h), slice(x, x + w)
        return rows, columns, coco_mask.decode(runs)[rows, columns]
    except Exception as error:  # the decoder raises nearly anything on damaged input
        raise ReleaseError(f"{where}: a mask is damaged ({type(error).__name__}: {error}).") from error


def encode_mask(mask: np.ndarray, form: Form) -> Any:
    """Returns the segmentation of a mask (H, W); `decode_mask` restores it exactly.

    Polygons are rectangles, one for each run of equal columns: outlines through pixel centres would not fill back.
    """
    mask = np.asarray(mask, bool)
    if form == "compressed":
        encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
        return {"size": list(mask.shape), "counts": encoded["counts"].decode()}
    if form == "uncompressed":
        flat = np.concatenate([[False], mask.ravel(order="F"), [not mask[-1, -1]]])
        ends = np.flatnonzero(flat[1:] != flat[:-1])
        return {"size": list(mask.shape), "counts": np.diff(ends, prepend=0).tolist()}
    return [[float(v) for v in (x0, y0, x1, y0, x1, y1, x0, y1)] for y0, x0, y1, x1 in _rectangles(mask)]


def bounding_box(mask: np.ndarray) -> list[float]:
    """Returns [x, y, width, height] of the smallest box around a mask (H, W); zeros where it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return [0.0] * 4
    return [float(v) for v in (columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)]


def _to_run_lengths(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """A segmentation as the decoder takes it."""
    if isinstance(segmentation, Mapping):
        counts = segmentation["counts"]
        counts = counts.encode() if isinstance(counts, str) else counts
        covered = sum(counts) if isinstance(counts, list) else _length(counts)
        if covered != height * width:
            raise ValueError(f"its runs cover {covered} of {height * width} pixels")
        runs = {"size": [height, width], "counts": counts}
        return coco_mask.frPyObjects(runs, height, width) if isinstance(counts, list) else runs
    polygons = [polygon for polygon in segmentation if len(polygon) >= _MIN_POLYGON]
    if not polygons:
        return coco_mask.encode(np.zeros((height, width), np.uint8, order="F"))
    return coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))


def _length(counts: bytes) -> int:
    """How many pixels compressed run lengths cover, which the decoder does not check.

    A run is written in groups of 5 bits, lowest first; bit 5 says that another group follows. From the fourth run on,
    the number is the difference to the run two before (`rleToString` of the COCO reference code).
    """
    codes = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(codes & 32 == 0)
    if not ends.size or ends[-1] != codes.size - 1:
        return -1
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(codes.size) - np.repeat(starts, ends - starts + 1)
    runs = np.add.reduceat((codes & 31) << (5 * place), starts)
    runs -= np.where(codes[ends] & 16, 1 << (5 * (ends - starts + 1)), 0)
    return int(runs[:1].sum() + np.cumsum(runs[1::2]).sum() + np.cumsum(runs[2::2]).sum())


def _names(image: Mapping[str, Any]) -> tuple[str, ...]:
    """The name in the file, the name before the annotation tool changed it, and that name guessed."""
    name = str(image["file_name"])
    names = [name]
    if isinstance(image.get("extra"), Mapping) and image["extra"].get("name"):
        names.append(str(image["extra"]["name"]))
    if "_bmp" in name:
        names.append(name.split("_bmp")[0] + ".bmp")
    return tuple(names)


def _rectangles(mask: np.ndarray) -> Sequence[tuple[int, int, int, int]]:
    """Boxes (y0, x0, y1, x1), half open, that cover a mask exactly and do not overlap."""
    open_runs: dict[tuple[int, int], int] = {}
    boxes = []
    for x in range(mask.shape[1] + 1):
        column = mask[:, x] if x < mask.shape[1] else np.zeros(mask.shape[0], bool)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], column, [False]]).astype(np.int8)))
        runs = {(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)}
        for run in [run for run in open_runs if run not in runs]:
            boxes.append((run[0], open_runs.pop(run), run[1], x))
        for run in runs:
            open_runs.setdefault(run, x)
    return boxes

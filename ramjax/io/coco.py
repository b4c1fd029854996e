"""COCO files: categories, images and annotations by name, and masks in all forms in which they are stored."""

import collections
import dataclasses
import pathlib
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pycocotools import mask as coco_mask

from ramjax.io import segmentation as segmentations
from ramjax.io.errors import ReleaseError
from ramjax.io.findings import Finding
from ramjax.io.json_file import finite, read_json, shown, whole

Form = Literal["compressed", "uncompressed", "polygons"]


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
        """The first of `names`, without folder and suffix, that is one of `stems`; None where none is."""
        return next((stem for name in self.names if (stem := pathlib.PureWindowsPath(name).stem) in stems), None)


@dataclasses.dataclass(frozen=True)
class CocoFile:
    """A COCO file.

    Attributes:
      path: where it was read from.
      categories: names in the order of their ids.
      placeholder: the name of the category with id 0, which the annotation tool adds; '' where there is none.
      images: in the order of the file.
      findings: what is odd and harmless: ids and names that are there twice.
    """

    path: pathlib.Path
    categories: tuple[str, ...]
    placeholder: str
    images: tuple[CocoImage, ...]
    findings: tuple[Finding, ...] = ()


def read_coco(path: pathlib.Path) -> CocoFile:
    """Reads a COCO file; errors as `read_json` and `parse_coco`."""
    return parse_coco(read_json(path), path)


def is_coco(values: Any) -> bool:
    """Whether the content of a JSON file looks like COCO."""
    return isinstance(values, dict) and all(
        isinstance(values.get(key), list) for key in ("images", "annotations", "categories")
    )


def parse_coco(values: Any, path: pathlib.Path) -> CocoFile:
    """Returns the content of a COCO file that was read from `path`.

    A category of id 0 that no annotation uses is left out.

    Raises:
      ReleaseError: it is not COCO or lacks a key; an id or a size is no whole number, a box not four finite numbers; an
        id is there twice; an annotation is of an image or a category that the file does not list.
    """
    if not is_coco(values):
        raise ReleaseError(f"{path} is no COCO file: images, annotations and categories are needed; fetch it again.")
    categories = {entry.id(): entry for entry in _entries(values, "categories", "category", path)}
    images = {entry.id(): entry for entry in _entries(values, "images", "image", path)}
    names = {key: entry.text("name") for key, entry in categories.items()}
    annotations = _entries(values, "annotations", "annotation", path)
    by_image: dict[int, list[Annotation]] = {key: [] for key in images}
    used = set()
    for entry in annotations:
        image, category = entry.whole("image_id"), entry.whole("category_id")
        for key, known, what in ((image, images, "image"), (category, categories, "category")):
            if key not in known:
                raise ReleaseError(
                    f"{entry.name} is of {what} {shown(key)}, which {path} does not list; fetch it again, or take out "
                    "what belongs to no entry."
                )
        used.add(category)
        by_image[image].append(Annotation(names[category], entry.box(), entry.values.get("segmentation")))
    kept = {key: name for key, name in sorted(names.items()) if key != 0 or key in used}
    return CocoFile(
        path,
        tuple(kept.values()),
        kept.get(0, ""),
        tuple(CocoImage(_names(e), *e.size(), tuple(by_image[key])) for key, e in images.items()),
        (
            *_repeated(f"annotation ids that {path.name} has twice", [a.values.get("id") for a in annotations]),
            *_repeated(f"category names that {path.name} has twice", kept.values()),
        ),
    )


def decode_mask(segmentation: Any, height: int, width: int, where: str) -> tuple[slice, slice, np.ndarray]:
    """Returns the rows and columns of the smallest box around a mask, and uint8 0 or 1 within it.

    A segmentation is run lengths as text or numbers, or polygons, which are filled by the rule of the COCO reference
    code; those of fewer than three corners are left out. An empty mask has an empty box.

    Raises:
      ReleaseError: an unknown form, or run lengths of another size; `where` names file and image.
    """
    if isinstance(segmentation, Mapping):
        size = segmentation.get("size")
        if not isinstance(size, Sequence) or [whole(side) for side in size] != [height, width]:
            raise ReleaseError(
                f"{where}: a mask is {shown(size)}, the image {[height, width]}; "
                "image and annotations are of different releases, fetch both again."
            )
    try:
        runs = _to_run_lengths(segmentation, height, width)
        x, y, w, h = (int(v) for v in coco_mask.toBbox(runs))
        rows, columns = slice(y, y + h), slice(x, x + w)
        return rows, columns, coco_mask.decode(runs)[rows, columns]
    except Exception as error:  # the decoder raises nearly anything on what the checks let through
        reason = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise ReleaseError(f"{where}: a mask is damaged ({reason}); fetch the file again.") from error


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
        runs = segmentations.run_lengths(segmentation.get("counts"), height * width)
        counts = segmentations.without_empty_runs(runs)
        return coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    polygons = segmentations.polygons(segmentation, height, width)
    if not polygons:
        return coco_mask.encode(np.zeros((height, width), np.uint8, order="F"))
    return coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))


@dataclasses.dataclass(frozen=True)
class _Entry:
    """An entry of a COCO file; its methods take values out and raise ReleaseError where they are not what they must be.

    Attributes:
      values: its content.
      path: of the file.
      name: what messages call it.
    """

    values: Mapping[str, Any]
    path: pathlib.Path
    name: str

    def id(self) -> int:
        return self.whole("id")

    def whole(self, key: str) -> int:
        value = self._value(key)
        number = whole(value)
        if number is None:
            raise self.wrong(key, value, "a whole number")
        return number

    def text(self, key: str) -> str:
        value = self._value(key)
        if not isinstance(value, str):
            raise self.wrong(key, value, "text")
        return value

    def size(self) -> tuple[int | None, int | None]:
        """Height and width, both None where the file does not say."""
        stated = [self.values.get(key) for key in ("height", "width")]
        if stated == [None, None]:
            return None, None
        for key, value in zip(("height", "width"), stated, strict=True):
            if (whole(value) or 0) < 1:
                raise self.wrong(key, value, "a whole number of pixels, 1 or more")
        height, width = map(whole, stated)
        return height, width

    def box(self) -> tuple[float, float, float, float] | None:
        """x, y, width, height; None where there is none."""
        box = self.values.get("bbox")
        if box is None or box == []:
            return None
        numbers = [finite(v) for v in box] if isinstance(box, list | tuple) else []
        if len(numbers) != 4 or None in numbers:
            raise self.wrong("bbox", box, "x, y, width, height, four finite numbers")
        return tuple(numbers)

    def wrong(self, key: str, value: Any, expected: str) -> ReleaseError:
        return ReleaseError(
            f"{self.path}, {self.name}: the {key} is {shown(value)}, it must be {expected}; fetch the file again."
        )

    def _value(self, key: str) -> Any:
        if key not in self.values:
            raise ReleaseError(f"{self.path}, {self.name} has no {key}; fetch the file again.")
        return self.values[key]


def _entries(values: Mapping[str, Any], key: str, what: str, path: pathlib.Path) -> list[_Entry]:
    """The entries of a kind; those of images and categories must have ids, and each another one."""
    entries = []
    for number, values_of in enumerate(values[key]):
        place = f"{key}[{number}]"
        if not isinstance(values_of, Mapping):
            raise ReleaseError(f"{path}: {place} is {shown(values_of)}, it must be a group of keys; fetch it again.")
        name = place if whole(values_of.get("id")) is None else f"{what} {shown(values_of['id'])}"
        entries.append(_Entry(values_of, path, name))
    if what != "annotation":
        for repeated in _repeated("", [entry.id() for entry in entries]):
            raise ReleaseError(f"{path}: two {what} entries have the same id {repeated.where}; fetch it again.")
    return entries


def _repeated(what: str, values: Iterable[Any]) -> list[Finding]:
    """A finding for each value, None aside, that is there more than once."""
    counts = collections.Counter(shown(value) for value in values if value is not None)
    return [Finding(what, value) for value, number in counts.items() if number > 1]


def _names(entry: _Entry) -> tuple[str, ...]:
    """The name in the file, the name before the annotation tool changed it, and that name guessed."""
    names = [entry.text("file_name")]
    extra = entry.values.get("extra")
    if isinstance(extra, Mapping) and isinstance(extra.get("name"), str):
        names.append(extra["name"])
    if "_bmp" in names[0]:
        names.append(names[0].split("_bmp")[0] + ".bmp")
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

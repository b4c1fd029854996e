"""Cases to look at: best, median and worst, as the evaluation drew them."""

import base64
import io
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ramjax.evaluation import summary
from ramjax.figures.content import Gallery, Picture, Section
from ramjax.metrics.cases import PARTS
from ramjax.metrics.segmentation import mean_of_finite
from ramjax.reporting import layout
from ramjax.reporting.estimates import Evaluated
from ramjax.reporting.runs import Run

EACH = 3
"""Pictures of a kind."""

BUDGET = 9_000_000
"""Bytes that all pictures of a page may take as text."""

_HEIGHTS = (640, 480, 360, 270, 200)
_QUALITY = 82


def section(evaluated: Sequence[Evaluated]) -> Section | None:
    """Galleries of every system's first run on every data set; None without any picture."""
    chosen = [(of, *kind) for of in evaluated for kind in _kinds(of)]
    paths = [[_path(of.system.runs[0], of, index) for index in indices] for of, _, _, indices, _ in chosen]
    if not any(path for row in paths for path in row):
        return None
    fitting = next(
        (height for height in _HEIGHTS if sum(_size(path, height) for row in paths for path in row if path) <= BUDGET),
        _HEIGHTS[-1],
    )
    galleries = []
    for (of, kind, caption, indices, values), row in zip(chosen, paths, strict=True):
        pictures = []
        for index, path in zip(indices, row, strict=True):
            if path is None:
                continue
            name = of.cases[0].attributes["id"][index]
            label = f"{name}: {values[index]:.3f}"
            alt = f"{kind} case {name}: the radiograph with what is annotated beside what {of.name} predicts"
            pictures.append(Picture(_shrunk(path, fitting), "image/jpeg", label, alt))
        title = f"{kind}: {of.name}"
        if len({other.dataset for other in evaluated}) > 1:
            title += f", {layout.DATASET_TITLES.get(of.dataset, of.dataset)}"
        if pictures:
            galleries.append(Gallery(layout.slug(of.dataset, of.key, kind), title, caption, tuple(pictures)))
    text = (
        "Annotation on the left, prediction on the right. Each is named by its file, with the value it was chosen by.",
    )
    return Section("cases", "Cases", text, tuple(galleries))


def _kinds(of: Evaluated) -> list[tuple[str, str, list[int], np.ndarray]]:
    """Of each kind its name, what it is, the cases and the values they were chosen by."""
    by, values, better = _ranking(of)
    order = _ordered(of, values, better)
    if not order:
        return []
    middle = max(0, min((len(order) - EACH) // 2 + (len(order) - EACH) % 2, len(order) - EACH))
    kinds = [
        ("Best", f"By the {by}.", order[:EACH], values),
        ("Median", f"The middle ones by the {by}.", order[middle : middle + EACH], values),
        ("Worst", f"By the {by}, the worst first.", order[::-1][:EACH], values),
    ]
    if len(order) < 3 * EACH:
        kinds = [("All", f"By the {by}, the best first.", order, values)]
    if of.has("erosions"):
        dice = of.cases[0].get("erosions", "dsc")[:, PARTS["erosions"].index("any")]
        worst = _ordered(of, dice, 1)[::-1][:EACH]
        if worst:
            kinds.append(("Worst erosions", "By the strict Dice of any erosion on hands that have one.", worst, dice))
    return kinds


def _ranking(of: Evaluated) -> tuple[str, np.ndarray, int]:
    """What cases are ranked by, the value of each, and 1 where more is better, else -1."""
    cases = of.cases[0]
    if of.has("bones"):
        bones = summary.BONE_GROUPS["29 bones"]
        return "mean strict Dice of the bones", summary.mean_over_parts(cases, "bones", "dsc", "strict", bones), 1
    errors = [summary.error(cases, scale) for scale in ("be", "jsn") if of.has(scale)]
    if errors:
        return "mean absolute error of the scores", mean_of_finite(np.concatenate(errors, 1), axis=1)[0], -1
    if of.has("erosions"):
        return "strict Dice of any erosion", cases.get("erosions", "dsc")[:, PARTS["erosions"].index("any")], 1
    return "mean IoU of the joint sites", mean_of_finite(cases.get("joints", "iou"), axis=1)[0], 1


def _ordered(of: Evaluated, values: np.ndarray, better: int) -> list[int]:
    """The cases with a value, the best first; equal ones by their names."""
    names = of.cases[0].attributes["id"]
    known = np.flatnonzero(np.isfinite(values))
    return sorted(known.tolist(), key=lambda index: (-better * values[index], names[index]))


def _path(run: Run, of: Evaluated, index: int) -> pathlib.Path | None:
    """The picture of a case; None where there is none, or its path leads out of the run."""
    name = of.cases[0].attributes["picture"][index]
    path = (run.folder / name).resolve() if name else None
    return path if path and path.is_file() and path.is_relative_to(run.folder.resolve()) else None


def _size(path: pathlib.Path, height: int) -> int:
    return 4 * len(_shrunk(path, height)) // 3


def _shrunk(path: pathlib.Path, height: int) -> bytes:
    """The picture as JPEG, no higher than that."""
    with Image.open(path) as picture:
        picture = picture.convert("RGB")
        picture.thumbnail((4 * height, height))
        content = io.BytesIO()
        picture.save(content, "JPEG", quality=_QUALITY, optimize=True)
    return content.getvalue()


def data_uri(picture: Picture) -> str:
    """The picture as text that stands for its address."""
    return f"data:{picture.media_type};base64,{base64.b64encode(picture.content).decode()}"

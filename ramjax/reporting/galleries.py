"""Cases to look at: best, median and worst, as the evaluation drew them."""

import base64
import io
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ramjax.figures import layout
from ramjax.figures.content import Gallery, Picture, Section
from ramjax.figures.estimates import Evaluated
from ramjax.metrics.metric import Ranking
from ramjax.reporting.runs import Run
from ramjax.tasks import Task, measured_by

EACH = 3
"""Pictures of a kind."""

BUDGET = 9_000_000
"""Bytes that all pictures of a page may take as text."""

_HEIGHTS = (640, 480, 360, 270, 200)
_QUALITY = 82


def section(evaluated: Sequence[Evaluated], tasks: Sequence[Task], runs: Sequence[Run]) -> Section | None:
    """Returns the galleries of every system's first run on every data set, or None if no run has pictures."""
    chosen = [(of, *kind) for of in evaluated for kind in _kinds(of, tasks)]
    folders = {run.name: run.folder for run in runs}
    paths = [[_path(folders[of.runs[0]], of, index) for index in indices] for of, _, _, indices, _ in chosen]
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


def _kinds(of: Evaluated, tasks: Sequence[Task]) -> list[tuple[str, str, list[int], np.ndarray]]:
    """Of each kind its name, what it is, the cases and the values they were chosen by.

    The first task that ranks cases chooses the best, the median and the worst; each further one its worst.
    """
    cases = of.cases[0]
    kinds: list[tuple[str, str, list[int], np.ndarray]] = []
    for task in measured_by(tasks, cases):
        ranking = task.rank(cases)
        order = _ordered(of, ranking) if ranking else []
        if not order:
            continue
        by, values = ranking.by, ranking.values
        worst = (f"By the {by}, the worst first.", order[::-1][:EACH], values)
        if kinds:
            kinds.append((f"Worst {layout.title(task.name).lower()}", *worst))
        elif len(order) < 3 * EACH:
            kinds.append(("All", f"By the {by}, the best first.", order, values))
        else:
            middle = (len(order) - EACH + 1) // 2
            kinds += [
                ("Best", f"By the {by}.", order[:EACH], values),
                ("Median", f"The middle ones by the {by}.", order[middle : middle + EACH], values),
                ("Worst", *worst),
            ]
    return kinds


def _ordered(of: Evaluated, ranking: Ranking) -> list[int]:
    """The cases with a value, the best first; equal ones by their names."""
    names, values = of.cases[0].attributes["id"], ranking.values
    known = np.flatnonzero(np.isfinite(values))
    return sorted(known.tolist(), key=lambda index: (-ranking.better * values[index], names[index]))


def _path(folder: pathlib.Path, of: Evaluated, index: int) -> pathlib.Path | None:
    """The picture of a case; None where there is none, or its path leads out of the run's folder."""
    name = of.cases[0].attributes["picture"][index]
    path = (folder / name).resolve() if name else None
    return path if path and path.is_file() and path.is_relative_to(folder.resolve()) else None


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
    """Returns the picture as a ``data:`` address, for a page without files beside it."""
    return f"data:{picture.media_type};base64,{base64.b64encode(picture.content).decode()}"

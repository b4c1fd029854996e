"""The cases of an evaluation: what was measured on each hand, part by part, in both modes.

Every table and figure is computed from these values, and cases.parquet keeps them for whoever wants to count again:
one value a row, with the columns of `ATTRIBUTES` and ``task``, ``part``, ``metric``, ``strict``, ``compat``.

| task | parts | metrics |
|---|---|---|
| bones | the 30 channels | those of `segmentation.segmentation_metrics` |
| pairs | the 14 pairs that overlap | the same, of the overlap |
| erosions | the 3 lesion labels, ``any`` of them | the same, and those of `erosion.measure_erosions` |
| joints | the 22 sites | ``confidence``, ``present`` (1, 0, or NaN unknown), ``iou``, ``center_error``, ``center_error_mm``, and the boxes: ``predicted_ymin`` ... ``annotated_xmax`` |
| be, jsn | the 22 sites | ``predicted``, ``annotated`` (NaN unknown or not graded), ``p0``, ``p1``, ... |

NaN means that the value is not defined or not known. Distances are in ``about["unit"]``, boxes in pixels of the grid.
"""  # noqa: E501

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ramjax import anatomy, files
from ramjax.metrics import erosion

Mode = Literal["strict", "compat"]
MODES: tuple[Mode, ...] = ("strict", "compat")

PAIR_NAMES: tuple[str, ...] = tuple(f"{one} & {other}" for one, other in anatomy.OVERLAP_PAIRS)


PARTS: dict[str, tuple[str, ...]] = {
    "bones": anatomy.BONES,
    "pairs": PAIR_NAMES,
    "erosions": erosion.PARTS,
    "joints": anatomy.SITE_NAMES,
    "be": anatomy.SITE_NAMES,
    "jsn": anatomy.SITE_NAMES,
}
"""What each task's values are of, in the order of their last axis."""

ATTRIBUTES: dict[str, type] = {
    "dataset": str,
    "id": str,
    "patient": str,
    "visit": str,
    "center": str,
    "side": str,
    "view": str,
    "is_ra": int,
    "pixel_spacing_mm": float,
    "picture": str,
}
"""What is known of a case beside its values, as in the record; but ``dataset`` is the data set's name in the run,
``pixel_spacing_mm`` that of the grid measured on, and ``picture`` the picture of the case, beside cases.parquet, ''
without one."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One hand.

    Attributes:
      attributes: the keys of `ATTRIBUTES`.
      values: by task and metric, the ``strict`` and the ``compat`` value of each part: float64 (2, parts).
    """

    attributes: dict[str, Any]
    values: dict[str, dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Cases:
    """All hands of an evaluation, in the order of the data sets.

    Attributes:
      attributes: by the keys of `ATTRIBUTES`, arrays (N,).
      values: by task and metric, float64 (2, N, parts); tasks not evaluated are absent.
      about: what holds for all of them, ready for JSON: ``run`` (name of its folder), ``seed``, ``step``,
        ``checkpoint``, ``split``, ``grid`` (``native`` or ``square512``), ``tolerance``, ``unit`` (``px`` or ``mm``),
        ``tasks``, and whatever else the evaluation wants to be known.
    """

    attributes: dict[str, np.ndarray]
    values: dict[str, dict[str, np.ndarray]]
    about: dict[str, Any]

    def __len__(self) -> int:
        return len(self.attributes["id"])

    def get(self, task: str, metric: str, mode: Mode = "strict") -> np.ndarray:
        """Returns float64 (N, parts); raises ValueError naming a metric that was not measured."""
        of_task = self.values.get(task, {})
        if metric not in of_task:
            known = ", ".join(f"{task}: {', '.join(metrics)}" for task, metrics in self.values.items())
            raise ValueError(f"{metric!r} of {task!r} was not measured; known are {known}.")
        return of_task[metric][MODES.index(mode)]

    def take(self, which: np.ndarray) -> "Cases":
        """The cases that an index or bool array (N,) picks."""
        attributes = {name: column[which] for name, column in self.attributes.items()}
        values = {
            task: {metric: value[:, which] for metric, value in metrics.items()}
            for task, metrics in self.values.items()
        }
        return Cases(attributes, values, self.about)


def collect(cases: Sequence[Case], about: Mapping[str, Any]) -> Cases:
    """Puts cases together. A task or metric that some cases lack is NaN there."""
    attributes = {
        name: np.array([case.attributes[name] for case in cases], object if kind is str else kind)
        for name, kind in ATTRIBUTES.items()
    }
    metrics: dict[str, dict[str, None]] = {}
    for case in cases:
        for task, of_task in case.values.items():
            metrics.setdefault(task, {}).update(dict.fromkeys(of_task))
    values = {
        task: {metric: np.full((len(MODES), len(cases), len(PARTS[task])), np.nan) for metric in metrics[task]}
        for task in PARTS
        if task in metrics
    }
    for n, case in enumerate(cases):
        for task, of_task in case.values.items():
            for metric, value in of_task.items():
                values[task][metric][:, n] = value
    return Cases(attributes, values, dict(about))


def write(path: str | pathlib.Path, cases: Cases, columns: Mapping[str, str] | None = None) -> None:
    """Writes cases.parquet, whole or not at all; `columns` adds some of one value, such as the name of the run."""
    files.write_bytes(path, encode(cases, columns))


def read(path: str | pathlib.Path) -> Cases:
    """Reads what `write` wrote.

    Raises:
      ValueError: the file cannot be read, or was not written by `write`.
    """
    try:
        return decode(pathlib.Path(path).read_bytes())
    except (OSError, ValueError, KeyError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ValueError(f"{path} cannot be read as cases of an evaluation ({reason}); evaluate the run again.") from (
            error
        )


def encode(cases: Cases, columns: Mapping[str, str] | None = None) -> bytes:
    """The cases as a Parquet file of one value a row."""
    return encode_table(table(cases, columns), cases.about)


def encode_table(rows: pa.Table, about: Mapping[str, Any]) -> bytes:
    """A table of `table` as a Parquet file, with `about` in its metadata."""
    sink = pa.BufferOutputStream()
    metadata = {"ramjax": json.dumps(files.finite_or_none(dict(about)))}
    pq.write_table(rows.replace_schema_metadata(metadata), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def table(cases: Cases, columns: Mapping[str, str] | None = None) -> pa.Table:
    """The cases as an Arrow table of one value a row, task by task."""
    parts_of = [(task, metric) for task, metrics in cases.values.items() for metric in metrics]
    counts = [len(PARTS[task]) for task, _ in parts_of]
    n = len(cases)

    def text(words: Sequence[str], repeats: Any) -> pa.Array:
        unique, codes = np.unique(np.asarray(words, object).astype(str), return_inverse=True)
        return pa.DictionaryArray.from_arrays(np.repeat(codes, repeats).astype(np.int32), unique.tolist())

    # A block of n cases x parts for each metric of each task.
    order = np.concatenate([np.repeat(np.arange(n), count) for count in counts]) if counts else np.zeros(0, int)
    content: dict[str, Any] = {
        name: pa.array([value] * len(order)).dictionary_encode() for name, value in (columns or {}).items()
    }
    for name, kind in ATTRIBUTES.items():
        column = cases.attributes[name][order]
        content[name] = text(column, 1) if kind is str else pa.array(column)
    content["task"] = text([task for task, _ in parts_of], [n * count for count in counts])
    content["part"] = text([part for task, _ in parts_of for _ in range(n) for part in PARTS[task]], 1)
    content["metric"] = text([metric for _, metric in parts_of], [n * count for count in counts])
    for index, mode in enumerate(MODES):
        blocks = [cases.values[task][metric][index].ravel() for task, metric in parts_of]
        content[mode] = pa.array(np.concatenate(blocks) if blocks else np.zeros(0))
    return pa.table(content)


def decode(content: bytes) -> Cases:
    """The inverse of `encode`; raises ValueError or KeyError for anything else."""
    rows = pq.read_table(pa.BufferReader(content))
    about = json.loads((rows.schema.metadata or {})[b"ramjax"])
    columns = {name: rows[name].to_numpy(zero_copy_only=False) for name in (*ATTRIBUTES, "task", "metric", *MODES)}
    if not len(rows):
        raise ValueError("it has no rows")
    starts = _block_starts(columns["task"], columns["metric"])
    values: dict[str, dict[str, np.ndarray]] = {}
    for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
        task, metric = columns["task"][start], columns["metric"][start]
        block = np.stack([columns[mode][start:stop] for mode in MODES])
        values.setdefault(task, {})[metric] = block.reshape(len(MODES), -1, len(PARTS[task]))
    stop = starts[1] if len(starts) > 1 else len(rows)
    step = len(PARTS[columns["task"][0]])
    attributes = {
        name: np.asarray(columns[name][0:stop:step], object if kind is str else kind)
        for name, kind in ATTRIBUTES.items()
    }
    return Cases(attributes, values, about)


def _block_starts(tasks: np.ndarray, metrics: np.ndarray) -> list[int]:
    changes = (tasks[1:] != tasks[:-1]) | (metrics[1:] != metrics[:-1])
    return [0, *(np.flatnonzero(changes) + 1).tolist()]

"""The cases of an evaluation: what was measured on each hand, part by part, in both modes.

Every table and figure is computed from these values. cases.parquet keeps them for further analyses: one value a row,
with the columns of `ATTRIBUTES` and ``task``, ``part``, ``metric``, ``strict``, ``compat``. The checksums that Parquet
knows are of its pages alone, so the file's own metadata hold a digest of all its bytes.

What is measured alike forms a group (the column ``task``): the bones, the pairs of bones that overlap, the lesions, the
boxes of the joint sites, the scores of a scale. Which groups, parts and metrics there are is for the tasks to say
(``measuring.py`` of each in `ramjax.tasks`). NaN means that the value is not defined or not known. Distances are in
``about["unit"]``, boxes in pixels of the grid.
"""

import dataclasses
import functools
import hashlib
import json
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ramjax import files
from ramjax.metrics.segmentation import mean_of_finite

log = logging.getLogger(__name__)

Mode = Literal["strict", "compat"]
MODES: tuple[Mode, ...] = ("strict", "compat")

PUBLISHED_TOLERANCE = 2.0
"""Pixels within which the published evaluators count a boundary as near; that of every compat value."""

Values = dict[str, dict[str, np.ndarray]]
"""By group and metric, float64 (2, parts) of one case or (2, cases, parts) of several: strict and compat."""

Parts = Mapping[str, tuple[str, ...]]
"""By group, what its values are of, in the order of their last axis."""

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

_DIGEST_KEY = b"ramjax_digest"
_DIGEST_START = b"sha256:"
_NO_DIGEST = _DIGEST_START + b"0" * 64
"""What stands in the place of the digest of a file when the digest is computed."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One hand.

    Attributes:
      attributes: the keys of `ATTRIBUTES`.
      values: by group and metric, the ``strict`` and the ``compat`` value of each part: float64 (2, parts).
    """

    attributes: dict[str, Any]
    values: Values


@dataclasses.dataclass(frozen=True)
class Cases:
    """All hands of an evaluation, in the order of the data sets.

    Attributes:
      attributes: by the keys of `ATTRIBUTES`, arrays (N,).
      values: by group and metric, float64 (2, N, parts); groups not evaluated are absent.
      parts: of each group in `values`.
      about: what holds for all of them, ready for JSON: ``run`` (name of its folder), ``seed``, ``step``,
        ``checkpoint``, ``split``, ``grid`` (``native`` or ``square512``), ``tolerance``, ``unit`` (``px`` or ``mm``),
        ``tasks``, and whatever else the evaluation wants to be known.
    """

    attributes: dict[str, np.ndarray]
    values: Values
    parts: Parts
    about: dict[str, Any]

    def __len__(self) -> int:
        return len(self.attributes["id"])

    def has(self, group: str, *metrics: str) -> bool:
        """Whether a group was evaluated, with these metrics."""
        return group in self.values and all(metric in self.values[group] for metric in metrics)

    def get(self, group: str, metric: str, mode: Mode = "strict") -> np.ndarray:
        """Returns float64 (N, parts); raises ValueError naming a metric that was not measured."""
        of_group = self.values.get(group, {})
        if metric not in of_group:
            known = ", ".join(f"{group}: {', '.join(metrics)}" for group, metrics in self.values.items())
            raise ValueError(f"{metric!r} of {group!r} was not measured; known are {known}.")
        return of_group[metric][MODES.index(mode)]

    def of_parts(self, group: str, metric: str, parts: Sequence[str], mode: Mode = "strict") -> np.ndarray:
        """The values of some of the parts, float64 (N, len(parts))."""
        return self.get(group, metric, mode)[:, [self.parts[group].index(part) for part in parts]]

    def mean(self, group: str, metric: str, parts: Sequence[str], mode: Mode = "strict") -> np.ndarray:
        """The mean of each case over the finite values of some of its parts, float64 (N,)."""
        return mean_of_finite(self.of_parts(group, metric, parts, mode), axis=1)[0]

    def take(self, which: np.ndarray) -> "Cases":
        """The cases that an index or bool array (N,) picks."""
        attributes = {name: column[which] for name, column in self.attributes.items()}
        values = {
            group: {metric: value[:, which] for metric, value in metrics.items()}
            for group, metrics in self.values.items()
        }
        return Cases(attributes, values, self.parts, self.about)


def collect(cases: Sequence[Case], about: Mapping[str, Any], parts: Parts) -> Cases:
    """Puts cases together. A group or metric that some cases lack is NaN there.

    Args:
      cases: one or more.
      about: what holds for all cases.
      parts: of the groups that were measured, in the order in which they shall come.
    """
    attributes = {
        name: np.array([case.attributes[name] for case in cases], object if kind is str else kind)
        for name, kind in ATTRIBUTES.items()
    }
    metrics: dict[str, dict[str, None]] = {}
    for case in cases:
        for group, of_group in case.values.items():
            metrics.setdefault(group, {}).update(dict.fromkeys(of_group))
    there = {group: tuple(names) for group, names in parts.items() if group in metrics}
    values = {
        group: {metric: np.full((len(MODES), len(cases), len(names)), np.nan) for metric in metrics[group]}
        for group, names in there.items()
    }
    for n, case in enumerate(cases):
        for group, of_group in case.values.items():
            for metric, value in of_group.items():
                values[group][metric][:, n] = value
    return Cases(attributes, values, there, dict(about))


def write(path: str | pathlib.Path, cases: Cases, columns: Mapping[str, str] | None = None) -> None:
    """Writes cases.parquet, whole or not at all; `columns` adds some of one value, such as the name of the run."""
    files.write_bytes(path, encode(cases, columns))


def read(path: str | pathlib.Path) -> Cases:
    """Reads what `write` wrote. A file of an older version, which has no digest, is read and named once in the log.

    Raises:
      ValueError: the file cannot be read, has changed since it was written, or was not written by `write`.
    """
    try:
        content = pathlib.Path(path).read_bytes()
        if not has_digest(content):
            _log_unchecked(str(path))
        return decode(content)
    except Exception as error:  # what Arrow raises depends on which part of a file without a digest is damaged
        reason = str(error) if type(error) is ValueError else getattr(error, "strerror", None) or type(error).__name__
        raise ValueError(f"{path} cannot be read as cases of an evaluation ({reason}); evaluate the run again.") from (
            error
        )


@functools.cache  # once for each file in a process
def _log_unchecked(path: str) -> None:
    log.info("%s is of an older version and has no checksum; damage to it may go unnoticed.", path)


def encode(cases: Cases, columns: Mapping[str, str] | None = None) -> bytes:
    """The cases as a Parquet file of one value a row."""
    return encode_table(table(cases, columns), cases.about)


def encode_table(rows: pa.Table, about: Mapping[str, Any]) -> bytes:
    """A table of `table` as a Parquet file, with `about` and the digest in its metadata."""
    sink = pa.BufferOutputStream()
    rows = rows.replace_schema_metadata({"ramjax": json.dumps(files.finite_or_none(dict(about)))})
    with pq.ParquetWriter(sink, rows.schema, compression="zstd") as writer:
        writer.write_table(rows)
        writer.add_key_value_metadata({_DIGEST_KEY: _NO_DIGEST})
    content = sink.getvalue().to_pybytes()
    before, _, behind = content.rpartition(_NO_DIGEST)  # the metadata are at the end of the file
    return before + _digest(content) + behind


def has_digest(content: bytes) -> bool:
    """Whether a Parquet file has a digest, be it that one bit of its name or its value is damaged."""
    return _DIGEST_KEY in content or _DIGEST_START in content


def _check_digest(content: bytes) -> None:
    """Raises ValueError where a byte has changed since `encode_table` wrote the file."""
    before, found, behind = content.rpartition(_DIGEST_START)
    stored, behind = behind[:64], behind[64:]
    if not found or _DIGEST_KEY not in before or found + stored != _digest(before + _NO_DIGEST + behind):
        raise ValueError("it has changed since it was written: its checksum differs")


def _digest(content: bytes) -> bytes:
    """The SHA-256 of a file that has `_NO_DIGEST` in the digest's place."""
    return _DIGEST_START + hashlib.sha256(content).hexdigest().encode()


def table(cases: Cases, columns: Mapping[str, str] | None = None) -> pa.Table:
    """The cases as an Arrow table of one value a row, group by group."""
    blocks_of = [(group, metric) for group, metrics in cases.values.items() for metric in metrics]
    counts = [len(cases.parts[group]) for group, _ in blocks_of]
    n = len(cases)

    def text(words: Sequence[str], repeats: Any) -> pa.Array:
        unique, codes = np.unique(np.asarray(words, object).astype(str), return_inverse=True)
        return pa.DictionaryArray.from_arrays(np.repeat(codes, repeats).astype(np.int32), unique.tolist())

    # A block of n cases x parts for each metric of each group.
    order = np.concatenate([np.repeat(np.arange(n), count) for count in counts]) if counts else np.zeros(0, int)
    content: dict[str, Any] = {
        name: pa.array([value] * len(order)).dictionary_encode() for name, value in (columns or {}).items()
    }
    for name, kind in ATTRIBUTES.items():
        column = cases.attributes[name][order]
        content[name] = text(column, 1) if kind is str else pa.array(column)
    content["task"] = text([group for group, _ in blocks_of], [n * count for count in counts])
    content["part"] = text([part for group, _ in blocks_of for _ in range(n) for part in cases.parts[group]], 1)
    content["metric"] = text([metric for _, metric in blocks_of], [n * count for count in counts])
    for index, mode in enumerate(MODES):
        blocks = [cases.values[group][metric][index].ravel() for group, metric in blocks_of]
        content[mode] = pa.array(np.concatenate(blocks) if blocks else np.zeros(0))
    return pa.table(content)


def decode(content: bytes) -> Cases:
    """The inverse of `encode`; raises ValueError or KeyError for anything else.

    The digest is checked before Arrow reads a byte; a file without one is read as it is.
    """
    if has_digest(content):
        _check_digest(content)
    rows = pq.read_table(pa.BufferReader(content))
    about = json.loads((rows.schema.metadata or {})[b"ramjax"])
    names = (*ATTRIBUTES, "task", "part", "metric", *MODES)
    columns = {name: rows[name].to_numpy(zero_copy_only=False) for name in names}
    if not len(rows):
        raise ValueError("it has no rows")
    starts = _block_starts(columns["task"], columns["metric"])
    values: Values = {}
    parts: dict[str, tuple[str, ...]] = {}
    for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
        group, metric = columns["task"][start], columns["metric"][start]
        parts.setdefault(group, tuple(dict.fromkeys(columns["part"][start:stop])))
        block = np.stack([columns[mode][start:stop] for mode in MODES])
        values.setdefault(group, {})[metric] = block.reshape(len(MODES), -1, len(parts[group]))
    stop = starts[1] if len(starts) > 1 else len(rows)
    step = len(parts[columns["task"][0]])
    attributes = {
        name: np.asarray(columns[name][0:stop:step], object if kind is str else kind)
        for name, kind in ATTRIBUTES.items()
    }
    return Cases(attributes, values, parts, about)


def _block_starts(groups: np.ndarray, metrics: np.ndarray) -> list[int]:
    changes = (groups[1:] != groups[:-1]) | (metrics[1:] != metrics[:-1])
    return [0, *(np.flatnonzero(changes) + 1).tolist()]

"""Findings as JSON for one radiograph and as a CSV row among many.

The JSON always has these keys, and those of the tasks before ``not_judged`` (``finding.py`` of each in `ramjax.tasks`,
and `ramjax.tasks.image`); ``a[].b`` is the key b of each entry of the list a. Pixels are the radiograph's as it was
read, continuous: pixel i covers [i, i + 1). What was not judged is null or absent from its list, never 0.

| key | meaning |
|---|---|
| note | that this is research |
| input | the file, as it was named |
| model.workdir | name of the run's folder |
| model.step | optimiser steps the network has seen |
| side | ``L`` or ``R``; '' unknown |
| side_source | ``argument``, ``file``, ``estimated`` or ``unknown`` |
| view | ``hand`` or ``wrist``; '' unknown |
| view_source | as `side_source` |
| certainty | how sure the network is to see a hand or wrist in this placement, 0 to 1; null unknown |
| certainty_other_side | the same as the other hand; null where that was not tried |
| chance_right | that it is a right hand, not a left one, 0 to 1; null where the network was not trained to tell it |
| chance_hand | that it is a whole hand, not a wrist, 0 to 1; null as above |
| placement.canvas | height and width of the network's input |
| placement.affine | 2 x 3, pixels (x, y, 1) of the radiograph to those of the network's input |
| placement.mirrored | whether that mirrors it |
| notes[] | sentences for people: what was decided on the way, and doubts |
| height, width | of the radiograph in pixels |
| pixel_spacing_mm | side of a pixel; null unknown |
| not_judged[].kind | ``task``, ``site`` or ``bone`` |
| not_judged[].name | of the task, site or bone |
| not_judged[].reason | why, one clause |
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from ramjax import csv_text
from ramjax.notice import NOTE
from ramjax.tasks import Task
from ramjax.tasks.findings import Findings, reported

_ABOUT: tuple[str, ...] = ("name", "input", "error", "side", "side_source", "view", "pixel_spacing_mm")
_CERTAINTY = "certainty"


def to_json(
    tasks: Sequence[Task], findings: Findings, shape: tuple[int, int], spacing: float, about: dict[str, Any]
) -> dict[str, Any]:
    """Returns the report as nested plain values (see the module for its keys).

    Args:
      tasks: of the network.
      findings: of one radiograph.
      shape: its (H, W).
      spacing: side of its pixels in mm; NaN unknown, and then every area in mm2 is null.
      about: the keys ``input`` to ``notes``, put first.
    """
    of_tasks: dict[str, Any] = {}
    for task in reported(tasks):
        of_tasks = task.write(findings.of(task), of_tasks, spacing)
    return {
        "note": NOTE,
        **about,
        "height": shape[0],
        "width": shape[1],
        "pixel_spacing_mm": spacing if math.isfinite(spacing) else None,
        **of_tasks,
        "not_judged": [{"kind": n.kind, "name": n.name, "reason": n.reason} for n in findings.not_judged],
    }


def to_text(values: dict[str, Any]) -> str:
    """The report as JSON, indented, each list of numbers on one line."""
    text = json.dumps(values, indent=2, allow_nan=False)
    return re.sub(r"\[[-+\d.eE,\s]+\]", lambda numbers: " ".join(numbers[0].split()), text) + "\n"


def summary_columns(tasks: Sequence[Task]) -> tuple[str, ...]:
    """The columns of summary.csv: what is read first, then all else that the tasks say."""
    of_tasks = reported(tasks)
    leading = [column for task in reversed(of_tasks) for column in task.leading_columns]
    return *_ABOUT, *leading, _CERTAINTY, *(column for task in of_tasks for column in task.columns)


def summary_row(tasks: Sequence[Task], name: str, report: dict[str, Any]) -> dict[str, Any]:
    """The row of `summary_columns` for a report; what was not judged stays empty."""
    row = {"name": name, _CERTAINTY: report[_CERTAINTY]} | {key: report[key] for key in _ABOUT if key in report}
    for task in reported(tasks):
        row |= task.cells(report)
    return row


def merged_summary(tasks: Sequence[Task], rows: Sequence[dict[str, Any]], before: str, *, replace: bool = True) -> str:
    """The CSV of the rows, added to those of an earlier one; a row of the same name is replaced, in its place.

    Args:
      tasks: of the network.
      rows: of `summary_row`, or less.
      before: text of the earlier CSV, perhaps of other tasks, whose columns stay behind the others; '' for none.
      replace: False refuses to replace a row.

    Raises:
      ValueError: something of the earlier CSV would be lost: it is no summary as it is written here, or `replace` is
        False and would be needed.
    """
    columns = summary_columns(tasks)
    header, *earlier = csv_text.read(before) if before else [list(columns)]
    if tuple(header[: len(_ABOUT)]) != _ABOUT or _CERTAINTY not in header or len(set(header)) < len(header):
        raise ValueError("it is no summary")
    if any(len(row) != len(header) for row in earlier):
        raise ValueError("it has cells without a column")
    columns += tuple(column for column in header if column not in columns)
    merged = {(row["name"], row["input"]): row for row in (dict(zip(header, cells, strict=True)) for cells in earlier)}
    if len(merged) < len(earlier):
        raise ValueError("it has a row twice")
    predicted = {row["name"]: key for key, row in merged.items() if not row["error"]}
    for row in rows:
        key = row["name"], row["input"]
        if key not in merged and not row.get("error"):  # the same radiograph, by another path to it
            key = predicted.get(row["name"], key)
        if key in merged and not replace:
            raise ValueError("it has the row already")
        merged[key] = row
    return csv_text.write([columns, *([row.get(column) for column in columns] for row in merged.values())])

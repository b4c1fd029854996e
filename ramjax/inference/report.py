"""Findings as JSON for one radiograph and as a CSV row among many.

The JSON always has these keys; ``a[].b`` is the key b of each entry of the list a. Pixels are the radiograph's as it
was read, continuous: pixel i covers [i, i + 1). What was not judged is null or absent from its list, never 0.

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
| placement.canvas | height and width of the network's input |
| placement.affine | 2 x 3, pixels (x, y, 1) of the radiograph to those of the network's input |
| placement.mirrored | whether that mirrors it |
| notes[] | sentences for people: what was decided on the way, and doubts |
| height, width | of the radiograph in pixels |
| pixel_spacing_mm | side of a pixel; null unknown |
| totals.be, totals.jsn | sum of the scores of the sites that were judged; null without any |
| totals.be_sites, totals.jsn_sites | how many these are, of 16 and 15 |
| joints[].site | of `anatomy.SITE_NAMES`, each at most once |
| joints[].bbox | ymin, xmin, ymax, xmax in pixels |
| joints[].confidence | that the site is there, 0 to 1 |
| joints[].be | bone erosion; null where the site has no such score or scores were not trained |
| joints[].be.score | 0 to 5 |
| joints[].be.probabilities | of the scores 0 to 5 |
| joints[].jsn | joint space narrowing; null as `be` |
| joints[].jsn.score | 0 to 4 |
| joints[].jsn.probabilities | of the scores 0 to 4 |
| bones[].name | of `anatomy.BONES`, those found |
| bones[].area_px, bones[].area_mm2 | of its mask; mm2 null without pixel spacing |
| erosions | null where erosions were not trained |
| erosions.area_px, erosions.area_mm2 | of all labels together; mm2 null without pixel spacing |
| erosions.labels[].name | of `anatomy.EROSION_LABELS`, without the background |
| erosions.labels[].area_px, erosions.labels[].area_mm2 | of this label; mm2 null without pixel spacing |
| not_judged[].kind | ``task``, ``site`` or ``bone`` |
| not_judged[].name | of the task, site or bone |
| not_judged[].reason | why, one clause |
"""

import csv
import io
import json
import math
import re
from typing import Any

import numpy as np

from ramjax import anatomy
from ramjax.inference.findings import Findings, Grade, NotJudged
from ramjax.notice import NOTE

SUMMARY_COLUMNS: tuple[str, ...] = (
    "name", "input", "error", "side", "side_source", "view", "pixel_spacing_mm", "be_total", "be_sites", "jsn_total",
    "jsn_sites", "erosion_area_px", "erosion_area_mm2", "certainty", "sites_found",
    *(f"BE {anatomy.SITES[i].name}" for i in anatomy.BE_SITES),
    *(f"JSN {anatomy.SITES[i].name}" for i in anatomy.JSN_SITES),
)  # fmt: skip


def to_json(findings: Findings, shape: tuple[int, int], spacing: float, about: dict[str, Any]) -> dict[str, Any]:
    """Returns the report as nested plain values (see the module for its keys).

    Args:
      findings: of one radiograph.
      shape: its (H, W).
      spacing: side of its pixels in mm; NaN unknown, and then every area in mm2 is null.
      about: the keys ``input`` to ``notes``, put first.
    """
    be, be_sites = findings.total("be")
    jsn, jsn_sites = findings.total("jsn")
    return {
        "note": NOTE,
        **about,
        "height": shape[0],
        "width": shape[1],
        "pixel_spacing_mm": _finite(spacing),
        "totals": {
            "be": be if be_sites else None,
            "jsn": jsn if jsn_sites else None,
            "be_sites": be_sites,
            "jsn_sites": jsn_sites,
        },
        "joints": [
            {
                "site": joint.site,
                "bbox": [round(v, 2) for v in joint.box],
                "confidence": round(joint.confidence, 4),
                "be": _grade(joint.be),
                "jsn": _grade(joint.jsn),
            }
            for joint in findings.joints
        ],
        "bones": [{"name": bone.name, **_area(bone.area, spacing)} for bone in findings.bones],
        "erosions": None if findings.erosions is None else _erosions(findings.erosions, spacing),
        "not_judged": [{"kind": n.kind, "name": n.name, "reason": n.reason} for n in findings.not_judged],
    }


def to_text(values: dict[str, Any]) -> str:
    """The report as JSON, indented, each list of numbers on one line."""
    text = json.dumps(values, indent=2, allow_nan=False)
    return re.sub(r"\[[-+\d.eE,\s]+\]", lambda numbers: " ".join(numbers[0].split()), text) + "\n"


def summary_row(name: str, report: dict[str, Any]) -> dict[str, Any]:
    """The row of `SUMMARY_COLUMNS` for a report; what was not judged stays empty."""
    erosions = report["erosions"] or {}
    row = {
        "name": name,
        **{key: report[key] for key in ("input", "side", "side_source", "view", "pixel_spacing_mm", "certainty")},
        "be_total": report["totals"]["be"],
        "be_sites": report["totals"]["be_sites"],
        "jsn_total": report["totals"]["jsn"],
        "jsn_sites": report["totals"]["jsn_sites"],
        "erosion_area_px": erosions.get("area_px"),
        "erosion_area_mm2": erosions.get("area_mm2"),
        "sites_found": len(report["joints"]),
    }
    for joint in report["joints"]:
        for scale in ("be", "jsn"):
            if joint[scale] is not None:
                row[f"{scale.upper()} {joint['site']}"] = joint[scale]["score"]
    return row


def summary_text(rows: list[dict[str, Any]]) -> str:
    """The CSV of these rows."""
    text = io.StringIO()
    writer = csv.DictWriter(text, SUMMARY_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def summary_rows(text: str) -> list[dict[str, Any]]:
    """The inverse of `summary_text`; [] for a CSV with other columns."""
    reader = csv.DictReader(io.StringIO(text))
    return list(reader) if tuple(reader.fieldnames or ()) == SUMMARY_COLUMNS else []


def describe_not_judged(not_judged: tuple[NotJudged, ...]) -> list[str]:
    """One line a reason, naming the tasks and sites it holds for."""
    by_reason: dict[str, list[str]] = {}
    for entry in not_judged:
        if entry.kind != "bone":
            by_reason.setdefault(entry.reason.split(" (")[0], []).append(entry.name)
    return [f"{', '.join(names)}: {reason}" for reason, names in by_reason.items()]


def _grade(grade: Grade | None) -> dict[str, Any] | None:
    if grade is None:
        return None
    return {"score": grade.score, "probabilities": [round(p, 4) for p in grade.probabilities]}


def _erosions(labels: np.ndarray, spacing: float) -> dict[str, Any]:
    counts = np.bincount(labels.ravel(), minlength=anatomy.NUM_EROSION_LABELS)
    return {
        **_area(int(counts[1:].sum()), spacing),
        "labels": [
            {"name": name, **_area(int(counts[k]), spacing)} for k, name in enumerate(anatomy.EROSION_LABELS) if k
        ],
    }


def _area(pixels: int, spacing: float) -> dict[str, Any]:
    return {"area_px": pixels, "area_mm2": round(pixels * spacing**2, 3) if math.isfinite(spacing) else None}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

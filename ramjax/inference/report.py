"""Findings as JSON for one radiograph and as a CSV row among many."""

import csv
import io
import json
import math
import re
from typing import Any

import numpy as np

from ramjax import anatomy
from ramjax.inference.findings import Findings, Grade, NotJudged

NOTE = "Research use only. Not a medical device; not for diagnosis."

SUMMARY_COLUMNS: tuple[str, ...] = (
    "name", "input", "error", "side", "side_source", "view", "pixel_spacing_mm", "be_total", "be_sites", "jsn_total",
    "jsn_sites", "erosion_area_px", "erosion_area_mm2", "certainty", "sites_found",
    *(f"BE {anatomy.SITES[i].name}" for i in anatomy.BE_SITES),
    *(f"JSN {anatomy.SITES[i].name}" for i in anatomy.JSN_SITES),
)  # fmt: skip


def to_json(findings: Findings, shape: tuple[int, int], spacing: float, about: dict[str, Any]) -> dict[str, Any]:
    """Returns the report as nested plain values.

    Args:
      findings: of one radiograph.
      shape: its (H, W).
      spacing: side of its pixels in mm; NaN unknown, and then every area in mm2 is null.
      about: what else is known (input, side, view, model), put first.
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

"""The scores of one radiograph, for people: beside the joint sites that they grade.

Keys of the report:

| key | meaning |
|---|---|
| totals.be, totals.jsn | sum of the scores of the sites that were judged; null without any |
| totals.be_sites, totals.jsn_sites | how many these are, of 16 and 15 |
| joints[].be | bone erosion; null where the site has no such score or scores were not trained |
| joints[].be.score | 0 to 5 |
| joints[].be.probabilities | of the scores 0 to 5 |
| joints[].jsn | joint space narrowing; null as `be` |
| joints[].jsn.score | 0 to 4 |
| joints[].jsn.probabilities | of the scores 0 to 4 |
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ramjax import anatomy
from ramjax.data.grid import Grid
from ramjax.figures.overlay import AGREE, FAR, INK, NEAR, UNKNOWN, Box, Colour, Shape
from ramjax.figures.panel import Block, Cell, Column, Table
from ramjax.metrics import scoring
from ramjax.record import Record
from ramjax.tasks.base import NotJudged
from ramjax.tasks.joints import finding as joints

COLOURS: tuple[Colour, ...] = (
    (126, 196, 150), (242, 226, 120), (250, 186, 72), (250, 140, 60), (240, 88, 70), (226, 48, 72),
)  # fmt: skip
"""Of scores 0 to 5."""

LEADING_COLUMNS: tuple[str, ...] = tuple(f"{scale}_{of}" for scale in anatomy.SCALES for of in ("total", "sites"))

COLUMNS: tuple[str, ...] = tuple(
    f"{scale.upper()} {anatomy.SITE_NAMES[site]}" for scale, (_, sites) in anatomy.SCALES.items() for site in sites
)


@dataclasses.dataclass(frozen=True)
class Grade:
    """A score and the probability of each."""

    score: int
    probabilities: tuple[float, ...]


LEGEND: tuple[tuple[str, Colour], ...] = (
    ("Joint boxes:", INK),
    ("scores agree", AGREE),
    ("off by one", NEAR),
    ("off by more, or missed", FAR),
    ("not compared", UNKNOWN),
)
"""What the colours of boxes with scores mean."""

Finding = dict[str, dict[str, Grade]]
"""By site and scale, ``be`` or ``jsn``; scales that do not grade the site are left out."""


def find(
    maps: Mapping[str, np.ndarray], grid: Grid, min_confidence: float, found: Mapping[str, Any]
) -> tuple[Finding | None, list[NotJudged]]:
    """The grades of the sites that the joints task found."""
    del grid, min_confidence
    if found.get("joints") is None:
        return None, [NotJudged("task", "scores", "the joints they belong to were not looked for")]
    sites = [anatomy.SITE_INDEX[joint.site] for joint in found["joints"]]
    return {
        anatomy.SITE_NAMES[site]: {
            scale: _grade(maps[scale][site]) for scale, (_, graded) in anatomy.SCALES.items() if site in graded
        }
        for site in sites
    }, []


def annotated(record: Record) -> Finding | None:
    scales = [scale for scale in anatomy.SCALES if getattr(record, f"has_{scale}")]
    if not (scales and record.has_joints):
        return None
    return {
        joint.site: {
            scale: _annotated_grade(getattr(joint, scale), anatomy.SCALES[scale][0])
            for scale in scales
            if getattr(joint, scale) >= 0
        }
        for joint in sorted(record.joints, key=lambda joint: anatomy.SITE_INDEX[joint.site])
    }


def total(finding: Finding, scale: str) -> tuple[int, int]:
    """(sum, number of sites) of the scores ``be`` or ``jsn``."""
    scores = [grades[scale].score for grades in finding.values() if scale in grades]
    return sum(scores), len(scores)


def write(finding: Finding | None, written: dict[str, Any], spacing_mm: float) -> dict[str, Any]:
    """The totals, first of all, and the grades of the joints that are written."""
    del spacing_mm
    finding = finding or {}
    totals = {scale: total(finding, scale) for scale in anatomy.SCALES}
    sums = {scale: points if sites else None for scale, (points, sites) in totals.items()}
    counts = {f"{scale}_sites": sites for scale, (_, sites) in totals.items()}
    graded = [
        {**joint, **{scale: _plain(finding.get(joint["site"], {}).get(scale)) for scale in anatomy.SCALES}}
        for joint in written["joints"]
    ]
    return {"totals": {**sums, **counts}, **written, "joints": graded}


def cells(report: Mapping[str, Any]) -> dict[str, Any]:
    row = {}
    for scale in anatomy.SCALES:
        row[f"{scale}_total"], row[f"{scale}_sites"] = report["totals"][scale], report["totals"][f"{scale}_sites"]
    for joint in report["joints"]:
        for scale in anatomy.SCALES:
            if joint[scale] is not None:
                row[f"{scale.upper()} {joint['site']}"] = joint[scale]["score"]
    return row


def draw(finding: Finding, drawn: list[Shape]) -> list[Shape]:
    """The boxes in the colour of their worst score."""
    return [_said(shape, finding, _severity) for shape in drawn]


def headline(finding: Finding) -> list[str]:
    return [total_words(scale, *total(finding, scale)) for scale in anatomy.SCALES]


def total_words(scale: str, points: int, judged: int) -> str:
    """A total beside its highest value, over the sites that were judged; one over none is no 0."""
    top, sites = anatomy.SCALES[scale]
    if not judged:
        return f"{scale.upper()} not judged"
    return f"{scale.upper()} {points} of {top * judged}  ({judged} of {len(sites)} sites)"


def panel(finding: Finding, report: Mapping[str, Any], blocks: list[Block]) -> list[Block]:
    """A column of each scale in the table of sites."""
    del report
    columns = tuple(Column(scale.upper(), _scale_cells(finding, scale), centred=True) for scale in anatomy.SCALES)
    return [
        dataclasses.replace(block, columns=(*columns, *block.columns))
        if isinstance(block, Table) and block.head == joints.SITES_HEAD
        else block
        for block in blocks
    ]


def contrast(truth: Finding | None, finding: Finding | None, drawn: list[Shape]) -> list[Shape]:
    """The boxes in the colour of their larger error."""
    truth, finding = truth or {}, finding or {}
    return [_said(shape, finding, lambda site, grades: agreement(truth.get(site), grades)) for shape in drawn]


def agreement(truth: Mapping[str, Grade] | None, found: Mapping[str, Grade] | None) -> Colour:
    """The colour of a site's larger error; `UNKNOWN` where no scale is annotated and predicted."""
    truth, found = truth or {}, found or {}
    errors = [
        abs(truth[scale].score - found[scale].score) for scale in anatomy.SCALES if scale in truth and scale in found
    ]
    return (AGREE, NEAR, FAR)[min(max(errors), 2)] if errors else UNKNOWN


def captions(truth: Finding | None, finding: Finding | None) -> list[tuple[str, str]]:
    """Sum annotated and sum predicted of each scale, over the sites that have both."""
    truth, finding = truth or {}, finding or {}
    pairs = []
    for scale in anatomy.SCALES:
        sites = [site for site in truth if scale in truth[site] and scale in finding.get(site, {})]
        if sites:
            sums = (sum(of[site][scale].score for site in sites) for of in (truth, finding))
            pairs.append(tuple(f"{scale.upper()} {points}" for points in sums))
    return pairs


def legend(entries: list[tuple[str, Colour]]) -> list[tuple[str, Colour]]:
    """The colours of boxes with scores, in place of those without."""
    return [*LEGEND, *(entry for entry in entries if entry not in joints.LEGEND)]


def _said(shape: Shape, finding: Finding, colour: Callable[[str, Mapping[str, Grade]], Colour]) -> Shape:
    """A box with its site's grades as words and in their colour; other shapes as they are."""
    grades = finding.get(shape.name) if isinstance(shape, Box) else None
    if not grades:
        return shape
    words = "  ".join(f"{scale.upper()} {grade.score}" for scale, grade in grades.items())
    # Nothing where all are 0, so that disease stands out.
    mark = " ".join(f"{scale[0].upper()}{grade.score}" for scale, grade in grades.items() if grade.score)
    return dataclasses.replace(shape, colour=colour(shape.name, grades), words=words, mark=mark)


def _severity(site: str, grades: Mapping[str, Grade]) -> Colour:
    del site
    return COLOURS[max(grade.score for grade in grades.values())]


def _scale_cells(finding: Finding, scale: str) -> dict[str, Cell]:
    cells = {anatomy.SITE_NAMES[site]: Cell("?") for site in anatomy.SCALES[scale][1]}
    for site, grades in finding.items():
        if scale in grades:
            cells[site] = Cell(str(grades[scale].score), COLOURS[grades[scale].score])
    return cells


def _plain(grade: Grade | None) -> dict[str, Any] | None:
    if grade is None:
        return None
    return {"score": grade.score, "probabilities": [round(p, 4) for p in grade.probabilities]}


def _grade(probabilities: np.ndarray) -> Grade:
    return Grade(int(scoring.decode(probabilities)), tuple(float(p) for p in probabilities))


def _annotated_grade(score: int, top: int) -> Grade:
    return Grade(score, tuple(float(k == score) for k in range(top + 1)))

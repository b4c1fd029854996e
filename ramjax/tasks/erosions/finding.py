"""The erosions of one radiograph, for people: labels, areas, fills.

Keys of the report:

| key | meaning |
|---|---|
| erosions | null where erosions were not trained |
| erosions.area_px, erosions.area_mm2 | of all labels together; mm2 null without pixel spacing |
| erosions.labels[].name | of `anatomy.EROSION_LABELS`, without the background |
| erosions.labels[].area_px, erosions.labels[].area_mm2 | of this label; mm2 null without pixel spacing |
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ramjax import anatomy
from ramjax.data import regrid
from ramjax.data.grid import Grid
from ramjax.figures.overlay import Colour, Fill, Shape
from ramjax.figures.panel import Block, Entries, Entry
from ramjax.record import Record
from ramjax.tasks.base import NotJudged
from ramjax.tasks.masks import area

COLOURS: tuple[Colour, ...] = ((0, 0, 0), (255, 45, 45), (255, 150, 20), (235, 70, 225))
"""Of the erosion labels 0 to 3."""

LEADING_COLUMNS: tuple[str, ...] = ("erosion_area_px", "erosion_area_mm2")


def find(
    maps: Mapping[str, np.ndarray], grid: Grid, min_confidence: float, found: Mapping[str, Any]
) -> tuple[np.ndarray, list[NotJudged]]:
    """The label of each pixel, uint8 (H, W)."""
    del min_confidence, found
    return regrid.erosion_labels(maps["erosions"], grid.to_canvas, grid.canvas_height, grid.shape), []


def annotated(record: Record) -> np.ndarray | None:
    return record.erosions if record.has_erosions else None


def write(finding: np.ndarray | None, written: dict[str, Any], spacing_mm: float) -> dict[str, Any]:
    if finding is None:
        return {**written, "erosions": None}
    _, *eroded = map(int, np.bincount(finding.ravel(), minlength=anatomy.NUM_EROSION_LABELS))
    names = anatomy.EROSION_LABELS[1:]
    labels = [{"name": name, **area(pixels, spacing_mm)} for name, pixels in zip(names, eroded, strict=True)]
    return {**written, "erosions": {**area(sum(eroded), spacing_mm), "labels": labels}}


def cells(report: Mapping[str, Any]) -> dict[str, Any]:
    erosions = report["erosions"] or {}
    return {f"erosion_{key}": erosions.get(key) for key in ("area_px", "area_mm2")}


def masks(finding: np.ndarray, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    del shape
    return {"erosions": finding}


def draw(finding: np.ndarray, drawn: list[Shape]) -> list[Shape]:
    labels = range(1, anatomy.NUM_EROSION_LABELS)
    return [*drawn, *(Fill(finding == label, COLOURS[label]) for label in labels)]


def panel(finding: np.ndarray, report: Mapping[str, Any], blocks: list[Block]) -> list[Block]:
    """The area of each label, above what the tasks before say."""
    del finding
    entries = tuple(
        Entry(label["name"], _area_words(label), colour)
        for colour, label in zip(COLOURS[1:], report["erosions"]["labels"], strict=True)
    )
    return [Entries("Erosions", entries), *blocks]


def legend(entries: list[tuple[str, Colour]]) -> list[tuple[str, Colour]]:
    return [*entries, *zip(anatomy.EROSION_LABELS[1:], COLOURS[1:], strict=True)]


def _area_words(area: Mapping[str, Any]) -> str:
    return f"{area['area_px']} px" if area["area_mm2"] is None else f"{area['area_mm2']:.1f} sq mm"

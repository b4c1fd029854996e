"""One picture of a radiograph: as it is, with everything found in it, and with the findings in words."""

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from ramjax.figures.overlay import (
    DIM,
    FRACTION,
    GROUND,
    INK,
    WARNING,
    Box,
    Shape,
    fixed_point,
    font,
    grey_to_rgb,
    paint,
)
from ramjax.figures.panel import Block
from ramjax.notice import NOTE
from ramjax.tasks import Task
from ramjax.tasks.base import NotJudged
from ramjax.tasks.findings import Findings

_PANEL = (24, 28, 33)


def sheet(
    pixels: np.ndarray,
    tasks: Sequence[Task],
    findings: Findings,
    report: dict[str, Any],
    title: str,
    height: int = 1400,
) -> np.ndarray:
    """The picture, uint8 RGB.

    Args:
      pixels: uint8 (H, W).
      tasks: of the network.
      findings: what was found in it.
      report: of the same (see `report.to_json`).
      title: name of the radiograph.
      height: of the radiograph in the picture; small ones are magnified, large ones shrunk.
    """
    drawn: list[Shape] = []
    blocks: list[Block] = []
    words: list[str] = []
    for task in tasks:
        if (finding := findings.of(task)) is not None:
            drawn = task.draw(finding, drawn)
            blocks = task.panel(finding, report, blocks)
            words += task.headline(finding)
    said = [*describe_not_judged(findings.not_judged), *report["notes"]]
    scale = min(height / pixels.shape[0], 1.25 * height / pixels.shape[1])
    unit = height / 70
    original = grey_to_rgb(pixels, scale)
    found = paint(original.copy(), drawn, scale, max(1, round(height / 900)))
    if any(task.finds_boxes for task in tasks):
        found = _with_margin_labels(found, [shape for shape in drawn if isinstance(shape, Box)], scale, unit)
    parts = [original, found, _panel(blocks, said, height, unit)]
    gap = round(unit)
    header = round(4.6 * unit)
    tallest = max(part.shape[0] for part in parts)
    whole = np.full((header + tallest + gap, sum(p.shape[1] for p in parts) + gap * 4, 3), GROUND, np.uint8)
    left = gap
    for part in parts:
        top = header + (tallest - part.shape[0]) // 2
        whole[top : top + part.shape[0], left : left + part.shape[1]] = part
        left += part.shape[1] + gap
    return _with_header(whole, words, report, title, unit, gap)


def describe_not_judged(not_judged: Sequence[NotJudged]) -> list[str]:
    """One line a reason, naming the tasks and sites it holds for; what the picture already shows is left out."""
    by_reason: dict[str, list[str]] = {}
    for entry in not_judged:
        if not entry.plain:
            by_reason.setdefault(entry.reason.split(" (")[0], []).append(entry.name)
    return [f"{', '.join(names)}: {reason}" for reason, names in by_reason.items()]


def _with_margin_labels(picture: np.ndarray, boxes: Sequence[Box], scale: float, unit: float) -> np.ndarray:
    """Adds a margin to either side and writes the words there, each joined to its box by a line."""
    margin, line = round(12.5 * unit), 1.75 * unit
    height, width = picture.shape[:2]
    whole = np.full((height, width + 2 * margin, 3), GROUND, np.uint8)
    whole[:, margin : margin + width] = picture
    middle = float(np.median([(b.box[1] + b.box[3]) / 2 * scale for b in boxes])) if boxes else 0.0
    placed = []
    for right in (False, True):
        side = [box for box in boxes if ((box.box[1] + box.box[3]) / 2 * scale > middle) == right]
        side.sort(key=lambda box: box.box[0] + box.box[2])
        wanted = [(box.box[0] + box.box[2]) / 2 * scale for box in side]
        placed += [(box, y, right) for box, y in zip(side, _spread(wanted, line, height), strict=True)]
    for box, y, right in placed:
        ymin, xmin, ymax, xmax = (v * scale for v in box.box)
        x_box = margin + (xmax if right else xmin)
        x_label = margin + width + 0.3 * unit if right else margin - 0.3 * unit
        start, end = (fixed_point(x_label), fixed_point(y)), (fixed_point(x_box), fixed_point((ymin + ymax) / 2))
        faint = tuple(round(0.6 * c) for c in box.colour)
        cv2.line(whole, start, end, faint, 1, cv2.LINE_AA, FRACTION)
        cv2.circle(whole, end, fixed_point(0.2 * unit + 0.5), box.colour, cv2.FILLED, cv2.LINE_AA, FRACTION)
    image = Image.fromarray(whole)
    draw = ImageDraw.Draw(image)
    for box, y, right in placed:
        x = margin + width + 0.6 * unit if right else 0.6 * unit
        draw.text((x, y), box.name, INK, font(1.15 * unit), anchor="lm")
        draw.text((x + 5.0 * unit, y), box.words, box.colour, font(1.05 * unit), anchor="lm")
    return np.asarray(image)


def _spread(wanted: Sequence[float], line: float, height: float) -> list[float]:
    """Positions near those wanted, ascending, at least `line` apart and within the height."""
    places: list[float] = []
    for y in wanted:
        places.append(max(y, places[-1] + line if places else line / 2))
    limit = height - line / 2
    for i in reversed(range(len(places))):
        places[i] = min(places[i], limit)
        limit = places[i] - line
    return places


def _panel(blocks: Sequence[Block], said: Sequence[str], height: int, unit: float) -> np.ndarray:
    """The blocks, and the notes below them; `height` high, or as high as they need."""
    width = round(25 * unit)
    small = font(0.95 * unit)

    def fill(image: Image.Image) -> float:
        draw = ImageDraw.Draw(image)
        y = 1.2 * unit
        for block in blocks:
            y = block.draw(draw, y, width, unit)
        for text in said:
            for line in _wrap(text, small, width - 2 * unit):
                draw.text((unit, y), line, DIM, small, anchor="lm")
                y += 1.2 * unit
        return y

    needed = math.ceil(fill(Image.new("RGB", (width, 1))))
    image = Image.new("RGB", (width, max(height, needed)), _PANEL)
    fill(image)
    return np.asarray(image)


def _with_header(
    whole: np.ndarray, words: Sequence[str], report: dict[str, Any], title: str, unit: float, gap: int
) -> np.ndarray:
    image = Image.fromarray(whole)
    draw = ImageDraw.Draw(image)
    side = {"L": "left", "R": "right"}.get(report["side"], "side unknown")
    about = [f"{side} {report['view']}".strip() + (" (estimated)" if report["side_source"] == "estimated" else "")]
    spacing = report["pixel_spacing_mm"]
    about.append(f"{spacing:.4g} mm a pixel" if spacing else "pixel size unknown")
    draw.text((gap, 1.4 * unit), _shorten(title, 60), INK, font(1.7 * unit), anchor="lm")
    draw.text((gap, 3.3 * unit), ", ".join(about), DIM, font(1.1 * unit), anchor="lm")
    right = image.width - gap
    draw.text((right, 1.4 * unit), "     ".join(words), INK, font(1.7 * unit), anchor="rm")
    draw.text((right, 3.3 * unit), NOTE, WARNING, font(1.1 * unit), anchor="rm")
    return np.asarray(image)


def _wrap(text: str, face: Any, width: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if face.getlength(longer) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"

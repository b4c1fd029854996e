"""Pictures of test hands: annotation beside prediction."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from ramjax import files
from ramjax.data.grid import grid_of
from ramjax.figures.overlay import (
    DIM,
    GROUND,
    INK,
    UNKNOWN,
    WARNING,
    Box,
    Colour,
    Fill,
    Outline,
    Pixels,
    Shape,
    encode_png,
    font,
    grey_to_rgb,
    paint,
)
from ramjax.figures.panel import fitted
from ramjax.notice import NOTE
from ramjax.record import Record
from ramjax.tasks import Task
from ramjax.tasks.base import CONFIDENT
from ramjax.tasks.findings import able, annotated, find, with_boxes

PANEL_HEIGHT = 640
COLUMNS = 3


def save_test_grid(path: str | pathlib.Path, pairs: Sequence[np.ndarray], tasks: Sequence[Task]) -> None:
    """Writes a PNG of pictures of `case_picture`, truth on the left and prediction on the right of each.

    It is written under another name and then renamed, so that there is always a whole picture, the old or the new one.
    """
    entries: list[tuple[str, Colour]] = []
    for task in tasks:
        entries = task.legend(entries)
    files.write_bytes(path, encode_png(_arrange(pairs, entries)))


def case_picture(
    tasks: Sequence[Task],
    record: Record,
    predictions: Mapping[str, np.ndarray],
    affine: np.ndarray,
    canvas_height: int,
) -> np.ndarray:
    """Truth beside prediction, uint8 RGB, `PANEL_HEIGHT` high but for the lines of text; between them what the network
    saw, where some of the radiograph was hidden from it.

    Boxes that the network does not find itself, and was given, are the annotated ones.

    Args:
      tasks: of the network.
      record: as annotated.
      predictions: of the network, without the batch axis.
      affine: (2, 3), pixels of the record to canvas pixels.
      canvas_height: in pixels.
    """
    shown = with_boxes(tasks)
    truth = annotated(shown, record)
    given = {task.name: truth.of(task) for task in shown if task not in tasks}
    grid = grid_of(record, "native", affine, canvas_height)
    found = find(shown, predictions, grid, CONFIDENT, given)
    left, covered, right = [], [], []
    words, remarks = [], []
    answering = able(tasks, predictions)
    for task in shown:
        if (finding := truth.of(task)) is not None:
            left = task.draw(finding, left)
        if task in answering or task.name in given:
            right = task.contrast(truth.of(task), found.of(task), right)
        if task in answering:
            covered += task.covered(found.of(task))
            words += task.captions(truth.of(task), found.of(task))
            remarks.append(task.remark(truth.of(task), found.of(task), record.pixel_spacing_mm))
    uncompared = [dataclasses.replace(of, colour=UNKNOWN) if isinstance(of, Box) else of for of in left]
    shown = [("Annotated", uncompared, [of for of, _ in words]), ("Predicted", right, [of for _, of in words])]
    if covered:
        shown = [("Original", *shown[0][1:]), ("Seen", covered, []), ("Made up", *shown[1][1:])]
    panels = [(title, _panel(record.image, drawn), said) for title, drawn, said in shown]
    return _beside(panels, _caption(record), remarks)


def _beside(
    panels: Sequence[tuple[str, np.ndarray, Sequence[str]]], caption: str, remarks: Sequence[str]
) -> np.ndarray:
    """Pictures of one height from left to right, each with its title and words above."""
    widths = [picture.shape[1] for _, picture, _ in panels]
    pair = np.full((PANEL_HEIGHT + 74, sum(widths) + 6 * (len(panels) - 1), 3), GROUND, np.uint8)
    starts = [sum(widths[:k]) + 6 * k for k in range(len(panels))]
    for left, (_, picture, _) in zip(starts, panels, strict=True):
        pair[34 : 34 + PANEL_HEIGHT, left : left + picture.shape[1]] = picture
    image = Image.fromarray(pair)
    canvas = ImageDraw.Draw(image)
    for left, (title, picture, words) in zip(starts, panels, strict=True):
        canvas.text((left + 4, 17), title, DIM, font(17), anchor="lm")
        said = fitted("   ".join(filter(None, words)), font(19), picture.shape[1] - 104)
        canvas.text((left + 104, 17), said, INK, font(19), anchor="lm")
    canvas.text((4, PANEL_HEIGHT + 54), caption, INK, font(17), anchor="lm")
    remark = ", ".join(filter(None, remarks))
    canvas.text((pair.shape[1] - 4, PANEL_HEIGHT + 54), remark, DIM, font(17), anchor="rm")
    return np.asarray(image)


def _caption(record: Record) -> str:
    side = {"L": "left", "R": "right"}.get(record.side, "")
    return " ".join(word for word in (record.dataset, record.id, side, record.view) if word)


def _panel(pixels: np.ndarray, drawn: Sequence[Shape]) -> np.ndarray:
    scale = PANEL_HEIGHT / pixels.shape[0]
    image = Image.fromarray(paint(grey_to_rgb(pixels, scale), drawn, scale, order=(Pixels, Outline, Fill, Box)))
    canvas = ImageDraw.Draw(image)
    for box in (shape for shape in drawn if isinstance(shape, Box)):
        at = box.box[3] * scale + 2, (box.box[0] + box.box[2]) / 2 * scale
        canvas.text(at, box.mark, box.colour, font(14), anchor="lm", stroke_width=2, stroke_fill=(0, 0, 0))
    return np.asarray(image)


def _arrange(pairs: Sequence[np.ndarray], entries: Sequence[tuple[str, Colour]]) -> np.ndarray:
    height, width = pairs[0].shape[0], max(pair.shape[1] for pair in pairs)
    columns = min(COLUMNS, len(pairs))
    rows = -(-len(pairs) // columns)
    gap, header = 14, 54
    grid = np.full((header + rows * (height + gap), columns * (width + gap) + gap, 3), GROUND, np.uint8)
    for i, pair in enumerate(pairs):
        top, left = header + i // columns * (height + gap), gap + i % columns * (width + gap)
        grid[top : top + height, left : left + pair.shape[1]] = pair
    image = Image.fromarray(grid)
    canvas = ImageDraw.Draw(image)
    x = float(gap)
    for words, colour in entries:
        canvas.text((x, header / 2), words, colour, font(18), anchor="lm")
        x += font(18).getlength(words) + 22
    canvas.text((grid.shape[1] - gap, header / 2), NOTE, WARNING, font(18), anchor="rm")
    return np.asarray(image)

"""Reads one radiograph with a trained network: findings, report and picture."""

import dataclasses
import math
import pathlib
from typing import Any

import numpy as np

from ramjax.data.grid import Grid
from ramjax.figures.overlay import encode_png
from ramjax.files import write_bytes
from ramjax.inference import report, sheet
from ramjax.inference.network import TrainedNetwork
from ramjax.inference.search import Found, search
from ramjax.io.radiograph import Radiograph
from ramjax.tasks import Task
from ramjax.tasks.base import CONFIDENT
from ramjax.tasks.findings import Findings, find

SIDE_MARGIN = 0.03
"""An estimated side is doubtful when the other side is nearly as certain as this."""

_DOUBTFUL_SIDE = "The side is doubtful: the other one is nearly as certain; state it with --side."
_DOUBTFUL_VIEW = "It is doubtful whether this is a whole hand or a wrist; state it with --view."


@dataclasses.dataclass(frozen=True)
class Options:
    """What the user states about all radiographs; '' and None leave it to the file or to an estimate.

    Sites found with a confidence below `min_confidence` are not judged.
    """

    side: str = ""
    view: str = ""
    spacing_mm: float | None = None
    min_confidence: float = CONFIDENT


NOTHING_KNOWN = Options()


@dataclasses.dataclass(frozen=True)
class HandReading:
    """What a network found in one radiograph. In a notebook it shows itself as a picture. Research use only.

    Attributes:
      name: of the radiograph, the title of the picture.
      radiograph: as it was read; `pixels` are uint8 (H, W).
      tasks: of the network.
      findings: of each task.
      report: the same as nested plain values, ready for JSON; `ramjax.inference.report` explains its keys.
    """

    name: str
    radiograph: Radiograph
    tasks: tuple[Task, ...]
    findings: Findings
    report: dict[str, Any]

    def overlay(self) -> np.ndarray:
        """The radiograph, everything found in it, and that in words: uint8 RGB (h, w, 3)."""
        return sheet.sheet(self.radiograph.pixels, self.tasks, self.findings, self.report, title=self.name)

    def save(self, path: str | pathlib.Path) -> None:
        """Writes the overlay as PNG, in the place of what has that name.

        Raises:
          ValueError: `path` does not end in .png.
          OSError: the file cannot be written.
        """
        path = pathlib.Path(path).expanduser()
        if path.suffix.lower() != ".png":
            raise ValueError(f"{path} is written as PNG; let its name end in .png.")
        write_bytes(path, encode_png(self.overlay()))

    def _repr_png_(self) -> bytes:
        return encode_png(self.overlay())


def read(
    radiograph: Radiograph,
    network: TrainedNetwork,
    options: Options = NOTHING_KNOWN,
    *,
    name: str = "",
    source: str = "",
) -> HandReading:
    """Predicts one radiograph.

    Args:
      radiograph: as it was read.
      network: that is asked.
      options: what is known of the radiograph.
      name: the title of its picture.
      source: where it comes from, for the report.
    """
    if options.spacing_mm is not None:
        radiograph = dataclasses.replace(radiograph, pixel_spacing_mm=options.spacing_mm)
    known_side = options.side or radiograph.side
    found = search(radiograph, network, known_side, options.view)
    shape, spacing = radiograph.pixels.shape, radiograph.pixel_spacing_mm
    grid = Grid(shape, found.placement.affine, found.canvas.height, (spacing, spacing))
    findings = find(network.tasks, found.predictions, grid, options.min_confidence)
    side, side_source = _side(found, network, known_side, options)
    view, view_source = _view(found, network, findings, radiograph, options)
    notes = list(radiograph.notes)
    if found.quarter_turns:
        notes.append(f"The network saw the radiograph turned clockwise by {90 * found.quarter_turns} degrees.")
    for task in network.tasks:
        if (finding := findings.of(task)) is not None:
            notes += task.doubts(finding)
    if side_source == "estimated" and found.other_side > found.certainty - SIDE_MARGIN:
        notes.append(_DOUBTFUL_SIDE)
    told = found.positioning
    if view_source == "estimated" and told is not None and not told.view:
        notes.append(_DOUBTFUL_VIEW)
    about = {
        "input": source,
        "model": {"workdir": network.name, "step": network.step},
        "side": side,
        "side_source": side_source,
        "view": view,
        "view_source": view_source,
        "certainty": _rounded(found.certainty),
        "certainty_other_side": _rounded(found.other_side),
        "chance_right": None if told is None else _rounded(told.right),
        "chance_hand": None if told is None else _rounded(told.hand),
        "placement": {
            "canvas": [found.canvas.height, found.canvas.width],
            "affine": [[round(float(v), 6) for v in row] for row in found.placement.affine],
            "mirrored": bool(found.placement.mirrored),
        },
        "notes": notes,
    }
    written = report.to_json(network.tasks, findings, shape, spacing, about)
    return HandReading(name, radiograph, network.tasks, findings, written)


def _side(found: Found, network: TrainedNetwork, known: str, options: Options) -> tuple[str, str]:
    if known:
        return known, "argument" if options.side else "file"
    if found.positioning is not None and found.positioning.side:
        return found.positioning.side, "estimated"
    data = network.config.data
    tells_sides = data.canvas.mirror_left and (data.augment.mirror == 0 or found.positioning is not None)
    if not tells_sides or found.certainty == found.other_side or math.isnan(found.other_side):
        return "", "unknown"
    return "L" if found.placement.mirrored else "R", "estimated"


def _view(
    found: Found, network: TrainedNetwork, findings: Findings, radiograph: Radiograph, options: Options
) -> tuple[str, str]:
    if options.view:
        return options.view, "argument"
    if found.positioning is not None and found.positioning.view:
        return found.positioning.view, "estimated"
    for task in network.tasks:
        if (finding := findings.of(task)) is not None and (view := task.view(finding)):
            return view, "estimated"
    return radiograph.view, "file" if radiograph.view else "unknown"


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None

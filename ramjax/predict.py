"""Predicts bones, erosions and Sharp/van der Heijde scores in radiographs with a trained run.

    python -m ramjax.predict --workdir=runs/multitask --input=hand.png,more_hands --output=predictions

Inputs are PNG, BMP, JPEG, TIFF or DICOM files and folders of them, separated by commas, repeated, or listed at the end.
For each, the output folder gets NAME.json (joints, scores, totals, bones, erosion area, and what other tasks of the run
say; its keys are listed in ramjax/inference/report.py and in finding.py of each task in ramjax/tasks), NAME_overlay.png
to look at, and a row in summary.csv. With --masks also NAME_erosions.png, labels 0-3, and NAME_bones.png, whose four
channels are one little-endian 32-bit word with bit k set where bone k of ramjax.anatomy.BONES is, both on the
radiograph's grid.
Files that fail are named at the end; the others are done all the same.

The results name the file and folder they come from: keep names of patients and other identifiers out of paths. Nothing
that identifies the patient is read from DICOM.

Exit codes: 0 done, 1 an error or a file that failed, 2 wrong usage, 130 interrupted.

Research use only, not a medical device.
"""

import contextlib
import dataclasses
import logging
import math
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags
from tqdm import tqdm

from ramjax import command_line, notice
from ramjax.data.grid import Grid
from ramjax.errors import RunError, is_disk_full
from ramjax.figures.overlay import encode_png
from ramjax.files import write_whole
from ramjax.inference import files, report, sheet
from ramjax.inference.network import TrainedNetwork, load
from ramjax.inference.search import Found, search
from ramjax.io.images import ImageError, Radiograph, read_radiograph
from ramjax.logs import logging_to
from ramjax.tasks.base import CONFIDENT
from ramjax.tasks.findings import Findings, find, reported

log = logging.getLogger("ramjax.predict")

SIDE_MARGIN = 0.03
"""An estimated side is doubtful when the other side is nearly as certain as this."""

_DOUBTFUL_SIDE = "The side is doubtful: the other one is nearly as certain; state it with --side."


@dataclasses.dataclass(frozen=True)
class Options:
    """What the user states about all radiographs; '' and None leave it to the file or to an estimate.

    `masks` asks for the masks as images beside the report; `debug` lets an unforeseen error in a file end the run.
    """

    side: str = ""
    view: str = ""
    spacing_mm: float | None = None
    min_confidence: float = CONFIDENT
    masks: bool = False
    debug: bool = False


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""
    try:
        values = parse(argv)
    except flags.Error as error:
        print(f"Usage error: {error} See python -m ramjax.predict --help.", file=sys.stderr)
        return 2
    if values is None:
        return 0
    options = Options(
        side="" if values.side == "auto" else values.side,
        view="" if values.view == "auto" else values.view,
        spacing_mm=values.spacing_mm,
        min_confidence=values.min_confidence,
        masks=values.masks,
        debug=values.debug,
    )
    try:
        command_line.keep_compiled_programs()
        with logging_to(None):
            failures = predict_all(
                values.input, pathlib.Path(values.output).expanduser(), load(values.workdir), options
            )
    except KeyboardInterrupt:
        print("Interrupted; the results written so far are complete.", file=sys.stderr)
        return 130
    except Exception as error:
        print(f"Error: {command_line.explain(error)}", file=sys.stderr)
        if values.debug:
            raise
        return 1
    return 1 if failures else 0


def parse(argv: list[str]) -> flags.FlagValues | None:
    """Parses the command line; None when it asked for help, which is printed."""
    values = flags.FlagValues()
    define = {"flag_values": values}
    flags.DEFINE_string("workdir", None, "Run directory of the trained network.", **define)
    flags.DEFINE_multi_string("input", [], "Files and folders, comma separated; may be repeated.", **define)
    flags.DEFINE_string("output", None, "Folder for the results; made if absent.", **define)
    flags.DEFINE_enum("side", "auto", ["auto", "L", "R"], "Hand shown; auto asks DICOM, else estimates it.", **define)
    flags.DEFINE_enum("view", "auto", ["auto", "hand", "wrist"], "What is shown; auto tries both.", **define)
    flags.DEFINE_float("spacing_mm", None, "Side of a pixel in mm, over what the file says.", 1e-3, 10.0, **define)
    flags.DEFINE_float("min_confidence", CONFIDENT, "Sites found less surely are not judged.", 0.0, 1.0, **define)
    flags.DEFINE_bool("masks", False, "Write what was found as masks too.", **define)
    flags.DEFINE_bool("debug", False, "Stop at the first unforeseen error and show its traceback.", **define)
    if command_line.wants_help(argv):
        print(command_line.help_text(__doc__, values))
        return None
    positional = values(argv)[1:]
    values.input = [path for value in values.input for path in files.split_commas(value)] + positional
    for name in ("workdir", "input", "output"):
        if not values[name].value:
            raise flags.Error(f"--{name} is missing.")
    return values


def predict_all(
    inputs: Sequence[str | pathlib.Path], output: pathlib.Path, network: TrainedNetwork, options: Options
) -> list[str]:
    """Predicts every input and writes the results; returns a sentence for each file that failed.

    Results appear whole or not at all; earlier ones in the folder stay until theirs are replaced.

    Raises:
      RunError: there is nothing to predict, or the output cannot be written.
    """
    masks = [name for task in reported(network.tasks) for name in task.mask_names]
    paths = files.find_files(inputs, output, masks)
    if not paths:
        raise RunError(f"No radiographs in {', '.join(map(str, inputs))}; PNG, BMP, JPEG, TIFF and DICOM are read.")
    with _writing_to(output):
        output.mkdir(parents=True, exist_ok=True)
        names = files.choose_names(paths, output)
    rows, failures = [], []
    try:
        for path, name in zip(tqdm(paths, desc="Predicting", unit="image", disable=None), names, strict=True):
            try:
                contents, row = _predict_file(path, name, network, options)
            except Exception as error:
                if options.debug and not isinstance(error, ImageError):
                    raise
                failures.append(_describe(error, path))
                rows.append({"name": name, "input": str(path), "error": failures[-1]})
            else:
                with _writing_to(output):
                    write_whole({output / (name + suffix): content for suffix, content in contents.items()})
                rows.append(row)
    finally:
        with _writing_to(output):
            _write_summary(output / "summary.csv", network, rows)
    for sentence in failures:
        log.warning("%s", sentence)
    done = len(paths) - len(failures)
    log.info("%d of %d radiographs predicted. %s\nResults: %s", done, len(paths), notice.NOTE, output)
    return failures


def predict_one(radiograph: Radiograph, network: TrainedNetwork, options: Options) -> tuple[Findings, dict[str, Any]]:
    """Predicts one radiograph; returns what was found and its report (see `report.to_json`), input unnamed."""
    if options.spacing_mm is not None:
        radiograph = dataclasses.replace(radiograph, pixel_spacing_mm=options.spacing_mm)
    known_side = options.side or radiograph.side
    found = search(radiograph, network, known_side, options.view)
    shape, spacing = radiograph.pixels.shape, radiograph.pixel_spacing_mm
    grid = Grid(shape, found.placement.affine, found.canvas.height, (spacing, spacing))
    findings = find(network.tasks, found.predictions, grid, options.min_confidence)
    side, side_source = _side(found, network, known_side, options)
    view, view_source = _view(network, findings, radiograph, options)
    notes = list(radiograph.notes)
    if found.quarter_turns:
        notes.append(f"The network saw the radiograph turned clockwise by {90 * found.quarter_turns} degrees.")
    for task in network.tasks:
        if (finding := findings.of(task)) is not None:
            notes += task.doubts(finding)
    if side_source == "estimated" and found.other_side > found.certainty - SIDE_MARGIN:
        notes.append(_DOUBTFUL_SIDE)
    about = {
        "input": "",
        "model": {"workdir": network.name, "step": network.step},
        "side": side,
        "side_source": side_source,
        "view": view,
        "view_source": view_source,
        "certainty": _rounded(found.certainty),
        "certainty_other_side": _rounded(found.other_side),
        "placement": {
            "canvas": [found.canvas.height, found.canvas.width],
            "affine": [[round(float(v), 6) for v in row] for row in found.placement.affine],
            "mirrored": bool(found.placement.mirrored),
        },
        "notes": notes,
    }
    return findings, report.to_json(network.tasks, findings, shape, spacing, about)


@contextlib.contextmanager
def _writing_to(output: pathlib.Path) -> Iterator[None]:
    """Turns errors of the file system into one sentence."""
    try:
        yield
    except OSError as error:
        remedy = "the disk is full; make room" if is_disk_full(error) else f"{error.strerror}; name another folder"
        raise RunError(f"--output={output} cannot be written: {remedy} and start again.") from error


def _predict_file(
    path: pathlib.Path, name: str, network: TrainedNetwork, options: Options
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Predicts a file; returns the contents of its results by what follows its name, and its row of the summary."""
    radiograph = read_radiograph(path)
    findings, values = predict_one(radiograph, network, options)
    values["input"] = str(path)
    picture = sheet.sheet(radiograph.pixels, network.tasks, findings, values, title=name)
    contents = {files.OVERLAY: encode_png(picture)}
    for task in network.tasks if options.masks else ():
        if (finding := findings.of(task)) is not None:
            masks = task.masks(finding, radiograph.pixels.shape)
            contents |= {files.mask(of): encode_png(mask) for of, mask in masks.items()}
    contents[files.REPORT] = report.to_text(values).encode()
    return contents, report.summary_row(network.tasks, name, values)


def _describe(error: Exception, path: pathlib.Path) -> str:
    return str(error) if isinstance(error, ImageError) else f"{path} cannot be predicted: {command_line.explain(error)}"


def _write_summary(path: pathlib.Path, network: TrainedNetwork, rows: Sequence[dict[str, Any]]) -> None:
    """Adds the rows to those there are, in the place of those of the same name."""
    if rows:
        # A spreadsheet may have saved it since, with a mark in front or in another encoding.
        before = path.read_text(encoding="utf-8-sig", errors="replace") if path.exists() else ""
        write_whole({path: report.merged_summary(network.tasks, rows, before).encode()})


def _side(found: Found, network: TrainedNetwork, known: str, options: Options) -> tuple[str, str]:
    if known:
        return known, "argument" if options.side else "file"
    data = network.config.data
    tells_sides = data.canvas.mirror_left and data.augment.mirror == 0
    if not tells_sides or found.certainty == found.other_side or math.isnan(found.other_side):
        return "", "unknown"
    return "L" if found.placement.mirrored else "R", "estimated"


def _view(network: TrainedNetwork, findings: Findings, radiograph: Radiograph, options: Options) -> tuple[str, str]:
    if options.view:
        return options.view, "argument"
    for task in network.tasks:
        if (finding := findings.of(task)) is not None and (view := task.view(finding)):
            return view, "estimated"
    return radiograph.view, "file" if radiograph.view else "unknown"


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


if __name__ == "__main__":
    sys.exit(main(sys.argv))

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

import pathlib
import sys

from absl import flags

from ramjax import command_line
from ramjax.errors import explain
from ramjax.inference import files
from ramjax.inference.batch import predict_all
from ramjax.inference.network import load
from ramjax.inference.reading import Options
from ramjax.logs import logging_to
from ramjax.tasks.base import CONFIDENT


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
    )
    try:
        command_line.keep_compiled_programs()
        with logging_to(None):
            network, output = load(values.workdir), pathlib.Path(values.output).expanduser()
            failures = predict_all(values.input, output, network, options, masks=values.masks, debug=values.debug)
    except KeyboardInterrupt:
        print("Interrupted; the results written so far are complete.", file=sys.stderr)
        return 130
    except Exception as error:
        print(f"Error: {explain(error)}", file=sys.stderr)
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


if __name__ == "__main__":
    sys.exit(main(sys.argv))

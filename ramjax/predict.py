"""Predicts bones, erosions and Sharp/van der Heijde scores in radiographs.

    python -m ramjax.predict --input=hand.png,more_hands --output=predictions
    python -m ramjax.predict --workdir=runs/multitask --input=hand.png,more_hands --output=predictions

The first uses the network that ships with ramjax, which was trained on synthetic hands (ramjax/weights/default.md says
what it reaches), the second one of yours.

Inputs are PNG, BMP, JPEG, TIFF or DICOM files and folders of them, separated by commas, repeated, or listed at the end.
For each, the output folder gets NAME.json (joints, scores, totals, bones, erosion area, and what other tasks of the run
say; its keys are listed in ramjax/inference/report.py and in finding.py of each task in ramjax/tasks), NAME_overlay.png
to look at, and a row in summary.csv. With --masks also NAME_erosions.png, labels 0-3, and NAME_bones.png, whose four
channels are one little-endian 32-bit word with bit k set where bone k of ramjax.anatomy.BONES is, both on the
radiograph's grid.
Files that fail are named at the end and in summary.csv; the others are still predicted.

Nothing of yours is replaced. The file .ramjax.jsonl in the output folder records what was written. Results of the same
input are replaced where nobody changed them since. Any other file keeps its name: the results then get a longer NAME,
and the rows go to summary-2.csv, which the log says. NAME is the input's name, with folders in front where two are
alike; it ends in a short digest where the name is too long or has letters that cannot be seen. Several predictions may
write to one folder at once.

In summary.csv a cell that a spreadsheet would run as a formula, such as =1+1, has an apostrophe in front, and letters
that could control a terminal are escaped.

The results name the file and folder they come from: keep names of patients and other identifiers out of paths. Nothing
that identifies the patient is read from DICOM.

Exit codes: 0 done, 1 an error or a file that failed, 2 wrong usage, 130 interrupted.

Research use only, not a medical device.
"""

import os
import pathlib
import sys

from absl import flags

from ramjax import command_line
from ramjax.runs import weights


def define(values: flags.FlagValues) -> None:
    define = {"flag_values": values}
    command_line.define_path(
        "workdir",
        weights.DEFAULT,
        "Run directory of a trained network, a safetensors file, or default, the network that ships with ramjax.",
        **define,
    )
    command_line.define_path(
        "input", None, "Files and folders, comma separated; may be repeated.", several=True, **define
    )
    command_line.define_path("output", None, "Folder for the results; made if absent.", **define)
    flags.DEFINE_enum("side", "auto", ["auto", "L", "R"], "Hand shown; auto asks DICOM, else estimates it.", **define)
    flags.DEFINE_enum("view", "auto", ["auto", "hand", "wrist"], "What is shown; auto tries both.", **define)
    flags.DEFINE_float("spacing_mm", None, "Side of a pixel in mm, over what the file says.", 1e-3, 10.0, **define)
    flags.DEFINE_float(
        "min_confidence",
        None,
        "Sites found less surely are not judged; the default is meant for most networks.",
        0.0,
        1.0,
        **define,
    )
    flags.DEFINE_bool("masks", False, "Write what was found as masks too.", **define)


def check(values: flags.FlagValues) -> None:
    command_line.needs(values, "workdir", "input", "output")
    from ramjax.inference.files import split_commas  # after the flags: a wrong one should not take seconds to say

    for value in values.input:
        if not os.path.exists(value):
            for part in value.split(","):
                command_line.path_of("input", part)
    values.input = [command_line.path_of("input", path) for value in values.input for path in split_commas(value)]


def act(values: flags.FlagValues) -> int:
    from ramjax.inference.batch import predict_all
    from ramjax.inference.network import load
    from ramjax.inference.reading import Options

    command_line.set_up_jax()
    known = {"min_confidence": values.min_confidence, "spacing_mm": values.spacing_mm}
    known |= {name: values[name].value for name in ("side", "view") if values[name].value != "auto"}
    options = Options(**{name: value for name, value in known.items() if value is not None})
    output = pathlib.Path(values.output)
    failures = predict_all(values.input, output, load(values.workdir), options, masks=values.masks, debug=values.debug)
    return 1 if failures else 0


main = command_line.command(
    "python -m ramjax.predict",
    __doc__,
    define,
    act,
    check=check,
    interrupted="Interrupted; the results written so far are complete.",
    positional="input",
)


if __name__ == "__main__":
    sys.exit(main(sys.argv))

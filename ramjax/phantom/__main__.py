"""Draws a sheet of synthetic hands, to see what a network is trained on.

    python -m ramjax.phantom --output=hands.png [--count=6 --scale=0.5 --seed=0] [--beside=RADIOGRAPH]

Each hand is of another patient, left and right alternately. Below it are its name and its totals of bone erosion (BE)
and joint space narrowing (JSN). With --beside, a radiograph (PNG, BMP, JPEG, TIFF or DICOM) comes first, for
comparison.

Exit codes: 0 done, 1 an error, 2 wrong usage.

Research use only. Not a medical device.
"""

import pathlib
import sys
from collections.abc import Sequence

import numpy as np
from absl import flags
from PIL import Image, ImageDraw

from ramjax import anatomy, command_line, files
from ramjax.figures import overlay
from ramjax.io.images import read_radiograph
from ramjax.phantom import Case, PhantomConfig, render
from ramjax.printable import printable

_ASPECT, _CAPTION, _GAP = 2.0, 22, 8
"""A sheet is about this many times as wide, in panels, as high; the height of a caption and the gap in pixels."""


def contact_sheet(panels: Sequence[tuple[np.ndarray, str]]) -> np.ndarray:
    """Returns panels (uint8 (h, w), caption) side by side in rows, uint8 (rows, columns), all as high as the last
    one's picture.
    """
    height = panels[-1][0].shape[0]
    pictures = [Image.fromarray(image) for image, _ in panels]
    pictures = [
        picture.resize((max(round(picture.width * height / picture.height), 1), height)) for picture in pictures
    ]
    columns = min(len(panels), int(np.ceil(np.sqrt(_ASPECT * len(panels)))))
    wide, tall = max(picture.width for picture in pictures) + _GAP, height + _CAPTION + _GAP
    sheet = Image.new("L", (columns * wide, -(-len(panels) // columns) * tall))
    canvas = ImageDraw.Draw(sheet)
    for index, (picture, (_, caption)) in enumerate(zip(pictures, panels, strict=True)):
        x, y = index % columns * wide, index // columns * tall
        sheet.paste(picture, (x, y))
        canvas.text((x + 2, y + height + _CAPTION // 2), caption, 200, overlay.font(14), anchor="lm")
    return np.asarray(sheet)


def _panels(config: PhantomConfig) -> list[tuple[np.ndarray, str]]:
    panels = []
    for index in range(config.patients):
        phantom = render(config, Case(index, 0, "LR"[index % 2]))
        be, jsn = (
            sum(int(scores[site]) for site in sites)
            for scores, sites in ((phantom.truth.be, anatomy.BE_SITES), (phantom.truth.jsn, anatomy.JSN_SITES))
        )
        panels.append((phantom.record.image, f"P{index} {phantom.record.side}  BE {be}  JSN {jsn}"))
    return panels


def define(values: flags.FlagValues) -> None:
    define = {"flag_values": values}
    command_line.define_path("output", None, "PNG to write.", **define)
    flags.DEFINE_integer("count", 6, "Number of hands.", 1, 1000, **define)
    flags.DEFINE_float("scale", 0.5, "Size relative to the native resolution, 0.1 to 1.", 0.1, 1.0, **define)
    flags.DEFINE_integer("seed", 0, "Of all random choices.", 0, **define)
    command_line.define_path("beside", None, "A radiograph to show first.", **define)


def check(values: flags.FlagValues) -> None:
    command_line.needs(values, "output")
    if pathlib.Path(values.output).suffix.lower() != ".png":
        raise flags.Error(f"--output is {values.output}; name a file that ends in .png.")


def act(values: flags.FlagValues) -> None:
    first = [(read_radiograph(values.beside).pixels, "radiograph")] if values.beside else []
    config = PhantomConfig(patients=values.count, scale=values.scale, seed=values.seed)
    files.write_bytes(values.output, overlay.encode_png(contact_sheet(first + _panels(config))))
    print(f"{values.count} synthetic hands: {printable(values.output)}")


main = command_line.command(
    "python -m ramjax.phantom",
    __doc__,
    define,
    act,
    check=check,
)


if __name__ == "__main__":
    sys.exit(main(sys.argv))

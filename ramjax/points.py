"""Compares predicted joint sites with points that were placed by hand.

    python -m ramjax.points --prediction=predictions/hand.json --points=hand.points.json

The points file is JSON: ``sites_xy`` maps names of joint sites to [x, y] in pixels of the radiograph, and
``pixel_spacing_mm`` (optional; else that of the prediction) gives distances in mm. Sites that were not found are listed
and do not enter the mean.
"""

import sys

from absl import flags

from ramjax import command_line


def define(values: flags.FlagValues) -> None:
    command_line.define_path("prediction", None, "JSON that ramjax.predict wrote.", flag_values=values)
    command_line.define_path("points", None, "JSON with sites_xy.", flag_values=values)


def act(values: flags.FlagValues) -> None:
    from ramjax.metrics.points import compare_files, table

    print(table(compare_files(values.prediction, values.points)))


main = command_line.command(
    "python -m ramjax.points",
    __doc__,
    define,
    act,
    check=lambda values: command_line.needs(values, "prediction", "points"),
)


if __name__ == "__main__":
    sys.exit(main(sys.argv))

"""Compares predicted joint sites with points that somebody placed.

    python -m ramjax.evaluation.points --prediction=predictions/hand.json --points=hand.points.json

The points file is JSON: ``sites_xy`` maps names of joint sites to [x, y] in pixels of the radiograph, and
``pixel_spacing_mm`` (optional, else the prediction's) gives the unit. Sites not found are named, not averaged.
"""

import dataclasses
import json
import math
import pathlib
import sys
from typing import Any

from absl import flags

from ramjax import anatomy


class PointsError(ValueError):
    """A file that cannot be compared; the message names it and the remedy."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How far predicted sites lie from placed points.

    Attributes:
      distances: by site, in `unit`.
      unit: ``mm``, or ``px`` where the spacing is unknown.
      missing: sites with a point that were not predicted.
    """

    distances: dict[str, float]
    unit: str
    missing: tuple[str, ...]

    @property
    def mean(self) -> float:
        """Mean distance over the sites that have both; NaN without any."""
        return sum(self.distances.values()) / len(self.distances) if self.distances else math.nan


def compare(prediction: dict[str, Any], points: dict[str, Any]) -> Comparison:
    """Compares a report of `ramjax.predict` with a points file, both decoded."""
    spacing = points.get("pixel_spacing_mm") or prediction.get("pixel_spacing_mm")
    placed = {anatomy.canonical_site(name): point for name, point in points["sites_xy"].items()}
    boxes = {joint["site"]: joint["bbox"] for joint in prediction["joints"]}
    distances = {}
    for site in anatomy.SITE_NAMES:
        if site in placed and site in boxes:
            (x, y), (ymin, xmin, ymax, xmax) = placed[site], boxes[site]
            distances[site] = math.hypot((xmin + xmax) / 2 - x, (ymin + ymax) / 2 - y) * (spacing or 1.0)
    missing = tuple(site for site in anatomy.SITE_NAMES if site in placed and site not in boxes)
    return Comparison(distances, "mm" if spacing else "px", missing)


def table(comparison: Comparison) -> str:
    """A line for each site, and the mean."""
    lines = [f"{site:8} {distance:7.2f} {comparison.unit}" for site, distance in comparison.distances.items()]
    lines += [f"{site:8} not found" for site in comparison.missing]
    count = len(comparison.distances)
    lines.append(
        f"{'mean':8} {comparison.mean:7.2f} {comparison.unit} over {count} of {count + len(comparison.missing)} sites"
    )
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""
    values = flags.FlagValues()
    flags.DEFINE_string("prediction", None, "JSON that ramjax.predict wrote.", flag_values=values)
    flags.DEFINE_string("points", None, "JSON with sites_xy.", flag_values=values)
    if {"--help", "-help", "-h"} & set(argv[1:]):
        print(f"{__doc__}\nFlags:\n{values.get_help()}")
        return 0
    try:
        values(argv)
        if not values.prediction or not values.points:
            raise flags.Error("--prediction=FILE and --points=FILE are both needed.")
    except flags.Error as error:
        print(f"Usage error: {error} See python -m ramjax.evaluation.points --help.", file=sys.stderr)
        return 2
    try:
        print(table(compare(_read(values.prediction, "joints"), _read(values.points, "sites_xy"))))
    except ValueError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def _read(path: str, key: str) -> dict[str, Any]:
    try:
        values = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise PointsError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    except ValueError as error:
        raise PointsError(f"{path} is not JSON; name a JSON file with {key!r}.") from error
    if not isinstance(values, dict) or key not in values:
        raise PointsError(f"{path} has no {key!r}; --prediction takes a report and --points a points file.")
    return values


if __name__ == "__main__":
    sys.exit(main(sys.argv))

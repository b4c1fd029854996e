"""Compares predicted joint sites with points that were placed by hand.

    python -m ramjax.points --prediction=predictions/hand.json --points=hand.points.json

The points file is JSON: ``sites_xy`` maps names of joint sites to [x, y] in pixels of the radiograph, and
``pixel_spacing_mm`` (optional; else that of the prediction) gives distances in mm. Sites that were not found are listed
and do not enter the mean.
"""

import dataclasses
import json
import math
import pathlib
import sys
from typing import Any

from absl import flags

from ramjax import anatomy, command_line


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
    """Compares a report of `ramjax.predict` with a points file, both decoded.

    Raises:
      ValueError: a site is unknown, or a point, a box or the spacing is malformed; the message names it.
    """
    spacing = _spacing(points) or _spacing(prediction)
    placed, boxes = _points(points["sites_xy"]), _boxes(prediction["joints"])
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
    if command_line.wants_help(argv):
        print(command_line.help_text(__doc__, values))
        return 0
    try:
        values(argv)
        if not values.prediction or not values.points:
            raise flags.Error("--prediction=FILE and --points=FILE are both needed.")
    except flags.Error as error:
        print(f"Usage error: {error} See python -m ramjax.points --help.", file=sys.stderr)
        return 2
    try:
        print(table(compare(_read(values.prediction, "joints"), _read(values.points, "sites_xy"))))
    except ValueError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def _points(sites_xy: Any) -> dict[str, list[float]]:
    if not isinstance(sites_xy, dict):
        raise PointsError(f"sites_xy is {sites_xy!r}; expected names of joint sites, each with its [x, y].")
    return {
        anatomy.canonical_site(name): _numbers(point, f"The point of {name}", ("x", "y"))
        for name, point in sites_xy.items()
    }


def _boxes(joints: Any) -> dict[str, list[float]]:
    if not isinstance(joints, list) or not all(isinstance(joint, dict) and "site" in joint for joint in joints):
        raise PointsError("joints of the prediction is no list of sites; name a report as ramjax.predict wrote it.")
    sides = ("ymin", "xmin", "ymax", "xmax")
    return {joint["site"]: _numbers(joint.get("bbox"), f"The bbox of {joint['site']}", sides) for joint in joints}


def _numbers(value: Any, what: str, names: tuple[str, ...]) -> list[float]:
    if not isinstance(value, list) or len(value) != len(names) or not all(map(_is_number, value)):
        raise PointsError(f"{what} is {value!r}; expected [{', '.join(names)}], numbers in pixels of the radiograph.")
    return value


def _spacing(values: dict[str, Any]) -> float | None:
    spacing = values.get("pixel_spacing_mm")
    if spacing is not None and not (_is_number(spacing) and spacing > 0):
        raise PointsError(f"pixel_spacing_mm is {spacing!r}; expected the side of a pixel in mm, or null.")
    return spacing


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


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

"""Predicted boxes against points that somebody placed on the same radiograph."""

import dataclasses
import json
import math
import pathlib
from typing import Any

from ramjax import anatomy
from ramjax.errors import UserError
from ramjax.io.json_file import finite, shown


class PointsError(UserError, ValueError):
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


def compare_files(prediction: str | pathlib.Path, points: str | pathlib.Path) -> Comparison:
    """As `compare`, of JSON files.

    Raises:
      PointsError: a file cannot be read, or its content cannot be compared; the message names what is wrong.
    """
    try:
        return compare(_read(prediction, "joints"), _read(points, "sites_xy"))
    except ValueError as error:
        raise PointsError(str(error)) from error


def table(comparison: Comparison) -> str:
    """A line for each site, and the mean."""
    lines = [f"{site:8} {distance:7.2f} {comparison.unit}" for site, distance in comparison.distances.items()]
    lines += [f"{site:8} not found" for site in comparison.missing]
    count = len(comparison.distances)
    lines.append(
        f"{'mean':8} {comparison.mean:7.2f} {comparison.unit} over {count} of {count + len(comparison.missing)} sites"
    )
    return "\n".join(lines)


def _points(sites_xy: Any) -> dict[str, list[float]]:
    if not isinstance(sites_xy, dict):
        raise PointsError(f"sites_xy is {shown(sites_xy)}; expected names of joint sites, each with its [x, y].")
    return {
        anatomy.canonical_site(name): _numbers(point, f"The point of {name}", ("x", "y"))
        for name, point in sites_xy.items()
    }


def _boxes(joints: Any) -> dict[str, list[float]]:
    if not isinstance(joints, list) or not all(
        isinstance(joint, dict) and isinstance(joint.get("site"), str) for joint in joints
    ):
        raise PointsError("joints of the prediction is no list of sites; name a report as ramjax.predict wrote it.")
    sides = ("ymin", "xmin", "ymax", "xmax")
    return {joint["site"]: _numbers(joint.get("bbox"), f"The bbox of {joint['site']}", sides) for joint in joints}


def _numbers(value: Any, what: str, names: tuple[str, ...]) -> list[float]:
    if not isinstance(value, list) or len(value) != len(names) or None in map(finite, value):
        raise PointsError(
            f"{what} is {shown(value)}; expected [{', '.join(names)}], numbers in pixels of the radiograph."
        )
    return value


def _spacing(values: dict[str, Any]) -> float | None:
    spacing = values.get("pixel_spacing_mm")
    if spacing is not None and not (finite(spacing) or 0) > 0:
        raise PointsError(f"pixel_spacing_mm is {shown(spacing)}; expected the side of a pixel in mm, or null.")
    return spacing


def _read(path: str | pathlib.Path, key: str) -> dict[str, Any]:
    try:
        values = json.loads(pathlib.Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise PointsError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    except (ValueError, RecursionError) as error:
        raise PointsError(f"{path} is not JSON; name a JSON file with {key!r}.") from error
    if not isinstance(values, dict) or key not in values:
        raise PointsError(f"{path} has no {key!r}; --prediction takes a report and --points a points file.")
    return values

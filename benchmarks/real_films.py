"""What a network says of real radiographs: view and side, joints, and scores of people with and without arthritis.

    python -m benchmarks.real_films --workdir=default --films=FOLDER

The folder has INDEX.csv with the columns file, view (hand or wrist), side (L or R), and erosive (1 if any SvdH erosion
was scored, 0 if not); what is not known is empty. Points that people placed are in NAME.points.json beside a film (see
`ramjax.points`) or together in points.json of its folder, where ``sites_xy`` has them by the film's name. Every film is
read twice: once with nothing stated, which tells view and side, and once with both stated, which tells the rest.
"""

import csv
import json
import pathlib
import statistics
import sys
from typing import Any

import numpy as np
from absl import flags
from tqdm import tqdm

from benchmarks import common
from ramjax import command_line
from ramjax.inference.network import TrainedNetwork, load
from ramjax.inference.reading import Options, read
from ramjax.io.images import read_radiograph
from ramjax.metrics.points import Comparison, compare
from ramjax.metrics.scoring import auroc

PHALANX = ("MCP-M", "PIP-M")
"""The proximal phalanx of the middle finger lies between these points: a length in the film, where mm are unknown."""


def define(values: flags.FlagValues) -> None:
    command_line.define_path("workdir", "default", "Run, safetensors file, or default.", flag_values=values)
    command_line.define_path("films", None, "Folder with INDEX.csv.", flag_values=values)
    flags.mark_flag_as_required("films", values)


def measure(values: flags.FlagValues) -> dict[str, Any]:
    command_line.set_up_jax()
    return measure_films(load(values.workdir), pathlib.Path(values.films))


def measure_films(network: TrainedNetwork, folder: pathlib.Path) -> dict[str, Any]:
    """The numbers of all films of a folder, by name; those that no film tells are None.

    Raises:
      OSError, ValueError: a film cannot be read, or INDEX.csv lacks a column.
    """
    with (folder / "INDEX.csv").open(newline="", encoding="utf-8") as file:
        films = list(csv.DictReader(file))
    if not films or not {"file", "view", "side", "erosive"} <= films[0].keys():
        raise ValueError(f"{folder / 'INDEX.csv'} needs a film a row, and the columns file, view, side and erosive.")
    rows = [_film(network, folder, film) for film in tqdm(films, desc="Reading", unit="film", disable=None)]
    hands = [row for row in rows if row["view"] == "hand"]
    wrists = [row for row in rows if row["view"] == "wrist"]
    numbers: dict[str, Any] = {}
    for name, some in (("hands", hands), ("wrists", wrists)):
        sided = [row for row in some if row["side"]]
        numbers |= {
            name: len(some),
            f"{name}_view_right": sum(row["found_view"] == row["view"] for row in some),
            f"{name}_with_side": len(sided),
            f"{name}_side_right": sum(row["found_side"] == row["side"] for row in sided),
        }
    well, ill = ([row for row in hands if row["erosive"] == erosive] for erosive in ("0", "1"))
    for name, some in (("hands_not_erosive", well), ("hands_erosive", ill)):
        numbers |= {name: len(some)} | {f"{name}_{score}": _mean([row[score] for row in some]) for score in _SCORES}
    judged = [row for row in wrists if row["erosive"] and row["be"] is not None]
    area = auroc(np.array([row["be"] for row in judged]), np.array([row["erosive"] == "1" for row in judged], bool))
    numbers |= {"wrists_judged": len(judged), "wrists_be_auroc": None if np.isnan(area) else area}
    return numbers | {
        "joints_mm": _mean([one for row in rows for one in row["joints_mm"]]),
        "joints_percent_of_phalanx": _median([one for row in rows for one in row["joints_percent"]]),
        "joints_missed": sum(row["joints_missed"] for row in rows),
    }


_SCORES = ("be", "jsn")


def _film(network: TrainedNetwork, folder: pathlib.Path, film: dict[str, str]) -> dict[str, Any]:
    """What a film shows, and what the network says of it."""
    path = folder / film["file"]
    radiograph = read_radiograph(path)
    unknown = read(radiograph, network).report
    known = read(radiograph, network, Options(side=film["side"], view=film["view"])).report
    row = {name: film[name] for name in ("view", "side", "erosive")}
    row |= {"found_view": unknown["view"], "found_side": unknown["side"]}
    row |= {score: known["totals"][score] for score in _SCORES}
    distances: dict[str, Any] = {"joints_mm": [], "joints_percent": [], "joints_missed": 0}
    points = _points(path)
    if points is not None:
        compared: Comparison = compare(known, points)
        distances["joints_missed"] = len(compared.missing)
        found = list(compared.distances.values())
        if compared.unit == "mm":
            distances["joints_mm"] = found
        elif all(site in points["sites_xy"] for site in PHALANX):
            ends = np.array([points["sites_xy"][site] for site in PHALANX])
            distances["joints_percent"] = [100 * of / float(np.linalg.norm(ends[0] - ends[1])) for of in found]
    return row | distances


def _points(path: pathlib.Path) -> dict[str, Any] | None:
    own, shared = path.with_suffix(".points.json"), path.with_name("points.json")
    if own.exists():
        return json.loads(own.read_text())
    by_film = json.loads(shared.read_text())["sites_xy"] if shared.exists() else {}
    return {"sites_xy": by_film[path.stem]} if path.stem in by_film else None


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else None


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


if __name__ == "__main__":
    sys.exit(common.run(sys.argv, __doc__, define, measure))

"""Predicted boxes against placed points."""

import json

import pytest

from ramjax import points
from ramjax.metrics.points import compare

PREDICTION = {
    "pixel_spacing_mm": 0.5,
    "joints": [
        {"site": "MCP-I", "bbox": [90, 40, 110, 60]},
        {"site": "R", "bbox": [0, 0, 20, 20]},
    ],
}
PLACED = {"pixel_spacing_mm": 0.2, "sites_xy": {"MCP-I": [53, 104], "DistalRadius": [10, 10], "U": [1, 1]}}


def test_distances_in_mm_of_the_points_file():
    compared = compare(PREDICTION, PLACED)
    assert compared.distances == {"MCP-I": pytest.approx(1.0), "R": 0}
    assert compared.mean == pytest.approx(0.5) and compared.missing == ("U",) and compared.unit == "mm"


@pytest.mark.parametrize("spacing, distance, unit", [(0.5, 2.5, "mm"), (None, 5, "px")])
def test_spacing_of_the_prediction_or_none(spacing, distance, unit):
    placed = {"sites_xy": PLACED["sites_xy"]}
    compared = compare({**PREDICTION, "pixel_spacing_mm": spacing}, placed)
    assert compared.distances["MCP-I"] == pytest.approx(distance) and compared.unit == unit


def test_command(tmp_path, capsys):
    for name, values in (("p.json", PREDICTION), ("q.json", PLACED)):
        (tmp_path / name).write_text(json.dumps(values))
    files = [f"--prediction={tmp_path / 'p.json'}", f"--points={tmp_path / 'q.json'}"]
    assert points.main(["points", *files]) == 0
    shown = capsys.readouterr().out
    assert "MCP-I       1.00 mm" in shown and "over 2 of 3 sites" in shown and "not found" in shown


@pytest.mark.parametrize(
    "content, words",
    [(None, "cannot be read"), ("{", "not JSON"), ("[" * 9999, "not JSON"), ("{}", "has no 'sites_xy'")],
)
def test_bad_points_file(tmp_path, capsys, content, words):
    (tmp_path / "p.json").write_text(json.dumps(PREDICTION))
    if content is not None:
        (tmp_path / "q.json").write_text(content)
    assert points.main(["points", f"--prediction={tmp_path / 'p.json'}", f"--points={tmp_path / 'q.json'}"]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, changes, words",
    [
        ("q", {"sites_xy": [1, 2]}, "sites_xy is [1, 2]"),
        ("q", {"sites_xy": {"MCP-I": [1, 2, 3]}}, "The point of MCP-I is [1, 2, 3]; expected [x, y]"),
        ("q", {"sites_xy": {"MCP-I": 5}}, "The point of MCP-I is 5"),
        ("q", {"sites_xy": {"MCP-I": ["a", 2]}}, "The point of MCP-I"),
        ("q", {"sites_xy": {"elbow": [1, 2]}}, "'elbow'"),
        ("q", {"pixel_spacing_mm": "0.1"}, "pixel_spacing_mm is '0.1'"),
        ("p", {"joints": {"MCP-I": 1}}, "joints of the prediction"),
        ("p", {"joints": [{"site": "MCP-I"}]}, "The bbox of MCP-I is None; expected [ymin, xmin, ymax, xmax]"),
        ("p", {"joints": [{"site": "MCP-I", "bbox": [1, 2, 3, None]}]}, "The bbox of MCP-I"),
        ("p", {"joints": [{"site": ["MCP-I"], "bbox": [1, 2, 3, 4]}]}, "joints of the prediction"),
        ("q", {"sites_xy": {"MCP-I": [10**400, 2]}}, "The point of MCP-I is [1000"),
        ("q", {"sites_xy": {"MCP-I": [1e308, 2]}}, "The point of MCP-I is [1e+308, 2]"),
        ("q", {"sites_xy": {"MCP-I": [float("nan"), 2]}}, "The point of MCP-I is [nan, 2]"),
        ("q", {"sites_xy": "x" * 9999}, "sites_xy is 'xxx"),
        ("q", {"pixel_spacing_mm": 10**400}, "pixel_spacing_mm is 1000"),
    ],
)
def test_malformed_values_are_one_sentence(tmp_path, capsys, name, changes, words):
    for file, values in (("p", PREDICTION), ("q", PLACED)):
        values = {**values, **changes} if file == name else values
        (tmp_path / f"{file}.json").write_text(json.dumps(values))
    assert points.main(["points", f"--prediction={tmp_path / 'p.json'}", f"--points={tmp_path / 'q.json'}"]) == 1
    shown = capsys.readouterr().err
    assert words in shown and shown.count("\n") == 1 and len(shown) < 700


def test_usage(capsys):
    assert points.main(["points", "--prediction=x"]) == 2
    assert "--points is missing" in capsys.readouterr().err

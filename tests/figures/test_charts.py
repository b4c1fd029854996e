"""Charts: well-formed, in the page's colours, the same each time, and with ids of their own."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from ramjax.figures import charts

NAN = float("nan")
VALUES = np.array([[0.5, 0.4, 0.6], [0.7, NAN, NAN], [NAN, NAN, NAN]])
TWO = {"a & b": VALUES, "<c>": VALUES}

DRAWINGS = {
    "dots": lambda: charts.dots(["x", "y_1", "z"], TWO, "DSC"),
    "dots with cases": lambda: charts.dots(["x", "y", "z"], {"a": VALUES}, "DSC", np.full((4, 3), 0.5)),
    "heat map": lambda: charts.heat_map(np.array([[1000, 2], [0, 0]])),
    "heat map of classes": lambda: charts.heat_map(np.eye(3, dtype=int), ["<a>", "b & c", "d"]),
    "bland-altman": lambda: charts.bland_altman(np.arange(3.0), np.arange(3.0) - 1, 0.0, -2.0, 2.0),
    "bland-altman of one": lambda: charts.bland_altman(np.ones(1), np.ones(1), 1.0, NAN, NAN),
    "reliability": lambda: charts.reliability({"a": (np.array([0.5, NAN]), np.array([0.6, NAN]), np.array([3, 0]))}),
    "lines": lambda: charts.lines({"a": (np.arange(3.0), np.array([3.0, NAN, 1.0]))}, "step", "loss", log=True),
    "lines below 0": lambda: charts.lines({"a": (np.arange(2.0), np.array([-1.0, 1.0]))}, "step", "loss", log=True),
    "by score": lambda: charts.by_score(TWO, "annotated", "predicted", diagonal=True),
    "scatter of one": lambda: charts.scatter(np.array([60.0]), np.array([-2.0]), "x", "y", diagonal=True),
    "scatter": lambda: charts.scatter(
        np.array([0, 1, 300.0]), np.array([1, 2, 200.0]), "x", "y", log=True, diagonal=True
    ),
}


@pytest.mark.parametrize("name", DRAWINGS)
@pytest.mark.filterwarnings("error")
def test_a_drawing_fits_the_page_and_is_the_same_each_time(name):
    svg = DRAWINGS[name]()
    assert svg == DRAWINGS[name]()
    root = ET.fromstring(svg)
    assert root.get("viewBox").startswith("0 0 360 ") and root.get("width") is None
    # Nothing but the page's colours: a fixed one would vanish on a light or a dark ground.
    colours = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", svg))
    assert colours <= {"none", "currentColor", "var(--line)", *(f"var(--series-{k})" for k in range(1, 7))}
    assert "var(--series-1)" in colours and "DejaVu" not in svg and "<style" not in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")


def test_the_numbers_are_text():
    svg = charts.heat_map(np.array([[1234, 0], [5, 6]]))
    texts = [element.text for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"1,234", "5", "6", "predicted", "annotated"} <= set(texts)
    svg = charts.dots(["Radius"], {"a <b>": VALUES[:1], "c": VALUES[:1]}, "DSC")
    assert {"Radius", "a <b>", "c", "DSC"} <= {
        e.text for e in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    }


def test_the_numbers_of_an_axis_are_not_rounded():
    svg = charts.lines({"a": (np.arange(3.0), np.array([0.0012, 0.0016, 0.0019]))}, "step", "DSC")
    texts = [
        element.text.replace("\u2212", "-") for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    ]
    numbers = [text for text in texts if re.fullmatch(r"-?[\d.]+", text)]
    assert len([text for text in numbers if text.startswith("0.001")]) > 3
    assert len(set(numbers)) == len(numbers)


def test_dots_stand_in_order_where_their_values_are():
    svg = charts.dots(["first", "second"], {"a": np.array([[0.2, 0.2, 0.2], [0.8, 0.8, 0.8]])}, "x")
    text = {e.text: e for e in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert float(text["first"].get("y")) < float(text["second"].get("y"))
    uses = [e for e in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}use") if "series-1" in e.get("style", "")]
    (x1, y1), (x2, y2) = [(float(e.get("x")), float(e.get("y"))) for e in uses]
    assert x1 < x2 and y1 < y2


def test_ids_of_several_drawings_do_not_meet():
    svg = DRAWINGS["dots"]()
    one, other = charts.unique_ids(svg, "one"), charts.unique_ids(svg, "other")
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (one, other)]
    assert ids[0] and not ids[0] & ids[1]
    for text, known in zip((one, other), ids, strict=True):
        assert set(re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", text)) and all(
            (a or b) in known for a, b in re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", text)
        )


def texts(svg: str) -> list[str]:
    return [of.text for of in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_classes_have_their_names_on_both_axes():
    counts = np.array([[7, 0], [1, 4]])
    assert [texts(charts.heat_map(counts, ["F", "M"])).count(name) for name in ("F", "M", "0")] == [2, 2, 1]
    assert texts(charts.heat_map(counts)).count("0") == 3  # its number as a class, and once as a count


def test_the_line_of_agreement_does_not_stretch_the_scales():
    """Numbers far from 0 fill the chart."""
    shown = texts(charts.scatter(np.array([60.0, 80.0]), np.array([62.0, 75.0]), "x", "y", diagonal=True))
    numbers = [float(text.replace("−", "-")) for text in shown if re.fullmatch(r"[−\d.]+", text)]
    assert min(numbers) >= 60 and max(numbers) <= 80

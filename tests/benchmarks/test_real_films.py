"""The numbers of a folder of films, by hand: discs, whose side and sites the fake network knows."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import real_films
from tests.inference import fakes


def write_film(folder, name, x):
    Image.fromarray(fakes.disc_image(200, 150, x, 90, 15)).save(folder / name)


@pytest.fixture
def folder(tmp_path):
    """Three hands: the fake network takes a disc on the left for a right hand; every site is at the disc's centre."""
    for name, x in (("a.png", 40), ("b.png", 110), ("c.png", 40)):
        write_film(tmp_path, name, x)
    rows = ["file,view,side,erosive,notes", "a.png,hand,R,0,", "b.png,hand,R,0,", "c.png,hand,,1,no side"]
    (tmp_path / "INDEX.csv").write_text("\n".join(rows))
    return tmp_path


def test_view_side_and_scores_are_counted(folder):
    numbers = real_films.measure_films(fakes.network(), folder)
    assert (numbers["hands"], numbers["hands_with_side"], numbers["hands_side_right"]) == (3, 2, 1)
    assert (numbers["wrists"], numbers["wrists_judged"], numbers["wrists_be_auroc"]) == (0, 0, None)
    # The fake network scores every site 2 and 1, of 16 and 15 sites.
    assert (numbers["hands_not_erosive"], numbers["hands_not_erosive_be"], numbers["hands_not_erosive_jsn"]) == (
        2,
        32,
        15,
    )
    assert numbers["hands_erosive"] == 1 and numbers["hands_erosive_be"] == 32
    assert numbers["joints_mm"] is None and numbers["joints_missed"] == 0


def test_points_beside_a_film_are_in_mm_and_those_of_the_folder_by_the_phalanx(folder):
    (folder / "a.points.json").write_text(json.dumps({"pixel_spacing_mm": 0.5, "sites_xy": {"MCP-I": [40, 96]}}))
    together = {"sites_xy": {"b": {"MCP-M": [110, 90], "PIP-M": [110, 50]}}}
    (folder / "points.json").write_text(json.dumps(together))
    numbers = real_films.measure_films(fakes.network(), folder)
    assert numbers["joints_mm"] == pytest.approx(3.0, abs=0.6)
    assert numbers["joints_percent_of_phalanx"] == pytest.approx(np.median([0, 100]), abs=3)


def test_an_index_without_a_column_is_one_sentence(folder, capsys):
    (folder / "INDEX.csv").write_text("file,view,side\na.png,hand,R\n")
    with pytest.raises(
        ValueError, match=r"INDEX\.csv needs a film a row, and the columns file, view, side and erosive"
    ):
        real_films.measure_films(fakes.network(), folder)

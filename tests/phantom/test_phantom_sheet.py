"""The sheet of hands: python -m ramjax.phantom."""

import importlib

import numpy as np
import pytest
from PIL import Image

from ramjax.phantom import Case, PhantomConfig, render

sheet = importlib.import_module("ramjax.phantom.__main__")


def run(tmp_path, *arguments):
    return sheet.main(["phantom", f"--output={tmp_path / 'hands.png'}", "--scale=0.12", "--seed=3", *arguments])


def test_hands_stand_in_rows(tmp_path):
    assert run(tmp_path, "--count=3") == 0
    picture = np.asarray(Image.open(tmp_path / "hands.png"))
    last = render(PhantomConfig(patients=3, scale=0.12, seed=3), Case(2, 0, "L")).record.image
    height, left = last.shape[0], picture.shape[1] * 2 // 3
    np.testing.assert_array_equal(picture[:height, left : left + last.shape[1]], last)
    assert picture[height:, left:].max() > 100, "a caption stands below"
    assert picture[:height, : left // 2].std() > 10 < picture[:height, left // 2 : left].std(), "other hands come first"
    assert [path.name for path in tmp_path.iterdir()] == ["hands.png"]


def test_a_radiograph_comes_first_as_high_as_the_hands(tmp_path):
    film = np.full((900, 450), 77, np.uint8)
    film[450:] = 177
    Image.fromarray(film).save(tmp_path / "film.png")
    assert run(tmp_path, "--count=1", f"--beside={tmp_path / 'film.png'}") == 0
    picture = np.asarray(Image.open(tmp_path / "hands.png"))
    hand = render(PhantomConfig(patients=1, scale=0.12, seed=3), Case(0, 0, "L")).record.image
    half, width = hand.shape[0] // 2, hand.shape[0] // 2
    assert (picture[: half - 2, :width] == 77).all() and (picture[half + 3 : 2 * half, :width] == 177).all()
    assert picture.shape[0] < 1.3 * hand.shape[0]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [(("--count=0",), 2, "count"), (("hand",), 2, "hand"), (("--beside=absent.png",), 1, "absent.png")],
)
def test_mistakes_are_named(tmp_path, capsys, arguments, code, words):
    assert run(tmp_path, *arguments) == code
    assert words in capsys.readouterr().err
    assert not (tmp_path / "hands.png").exists()


@pytest.mark.parametrize(
    ("output", "code", "words"),
    [
        ("/nosuch/p.png", 1, "/nosuch/p.png cannot be written or read: no such file or directory"),
        ("p.jpg", 2, "name a file that ends in .png"),
        ("p", 2, "name a file that ends in .png"),
        ("", 2, "--output is missing"),
    ],
)
def test_a_place_that_no_picture_can_take_is_a_sentence(tmp_path, capsys, monkeypatch, output, code, words):
    monkeypatch.chdir(tmp_path)
    assert sheet.main(["phantom", f"--output={output}", "--scale=0.1", "--count=1"]) == code
    error = capsys.readouterr().err
    assert words in error and "Errno" not in error and not list(tmp_path.iterdir())

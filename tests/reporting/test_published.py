"""When published results stand beside ours."""

import pytest

from ramjax.figures import published

SQUARE = {"split": "test", "grid": "square512"}


def test_wrists_on_the_papers_grid():
    beside = published.segmentation("ram_w600", SQUARE)
    assert len(beside.rows) == 6 and beside.rows["TransUNet"]["msd"] == 1.05
    assert "2507.05193" in beside.source and "6 of the paper's 16" in beside.sentence
    presence = published.erosion_presence("ram_w600", {"split": "test", "grid": "native"})  # scores know no grid
    assert len(presence.rows) == 4 and presence.rows["MobileViT"]["pn_bacc"] == 0.5264


@pytest.mark.parametrize(
    ("dataset", "about", "words"),
    [
        ("ram_w600", {"split": "test", "grid": "native"}, "512 x 512"),
        ("ram_w600", {"split": "validation", "grid": "square512"}, "of the test split, these of validation"),
        ("ram_phantom", SQUARE, "synthetic hands"),
        ("elsewhere", SQUARE, "known for elsewhere"),
    ],
)
def test_elsewhere_a_sentence_says_why_there_is_none(dataset, about, words):
    for beside in (published.segmentation(dataset, about), published.other(dataset, about)):
        assert not beside.rows
    assert words in published.segmentation(dataset, about).sentence


def test_ram_h1200_has_an_empty_row_that_says_so():
    beside = published.other("ram_h1200", {"split": "test", "grid": "native"})
    assert beside.rows == {"RAM-H1200 paper": {}} and "not available here" in beside.source + beside.sentence
    assert not published.other("ram_h1200", {"split": "validation"}).rows


def test_values_are_fractions():
    for table in (published.W600_SEGMENTATION, published.W600_EROSION_PRESENCE):
        for row in table.values():
            assert all(0 <= value <= 1 for name, value in row.items() if name not in ("msd", "dor", "parameters"))

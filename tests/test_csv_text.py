"""Words that a spreadsheet would run stay words, and read back as they were."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramjax import csv_text
from ramjax.printable import printable


@pytest.mark.parametrize("value", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "'=1", "＝1", "--", "+49 1"])
def test_what_begins_a_formula_is_text(value):
    [[cell, beside]] = csv.reader(io.StringIO(csv_text.write([[value, "x"]])))
    assert cell == f"'{value}" and beside == "x"
    assert csv_text.read(csv_text.write([[value]])) == [[value]]


@pytest.mark.parametrize(
    "value", [-1.5, "-1.5", "+3", -7, "-1e-05", float("-inf"), "-inf", "it's", "'quoted'", "a=b", None]
)
def test_numbers_and_other_words_stay(value):
    [[cell, _]] = csv.reader(io.StringIO(csv_text.write([[value, ""]])))
    assert cell == ("" if value is None else str(value))


@pytest.mark.parametrize("value", ["\t=1+1", "\r=1+1", "\n=1"])
def test_no_cell_begins_with_a_tab_or_a_line_break(value):
    assert csv_text.write([[value]]) == f"{printable(value)}\n"


@given(st.lists(st.lists(st.text(st.characters()), min_size=1, max_size=4), max_size=4))
def test_any_text_reads_back_as_it_is_shown(rows):
    text = csv_text.write(rows)
    text.encode()
    assert csv_text.read(text) == [[printable(cell) for cell in row] for row in rows]
    for cells in csv.reader(io.StringIO(text)):
        for cell in cells:
            number = csv_text._NUMBER.fullmatch(cell)
            assert number or not cell.startswith(tuple("=+-@\t\r\n"))


@given(st.text(st.sampled_from("a,;\"'=\n\r\t-1.")))
def test_what_would_change_by_reading_and_writing_is_refused(text):
    try:
        rows = csv_text.read(text)
    except ValueError:
        return
    assert csv_text.write(rows) == text

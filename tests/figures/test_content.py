"""Tables: which values are the best of those that compete."""

import math

import pytest

from ramjax.figures.content import Cell, Row, Table

NAN, INF = math.nan, math.inf


def table(rows, better=(), columns=("A", "B")):
    return Table("id", "Title", "Caption.", "Run", columns, tuple(rows), better)


def row(name, *values, digits=3, **changes):
    return Row(name, tuple(Cell(value, digits=digits) for value in values), **changes)


def test_higher_or_lower_is_better_by_the_column():
    of = table([row("a", 0.1, 0.1), row("b", 0.2, 0.2), row("c", 0.15, 0.05)], (1, -1))
    assert of.best == {(1, 0), (2, 1)}
    assert of.shown_caption == "Caption. The best values are bold."


def test_rows_compete_within_their_mode_and_contest():
    rows = [
        row("a: wrist", 0.1, mode="strict", contest="wrist"),
        row("a: wrist", 0.9, mode="compat", contest="wrist"),
        row("a: all", 0.5, mode="strict", contest="all"),
        row("b: wrist", 0.2, mode="strict", contest="wrist"),
        row("b: wrist", 0.8, mode="compat", contest="wrist"),
        row("b: all", 0.4, mode="strict", contest="all"),
    ]
    assert table(rows, (1,), ("A",)).best == {(3, 0), (1, 0), (2, 0)}


def test_published_rows_compete_with_compat_rows_only():
    rows = [row("a", 0.9, mode="strict"), row("a", 0.7, mode="compat"), row("paper", 0.8, mode="compat", source="x")]
    assert table(rows, (1,), ("A",)).best == {(2, 0)}  # the strict row is alone


def test_cells_of_a_row_compete_where_it_says_so():
    rows = [row("DSC", 0.8, 0.7, better=1), row("MAE", 0.8, 0.7, better=-1), row("Seed", 1, 2)]
    assert table(rows).best == {(0, 0), (1, 1)}


def test_what_looks_the_same_is_equally_good():
    rows = [row("a", 0.85712), row("b", 0.8574), row("c", 0.8)]
    assert table(rows, (1,), ("A",)).best == {(0, 0), (1, 0)}
    published = row("paper", 0.8574, digits=4)  # more decimals than ours say nothing
    assert table([row("a", 0.85712), published], (1,), ("A",)).best == {(0, 0), (1, 0)}


def test_what_is_not_defined_does_not_compete_and_an_infinite_distance_does():
    assert table([row("a", NAN), row("b", 2.0), row("c", INF)], (-1,), ("A",)).best == {(1, 0)}
    assert table([row("a", NAN), row("b", 2.0)], (-1,), ("A",)).best == set()
    assert table([Row("a", (Cell(text="x"),)), row("b", 2.0)], (1,), ("A",)).best == set()


def test_nothing_is_bold_in_a_table_of_one_system_or_that_does_not_say_what_is_better():
    alone = table([row("a", 0.5, 0.5, mode="strict"), row("a", 0.5, 0.5, mode="compat")], (1, -1))
    assert alone.best == set() and alone.shown_caption == "Caption."
    assert table([row("a", 0.5, 0.5), row("b", 0.6, 0.6)]).best == set()
    assert table([row("a", 0.5, 0.5), row("b", 0.6, 0.6)], (0, 0)).best == set()


def test_every_column_or_none_says_what_is_better():
    with pytest.raises(ValueError, match="id has 2 columns and says of 1 what is better"):
        table([], (1,))

"""Blocks of words and colours that stand one below the other beside a radiograph.

Lengths are in units; a line of text is about one high. Every block draws itself from y, the middle of its first line,
and returns where the next block begins.
"""

import dataclasses
from collections.abc import Mapping

from PIL import ImageDraw

from ramjax.figures.overlay import DIM, INK, Colour, font

_DARK: Colour = (16, 18, 20)  # of words on a colour


@dataclasses.dataclass(frozen=True)
class Cell:
    """Words in a table, on a ground of `colour` if there is one."""

    text: str
    colour: Colour | None = None


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
      head: its heading.
      cells: by the name of the row; a row may have none.
      centred: for cells of a letter or two; else they are small words.
    """

    head: str
    cells: Mapping[str, Cell]
    centred: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """Names and what is said of each; there is room for four columns, of 9, 4, 4 and 6 letters.

    Attributes:
      head: heading of the names.
      names: of the rows, in order.
      dim: the names that matter less.
      columns: those behind the names.
    """

    head: str
    names: tuple[str, ...]
    dim: frozenset[str]
    columns: tuple[Column, ...]

    def draw(self, draw: ImageDraw.ImageDraw, y: float, width: float, unit: float) -> float:
        small, normal = font(0.95 * unit), font(1.1 * unit)
        places = [unit, *((9.5 + 4.5 * k) * unit for k in range(len(self.columns)))]
        for x, head in zip(places, (self.head, *(column.head for column in self.columns)), strict=True):
            draw.text((x, y), head, DIM, small, anchor="lm")
        for name in self.names:
            y += 1.42 * unit
            draw.text((places[0], y), name, DIM if name in self.dim else INK, normal, anchor="lm")
            for x, column in zip(places[1:], self.columns, strict=True):
                cell = column.cells.get(name)
                if cell is None:
                    continue
                if cell.colour is not None:
                    box = (x - 0.2 * unit, y - 0.58 * unit, x + 1.7 * unit, y + 0.58 * unit)
                    draw.rounded_rectangle(box, 0.3 * unit, cell.colour)
                if column.centred:
                    colour = DIM if cell.colour is None else _DARK
                    draw.text((x + 0.75 * unit, y), cell.text, colour, normal, anchor="mm")
                else:
                    draw.text((x, y), cell.text, DIM, small, anchor="lm")
        return y + 1.9 * unit


@dataclasses.dataclass(frozen=True)
class Entry:
    """A name and its value, behind a square of `colour` if there is one."""

    name: str
    value: str
    colour: Colour | None = None


@dataclasses.dataclass(frozen=True)
class Entries:
    """A heading, and below it names with values."""

    heading: str
    entries: tuple[Entry, ...]

    def draw(self, draw: ImageDraw.ImageDraw, y: float, width: float, unit: float) -> float:
        normal, value_at = font(unit), 14.5 * unit
        draw.text((unit, y), self.heading, DIM, font(0.95 * unit), anchor="lm")
        for entry in self.entries:
            y += 1.3 * unit
            x = unit
            if entry.colour is not None:
                draw.rectangle((x, y - 0.4 * unit, x + 0.8 * unit, y + 0.4 * unit), entry.colour)
                x = 2.4 * unit
            draw.text((x, y), fitted(entry.name, normal, value_at - x - 0.5 * unit), INK, normal, anchor="lm")
            draw.text((value_at, y), fitted(entry.value, normal, width - value_at - unit), INK, normal, anchor="lm")
        return y + 1.9 * unit


@dataclasses.dataclass(frozen=True)
class Legend:
    """What colours mean, in three columns."""

    heading: str
    entries: tuple[tuple[Colour, str], ...]

    def draw(self, draw: ImageDraw.ImageDraw, y: float, width: float, unit: float) -> float:
        if not self.entries:
            return y + 0.9 * unit
        small, columns = font(0.88 * unit), 3
        draw.text((unit, y), self.heading, DIM, font(0.95 * unit), anchor="lm")
        rows = -(-len(self.entries) // columns)
        for i, (colour, words) in enumerate(self.entries):
            column, row = divmod(i, rows)
            x = unit + column * (width - 2 * unit) / columns
            at = y + (row + 1) * 1.18 * unit
            draw.line((x, at, x + 0.9 * unit, at), colour, max(2, round(unit / 6)))
            draw.text((x + 1.3 * unit, at), words, INK, small, anchor="lm")
        return y + (rows + 1) * 1.18 * unit + 0.9 * unit


Block = Table | Entries | Legend


def fitted(text: str, face, width: float) -> str:
    """The text, or as much of it as is `width` wide with an ellipsis behind."""
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"

"""What a report is made of: sections of tables, charts and pictures. The page, CSV and LaTeX are made from it."""

import dataclasses
import math
from collections.abc import Iterator

MISSING = "–"
"""Stands where a value is not defined."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A value of a table.

    Attributes:
      value: NaN where it is not defined.
      low, high: 95 % interval; NaN without one.
      sd: standard deviation over cases or seeds; NaN without one.
      n: cases, sites or lesions behind it; None where it counts nothing.
      digits: decimals shown.
      text: shown in place of the value.
    """

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    sd: float = math.nan
    n: int | None = None
    digits: int = 3
    text: str = ""

    @property
    def shown(self) -> str:
        """The value, with its standard deviation."""
        if self.text:
            return self.text
        if math.isnan(self.sd):
            return _number(self.value, self.digits)
        return f"{_number(self.value, self.digits)} ± {_number(self.sd, self.digits)}"

    @property
    def interval(self) -> str:
        """The interval in brackets; '' without one."""
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return ""
        return f"[{_number(self.low, self.digits)}, {_number(self.high, self.digits)}]"


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
      name: of the row.
      cells: one a column.
      mode: ``strict`` or ``compat``; '' where it does not matter.
      source: who published it; '' for our own.
    """

    name: str
    cells: tuple[Cell, ...]
    mode: str = ""
    source: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
      id: of letters, digits and hyphens, unique in a report.
      title: a few words.
      caption: what the numbers are, in sentences.
      heading: of the first column, which names the rows.
      columns: headings of the others.
      rows: each with as many cells as `columns`.
    """

    id: str
    title: str
    caption: str
    heading: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def __post_init__(self):
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(f"Row {row.name!r} of {self.id} has {len(row.cells)} cells, not {len(self.columns)}.")

    @property
    def modes(self) -> set[str]:
        """Of the rows; where there is one only, the title names it and the rows need not."""
        return {row.mode for row in self.rows}

    @property
    def shown_title(self) -> str:
        return f"{self.title} (strict)" if self.modes == {"strict"} else self.title


@dataclasses.dataclass(frozen=True)
class Chart:
    """A drawing as SVG for an HTML page; `alt` describes in words what it shows."""

    id: str
    title: str
    caption: str
    svg: str
    alt: str


@dataclasses.dataclass(frozen=True)
class Picture:
    """A case as JPEG or PNG bytes."""

    content: bytes
    media_type: str
    caption: str
    alt: str


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Pictures of a kind."""

    id: str
    title: str
    caption: str
    pictures: tuple[Picture, ...]


Block = Table | Chart | Gallery


@dataclasses.dataclass(frozen=True)
class Folded:
    """Blocks that are shown when asked for."""

    summary: str
    blocks: tuple[Block, ...]


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the report with a heading; `text` are paragraphs that stand first."""

    id: str
    title: str
    text: tuple[str, ...] = ()
    blocks: tuple[Block | Folded, ...] = ()
    sections: tuple["Section", ...] = ()

    def walk(self) -> Iterator[Block]:
        """Every block, in the order of the page."""
        for block in self.blocks:
            yield from block.blocks if isinstance(block, Folded) else (block,)
        for section in self.sections:
            yield from section.walk()


def tables_of(sections: tuple[Section, ...]) -> list[Table]:
    """Every table, in the order of the page."""
    return [block for section in sections for block in section.walk() if isinstance(block, Table)]


def _number(value: float, digits: int) -> str:
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}f}"
    return f"{0:.{digits}f}" if float(text) == 0 else text.replace("-", "−")

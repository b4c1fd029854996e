"""What a report is made of: sections of tables, charts and pictures. The page, CSV and LaTeX are made from it."""

import collections
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
      contest: in a table with `Table.better`, rows of the same contest and mode compete, such as those of all systems
        on one group of bones.
      better: of a row whose cells compete with each other, such as one system a column: 1 where higher is better, -1
        where lower is, 0 where they do not compete.
    """

    name: str
    cells: tuple[Cell, ...]
    mode: str = ""
    source: str = ""
    contest: str = ""
    better: int = 0


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
      better: of each column whose rows compete, 1 where higher is better, -1 where lower is, 0 where they do not
        compete; () of a table without such columns.
    """

    id: str
    title: str
    caption: str
    heading: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    better: tuple[int, ...] = ()

    def __post_init__(self):
        if len(self.better) not in (0, len(self.columns)):
            raise ValueError(
                f"{self.id} has {len(self.columns)} columns and says of {len(self.better)} what is better."
            )
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

    @property
    def shown_caption(self) -> str:
        return f"{self.caption} The best values are bold.".strip() if self.best else self.caption

    @property
    def best(self) -> frozenset[tuple[int, int]]:
        """Places (row, column) of the best values, where two or more compete.

        Values that look the same at the decimals shown, the fewest of those that compete, are equally good.
        """
        contests: dict[tuple[object, ...], list[tuple[int, int]]] = collections.defaultdict(list)
        for i, row in enumerate(self.rows):
            for j, cell in enumerate(row.cells):
                if math.isnan(cell.value) or cell.text:
                    continue
                if row.better:
                    contests["row", i, row.better].append((i, j))
                elif self.better and self.better[j]:
                    contests["column", j, row.mode, row.contest, self.better[j]].append((i, j))
        best: set[tuple[int, int]] = set()
        for (*_, better), places in contests.items():
            cells = {place: self.rows[place[0]].cells[place[1]] for place in places}
            digits = min(cell.digits for cell in cells.values())
            values = {place: better * round(cell.value, digits) for place, cell in cells.items()}
            if len(places) > 1:
                best |= {place for place, value in values.items() if value == max(values.values())}
        return frozenset(best)


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

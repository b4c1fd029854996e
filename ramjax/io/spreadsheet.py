"""Reads the rows of an Excel sheet as text, and the values that metadata sheets hold."""

import dataclasses
import io
import itertools
import math
import pathlib
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping

import openpyxl
from openpyxl.utils import get_column_letter

from ramjax.io.errors import ReleaseError

SPACINGS_MM = (0.01, 5.0)
"""Least and greatest side of a pixel: a hand of 20 cm has 20,000 or 40 of them. Beyond, the cell has another unit."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)

_MOST_ROWS = 1 << 20
"""Of a sheet in Excel."""

_MOST_BYTES = 1 << 26
"""Of an Excel file when it is unpacked, which bounds the memory; sheets of thousands of studies have less than 1 MB."""


@dataclasses.dataclass(frozen=True)
class Row(Mapping[str, str]):
    """Cells of a row as text by column name; see `column`.

    Attributes:
      cells: the text of each column.
      sheet: name of the sheet.
      number: of the row, as Excel counts.
      letters: the column's letters by its name.
    """

    cells: Mapping[str, str]
    sheet: str
    number: int
    letters: Mapping[str, str]

    def place(self, name: str) -> str:
        """Where the cell of a column is, as ``Sheet1!B5``."""
        return f"{self.sheet}!{self.letters[name]}{self.number}"

    def __getitem__(self, name: str) -> str:
        return self.cells[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)


def read_rows(path: pathlib.Path) -> list[Row]:
    """Returns the rows of the first sheet below its header, cells as stripped text ('' where empty).

    The header is the first row that is not empty. Columns are named by `column`, so that blanks and capitals in a name
    do not matter, and by `second` where another has the name; those without a name are left out. A formula that was
    never calculated is its own text, so that it is not taken for an empty cell.

    Raises:
      ReleaseError: the file is missing, damaged, a Git LFS pointer, far too large, or empty.
    """
    try:
        # In memory, where no size that the file states takes more than there is.
        content = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            if sum(entry.file_size for entry in packed.infolist()) > _MOST_BYTES:
                raise ReleaseError(f"{path} unpacks to more than {_MOST_BYTES >> 20} MB; fetch it again.")
        sheet, values = _cells(content, data_only=True)
        _, formulas = _cells(content, data_only=False)
    except ReleaseError:
        raise
    except Exception as error:  # the reader raises nearly anything on damaged files
        raise ReleaseError(f"{path} is no readable Excel sheet ({type(error).__name__}); fetch it again.") from error
    table = [[_text(*cell) for cell in itertools.zip_longest(*rows)] for rows in zip(values, formulas, strict=True)]
    top = next((number for number, row in enumerate(table) if any(row)), None)
    if top is None:
        raise ReleaseError(f"{path} is empty; fetch it again.")
    names: list[str] = []
    for cell in table[top]:
        name = column(cell)
        names.append(second(name) if name and name in names else name)
    letters = {name: get_column_letter(number) for number, name in enumerate(names, 1) if name}
    empty = dict.fromkeys(letters, "")
    return [
        Row(empty | {n: cell for n, cell in zip(names, row, strict=False) if n}, sheet, number, letters)
        for number, row in enumerate(table[top + 1 :], top + 2)
        if any(row)
    ]


def second(name: str) -> str:
    """What a further column of a name is called."""
    return f"{name}, again"


def column(name: str) -> str:
    """A column's name without blanks and capitals."""
    return "".join(name.split()).lower()


def to_number(text: str) -> float:
    """The number in a cell; NaN where there is none, as in ``Unknown``, ``61,5`` or ``1_000``."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else math.nan


def to_spacing(text: str) -> float:
    """Side of a square pixel in mm, from ``[0.15, 0.15]``; NaN if missing, not in `SPACINGS_MM`, or not square."""
    numbers = [float(number) for number in _NUMBER.findall(text)]
    if len(numbers) not in (1, 2) or numbers[-1] != numbers[0]:
        return math.nan
    return numbers[0] if SPACINGS_MM[0] <= numbers[0] <= SPACINGS_MM[1] else math.nan


def to_flag(text: str) -> int:
    """1, 0, or -1 where the cell says neither."""
    return {1.0: 1, 0.0: 0}.get(to_number(text), -1)


def _cells(content: bytes, data_only: bool) -> tuple[str, list[tuple[object, ...]]]:
    """The first sheet's name and its rows: of formulas the stored result where `data_only`, else the formula."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and extensions that do not matter here
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=data_only)
    try:
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # what the file says of its size may be wrong
        rows = [tuple(row) for row in itertools.islice(sheet.iter_rows(values_only=True), _MOST_ROWS + 1)]
        if len(rows) > _MOST_ROWS:  # the reader fills up to whatever number a row states
            raise ValueError(f"a row beyond {_MOST_ROWS}")
        return sheet.title, rows
    finally:
        book.close()


def _text(value: object, formula: object) -> str:
    if value is None and formula is not None:
        value = getattr(formula, "text", formula)  # of an array, the formula is in an object of its own
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)  # 7 is stored as 7.0 by some programs
    return "" if value is None else str(value).strip()

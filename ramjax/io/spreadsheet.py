"""Reads the rows of an Excel sheet as text, and the values that metadata sheets hold."""

import math
import pathlib
import re
import warnings
from collections.abc import Mapping

import openpyxl

from ramjax.io.errors import ReleaseError

Row = Mapping[str, str]
"""Cells as text by column name; see `column`."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def read_rows(path: pathlib.Path) -> list[Row]:
    """Returns the rows of the first sheet below its header, cells as stripped text ('' where empty).

    Columns are named by `column`, so that blanks and capitals in a name do not matter.

    Raises:
      ReleaseError: the file is missing, damaged, a Git LFS pointer, or has no header.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions that do not matter here
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # what the file says of its size may be wrong
        rows = [tuple(row) for row in sheet.iter_rows(values_only=True)]
        book.close()
    except Exception as error:  # the reader raises nearly anything on damaged files
        raise ReleaseError(f"{path} is no readable Excel sheet ({type(error).__name__}); fetch it again.") from error
    if not rows:
        raise ReleaseError(f"{path} is empty; fetch it again.")
    names = [column(_text(cell)) for cell in rows[0]]
    table = [dict.fromkeys(names, "") | dict(zip(names, map(_text, row), strict=False)) for row in rows[1:]]
    return [row for row in table if any(row.values())]


def column(name: str) -> str:
    """A column's name without blanks and capitals."""
    return "".join(name.split()).lower()


def to_number(text: str) -> float:
    """The number in a cell; NaN where there is none, as in ``Unknown``."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def to_spacing(text: str) -> float:
    """Side of a square pixel in mm, from ``[0.15, 0.15]``; NaN if missing, not positive, or not square."""
    numbers = [float(number) for number in _NUMBER.findall(text)]
    if len(numbers) not in (1, 2) or not numbers[0] > 0 or numbers[-1] != numbers[0]:
        return math.nan
    return numbers[0]


def to_flag(text: str) -> int:
    """1, 0, or -1 where the cell says neither."""
    return {1.0: 1, 0.0: 0}.get(to_number(text), -1)


def _text(cell: object) -> str:
    return "" if cell is None else str(cell).strip()

"""CSV whose words stay words in a spreadsheet.

A spreadsheet runs a cell that begins with = + - or @ as a formula. Such a cell of text gets an apostrophe in front, as
OWASP advises (owasp.org/www-community/attacks/CSV_Injection); `read` takes it away again. Cells that are numbers, such
as -1.5, stay as they are. Letters that could control a terminal are escaped, see `ramjax.printable`; so no cell begins
with a tab or a line break either.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ramjax.printable import printable

_FORMULA = re.compile("'*[=+\\-@＝＋－＠]")
"""Its start. Spreadsheets with East Asian settings take the wide letters for the narrow ones."""

_GUARDED = re.compile("'+[=+\\-@＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")


def write(rows: Iterable[Sequence[Any]]) -> str:
    """The text of a CSV with commas. None is an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def read(text: str) -> list[list[str]]:
    """The rows of what `write` wrote, each cell as text, without apostrophes that `write` put in front.

    Raises:
      ValueError: `text` is not as `write` writes it, so something of it would be lost by reading and writing it.
    """
    try:
        rows = [[_uncovered(cell) for cell in row] for row in csv.reader(io.StringIO(text), strict=True)]
    except csv.Error as error:
        raise ValueError(f"it is no CSV with commas ({error})") from error
    if write(rows) != text:
        raise ValueError("it is not as it was written")
    return rows


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _uncovered(cell: str) -> str:
    return cell[1:] if _GUARDED.match(cell) else cell

"""The tables of a report for spreadsheets and papers."""

import math
import re
from collections.abc import Sequence
from typing import Any

from ramjax import csv_text
from ramjax.figures.content import Cell, Table

CSV_COLUMNS: tuple[str, ...] = (
    "table", "row", "column", "value", "sd", "low", "high", "n", "mode", "source", "text",
)  # fmt: skip

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "±": r"$\pm$", "−": r"$-$", "–": "--", "≥": r"$\geq$", "≤": r"$\leq$", "∞": r"$\infty$",
    "×": r"$\times$", "²": r"$^2$", "κ": r"$\kappa$", "·": r"$\cdot$", "→": r"$\rightarrow$", '"': "''",
    "∩": r"$\cap$", "…": r"\dots{}",
}  # fmt: skip
_FIT = r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}"
"""Begins a box that is made as narrow as the text where it is wider."""

LETTERS, ROWS = 90, 25
"""A table of more letters in a row has its intervals below the values, or it would become tiny; of no more rows, or it
would not fit on a page."""

_SPECIAL = re.compile("[" + re.escape("".join(_LATEX)) + "]")


def to_csv(tables: Sequence[Table]) -> str:
    """Returns all tables as one CSV, one row a cell, in the columns of `CSV_COLUMNS`; undefined values are empty."""
    lines: list[Sequence[Any]] = [CSV_COLUMNS]
    for table in tables:
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                numbers = [_plain(number) for number in (cell.value, cell.sd, cell.low, cell.high)]
                n = "" if cell.n is None else cell.n
                lines.append([table.id, row.name, column, *numbers, n, row.mode, row.source, cell.text])
    return csv_text.write(lines)


def to_latex(tables: Sequence[Table], note: str) -> str:
    """Returns all tables as LaTeX floats for \\input; they need the packages booktabs and graphicx.

    Args:
      tables: of a report.
      note: goes before them, as a comment.
    """
    head = [f"% {note}", r"% \usepackage{booktabs,graphicx}"]
    return "\n\n".join(["\n".join(head), *(_float(table) for table in tables)]) + "\n"


def escape(text: str) -> str:
    """Returns `text` with the characters that are special in LaTeX escaped."""
    return _SPECIAL.sub(lambda match: _LATEX[match[0]], text)


def _float(table: Table) -> str:
    modes = ["Evaluator"] if len(table.modes) > 1 else []
    heads = [table.heading, *modes, *table.columns]
    lines = [" & ".join(escape(head) for head in heads) + r" \\", r"\midrule"]
    best, stacked = table.best, _is_stacked(table)
    for i, row in enumerate(table.rows):
        name = row.name + (f" ({row.source})" if row.source else "")
        values = [_cell(cell, (i, j) in best, stacked) for j, cell in enumerate(row.cells)]
        cells = [escape(name), *([escape(row.mode)] if modes else []), *values]
        lines.append(" & ".join(cells) + r" \\")
    columns = "l" * (1 + len(modes)) + "".join(_columns(table))
    body = "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *lines, r"\bottomrule", r"\end{tabular}"])
    body = _FIT + "{!}{%\n" + body + "}"
    caption = escape(f"{table.shown_title}. {table.shown_caption}".strip())
    head = [r"\begin{table}[htbp]", r"\centering", rf"\caption{{{caption}}}", rf"\label{{tab:{table.id}}}"]
    return "\n".join([*head, r"\par\smallskip", body, r"\end{table}"])


def _columns(table: Table) -> list[str]:
    """Numbers to the right, words to the left, and sentences in paragraphs."""
    columns = [tuple(row.cells[j] for row in table.rows) for j in range(len(table.columns))]
    sentences = [any(len(cell.text) > 40 for cell in cells) for cells in columns]
    width = 0.8 / max(sum(sentences), 1)
    return [
        rf"p{{{width:.2f}\textwidth}}" if long else "l" if cells and cells[0].text else "r"
        for cells, long in zip(columns, sentences, strict=True)
    ]


def _cell(cell: Cell, best: bool, stacked: bool) -> str:
    """The value, and behind it, or `stacked` below, its interval and n."""
    value, small = escape(cell.shown), escape(" ".join(_small(cell)))
    if best:
        value = rf"\textbf{{{value}}}"
    if not small:
        return value
    if stacked:
        return rf"\begin{{tabular}}[t]{{@{{}}r@{{}}}}{value}\\{{\scriptsize {small}}}\end{{tabular}}"
    return rf"{value} {{\scriptsize {small}}}"


def _small(cell: Cell) -> list[str]:
    return [part for part in (cell.interval, "" if cell.n is None else f"n={cell.n}") if part]


def _is_stacked(table: Table) -> bool:
    """Whether intervals and n stand below the values."""
    if len(table.rows) > ROWS or not any(cell.interval for row in table.rows for cell in row.cells):
        return False
    names = max((len(row.name) + len(row.source) for row in table.rows), default=0)
    columns = zip(*(row.cells for row in table.rows), strict=True)
    values = sum(max(len(cell.shown) + 0.7 * len(" ".join(_small(cell))) for cell in cells) for cells in columns)
    return names + values > LETTERS


def _plain(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else ("" if math.isnan(value) else str(float(value)))

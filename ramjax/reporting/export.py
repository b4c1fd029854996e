"""The tables of a report for spreadsheets and papers."""

import csv
import io
import math
import re
from collections.abc import Sequence

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
_SPECIAL = re.compile("[" + re.escape("".join(_LATEX)) + "]")


def to_csv(tables: Sequence[Table]) -> str:
    """All tables in one, a line a cell, with the columns of `CSV_COLUMNS`; what is not defined stays empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for table in tables:
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                numbers = [_plain(number) for number in (cell.value, cell.sd, cell.low, cell.high)]
                n = "" if cell.n is None else cell.n
                writer.writerow([table.id, row.name, column, *numbers, n, row.mode, row.source, cell.text])
    return text.getvalue()


def to_latex(tables: Sequence[Table], note: str) -> str:
    """All tables as LaTeX floats, to be taken in by \\input; they need the packages booktabs and graphicx.

    Args:
      tables: of a report.
      note: goes before them, as a comment.
    """
    head = [f"% {note}", r"% \usepackage{booktabs,graphicx}"]
    return "\n\n".join(["\n".join(head), *(_float(table) for table in tables)]) + "\n"


def escape(text: str) -> str:
    """`text` with all that LaTeX would take for its own escaped."""
    return _SPECIAL.sub(lambda match: _LATEX[match[0]], text)


def _float(table: Table) -> str:
    modes = ["Evaluator"] if len(table.modes) > 1 else []
    heads = [table.heading, *modes, *table.columns]
    lines = [" & ".join(escape(head) for head in heads) + r" \\", r"\midrule"]
    for row in table.rows:
        name = row.name + (f" ({row.source})" if row.source else "")
        cells = [escape(name), *([escape(row.mode)] if modes else []), *map(_cell, row.cells)]
        lines.append(" & ".join(cells) + r" \\")
    columns = "l" * (1 + len(modes)) + "r" * len(table.columns)
    body = "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *lines, r"\bottomrule", r"\end{tabular}"])
    if len(table.columns) > 4:
        body = "\\resizebox{\\textwidth}{!}{%\n" + body + "}"
    caption = escape(f"{table.shown_title}. {table.caption}".strip())
    label = rf"\label{{tab:{table.id}}}"
    return "\n".join([r"\begin{table}[htbp]", r"\centering", rf"\caption{{{caption}}}", label, body, r"\end{table}"])


def _cell(cell: Cell) -> str:
    parts = [escape(cell.shown)]
    small = [part for part in (cell.interval, "" if cell.n is None else f"n={cell.n}") if part]
    if small:
        parts.append(r"{\scriptsize " + escape(" ".join(small)) + "}")
    return " ".join(parts)


def _plain(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else ("" if math.isnan(value) else str(float(value)))

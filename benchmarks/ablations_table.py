"""The answers of a sweep as Markdown, for a page of the documentation.

    python -m ramjax.report --sweep=sweeps/small
    python -m benchmarks.ablations_table sweeps/small/report/tables.csv

A table for each question, a row an arm. The baseline has the means of its seeds with their standard deviation, each
other arm the paired difference from it with its 95 % interval; ``*`` marks a corrected p-value below 0.05.

Exit codes: 0 done, 2 wrong usage.
"""

import csv
import pathlib
import sys
from collections.abc import Mapping

LEVEL = 0.05

Cells = Mapping[tuple[str, str, str], Mapping[str, str]]
"""Lines of tables.csv by table, row and column."""


def read(path: pathlib.Path) -> dict[tuple[str, str, str], dict[str, str]]:
    """The cells of the tables of a report."""
    with path.open(encoding="utf-8", newline="") as file:
        return {(line["table"], line["row"], line["column"]): line for line in csv.DictReader(file)}


def to_markdown(cells: Cells) -> str:
    """A table for each question that compares arms."""
    questions = [table.removesuffix("-differences") for table, _, _ in cells if table.endswith("-differences")]
    return "\n".join(_table(cells, question) for question in dict.fromkeys(questions))


def _table(cells: Cells, question: str) -> str:
    means, differences = f"{question}-means", f"{question}-differences"
    columns = list(dict.fromkeys(column for table, _, column in cells if table == differences))
    arms = list(dict.fromkeys(row for table, row, _ in cells if table == means))
    lines = [["arm", *columns], ["---"] * (1 + len(columns))]
    for arm in arms:
        if (differences, arm, columns[0]) in cells:
            values = [_difference(cells, question, arm, column) for column in columns]
        else:
            values = [_mean(cells[means, arm, column]) for column in columns]
        lines.append([arm, *values])
    return "\n".join([f"**{question}**", "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def _mean(cell: Mapping[str, str]) -> str:
    if not cell["value"]:
        return ""
    return f"{float(cell['value']):.3f}" + (f" ± {float(cell['sd']):.3f}" if cell["sd"] else "")


def _difference(cells: Cells, question: str, arm: str, column: str) -> str:
    cell, p = cells[f"{question}-differences", arm, column], cells[f"{question}-p", arm, column]["value"]
    if not cell["value"]:
        return ""
    mark = "\\*" if p and float(p) < LEVEL else ""
    interval = f" ({float(cell['low']):+.3f} to {float(cell['high']):+.3f})" if cell["low"] else ""
    return f"{float(cell['value']):+.3f}{mark}{interval}".replace("-", "−")


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""
    if len(argv) != 2 or argv[1] in ("-h", "--help") or not pathlib.Path(argv[1]).is_file():
        print(__doc__.strip())
        return 0 if argv[1:] in (["-h"], ["--help"]) else 2
    print(to_markdown(read(pathlib.Path(argv[1]))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))

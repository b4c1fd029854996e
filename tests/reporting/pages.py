"""Reading a report as others would: its tables from the HTML, its values from the CSV."""

import csv
import html.parser
import pathlib


class _Tables(html.parser.HTMLParser):
    """Rows of cells of every table, by the id of its figure."""

    def __init__(self):
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self._figure = self._cell = ""
        self._inside = self._small = False

    def handle_starttag(self, tag, attributes):
        of = dict(attributes)
        if tag == "figure" and "table" in of.get("class", "").split():
            self._figure = of["id"].removeprefix("table-")
            self.tables[self._figure] = []
        elif tag == "tr":
            self.tables[self._figure].append([])
        elif tag in ("td", "th"):
            self._cell, self._inside = "", True
        elif tag in ("small", "span") and self._inside:
            self._small = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[self._figure][-1].append(self._cell.strip())
            self._inside = False
        elif tag in ("small", "span"):
            self._small = False

    def handle_data(self, data):
        if self._inside and not self._small:
            self._cell += data


def tables(page: str) -> dict[str, list[list[str]]]:
    """By id, the heading and the rows of every table as they are shown, without intervals and n."""
    reader = _Tables()
    reader.feed(page)
    return reader.tables


def values(path: pathlib.Path) -> dict[tuple[str, str, str, str], dict[str, str]]:
    """The lines of tables.csv by table, row, mode and column."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    found = {(line["table"], line["row"], line["mode"], line["column"]): line for line in lines}
    assert len(found) == len(lines), "two lines of tables.csv mean the same cell"
    return found

"""The metadata sheet of a release: one row a study, each cell checked as what its column holds."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence

from ramjax.data.report import Finding
from ramjax.io.errors import ReleaseError
from ramjax.io.json_file import shown
from ramjax.io.spreadsheet import SPACINGS_MM, Row, column, read_rows, second, to_flag, to_number, to_spacing

STUDY = "Mapped Image Stem"
"""The column that names the study of a row."""

UNKNOWN = ("", "unknown")
"""Texts, in any case, of a cell that says that its value is not known."""

OLDEST = 120
"""Years."""

Traits = Mapping[str, str]
"""Cells of a study by column name (see `ramjax.io.spreadsheet.column`); '' where its value is not known."""


@dataclasses.dataclass(frozen=True)
class _Trait:
    """A field of the record: how it is read from a cell, what it is where it is unknown, what a cell must hold."""

    read: Callable[[str], object]
    unknown: object
    expected: str


def _to_sex(text: str) -> str:
    return text.upper() if text.upper() in ("F", "M", "O") else ""


def _to_age(text: str) -> float:
    age = to_number(text)
    return age if 0 <= age <= OLDEST else math.nan


_TRAITS = {
    "sex": _Trait(_to_sex, "", "F, M or O"),
    "age": _Trait(_to_age, math.nan, f"a number of years in 0..{OLDEST}"),
    "is_ra": _Trait(to_flag, -1, "0 or 1"),
    "pixel_spacing_mm": _Trait(
        to_spacing, math.nan, f"the side of a square pixel in {SPACINGS_MM[0]:g}..{SPACINGS_MM[1]:g} mm"
    ),
}


def read_metadata(
    folder: pathlib.Path,
    studies: Collection[str],
    columns: Mapping[str, str],
    amiss: list[Finding],
    texts: Sequence[str] = (),
) -> dict[str, Traits]:
    """Returns the cells of a release's metadata sheet by study.

    A cell that cannot be read as what its column holds, and cells of one study that contradict each other, are unknown.
    They are amiss, as are a missing sheet, a missing column, one that is there twice, a row without a study or without
    an image.

    Args:
      folder: of the release.
      studies: those that have images.
      columns: the sheet's column of each field that `traits` gives.
      amiss: takes the findings.
      texts: further columns, of text.

    Raises:
      ReleaseError: the sheet is damaged, or has no column of studies.
    """
    sheet, key = folder / "Metadata.xlsx", column(STUDY)
    if not sheet.exists():
        amiss.append(Finding("files are missing", sheet.name))
        return {}
    table = read_rows(sheet)
    header = list(table[0]) if table else [key]
    if key not in header:
        raise ReleaseError(f"{sheet} has no column {STUDY}; it has {', '.join(header)}; fetch it again.")
    wanted = (*columns.values(), *texts)
    amiss += [Finding("metadata columns are missing", name) for name in wanted if column(name) not in header]
    amiss += [
        Finding("metadata columns that are there twice, the first counts", name)
        for name in (STUDY, *wanted)
        if second(column(name)) in header
    ]
    rows: dict[str, list[Row]] = {}
    for row in table:
        if row[key]:
            rows.setdefault(row[key], []).append(row)
        else:
            amiss.append(
                Finding("metadata rows without a study, left out", f"{sheet.name} {row.sheet} row {row.number}")
            )
    amiss += [Finding("metadata rows without an image", study) for study in sorted(set(rows) - set(studies))]
    readers = dict.fromkeys(texts) | {name: _TRAITS[field] for field, name in columns.items()}
    return {
        study: {column(name): _cell(of_study, name, readers[name], sheet.name, amiss) for name in wanted}
        for study, of_study in rows.items()
    }


def traits(cells: Traits | None, columns: Mapping[str, str]) -> dict[str, object]:
    """Fields of the record that a study's cells give.

    Args:
      cells: of `read_metadata`, or None where the study has none.
      columns: the sheet's columns of ``sex``, ``age``, ``is_ra`` and ``pixel_spacing_mm``.
    """
    return {field: _TRAITS[field].read((cells or {}).get(column(name), "")) for field, name in columns.items()}


def _cell(rows: Sequence[Row], name: str, trait: _Trait | None, sheet: str, amiss: list[Finding]) -> str:
    """The text of a column in the rows of one study, '' where it is unknown; without a trait any text will do."""
    places: dict[str, str] = {}
    for row in rows:
        text = row.get(column(name), "")
        if text.lower() in UNKNOWN or (trait is not None and text == str(trait.unknown)):
            continue
        place = f"{sheet} {row.place(column(name))}: {shown(text)}"
        if trait is None or not _same(trait.read(text), trait.unknown):
            places.setdefault(text, place)
        else:
            amiss.append(Finding(f"cells of {name} that are not {trait.expected}, taken as unknown", place))
    if len({trait.read(text) if trait else text for text in places}) > 1:
        what = f"cells of {name} that differ between two rows of a study, taken as unknown"
        amiss.append(Finding(what, " and ".join(places.values())))
        return ""
    return next(iter(places), "")


def _same(one: object, other: object) -> bool:
    return one == other or (one != one and other != other)  # NaN

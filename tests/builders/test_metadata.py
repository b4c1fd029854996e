"""The metadata sheet: what no column of its kind holds is unknown, and named by its cell."""

import datetime
import math

import openpyxl
import pytest
from openpyxl.worksheet.formula import ArrayFormula

from ramjax.data.report import Report, to_table
from ramjax.io import spreadsheet
from ramjax.io.errors import ReleaseError
from tfds_builders import metadata

COLUMNS = {"sex": "Sex", "age": "Age", "is_ra": "isRA", "pixel_spacing_mm": "PixelSpacing"}
HEADER = ["Mapped Image Stem", "Sex", "Age", "isRA", "PixelSpacing", "Center"]
SOUND = ["P1", "F", 61.5, 1, "[0.15, 0.15]", "HU"]


def write(folder, *rows, header=HEADER):
    book = openpyxl.Workbook()
    book.active.title = "Studies"
    for row in (header, *rows):
        book.active.append(row)
    book.save(folder / "Metadata.xlsx")


def read(folder, studies=("P1",)):
    """The traits of each study, and the findings."""
    amiss = []
    cells = metadata.read_metadata(folder, studies, COLUMNS, amiss, texts=("Center",))
    found = {study: metadata.traits(of_study, COLUMNS) for study, of_study in cells.items()}
    return found, [(finding.what, finding.where) for finding in amiss]


def test_a_sound_row_is_read_without_a_word(tmp_path):
    write(tmp_path, SOUND)
    assert read(tmp_path) == ({"P1": {"sex": "F", "age": 61.5, "is_ra": 1, "pixel_spacing_mm": 0.15}}, [])


@pytest.mark.parametrize("unknown", [None, "", "Unknown", " unknown "])
def test_cells_that_say_unknown_are_no_finding(tmp_path, unknown):
    write(tmp_path, ["P1", *[unknown] * 5])
    found, amiss = read(tmp_path)
    assert amiss == [] and found["P1"]["sex"] == "" and found["P1"]["is_ra"] == -1
    assert math.isnan(found["P1"]["age"]) and math.isnan(found["P1"]["pixel_spacing_mm"])


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("Age", "61,5", "'61,5'"), ("Age", "n/a", "'n/a'"), ("Age", True, "'True'"), ("Age", -1, "'-1'"),
        ("Age", 121, "'121'"), ("Age", 1e300, "'1e+300'"), ("Age", "1_0", "'1_0'"), ("Age", "inf", "'inf'"),
        ("Age", datetime.datetime(1961, 5, 1), "'1961-05-01 00:00:00'"), ("Age", "=B2+1", "'=B2+1'"),
        ("Age", "#N/A", "'#N/A'"), ("Age", "６１", "'６１'"), ("Age", "9" * 400, "999...999"),
        ("Sex", "female", "'female'"), ("Sex", 1, "'1'"), ("isRA", "yes", "'yes'"), ("isRA", 2, "'2'"),
        ("isRA", 0.5, "'0.5'"), ("PixelSpacing", "[0.15, 0.2]", "0.2"), ("PixelSpacing", "0,15", "'0,15'"),
        ("PixelSpacing", 150, "'150'"), ("PixelSpacing", 0.00015, "'0.00015'"), ("PixelSpacing", -0.15, "'-0.15'"),
        ("PixelSpacing", "1e999", "'1e999'"),
    ],
)  # fmt: skip
def test_cells_that_are_not_what_their_column_holds_are_unknown_and_named(tmp_path, name, value, shown):
    place = HEADER.index(name)
    write(tmp_path, ["P0", *SOUND[1:]], [value if number == place else cell for number, cell in enumerate(SOUND)])
    found, amiss = read(tmp_path, ("P0", "P1"))
    ((what, where),) = amiss
    assert what.startswith(f"cells of {name} that are not ") and what.endswith(", taken as unknown")
    assert where.startswith(f"Metadata.xlsx Studies!{'ABCDEF'[place]}3: ")
    assert shown.split("...")[0].strip("'") in where and len(where) < 130
    field = next(field for field, title in COLUMNS.items() if title == name)
    differ = {key for key in found["P1"] if found["P1"][key] != found["P0"][key]}
    assert (differ == {field} and found["P1"][field] in ("", -1)) or math.isnan(found["P1"][field])


def test_a_formula_that_was_never_calculated_is_no_empty_cell(tmp_path):
    write(tmp_path, ["P1", "F", ArrayFormula("C2", "=SUM(1,2)"), "=1", "[0.15, 0.15]", "HU"])
    found, amiss = read(tmp_path)
    assert [where for _, where in amiss] == ["Metadata.xlsx Studies!C2: '=SUM(1,2)'", "Metadata.xlsx Studies!D2: '=1'"]
    assert found["P1"]["is_ra"] == -1


def test_rows_of_one_study_that_contradict_each_other_are_unknown_there(tmp_path):
    write(tmp_path, SOUND, ["P2", *SOUND[1:]], ["P1", "M", 61.5, None, "[0.150, 0.150]", "HMCRD"])
    found, amiss = read(tmp_path, ("P1", "P2"))
    assert amiss == [
        ("cells of Sex that differ between two rows of a study, taken as unknown",
         "Metadata.xlsx Studies!B2: 'F' and Metadata.xlsx Studies!B4: 'M'"),
        ("cells of Center that differ between two rows of a study, taken as unknown",
         "Metadata.xlsx Studies!F2: 'HU' and Metadata.xlsx Studies!F4: 'HMCRD'"),
    ]  # fmt: skip
    assert found["P1"] == {**found["P2"], "sex": ""}


def test_rows_and_columns_that_are_there_for_nothing_or_twice_are_named(tmp_path):
    header = ["Mapped Image Stem", "Sex", "Age", "age ", "isRA", "PixelSpacing", "Center", "Note", "Note", None]
    row = ["P1", "F", 61, 16, 1, 0.15, "HU", "a", "b", "c"]
    write(tmp_path, row, [None] * 10, ["  ", "M", 50], ["P3", *row[1:]], header=header)
    found, amiss = read(tmp_path)
    assert found["P1"]["age"] == 61
    assert amiss == [
        ("metadata columns that are there twice, the first counts", "Age"),
        ("metadata rows without a study, left out", "Metadata.xlsx Studies row 4"),
        ("metadata rows without an image", "P3"),
    ]


def test_rows_above_the_header_may_be_empty_and_whole_numbers_written_as_decimals(tmp_path):
    book = openpyxl.Workbook()
    for row in ([None] * 6, HEADER, [7.0, "F", 61.0, 1.0, 0.15, "HU"]):
        book.active.append(row)
    book.save(tmp_path / "Metadata.xlsx")
    found, amiss = read(tmp_path, ("7",))
    assert (found["7"]["age"], found["7"]["is_ra"], amiss) == (61, 1, [])
    (row,) = spreadsheet.read_rows(tmp_path / "Metadata.xlsx")
    assert row.place("age") == "Sheet!C3" and len(row) == 6 and row["center"] == "HU"


def test_a_far_off_cell_takes_neither_time_nor_memory(tmp_path):
    write(tmp_path, SOUND)
    book = openpyxl.load_workbook(tmp_path / "Metadata.xlsx")
    book.active.cell(1048576, 16384).value = " "
    book.save(tmp_path / "Metadata.xlsx")
    assert read(tmp_path)[1] == []


def test_a_sheet_that_unpacks_to_far_more_than_a_sheet_has_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(spreadsheet, "_MOST_BYTES", 1 << 20)
    write(tmp_path, *[["x" * 30000, *SOUND[1:]]] * 50)
    assert (tmp_path / "Metadata.xlsx").stat().st_size < 100_000
    with pytest.raises(ReleaseError, match=r"Metadata\.xlsx unpacks to more than 1 MB"):
        read(tmp_path)


def test_control_characters_of_a_cell_do_not_reach_the_terminal(tmp_path):
    report = Report("x", "")
    report.find("all", [metadata.Finding("rows \x1b[31m", "P1\x1b]0;title\x07 \ud800\n")])
    report.categories("all", "a.json", ["\x1b[2J"])
    table = to_table(report.to_json())
    assert all(line.isprintable() for line in table.splitlines())
    assert r"1 rows \x1b[31m: P1\x1b]0;title\x07 \ud800\n" in table and r"\x1b[2J" in table

import math

import openpyxl
import pytest

from ramjax.io import spreadsheet
from ramjax.io.errors import ReleaseError


def write(path, *rows):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


def test_columns_are_found_whatever_their_blanks_and_capitals(tmp_path):
    write(tmp_path / "m.xlsx", ["Mapped Image Stem", "Normalized PatientID", "isRA"], ["0016_0001", 7, 1], [None] * 3)
    (row,) = spreadsheet.read_rows(tmp_path / "m.xlsx")
    assert row[spreadsheet.column("NormalizedPatientID")] == "7"
    assert row[spreadsheet.column("IsRA")] == "1"
    assert row[spreadsheet.column("mapped image stem")] == "0016_0001"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("[0.15, 0.15]", 0.15), ("0.175", 0.175), (" [ 0.149,0.149 ] ", 0.149), ("[0.15, 0.2]", math.nan),
        ("Unknown", math.nan), ("", math.nan), ("[0, 0]", math.nan), ("[1, 2, 3]", math.nan), ("1.5e-1", 0.15),
            (".149", 0.149), ("[-0.15, -0.15]", math.nan),
    ],
)  # fmt: skip
def test_spacings(text, expected):
    assert spreadsheet.to_spacing(text) == pytest.approx(expected, nan_ok=True)


def test_numbers_and_flags():
    assert spreadsheet.to_number("69.23") == 69.23 and math.isnan(spreadsheet.to_number("inf"))
    assert math.isnan(spreadsheet.to_number("Unknown")) and math.isnan(spreadsheet.to_number(""))
    assert [spreadsheet.to_flag(text) for text in ("1", "0.0", "", "yes", "2")] == [1, 0, -1, -1, -1]


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"PK\x03\x04 no zip"])
def test_a_damaged_sheet_is_named(tmp_path, content):
    (tmp_path / "Metadata.xlsx").write_bytes(content)
    with pytest.raises(ReleaseError, match=r"Metadata\.xlsx is no readable Excel sheet"):
        spreadsheet.read_rows(tmp_path / "Metadata.xlsx")
    with pytest.raises(ReleaseError, match=r"missing\.xlsx"):
        spreadsheet.read_rows(tmp_path / "missing.xlsx")

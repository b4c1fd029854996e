import contextlib
import io
import math
import pathlib
import re
import tempfile
import tracemalloc
import zipfile

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def rewrite(path, old: str, new: str):
    """Writes other XML into a sheet."""
    with zipfile.ZipFile(path) as packed:
        parts = {entry.filename: packed.read(entry) for entry in packed.infolist()}
    name = "xl/worksheets/sheet1.xml"
    assert old.encode() in parts[name]
    with zipfile.ZipFile(path, "w") as packed:
        for key, content in (parts | {name: parts[name].replace(old.encode(), new.encode())}).items():
            packed.writestr(key, content)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('<row r="2">', '<row r="99999999999">'), ('r="B2"', 'r="ZZZZZZZ2"'), ('r="B2"', 'r="?"'),
        ("<v>61.5</v>", "<v>" + "9" * 5000 + "</v>"), ("<v>61.5</v>", "<v>spam</v>"), ("</sheetData>", ""),
    ],
)  # fmt: skip
def test_a_sheet_with_numbers_beyond_those_of_sheets_is_named(tmp_path, old, new):
    write(tmp_path / "m.xlsx", ["Stem", "Age"], ["a", 61.5])
    rewrite(tmp_path / "m.xlsx", old, new)
    with pytest.raises(ReleaseError, match=r"m\.xlsx is no readable Excel sheet"):
        spreadsheet.read_rows(tmp_path / "m.xlsx")


def test_entities_are_not_expanded_into_memory(tmp_path):
    write(tmp_path / "m.xlsx", ["Stem", "Age"], ["a", 61.5])
    levels = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))
    rewrite(tmp_path / "m.xlsx", "<worksheet", f'<!DOCTYPE x [<!ENTITY e0 "aaaaaaaaaa">{levels}]><worksheet')
    rewrite(tmp_path / "m.xlsx", "<t>a</t>", "<t>&e9;</t>")
    with pytest.raises(ReleaseError, match=r"m\.xlsx is no readable Excel sheet"):
        spreadsheet.read_rows(tmp_path / "m.xlsx")


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_sheet_with_any_bytes_changed_is_read_or_named(data):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "m.xlsx"
        content = bytearray(SHEET)
        for place in data.draw(st.lists(st.integers(0, len(SHEET) - 1), min_size=1, max_size=5)):
            content[place] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        try:
            rows = [dict(row) for row in spreadsheet.read_rows(path)]
        except ReleaseError as error:
            assert "m.xlsx" in str(error)
        else:
            assert rows == [{"stem": "a", "age": "61.5"}], "the checksums of the parts tell damage"


def sheet() -> bytes:
    buffer = io.BytesIO()
    write(buffer, ["Stem", "Age"], ["a", 61.5])
    return buffer.getvalue()


SHEET = sheet()


def test_sizes_that_a_sheet_states_take_no_more_memory_than_there_is(tmp_path):
    write(tmp_path / "m.xlsx", ["Age"], [61])
    content = bytearray((tmp_path / "m.xlsx").read_bytes())
    for entry in re.finditer(rb"PK\x01\x02", bytes(content)):
        content[entry.start() + 23] |= 0x80  # two gigabytes more, packed, in the archive's directory
    (tmp_path / "m.xlsx").write_bytes(content)
    tracemalloc.start()
    with contextlib.suppress(ReleaseError):
        spreadsheet.read_rows(tmp_path / "m.xlsx")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 24

"""Writes files completely or not at all: under another name, synced to the disk, then renamed.

What is read back has a checksum, so that damage is told from a value: `CHECKSUM`, the last key of a JSON object. It is
optional, because files of older versions lack it.
"""

import contextlib
import dataclasses
import json
import logging
import math
import os
import pathlib
import uuid
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from ramjax.errors import RunError
from ramjax.printable import decoded

log = logging.getLogger(__name__)

CHECKSUM = "crc32"
"""Key of the checksum of the other keys and their values, in 8 hexadecimal digits."""


def write_whole(contents: Mapping[pathlib.Path, bytes]) -> None:
    """Writes several files; replaces old ones only when all new ones are complete.

    Raises:
      OSError: a file cannot be written; the error names it. No file has changed (unless the renaming itself failed).
    """
    beside = {path: path.with_name(f".{_shortened(path.name)}.{uuid.uuid4().hex}.tmp") for path in contents}
    path = None
    try:
        for path, content in contents.items():
            with beside[path].open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # or a power cut could leave the new name with nothing in it
        for path, temporary in beside.items():
            temporary.replace(path)
    except OSError as error:  # of its own it names the file beside, or none
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        for temporary in beside.values():
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def written_whole(path: pathlib.Path) -> Iterator[BinaryIO]:
    """Yields a file that becomes `path` when all is written; an error leaves nothing.

    It is not synced, which would wait for the disk: after a power cut it may lack content, so who reads it must check.
    """
    temporary = path.with_name(f".{_shortened(path.name)}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _shortened(name: str) -> str:
    """So much of a name that more fits behind it; a whole one may be as long as names can be."""
    return os.fsdecode(os.fsencode(name)[:100])


def write_bytes(path: str | pathlib.Path, content: bytes) -> None:
    """As `write_whole`, for one file."""
    write_whole({pathlib.Path(path): content})


def write_text(path: str | pathlib.Path, text: str) -> None:
    """As `write_bytes`, in UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: str | pathlib.Path, values: Any) -> None:
    """As `write_text`; NaN and infinities, which JSON does not have, become null."""
    write_text(path, json.dumps(finite_or_none(values), indent=2) + "\n")


def with_checksum(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values`, ready for JSON, with `CHECKSUM` as their last key; what is not finite becomes None, as in JSON."""
    values = finite_or_none(dict(values))
    return values | {CHECKSUM: checksum(values)}


def without_checksum(values: Any) -> dict[str, Any]:
    """The inverse of `with_checksum`; also of an object that has none.

    Raises:
      ValueError: `values` is no object, or its checksum differs.
    """
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")
    values = dict(values)
    stored = values.pop(CHECKSUM, None)
    if stored is not None and stored != checksum(values):
        raise ValueError("its checksum differs")
    return values


def checksum(values: Any) -> str:
    """The CRC-32 of values as JSON writes them, in 8 hexadecimal digits."""
    return f"{zlib.crc32(json.dumps(values).encode()):08x}"


def parse_json(text: str | bytes) -> Any:
    """As `json.loads`, but whatever is no JSON raises ValueError: no UTF-8, too deep a nesting, NaN and infinities."""
    try:
        return json.loads(text.decode("utf-8") if isinstance(text, bytes) else text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


@dataclasses.dataclass(frozen=True)
class DamagedLine:
    """A line that is no row: its number from 1, its bytes without the line feed, and what is wrong with it."""

    number: int
    content: bytes
    reason: str


def json_line(row: Mapping[str, Any]) -> str:
    """A row of metrics, ``{"step": 10, "train/loss": 0.5}``, as a line of a file that `read_json_lines` reads."""
    return json.dumps(with_checksum(row)) + "\n"


def read_json_lines(path: str | pathlib.Path) -> list[dict[str, Any]]:
    """The rows of a file of `json_line`; [] without the file. Damaged lines are left out, with one warning for all."""
    rows, damaged = split_json_lines(path)
    if damaged:
        log.warning("%s; the other rows are used.", describe_damaged(path, damaged))
    return rows


def split_json_lines(path: str | pathlib.Path) -> tuple[list[dict[str, Any]], list[DamagedLine]]:
    """The rows of a file of `json_line` without their checksums, and the lines that are none.

    A row is an object with a ``step`` that is a whole number, and with numbers or null for all other values. It has
    other keys than the rows of the same step before it. A last line that was cut off, as by a kill, is neither.
    """
    path = pathlib.Path(path)
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    rows, damaged, seen = [], [], set()
    for number, line in enumerate(lines, 1):
        if not line.strip() or (number == len(lines) and b"}" not in line):
            continue
        try:
            row = _parse_row(line)
            identity = row["step"], tuple(row)
            if identity in seen:
                raise ValueError(f"it repeats a row of step {row['step']}")
        except ValueError as error:
            damaged.append(DamagedLine(number, line, str(error)))
            continue
        seen.add(identity)
        rows.append(row)
    return rows, damaged


def describe_damaged(path: str | pathlib.Path, damaged: list[DamagedLine]) -> str:
    """Which lines of a file are damaged, one or more, and what is wrong with the first."""
    more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
    return f"{path}: line {damaged[0].number}{more} is damaged ({damaged[0].reason})"


def _parse_row(line: bytes) -> dict[str, Any]:
    """The row of a line; raises ValueError saying what is wrong with it."""
    try:
        values = parse_json(line)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except json.JSONDecodeError:
        raise ValueError("it is no JSON") from None
    row = without_checksum(values)
    step = row.get("step")
    if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step < 2**63:
        raise ValueError(f"its step is {step if step is None else str(step)[:40]}")
    for key, value in row.items():
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise ValueError(f"its {key[:80]} is no number")
    return finite_or_none(row)


def check_utf8(path: str | pathlib.Path, flag: str) -> None:
    """Raises RunError for a path that libraries in C++ cannot take, because Python does not know its letters.

    Args:
      path: of a folder, perhaps a relative one.
      flag: that names it.
    """
    whole = os.path.abspath(path)
    if not is_utf8(whole):
        known = is_utf8(decoded(whole))
        remedy = "set PYTHONUTF8=1, as this locale is without UTF-8" if known else "give the folder a name in UTF-8"
        raise RunError(
            f"{flag}={path} has bytes that are no letters, which checkpoints and data cannot have; {remedy}."
        )


def is_utf8(text: str) -> bool:
    """Whether UTF-8 has all its letters; it has no lone surrogates."""
    return text.encode(errors="replace").decode() == text


def finite_or_none(values: Any) -> Any:
    """`values` (nested dicts, lists, numbers) with every number that is not finite replaced by None."""
    if isinstance(values, dict):
        return {key: finite_or_none(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [finite_or_none(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values

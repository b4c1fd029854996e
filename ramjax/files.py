"""Writes files completely or not at all: under another name, synced to the disk, then renamed."""

import json
import math
import os
import pathlib
import uuid
from collections.abc import Mapping
from typing import Any

from ramjax.errors import RunError
from ramjax.printable import decoded


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


def read_json_lines(path: str | pathlib.Path) -> list[Any]:
    """The values of a file of one JSON value a line, without a last one that is cut off; [] without the file."""
    path, rows = pathlib.Path(path), []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


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

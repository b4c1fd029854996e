"""Reads JSON files of strangers, and the numbers in them: what no reader expects is an error that names the file."""

import json
import pathlib
import reprlib
from typing import Any

from ramjax.io.errors import ReleaseError

_DEEPEST = 32
"""Levels of lists and groups in one another; a COCO file has five. Deeper ones break what walks over them."""

_LARGEST = 3e38
"""Of the numbers that single precision holds."""

_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 60


def read_json(path: pathlib.Path) -> Any:
    """Returns the content of a JSON file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises:
      ReleaseError: it is missing, a Git LFS pointer or damaged, nested too deeply, has a number of thousands of digits,
        or a key twice with different values; the message names the file.
    """
    try:
        content = path.read_bytes()
        if content.startswith(b"version https://git-lfs"):
            raise ReleaseError(f"{path} is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`.")
        values = json.loads(content, object_pairs_hook=_group)
        _check_depth(values)
        return values
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read ({error.strerror}); fetch it again.") from error
    except (ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, ReleaseError):
            raise
        raise ReleaseError(f"{path} is no whole JSON file ({_reason(error)}); fetch it again.") from error


def whole(value: Any) -> int | None:
    """The whole number that a JSON value is (2 and 2.0 are, True and "2" are not), else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    return int(value)


def finite(value: Any) -> float | None:
    """The number that a JSON value is, where it is one and single precision holds it, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -_LARGEST <= value <= _LARGEST else None  # which NaN and 10**400 are not


def shown(value: Any) -> str:
    """A value as messages show it: on one line, long ones shortened."""
    return text if len(text := _SHOWN.repr(value)) <= 80 else f"{text[:77]}..."


def _group(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    group: dict[str, Any] = {}
    for key, value in pairs:
        if key in group and not _same(group[key], value):
            raise ValueError(f"the key {shown(key)} is there twice, as {shown(group[key])} and {shown(value)}")
        group[key] = value
    return group


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one) == json.dumps(other)  # by what is written: True is not 1


def _check_depth(values: Any) -> None:
    level = [values]
    for _ in range(_DEEPEST):
        level = [
            value
            for group in level
            for value in (group.values() if isinstance(group, dict) else group if isinstance(group, list) else ())
            if isinstance(value, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {_DEEPEST} levels deep")


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, UnicodeDecodeError):
        return f"it is not {error.encoding} text from byte {error.start} on"
    if "integer string conversion" in str(error):
        return "it has a number of thousands of digits"
    return str(error)

"""Files that are whole or absent: written beside, then renamed."""

import json
import math
import os
import pathlib
from typing import Any


def write_text(path: str | pathlib.Path, text: str) -> None:
    """Writes `text` to `path`, replacing what was there only when the new file is complete."""
    path = pathlib.Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: str | pathlib.Path, values: Any) -> None:
    """As `write_text`; NaN and infinities, which JSON lacks, become null."""
    write_text(path, json.dumps(finite_or_none(values), indent=2) + "\n")


def finite_or_none(values: Any) -> Any:
    """`values` (nested dicts, lists, numbers) with every number that is not finite replaced by None."""
    if isinstance(values, dict):
        return {key: finite_or_none(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [finite_or_none(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values

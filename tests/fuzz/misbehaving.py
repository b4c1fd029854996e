"""Readers that do what none may, to see that it is found: each at the files whose first byte is no longer ``a``."""

import os
import pathlib
import time

from ramjax.errors import UserError
from tests.fuzz.formats import Format, Reading


def _refuse(content: bytes) -> None:
    raise UserError("It is damaged; fetch it again.")


def _raise(content: bytes) -> None:
    {}["a"]


def _convert(content: bytes) -> None:
    raise UserError("It is damaged.") from MemoryError()


_READERS = {
    "refuses": _refuse,
    "raises": _raise,
    "crashes": lambda content: os.abort(),
    "ends": lambda content: os._exit(0),
    "waits": lambda content: time.sleep(60),
    "works": lambda content: sum(iter(lambda: 1, 0)),
    "fills": lambda content: bytearray(1 << 30),
    "hides": _convert,
    "changes": lambda content: content,
    "notes": lambda content: content,
    "ignores": lambda content: None,
}


def _format(name: str) -> Format:
    def build(folder: pathlib.Path) -> tuple[pathlib.Path, list[bytes]]:
        return folder / "x", [b"a"]

    def read(path: pathlib.Path) -> Reading:
        content = path.read_bytes()
        changed = None if content == b"a" else _READERS[name](content)
        return Reading(changed, frozenset({"It is odd."} if changed is not None and name == "notes" else ()))

    return Format(name, build, read, lambda content: len(content) != 1, memory=1 << 28, seconds=0.3)


FORMATS = {name: _format(name) for name in _READERS}

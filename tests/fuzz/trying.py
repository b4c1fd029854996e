"""Reads one mutant, and says what came of it."""

import contextlib
import dataclasses
import enum
import hashlib
import logging
import math
import pathlib
import random
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ramjax.errors import UserError
from tests.fuzz.formats import Format, Reading
from tests.fuzz.mutate import Mutant, mutant

_OWN = tuple(str(pathlib.Path(__file__).parents[2] / name) for name in ("ramjax", "tfds_builders"))


class Outcome(enum.StrEnum):
    """What came of a mutant; from SILENT on, what must not be."""

    REFUSED = "refused"
    SAME = "same"
    NOTED = "noted"
    CHANGED = "changed, not tellable"
    SILENT = "changed silently"
    FOREIGN = "foreign exception"
    CRASH = "crash"
    HANG = "hang"
    MEMORY = "memory"


FORBIDDEN = (Outcome.SILENT, Outcome.FOREIGN, Outcome.CRASH, Outcome.HANG, Outcome.MEMORY)


@dataclasses.dataclass(frozen=True)
class Tried:
    """A mutant by its number, the mutations that made it, and what came of it; `detail` is the exception's text."""

    index: int
    kind: str
    outcome: Outcome
    detail: str = ""


def make(of: Format, contents: Sequence[bytes], seed: int, index: int) -> Mutant:
    """The mutant of a number, the same at any time."""
    return mutant(contents, of.mutations, random.Random(f"{seed} {of.name} {index}"))


def read(of: Format, path: pathlib.Path) -> tuple[str, frozenset[str]]:
    """The digest of what a file holds, and what was said of it."""
    with _heard() as warnings:
        reading: Reading = of.read(path)
    return digest(reading.content), reading.notes | frozenset(warnings)


def judge(of: Format, path: pathlib.Path, one: Mutant, whole: tuple[str, frozenset[str]]) -> tuple[Outcome, str]:
    """What comes of reading the mutant, which lies at `path`; `whole` is what `read` returned of its seed."""
    try:
        content, notes = read(of, path)
    except Exception as error:
        detail = f"{type(error).__name__}: {error}"[:500]
        if _is_memory(error):
            return Outcome.MEMORY, detail
        if is_own(error):
            return Outcome.REFUSED, detail
        return Outcome.FOREIGN, f"{detail} {''.join(traceback.format_exception(error)[-3:])[-600:]}"
    if content == whole[0]:
        return Outcome.SAME, ""
    if notes - whole[1]:
        return Outcome.NOTED, "; ".join(sorted(notes - whole[1]))[:500]
    return (Outcome.SILENT if of.damaged(one.content) else Outcome.CHANGED), ""


def is_own(error: Exception) -> bool:
    """Whether the project raised it for people: a `UserError`, or a sentence that its own code raised."""
    if isinstance(error, UserError):
        return True
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    return (
        isinstance(error, ValueError | OSError | RuntimeError)
        and raised_in.startswith(_OWN)
        and str(error).endswith(".")
    )


def _is_memory(error: BaseException | None) -> bool:
    """Whether it, or what it was made of, is that the memory did not suffice."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def _heard() -> Iterator[list[str]]:
    """The warnings that the project logs meanwhile."""
    heard: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: heard.append(record.getMessage())
    logging.getLogger("ramjax").addHandler(handler)
    try:
        yield heard
    finally:
        logging.getLogger("ramjax").removeHandler(handler)


def digest(value: Any) -> str:
    """A hash of nested plain values, arrays and dataclasses, in which NaN is equal to itself."""
    total = hashlib.sha256()
    for part in _parts(value):
        total.update(part)
    return total.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray) and value.dtype != object:
        yield f"{value.dtype}{value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, dict):
        for key, item in value.items():
            yield repr(key).encode()
            yield from _parts(item)
    elif isinstance(value, list | tuple | np.ndarray):
        yield f"{len(value)}[".encode()
        for item in value:
            yield from _parts(item)
    elif isinstance(value, float) and math.isnan(value):
        yield b"nan"
    else:
        yield repr(value).encode()

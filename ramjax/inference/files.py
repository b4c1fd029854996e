"""Which files to predict, and what to call their results."""

import collections
import itertools
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from ramjax.io.images import is_candidate

REPORT, OVERLAY = ".json", "_overlay.png"
"""What follows a name in the results of one radiograph."""


def mask(name: str) -> str:
    """What follows it in a file of masks; `name` is of `Task.mask_names`."""
    return f"_{name}.png"


def split_commas(value: str) -> list[str]:
    """Paths separated by commas; if the whole text is an existing path, it is that path."""
    return [value] if pathlib.Path(value).exists() else [part.strip() for part in value.split(",") if part.strip()]


def find_files(
    inputs: Sequence[str | pathlib.Path], output: pathlib.Path, masks: Sequence[str] = ()
) -> list[pathlib.Path]:
    """The files to predict, each once, in order: those named, and those in folders that look like radiographs.

    What an earlier prediction wrote to `output` is left out of folders: overlays, and the masks that are named.
    """
    written = (OVERLAY, *map(mask, masks))
    unique: dict[pathlib.Path, pathlib.Path] = {}
    for path in map(pathlib.Path, inputs):
        for file in _walk(path, output, written) if path.is_dir() else (path,):
            unique.setdefault(file.resolve(), file)
    return list(unique.values())


def choose_names(files: Sequence[pathlib.Path], output: pathlib.Path) -> list[str]:
    """A name for the results of each file: its stem, with folders in front where another file has the same.

    Names differ in more than case. Results in `output` that belong to another file keep theirs.
    """
    stems = collections.Counter(path.stem.casefold() for path in files)
    numbers: dict[str, Iterator[int]] = collections.defaultdict(lambda: itertools.count(2))
    taken: dict[str, str] = {}
    for path in files:
        for name in _possible_names(path, folders=1 if stems[path.stem.casefold()] > 1 else 0, numbers=numbers):
            if name.casefold() not in taken and not _belongs_to_another(output / (name + REPORT), path):
                taken[name.casefold()] = name
                break
    return list(taken.values())


def _walk(folder: pathlib.Path, output: pathlib.Path, written: tuple[str, ...]) -> Iterator[pathlib.Path]:
    for path in sorted(folder.rglob("*")):
        ours = path.name.endswith(written) and path.parent.resolve() == output.resolve()
        if path.is_file() and not ours and is_candidate(path):
            yield path


def _possible_names(path: pathlib.Path, folders: int, numbers: Mapping[str, Iterator[int]]) -> Iterator[str]:
    parents = [part for part in path.resolve().parent.parts if part not in (os.sep, path.anchor)]
    for depth in range(folders, min(len(parents), folders + 3) + 1):
        yield "__".join([*parents[len(parents) - depth :], path.stem])
    numbered = f"{path.stem}_{path.suffix.removeprefix('.') or 'file'}"
    for number in numbers[numbered.casefold()]:
        yield f"{numbered}_{number}"


def _belongs_to_another(report: pathlib.Path, path: pathlib.Path) -> bool:
    try:
        owner = json.loads(report.read_text(encoding="utf-8"))["input"]
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError):
        return True
    return pathlib.Path(owner).resolve() != path.resolve()

"""Which files to predict, and what to call their results."""

import collections
import hashlib
import itertools
import logging
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

from ramjax.errors import RunError
from ramjax.files import parse_json
from ramjax.io.images import SUFFIXES, is_candidate
from ramjax.notice import NOTE
from ramjax.printable import controls, decoded, printable
from ramjax.written import Written, fold

log = logging.getLogger(__name__)

REPORT, OVERLAY = ".json", "_overlay.png"
"""What follows a name in the results of one radiograph."""

NAME_BYTES = 255
"""Length of a file's name that nearly all file systems take; some take less, and say so."""


_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9])(\.|$)", re.IGNORECASE)
"""Begins names that Windows takes for devices, whatever follows the dot."""


def mask(name: str) -> str:
    """What follows it in a file of masks; `name` is of `Task.mask_names`."""
    return f"_{name}.png"


def suffixes(masks: Sequence[str]) -> tuple[str, ...]:
    """What follows a name in all that may be written of one radiograph; `masks` are of `Task.mask_names`."""
    return (REPORT, OVERLAY, *map(mask, masks))


def split_commas(value: str) -> list[str]:
    """Paths separated by commas; if the whole text is an existing path, it is that path."""
    return [value] if os.path.exists(value) else [part.strip() for part in value.split(",") if part.strip()]


def find_files(
    inputs: Sequence[str | pathlib.Path], output: pathlib.Path, masks: Sequence[str] = ()
) -> list[pathlib.Path]:
    """The files to predict, each once, in order: those named, and those in folders that look like radiographs.

    Links to folders are followed, each folder once. Results of an earlier prediction in `output` are left out of
    folders: what its record names, and, of versions without one, overlays and the masks that are named, beside their
    report. A folder that cannot be read is among the files, and so is what is named as an image and is none, such as a
    link that leads nowhere: who reads them says so.

    Raises:
      RunError: an input is an empty path, which would stand for the current folder.
    """
    if not all(str(path).strip() for path in inputs):
        raise RunError("An input is an empty path; name files and folders.")
    written = Written(output)
    unique: dict[str, pathlib.Path] = {}
    for path in map(pathlib.Path, inputs):
        for file in _walk(path, written, suffixes(masks)[1:]) if os.path.isdir(path) else (path,):
            unique.setdefault(os.path.realpath(file), file)
    return list(unique.values())


def choose_names(files: Sequence[pathlib.Path], output: pathlib.Path, masks: Sequence[str] = ()) -> list[str]:
    """A name for the results of each file, see `Names`; `masks` are all that may be written."""
    return Names(files, Written(output), suffixes(masks)).chosen


class Names:
    """Names for the results of files: the stem of each, with folders in front where another file has the same.

    Names differ in more than case. One that is too long for a file system, or has letters that do not belong in a name,
    is changed and ends in a digest of what it was. A name is passed over where that would replace a file in the folder
    that is another radiograph's result or the user's own.

    Attributes:
      chosen: for each file, in their order.
    """

    def __init__(self, files: Sequence[pathlib.Path], written: Written, suffixes: Sequence[str]):
        self._written, self._suffixes = written, suffixes
        self._stems = collections.Counter(fold(decoded(path.stem)) for path in files)
        self._numbers: dict[str, Iterator[int]] = collections.defaultdict(lambda: itertools.count(2))
        self._taken: set[str] = set()
        self._room = _longest_name(written.folder) - max(len(suffix.encode()) for suffix in suffixes)
        self.chosen = [self.choose(path) for path in files]

    def choose(self, path: pathlib.Path) -> str:
        """A name that no other file has, and that is free in the folder."""
        kept = ""
        source = source_of(path, self._written.folder)
        for whole in _possible_names(path, folders=self._stems[fold(decoded(path.stem))] > 1, numbers=self._numbers):
            name = _fitted(whole, self._room)
            results = [name + suffix for suffix in self._suffixes]
            if not self._taken.isdisjoint(map(fold, results)):
                continue
            refused = [result for result in results if not self._written.is_free(result, source)]
            if not refused:
                break
            kept = kept or next((result for result in refused if not self._written.is_own(result)), "")
        self._taken.update(map(fold, results))
        if kept:
            log.warning(
                "%s was not written by this program, or was changed since; it is kept, and the results of %s are "
                "called %s.",
                printable(str(self._written.path(kept))), printable(str(path)), name,
            )  # fmt: skip
        elif name != whole:
            log.info("The results of %s are called %s.", printable(str(path)), name)
        return name

    def confirm(self, path: pathlib.Path, name: str) -> str:
        """The name that was chosen for a file, or another where it is not free any more."""
        source = source_of(path, self._written.folder)
        free = all(self._written.is_free(name + suffix, source) for suffix in self._suffixes)
        return name if free else self.choose(path)


def source_of(path: pathlib.Path, output: pathlib.Path) -> str:
    """What tells a file from others, as the record of `output` has it; the same when both were moved together."""
    return decoded(os.path.relpath(os.path.realpath(path), os.path.realpath(output)))


def _walk(folder: pathlib.Path, written: Written, results: tuple[str, ...]) -> Iterator[pathlib.Path]:
    """The candidates below a folder, sorted; linked folders after the others, so that a path is the plain one."""
    seen: set[tuple[int, int]] = set()
    links = [folder]
    while links:
        waiting, links = links[::-1], []
        while waiting:
            path = waiting.pop()
            if not os.path.isdir(path):
                if _looks_like_one(path) and not _is_result(path, written, results):
                    yield path
                continue
            try:
                about = os.stat(path)
                names = os.listdir(path) if (about.st_dev, about.st_ino) not in seen else []
            except OSError:
                yield path
                continue
            seen.add((about.st_dev, about.st_ino))
            children = [path / name for name in sorted(names)]
            linked = {child for child in children if child.is_symlink() and os.path.isdir(child)}
            links += sorted(linked)
            waiting += [child for child in reversed(children) if child not in linked]


def _looks_like_one(path: pathlib.Path) -> bool:
    """As `is_candidate`; opens nothing that could keep it waiting, such as a pipe."""
    return is_candidate(path) if os.path.isfile(path) else path.suffix.lower() in SUFFIXES and path.name[0] != "."


def _is_result(path: pathlib.Path, written: Written, results: tuple[str, ...]) -> bool:
    name = decoded(path.name)
    recorded, old = name in written, [suffix for suffix in results if name.endswith(suffix)]
    if not (recorded or old) or os.path.realpath(path.parent) != os.path.realpath(written.folder):
        return False
    return recorded or any(_is_report(path.with_name(path.name.removesuffix(suffix) + REPORT)) for suffix in old)


def _is_report(path: pathlib.Path) -> bool:
    """Whether a file is a report of this program, perhaps of a version that kept no record."""
    try:
        report = parse_json(path.read_bytes()) if path.is_file() else None
    except (OSError, ValueError):
        return False
    return isinstance(report, dict) and report.get("note") == NOTE and {"input", "model"} <= set(report)


def _possible_names(path: pathlib.Path, folders: bool, numbers: Mapping[str, Iterator[int]]) -> Iterator[str]:
    parents = [part for part in pathlib.Path(os.path.realpath(path)).parent.parts if part not in (os.sep, path.anchor)]
    for depth in range(folders, min(len(parents), folders + 3) + 1):
        yield decoded("__".join([*parents[len(parents) - depth :], path.stem]))
    numbered = decoded(f"{path.stem}_{path.suffix.removeprefix('.') or 'file'}")
    for number in numbers[fold(numbered)]:
        yield f"{numbered}_{number}"


def _fitted(name: str, room: int) -> str:
    """`name` where it can be one, else what is left of it in `room` bytes with a digest of it."""
    fit = "".join("_" if controls(letter) else letter for letter in name)
    if _RESERVED.match(fit):
        fit = f"_{fit}"
    if fit == name and len(name.encode()) <= room:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{fit.encode()[: room - 9].decode(errors='ignore')}-{digest}"


def _longest_name(folder: pathlib.Path) -> int:
    """Bytes of the longest name that a file in it may have."""
    try:
        return min(os.pathconf(folder, "PC_NAME_MAX"), NAME_BYTES)
    except OSError:  # there is no such folder yet
        return NAME_BYTES

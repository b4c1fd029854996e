"""Whether a prepared data set is as it was written, and what to do where it is not.

Records have checksums of their shard's format, which are checked when they are read. The checksums of all other files
are in ``checksums.json``, which is written when the data set is complete; data sets of older versions lack it.
"""

import hashlib
import json
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds
from array_record.python import array_record_module

from ramjax import files
from ramjax.errors import UserError

CHECKSUMS = "checksums.json"
ABOUT = "dataset_info.json"
_NEEDED = (ABOUT, "features.json", "metadata.json")
_SHARD = ".array_record"


class DatasetError(UserError, ValueError):
    """A file of a prepared data set is damaged or missing; the message names it and the remedy."""


def remedy(dataset: str, folder: pathlib.Path, data_dir: str, needs_release: bool) -> str:
    """What to do about a damaged data set in `folder`: delete it and prepare it again, with the command."""
    command = ["python", "-m", "ramjax.prepare", f"--dataset={dataset}", f"--data_dir={data_dir}"]
    release = " --source=RELEASE" if needs_release else ""
    return f"delete {folder} and prepare it again with {shlex.join(command)}{release}"


def write_checksums(folder: pathlib.Path) -> None:
    """Writes ``checksums.json``: the SHA-256 of every file but the shards, and the size of each shard."""
    found = {path.name: _identity(path) for path in sorted(folder.iterdir()) if path.name != CHECKSUMS}
    files.write_json(folder / CHECKSUMS, files.with_checksum(found))


def check_files(folder: pathlib.Path, what_to_do: str) -> None:
    """Checks all files of a data set but the content of its shards.

    Raises:
      DatasetError: one is missing, cut off or otherwise damaged.
      OSError: one may not be read.
    """
    for name in _NEEDED:
        _parse(folder / name, what_to_do)
    if not (folder / CHECKSUMS).exists():
        return
    try:
        stored = files.without_checksum(_parse(folder / CHECKSUMS, what_to_do))
    except DatasetError:
        raise
    except ValueError as error:
        raise damaged(folder / CHECKSUMS, str(error), what_to_do) from error
    for name, identity in stored.items():
        if not (folder / name).is_file():
            raise damaged(folder / name, "it is missing", what_to_do)
        if _identity(folder / name) != identity:
            raise damaged(folder / name, "it has changed since it was written", what_to_do)


def check_shards(builder: tfds.core.DatasetBuilder, what_to_do: str) -> None:
    """Checks that every shard is there and has the records that dataset_info.json counts.

    Raises:
      DatasetError: as `check_files`.
    """
    for split in builder.info.splits.values():
        for path, count in zip(split.filepaths, split.shard_lengths, strict=True):
            path = pathlib.Path(path)
            if not path.is_file():
                raise damaged(path, "it is missing", what_to_do)
            if not path.stat().st_size:
                raise damaged(path, "it is empty", what_to_do)
            with path.open("rb"):  # which says why it cannot be read
                pass
            try:
                reader = array_record_module.ArrayRecordReader(str(path))
                there = reader.num_records()
                reader.close()
            except Exception as error:  # of C++, without a kind of its own
                raise damaged(path, _first(error), what_to_do) from error
            if there != count:
                raise damaged(path, f"it has {there} records, and {ABOUT} counts {count}", what_to_do)


def unreadable(
    folder: pathlib.Path, error: Exception, dataset: str, data_dir: str, needs_release: bool
) -> DatasetError:
    """The error for a data set, its versions in `folder`, that TFDS cannot open: it names the file that is damaged."""
    for path in sorted(folder.rglob("*.json")):
        try:
            _parse(path, remedy(dataset, path.parent, data_dir, needs_release))
        except DatasetError as of_file:
            return of_file
    return damaged(folder, _first(error), remedy(dataset, folder, data_dir, needs_release))


def damaged(path: str | pathlib.Path, reason: str, what_to_do: str) -> DatasetError:
    return DatasetError(f"{path} is damaged ({reason}); {what_to_do}.")


def shard_of(shards: Sequence[tuple[str, int]], index: int) -> str:
    """The file of a record: `shards` are the paths of a split's shards and how many of its records each has."""
    for path, count in shards:
        if index < count:
            return path
        index -= count
    raise IndexError(f"Record {index} is behind the last shard.")


def of_record(error: Exception, shard: str, index: int, what_to_do: str) -> DatasetError:
    """The error for a record that could not be read."""
    return damaged(shard, f"record {index}: {_first(error)}", what_to_do)


def _parse(path: pathlib.Path, what_to_do: str) -> Mapping[str, Any]:
    """A JSON object; raises DatasetError where it is none."""
    if not path.is_file():
        raise damaged(path, "it is missing", what_to_do)
    try:
        values = files.parse_json(path.read_bytes())
    except ValueError as error:
        reason = "it is no JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        raise damaged(path, reason if path.stat().st_size else "it is empty", what_to_do) from error
    if not isinstance(values, dict):
        raise damaged(path, "it is no JSON object", what_to_do)
    return values


def _identity(path: pathlib.Path) -> str | int:
    """The size of a shard, whose content has checksums of its own; the SHA-256 of any other file."""
    return path.stat().st_size if _SHARD in path.name else hashlib.sha256(path.read_bytes()).hexdigest()


def _first(error: BaseException) -> str:
    """The first line of an error's message, short; or its kind."""
    return ((str(error).strip().splitlines() or [""])[0] or type(error).__name__)[:160].rstrip(".")

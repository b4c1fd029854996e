"""A data set kept decoded: a file a split, which all processes of the machine map into their memory.

Each record is decoded once and for all; neither worker processes nor a run that starts again decode it anew. The
system's page cache holds what is used of a file, once for all processes.

A file begins with the planes of its records, one after the other, each as `ramjax.record.Record` has it. Its index
follows, which is JSON: `of` tells what the file was made of, `end` is where the planes end, and `records` has the
offset, the shape and all other values of each record, and the CRC-32 of its planes. The last bytes are `_TRAILER`: a
mark, the length of the index, and its SHA-256.

A file that was made of other data, or is not whole, is made anew. The planes of a record are checked when a process
first reads them; where they are damaged, the record is decoded, and the next run makes the file anew.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import logging
import math
import pathlib
import shutil
import struct
import zlib
from typing import Any

import numpy as np
from tqdm import tqdm

from ramjax import files
from ramjax.data import parallel
from ramjax.data.source import Source, locked, shards_of
from ramjax.errors import is_disk_full
from ramjax.record import Joint, Record

log = logging.getLogger(__name__)

_FORMAT = 1
"""Goes up when what the files hold changes, so that older ones are made anew."""

_TRAILER = struct.Struct("<8sQ32s")
_MARK = b"ramjaxdc"

_PLANES = ("image", "bones", "erosions")
_BYTES_A_PIXEL = 6
_FLAGS = ("bones_known", "joints_known")

_SPARE = 1.1
"""Room that is asked for, over what the file takes if all records are as large as the first."""


@dataclasses.dataclass(frozen=True)
class Kept:
    """The file of a split.

    Attributes:
      path: of the file.
      made_of: version of the data set, split, number of records and hash of the report, as JSON; the file has the same.
    """

    path: pathlib.Path
    made_of: str


@dataclasses.dataclass(frozen=True)
class DecodedSource(Source):
    """A source whose records are in files of decoded ones; they equal those of `Source` to the last bit.

    The planes of its records are read-only. Where a file is damaged, or was removed or replaced meanwhile, records are
    decoded.

    Attributes:
      kept: the files, one for each split that the source takes records of.
      places: of each record, the file and the position in it.
    """

    kept: tuple[Kept, ...] = ()
    places: tuple[tuple[int, int], ...] = ()

    def __getitem__(self, index: int) -> Record:
        return self._get(index, checked=True)

    def peek(self, index: int) -> Record:
        """As `Source.peek`: the planes are neither read nor checked."""
        return self._get(index, checked=False)

    def _get(self, index: int, checked: bool) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(f"Record {index} of {self.name}, which has {len(self)}.")
        file, position = self.places[index]
        mapped = _mapped(self.kept[file])
        if mapped is None or (checked and not mapped.is_intact(position)):
            return super().__getitem__(index)
        return mapped.record(position)


def keep_decoded(source: Source, cache_dir: str = "") -> Source:
    """Returns the source with its records decoded once and kept; the whole split, whatever slice of it is asked for.

    Where they cannot be kept, a warning says why and what to do, and the source is returned as it was: it is only slow.

    Args:
      source: of `open_source`.
      cache_dir: where to keep them; '' is in the folder of the prepared data set.

    Raises:
      DatasetError: a record is damaged; the message names its file.
    """
    info = source.examples.dataset_info
    elsewhere = pathlib.Path(cache_dir).expanduser() / info.full_name
    folder = elsewhere if cache_dir else pathlib.Path(info.data_dir) / "decoded"
    places = places_of(source)
    splits = list(dict.fromkeys(split for split, _ in places))
    kept = []
    for split in splits:
        name, examples = f"{info.full_name} {split}", dataclasses.replace(source.examples, split=split)
        whole = dataclasses.replace(source, name=name, examples=examples, shards=shards_of(info, split))
        made_of = {
            "format": _FORMAT, "dataset": info.full_name, "split": split, "records": len(whole),
            "bytes": int(info.splits[split].num_bytes), "report": source.report,
        }  # fmt: skip
        file = Kept(folder / split, json.dumps(made_of))
        problem = _ensure(file, whole)
        if problem:
            log.warning(
                "Each record of %s is decoded whenever it is read, because %s; name another folder in data.cache_dir.",
                source.name,
                problem,
            )
            return source
        _tell(name, file)
        kept.append(file)
    numbered = tuple((splits.index(split), position) for split, position in places)
    return DecodedSource(**vars(source), kept=tuple(kept), places=numbered)


def places_of(source: Source) -> list[tuple[str, int]]:
    """The split of each record, and its position there."""
    splits = source.examples.dataset_info.splits
    starts = {}
    for name, split in splits.items():
        position = 0
        for shard, length in zip(split.filenames, split.shard_lengths, strict=True):
            starts[shard] = name, position
            position += length
    places = []
    for part in splits[source.examples.split].file_instructions:
        name, start = starts[pathlib.Path(part.filename).name]
        first = start + part.skip
        count = part.take if part.take >= 0 else part.examples_in_shard - part.skip
        places += [(name, position) for position in range(first, first + count)]
    return places


def _ensure(file: Kept, whole: Source) -> str:
    """Makes the file unless it is there; returns why it cannot be made, a clause for people, '' where it is there."""
    folder = file.path.parent
    try:
        if _map(file) is not None:
            return ""
        with locked(folder):
            if _map(file) is not None:  # made meanwhile, by whoever had the lock
                return ""
            for leftover in folder.glob(f".{file.path.name}.*.tmp"):
                leftover.unlink()  # of a run that was killed
            needed = _SPARE * len(whole) * _size(whole[0]) if len(whole) else 0
            free = shutil.disk_usage(folder).free + (file.path.stat().st_size if file.path.exists() else 0)
            if free < needed:
                return f"{folder} has {free / 1e9:.2f} GB left and decoded ones need about {needed / 1e9:.2f} GB"
            file.path.unlink(missing_ok=True)
            _make(file, whole)
    except OSError as error:
        if is_disk_full(error):
            return f"the disk of {folder} became full while they were kept"
        return f"{folder} cannot be written or read ({(error.strerror or str(error)).lower()})"
    return ""


def _make(file: Kept, whole: Source) -> None:
    def read(index: int) -> tuple[Record, list[np.ndarray], int]:
        record = whole[index]
        planes = [np.ascontiguousarray(getattr(record, name)) for name in _PLANES]
        return record, planes, functools.reduce(lambda so_far, plane: zlib.crc32(plane, so_far), planes, 0)

    records, end = [], 0
    decoded = parallel.in_order_by_threads(read, range(len(whole)))
    bar = tqdm(decoded, desc=f"Decoding {whole.name}", total=len(whole), unit="image", mininterval=1)
    with files.written_whole(file.path) as output:
        for record, planes, checksum in bar:
            for plane in planes:
                output.write(plane.data)
            about = {"at": end, "shape": record.image.shape, "crc32": checksum}
            records.append(about | {"values": _values(record)})
            end += _size(record)
        index = json.dumps({"of": json.loads(file.made_of), "end": end, "records": records}).encode()
        output.write(index + _TRAILER.pack(_MARK, len(index), hashlib.sha256(index).digest()))


def _size(record: Record) -> int:
    return sum(getattr(record, plane).nbytes for plane in _PLANES)


def _values(record: Record) -> dict[str, Any]:
    """What a record has beside its planes, ready for JSON, which keeps every bit of a float."""
    names = [field.name for field in dataclasses.fields(Record) if field.name not in _PLANES]
    values = {name: getattr(record, name) for name in names}
    flags = {name: values[name].tolist() for name in _FLAGS}
    return values | flags | {"joints": [dataclasses.astuple(joint) for joint in record.joints]}


@dataclasses.dataclass(frozen=True)
class _Mapped:
    """A file in memory.

    Attributes:
      path: of the file.
      content: its bytes, uint8 (n,).
      records: of its index.
      checked: bool, of each record, whether its planes were found intact.
    """

    path: pathlib.Path
    content: np.ndarray
    records: list[dict[str, Any]]
    checked: np.ndarray

    def is_intact(self, position: int) -> bool:
        """Whether a record's planes are what was written; if not, the file is removed, which nobody loses by."""
        if not self.checked[position]:
            entry = self.records[position]
            size = _BYTES_A_PIXEL * math.prod(entry["shape"])
            if zlib.crc32(self.content[entry["at"] : entry["at"] + size]) != entry["crc32"]:
                log.info("%s is damaged; it is made anew when a run starts next, and until then not used.", self.path)
                with contextlib.suppress(OSError):  # of another user, perhaps: then it stays, and is as little used
                    self.path.unlink(missing_ok=True)
                return False
            self.checked[position] = True
        return True

    def record(self, position: int) -> Record:
        entry = self.records[position]
        values, (height, width), at = entry["values"], entry["shape"], entry["at"]
        planes = {}
        for name, shape in zip(_PLANES, ((height, width), (height, width, 4), (height, width)), strict=True):
            planes[name] = self.content[at : at + np.prod(shape)].reshape(shape)
            at += planes[name].nbytes
        flags = {name: np.array(values[name], bool) for name in _FLAGS}
        joints = tuple(Joint(tuple(bbox), *others) for bbox, *others in values["joints"])
        return Record(**(values | planes | flags | {"joints": joints}))


@functools.cache  # once a process, not for every record
def _mapped(file: Kept) -> _Mapped | None:
    try:
        return _map(file)
    except OSError:
        return None


def _map(file: Kept) -> _Mapped | None:
    """The file in memory; None where there is none, or it is not whole, or was made of something else.

    Raises:
      OSError: it cannot be read, or not mapped for want of address space.
    """
    try:
        content = np.asarray(np.memmap(file.path, np.uint8, "r"))
    except (FileNotFoundError, ValueError):  # there is none; it is empty
        return None
    if len(content) < _TRAILER.size:
        return None
    mark, length, digest = _TRAILER.unpack(content[-_TRAILER.size :].tobytes())
    end = len(content) - _TRAILER.size - length
    if mark != _MARK or end < 0:
        return None
    index = content[end : -_TRAILER.size].tobytes()
    if hashlib.sha256(index).digest() != digest:
        return None
    values = json.loads(index)
    if values["of"] != json.loads(file.made_of) or values["end"] != end:
        return None
    return _Mapped(file.path, content, values["records"], np.zeros(len(values["records"]), bool))


@functools.cache  # once, not for every time that it is opened
def _tell(name: str, file: Kept) -> None:
    log.info("%s is kept decoded in %s (%.2f GB).", name, file.path, file.path.stat().st_size / 1e9)

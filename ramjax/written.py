"""Which files of a folder this program wrote: a record in the folder, so that nothing else is ever replaced.

The record is `RECORD`, a JSON object a line, only ever added to: ``file`` is a name, ``sha256`` the digest of what was
written under it, ``source`` what it was made of, as a digest too, for paths may name people. A line is written before
its file, so that a kill between the two loses nothing. Files that are not in it, or whose content is another than was
written, are the user's. A damaged line is left out: its file counts as the user's, too.

One process at a time writes to a folder; see `Written.locked`.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import pathlib
import stat
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

from ramjax.files import parse_json, write_whole

log = logging.getLogger(__name__)

RECORD = ".ramjax.jsonl"
"""Name of the record in its folder."""

_PATIENCE, _PAUSE = 3.0, 0.02
"""Seconds after which waiting is told, and between two tries."""

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Written:
    """The files that were written into a folder, by this and other processes.

    Names are compared as file systems do that know no case and no composition of letters.
    """

    def __init__(self, folder: str | pathlib.Path):
        self.folder = pathlib.Path(folder)
        self._digests: dict[str, set[str]] = {}
        self._sources: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._seen, self._inode = 0, -1
        self._record: int | None = None
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            record = os.open(self.folder / RECORD, os.O_RDONLY | os.O_NONBLOCK)
            try:
                self._read(record)
            finally:
                os.close(record)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Waits until no other process writes into the folder, keeps others waiting, and knows what they wrote.

        The lock is the system's and ends with the process, however that ends. A file system without locks is a warning.

        Raises:
          OSError: the record cannot be written or read.
        """
        self._record = _open_locked(self.folder / RECORD)
        try:
            self._read(self._record)
            yield
        finally:
            os.close(self._record)
            self._record = None

    def path(self, name: str) -> pathlib.Path:
        """Where a file of this name is; its bytes are those of UTF-8 in every locale."""
        return self.folder / os.fsdecode(name.encode("utf-8", "surrogateescape"))

    def __contains__(self, name: str) -> bool:
        """Whether a file of this name was ever written into the folder."""
        return fold(name) in self._digests

    def names(self, folder: str) -> list[str]:
        """What was ever written into a folder in this one."""
        return [name for name in self._names.values() if name.startswith(f"{folder}/")]

    def is_own(self, name: str) -> bool:
        """Whether the file is there with the content that was written."""
        return fold(name) in self._digests and _digest_of(self.path(name)) in self._digests[fold(name)]

    def holds(self, name: str, digest: str) -> bool:
        """Whether the file is there with the content of this digest."""
        return _digest_of(self.path(name)) == digest

    def is_free(self, name: str, source: str = "") -> bool:
        """Whether a file may be written under this name: there is none, or an own one that was made of the same."""
        if not os.path.lexists(self.path(name)):
            return True
        return self._sources.get(fold(name)) == sha256(source.encode("utf-8", "surrogateescape")) and self.is_own(name)

    def write(self, contents: Mapping[str, bytes], source: str = "") -> None:
        """Records and writes files, by name; call it while `locked`, for names that are free.

        Raises:
          OSError: a file cannot be written. None has changed.
        """
        self.record(contents, source)
        write_whole({self.path(name): content for name, content in contents.items()})

    def record(self, contents: Mapping[str, bytes], source: str = "") -> None:
        """The first half of `write`, for who writes the files next, together with others."""
        self._add({name: sha256(content) for name, content in contents.items()}, source)

    def adopt(self, names: Iterable[str]) -> None:
        """Records files that are there as they are, which an older version wrote; call it while `locked`."""
        digests = {name: _digest_of(self.path(name)) for name in names}
        self._add({name: digest for name, digest in digests.items() if digest}, "")

    def _add(self, digests: Mapping[str, str], source: str) -> None:
        """Adds lines to the record, and waits until they are on the disk."""
        of = sha256(source.encode("utf-8", "surrogateescape"))
        lines = [{"file": name, "sha256": digest, "source": of} for name, digest in digests.items()]
        begin = b"" if self._ends_whole() else b"\n"  # a line that was cut off stays a line of its own
        text = begin + b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        while text:
            text = text[os.write(self._record, text) :]
        os.fsync(self._record)
        self._read(self._record)

    def _ends_whole(self) -> bool:
        size = os.fstat(self._record).st_size
        return not size or os.pread(self._record, 1, size - 1) == b"\n"

    def _read(self, record: int) -> None:
        """Takes in the lines that were added since the last time."""
        about = os.fstat(record)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EEXIST, f"its {RECORD} is not a file", str(self.folder / RECORD))
        if about.st_ino != self._inode or about.st_size < self._seen:  # somebody deleted it and another began anew
            self._digests, self._sources, self._names = {}, {}, {}
            self._seen, self._inode = 0, about.st_ino
        text = b""
        while piece := os.pread(record, 1 << 20, self._seen + len(text)):
            text += piece
        whole = text.rpartition(b"\n")[0]
        self._seen += len(whole)
        for line in whole.split(b"\n"):
            with contextlib.suppress(ValueError, TypeError, KeyError):  # damaged, see above
                entry = parse_json(line)
                name = fold(str(entry["file"]))
                digest, source = str(entry["sha256"]), str(entry["source"])
                self._digests.setdefault(name, set()).add(digest)
                self._sources[name], self._names[name] = source, str(entry["file"])


def fold(name: str) -> str:
    """A name as it is compared with others."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def _open_locked(path: pathlib.Path) -> int:
    """Opens the record, made if absent, with a lock that no other process has."""
    start, told = time.monotonic(), False
    while True:
        record = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o666)
        try:
            fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(path) and os.path.samestat(os.fstat(record), os.stat(path)):
                return record  # else it was deleted meanwhile, and another process may hold a new one
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno in _NO_LOCKS:
                log.warning(
                    "The file system of %s cannot lock files; do not write to it from two commands at once.",
                    path.parent,
                )
                return record
            os.close(record)
            raise
        os.close(record)
        if not told and time.monotonic() - start > _PATIENCE:
            log.info("Waiting for another command that writes to %s.", path.parent)
            told = True
        time.sleep(_PAUSE)


def _digest_of(path: pathlib.Path) -> str:
    """The digest of a file's content; '' of what is no plain file, or cannot be read."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def sha256(content: bytes) -> str:
    """As the record has it."""
    return hashlib.sha256(content).hexdigest()

"""Opens a prepared data set for random access; prepares it first where it is absent."""

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import importlib
import io
import logging
import multiprocessing
import pathlib
import shlex
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds

from ramjax import files
from ramjax.data import features, intact
from ramjax.record import Record

log = logging.getLogger(__name__)

FILE_FORMAT = "array_record"
"""Random access, and readable without TensorFlow."""

DATASETS = ("ram_phantom", "ram_h1200", "ram_w600", "radiographs")
"""Packages of `tfds_builders`; each has a class `Builder` in its module ``<name>_dataset_builder``.

A package elsewhere that is laid out like these is named by its dotted path, such as ``my_lab.films``."""


@dataclasses.dataclass(frozen=True)
class Source(Sequence):
    """Random access to the records of a split; picklable, for worker processes.

    Attributes:
      name: data set, config, version and split, e.g. ``ram_phantom/tiny/1.0.0 train``.
      examples: the encoded examples, random access.
      report: hash of the data set's report; it differs for a release of another revision.
      shards: the files of the examples in their order, and how many each has.
      remedy: what to do where one of them is damaged.
    """

    name: str
    examples: Any
    report: str = ""
    shards: tuple[tuple[str, int], ...] = ()
    remedy: str = ""

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(f"Record {index} of {self.name}, which has {len(self)}.")
        try:
            return features.decode(self.examples[index])
        except MemoryError:
            raise
        except Exception as error:  # each layer below has its own for what is damaged
            if not self.shards:
                raise
            raise intact.of_record(error, intact.shard_of(self.shards, index), index, self.remedy) from error

    def peek(self, index: int) -> Record:
        """As ``source[index]``, for whoever looks at no plane of the record."""
        return self[index]


def open_source(dataset: str, data_dir: str, split: str) -> Source:
    """Opens a split, e.g. ``train`` or ``test[:8]``, of a data set such as ``ram_phantom/small`` in `data_dir`.

    A synthetic data set that is absent is prepared first; one that needs a release is prepared by `ramjax.prepare`.

    Raises:
      ValueError: the data set, its config or its split is unknown, or it is absent and needs a release.
      DatasetError: a file of it is damaged or missing; so does reading a record.
      OSError: the data set cannot be written to `data_dir`.
      RuntimeError: the data set is absent and this is a worker process, such as one that a script without a main guard
      starts.
    """
    builder = make_builder(dataset, data_dir)
    if not is_prepared(builder):
        if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
            raise ValueError(
                f"Data set {builder.info.full_name} is not prepared in {data_dir}; run python -m ramjax.prepare "
                f"--dataset={shlex.quote(dataset)} --data_dir={shlex.quote(str(data_dir))} first (--help tells where "
                "the release comes from)."
            )
        builder = prepare(dataset, data_dir)
    what_to_do = check(builder, dataset, data_dir)
    _tell(builder.info.full_name, str(builder.data_path))
    try:
        examples = builder.as_data_source(split, decoders=features.skip_image_decoding())
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"Data set {builder.info.full_name} has no split {split!r}; it has {', '.join(builder.info.splits)}, "
            "and slices of these such as train[:8]."
        ) from error
    report = (pathlib.Path(builder.data_path) / "metadata.json").read_bytes()
    name = f"{builder.info.full_name} {split}"
    digest = hashlib.sha256(report).hexdigest()[:16]
    return Source(name, examples, digest, shards_of(builder.info, split), what_to_do)


def shards_of(info: tfds.core.DatasetInfo, split: str) -> tuple[tuple[str, int], ...]:
    """The files of a split, or of a slice of it, in their order, and how many of its records each has."""
    return tuple(
        (str(part.filename), part.examples_in_shard if part.take == -1 else part.take)
        for part in info.splits[split].file_instructions
    )


def make_builder(dataset: str, data_dir: str) -> tfds.core.DatasetBuilder:
    """Returns the TFDS builder of ``name`` or ``name/config``, prepared or not; ValueError where it is unknown."""
    name, _, config = dataset.partition("/")
    if name not in DATASETS and "." not in name:
        raise ValueError(
            f"Unknown data set {dataset!r}; known are {', '.join(DATASETS)}, and packages of your own by their dotted "
            "path, such as my_lab.films."
        )
    package = name if "." in name else f"tfds_builders.{name}"
    try:
        module = importlib.import_module(f"{package}.{package.rpartition('.')[2]}_dataset_builder")
    except ImportError as error:
        raise ValueError(
            f"Data set {dataset!r} cannot be imported ({error}); it is a package whose folder is in PYTHONPATH."
        ) from error
    configs = module.Builder.builder_configs
    if config and config not in configs:
        known = f"it has {', '.join(configs)}" if configs else "it has none"
        raise ValueError(f"Data set {name} has no config {config!r}; {known}.")
    folder = pathlib.Path(data_dir).expanduser()
    files.check_utf8(folder, "data_dir")
    try:
        return module.Builder(config=config or None, data_dir=folder, file_format=FILE_FORMAT)
    except OSError:
        raise
    except Exception as error:  # of what it reads, where it is prepared
        of_config = folder / module.Builder.name / (config or (next(iter(configs)) if configs else ""))
        needs_release = bool(module.Builder.MANUAL_DOWNLOAD_INSTRUCTIONS)
        if not of_config.is_dir():
            raise
        raise intact.unreadable(of_config, error, dataset, data_dir, needs_release) from error


def is_prepared(builder: tfds.core.DatasetBuilder) -> bool:
    """Whether the data set is on disk, be it damaged: TFDS writes to another folder, which it renames at the end."""
    folder = pathlib.Path(builder.data_path)
    return folder.is_dir() and any(folder.iterdir())


def check(builder: tfds.core.DatasetBuilder, dataset: str, data_dir: str) -> str:
    """Checks a prepared data set as far as that is quick, and returns what to do where a record is found damaged.

    Raises:
      DatasetError: a file is damaged or missing.
    """
    folder, needs_release = pathlib.Path(builder.data_path), bool(builder.MANUAL_DOWNLOAD_INSTRUCTIONS)
    what_to_do = intact.remedy(dataset, folder, data_dir, needs_release)
    intact.check_files(folder, what_to_do)
    intact.check_shards(builder, what_to_do)
    return what_to_do


def prepare(dataset: str, data_dir: str, release: str | pathlib.Path | None = None) -> tfds.core.DatasetBuilder:
    """Prepares a data set where it is absent, only once even if several runs ask for it, and returns its builder.

    Args:
      dataset: as in `open_source`.
      data_dir: folder of prepared data sets.
      release: folder that holds the release; None lets the builder look below `data_dir`, then download it.

    Raises:
      ValueError, OSError, RuntimeError: as `open_source`; and what the builder finds wrong with the release.
    """
    builder = make_builder(dataset, data_dir)
    if not is_prepared(builder):
        if multiprocessing.parent_process() is not None:  # It would wait for its own parent's lock.
            raise RuntimeError(
                f"Data set {builder.info.full_name} is not prepared, and a worker process cannot do it; put what opens "
                "it in your script under `if __name__ == '__main__':`."
            )
        try:
            with locked(builder.data_path.parent):
                if not is_prepared(builder):
                    _prepare_now(builder, release)
        except OSError as error:
            if error.errno is None:  # whoever raised it composed a sentence
                raise
            raise OSError(
                f"Data set {builder.info.full_name} could not be prepared in {data_dir}: {error}; "
                "make room there or name another folder in data.data_dir."
            ) from error
        builder = make_builder(dataset, data_dir)  # One made before the data set was does not know its splits.
    return builder


@functools.cache  # Once, not for every split.
def _tell(name: str, folder: str) -> None:
    log.info("Data set %s is in %s.", name, folder)


def _prepare_now(builder: tfds.core.DatasetBuilder, release: str | pathlib.Path | None) -> None:
    for leftover in builder.data_path.parent.glob(f"incomplete.*_{builder.version}"):
        shutil.rmtree(leftover)  # Of a run that was killed.
    log.info("Preparing data set %s in %s (once).", builder.info.full_name, builder.data_path)
    tfds.disable_progress_bar()  # TFDS speaks of downloading and knows no totals; the builder shows its own progress.
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=release))
        intact.write_checksums(pathlib.Path(builder.data_path))
    finally:
        tfds.enable_progress_bar()


@contextlib.contextmanager
def locked(folder: Any) -> Iterator[None]:
    """Locks the folder for one process of this machine; the lock is released if that process dies."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

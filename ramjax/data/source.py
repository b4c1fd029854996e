"""Opens a prepared data set for random access, preparing it first where it is absent."""

import contextlib
import dataclasses
import fcntl
import functools
import importlib
import io
import logging
import multiprocessing
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds

from ramjax.config import DataConfig
from ramjax.data import features
from ramjax.record import Record

log = logging.getLogger(__name__)

FILE_FORMAT = "array_record"
"""Random access, and readable without TensorFlow."""

DATASETS = ("ram_phantom",)
"""Packages of `tfds_builders`; each has a class `Builder` in its module ``<name>_dataset_builder``."""


@dataclasses.dataclass(frozen=True)
class Source(Sequence):
    """Random access to the records of a split; picklable, for worker processes.

    Attributes:
      name: data set, config, version and split, e.g. ``ram_phantom/tiny/1.0.0 train``.
      examples: the encoded examples, random access.
    """

    name: str
    examples: Any

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(f"Record {index} of {self.name}, which has {len(self)}.")
        return features.decode(self.examples[index])


def open_source(data: DataConfig, split: str) -> Source:
    """Opens a split, e.g. ``train`` or ``test[:8]``, of the data set that `data` names; prepares it where it is absent.

    Raises:
      ValueError: the data set, its config or its split is unknown.
      OSError: the data set cannot be written to `data.data_dir`.
      RuntimeError: the data set is absent and this is a worker process, such as one that a script without a main guard
      starts.
    """
    builder = _prepare(data)
    try:
        examples = builder.as_data_source(split, decoders=features.skip_image_decoding())
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"Data set {builder.info.full_name} has no split {split!r}; it has {', '.join(builder.info.splits)}, "
            "and slices of these such as train[:8]."
        ) from error
    return Source(f"{builder.info.full_name} {split}", examples)


def make_builder(data: DataConfig) -> tfds.core.DatasetBuilder:
    """Returns the TFDS builder of a data set, prepared or not; raises ValueError for an unknown data set or config."""
    if data.dataset not in DATASETS:
        raise ValueError(f"Unknown data set data.dataset={data.dataset!r}; known are {', '.join(DATASETS)}.")
    module = importlib.import_module(f"tfds_builders.{data.dataset}.{data.dataset}_dataset_builder")
    configs = module.Builder.builder_configs
    if data.builder_config not in configs:
        raise ValueError(
            f"Data set {data.dataset} has no config data.builder_config={data.builder_config!r}; "
            f"it has {', '.join(configs)}."
        )
    folder = pathlib.Path(data.data_dir).expanduser()
    return module.Builder(config=data.builder_config, data_dir=folder, file_format=FILE_FORMAT)


def _prepare(data: DataConfig) -> tfds.core.DatasetBuilder:
    """Prepares the data set where it is absent: once, however many runs ask for it at a time."""
    builder = make_builder(data)
    done = builder.data_path / "dataset_info.json"  # TFDS writes a data set beside its place, then renames it.
    if not done.exists():
        if multiprocessing.parent_process() is not None:  # It would wait for its own parent's lock.
            raise RuntimeError(
                f"Data set {builder.info.full_name} is not prepared, and a worker process cannot do it; put what opens "
                "it in your script under `if __name__ == '__main__':`."
            )
        try:
            with _locked(builder.data_path.parent):
                if not done.exists():
                    _prepare_now(builder)
        except OSError as error:
            raise OSError(
                f"Data set {builder.info.full_name} could not be prepared in {data.data_dir}: {error}; "
                "make room there or name another folder in data.data_dir."
            ) from error
        builder = make_builder(data)  # One made before another run prepared the data set does not know its splits.
    _tell(builder.info.full_name, str(builder.data_path))
    return builder


@functools.cache  # Once, not for every split.
def _tell(name: str, folder: str) -> None:
    log.info("Data set %s is in %s.", name, folder)


def _prepare_now(builder: tfds.core.DatasetBuilder) -> None:
    for leftover in builder.data_path.parent.glob(f"incomplete.*_{builder.version}"):
        shutil.rmtree(leftover)  # Of a run that was killed.
    log.info("Preparing data set %s in %s (once).", builder.info.full_name, builder.data_path)
    tfds.disable_progress_bar()  # TFDS speaks of downloading and knows no totals; the builder shows its own progress.
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare()
    finally:
        tfds.enable_progress_bar()


@contextlib.contextmanager
def _locked(folder: Any) -> Iterator[None]:
    """Holds the folder for one process of this machine; a lock whose holder dies is free."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

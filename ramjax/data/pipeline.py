"""Sources -> canvas -> augmentation -> batch, on `grain.MapDataset`.

A training batch is a function of (seed, step) alone: its records are taken from the shuffled epochs of each data set,
and its random numbers follow from (seed, position in the stream). So it is the same for any number of workers or
processes, and a run that continues simply starts at a later step.

A batch is a dict of numpy arrays with a leading axis B, on a canvas of H x W pixels:

| key | dtype, shape | meaning |
|---|---|---|
| image | float32 (B, H, W, C) | grey value 0..1, 1st..99.5th percentile of what is shown; 0 in padding |
| padding | bool (B, H, W) | nothing of the record is shown here: no loss, no metric |
| valid | bool (B,) | False for examples that only fill up the last batch |
| dataset | int32 (B,) | position in `DataConfig.datasets`; -1 where not valid |
| index | int32 (B,) | position in that data set's split; -1 where not valid |
| affine | float32 (B, 2, 3) | native to canvas coordinates (x, y), continuous, with mirroring |
| native_size | int32 (B, 2) | height and width of the record |
| mirrored | bool (B,) | the canvas shows the mirror image of the record |
| pixel_spacing_mm | float32 (B,) | of a canvas pixel; NaN unknown |

C is 1; with `CanvasConfig.detail` it is its square, the finer pixels of a canvas pixel row by row; with
`DataConfig.other_hand` it is twice as many, the second half of the patient's other hand on a canvas of its own, 0 where
there is none. A batch also has the labels that are asked for (see `ramjax.data.labels`), each with the leading axis B.
"""

import bisect
import contextlib
import dataclasses
import functools
import gc
import hashlib
import itertools
import json
import signal
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import grain
import numpy as np
from absl import flags
from grain.multiprocessing import SharedMemoryArray

from ramjax.config import AugmentConfig, DataConfig
from ramjax.data import parallel, plan
from ramjax.data.canvas import empty, to_canvas
from ramjax.data.decoded import DecodedSource, keep_decoded, places_of
from ramjax.data.labels import Labels
from ramjax.data.patients import choose_fraction, other_hands, patient_keys, slices
from ramjax.data.source import Source, open_source
from ramjax.record import Record

__all__ = [
    "Source", "fingerprint", "make_eval_batches", "make_train_batches", "make_train_plans", "open_sources",
    "open_train_sources",
]  # fmt: skip

Batch = dict[str, np.ndarray]

_READING_THREADS = 2
"""Threads, at least, that make batches where worker processes do not; OpenCV releases the lock while it works."""


ADDED_KEYS: tuple[str, ...] = (
    "augment.resample", "augment.scale_error", "canvas.detail", "fraction", "labelled_fraction", "other_hand",
)  # fmt: skip
"""Paths of keys of `DataConfig` that came later than the first release, and change what batches hold. At its default
such a key leaves the fingerprint as it was, so that runs that are older than the key go on."""


def open_sources(data: DataConfig, split: str) -> tuple[Source, ...]:
    """Opens the split of that name of every data set, in the order of `data.datasets`; raises as `open_source`.

    With `data.cache`, whole splits are decoded here unless they are already; see `ramjax.data.decoded`.
    """
    return tuple(_keep(open_source(dataset, data.data_dir, split), data) for dataset in data.datasets)


def open_train_sources(data: DataConfig) -> tuple[Source, ...]:
    """As `open_sources`, the training split, and of each the share `data.fraction` of its patients."""
    if data.fraction == 1:
        return open_sources(data, data.train_split)
    sources = []
    for dataset in data.datasets:
        source = open_source(dataset, data.data_dir, data.train_split)
        places = places_of(source)
        chosen = choose_fraction(patient_keys(source), data.fraction) if len(source) else []
        part = slices(places[index] for index in chosen) or data.train_split
        kept = _keep(open_source(dataset, data.data_dir, part), data)
        sources.append(dataclasses.replace(kept, name=f"{source.name}, {data.fraction:g} of its patients"))
    return tuple(sources)


def _keep(source: Source, data: DataConfig) -> Source:
    return source if data.cache == "none" else keep_decoded(source, data.cache_dir)


def make_train_batches(
    data: DataConfig,
    sources: Sequence[Source],
    *,
    seed: int,
    start_step: int,
    steps: int,
    labels: Sequence[Labels],
    process_index: int = 0,
    process_count: int = 1,
    planned: bool = False,
) -> Iterator[Batch]:
    """Yields this process's rows of the batches of steps `start_step` to `steps` - 1.

    The data sets alternate in the proportion of `data.weights`, to within 1 % of the smallest. The records of each are
    shuffled anew in every epoch, and a batch may extend over the end of an epoch. Each record that is read fills
    `data.crops` successive rows. Of n processes, the p-th gets the p-th of n equal parts of the rows, so that the
    batches of the processes, in order, are the global batch. Only of `data.labelled_fraction` of the patients of each
    source, labels are known. `planned` is for `make_train_plans`.

    Raises:
      ValueError: a source is empty, or the batch size is not divisible among the processes.
    """
    for source in sources:
        if not len(source):
            raise ValueError(f"{source.name} has no records to train on; check data.train_split ({data.train_split}).")
    rows = _rows(data.batch_size, "data.batch_size", process_index, process_count)
    ends = itertools.accumulate(map(len, sources))
    epochs = [
        grain.MapDataset.range(end - len(source), end).shuffle(seed=seed).repeat()
        for source, end in zip(sources, ends, strict=True)
    ]
    reads = data.batch_size // data.crops
    order = grain.MapDataset.mix(epochs, data.weights)[: steps * reads].batch(reads)
    others = tuple(map(other_hands, sources)) if data.other_hand else ()
    make = _TrainBatch(data, tuple(sources), seed, rows, tuple(labels), planned, _labelled(data, sources), others)
    return _iterate(order.map_with_index(make)[start_step:steps], data, data.workers)


make_train_plans = functools.partial(make_train_batches, planned=True)
"""Yields the plans of the same rows, of which the devices make the batches.

A plan's slot is the record's position in the concatenation of all sources; see `ramjax.data.plan`.
"""


def _labelled(data: DataConfig, sources: Sequence[Source]) -> frozenset[int] | None:
    """The records whose labels are known, each as its position in the concatenation of all sources; None for all."""
    if data.labelled_fraction == 1:
        return None
    chosen, first = [], 0
    for source in sources:
        chosen += [first + index for index in choose_fraction(patient_keys(source), data.labelled_fraction)]
        first += len(source)
    return frozenset(chosen)


def make_eval_batches(
    data: DataConfig,
    source: Source,
    *,
    labels: Sequence[Labels],
    dataset: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Yields this process's rows of batches that hold every record of one source once, in order, unaugmented.

    The last batch is filled up with examples whose `valid` is False; every process gets the same number of batches.
    `dataset` is the source's position in `data.datasets`.

    Raises:
      ValueError: the batch size is not divisible among the processes.
    """
    rows = _rows(data.eval_batch_size, "data.eval_batch_size", process_index, process_count)
    others = other_hands(source) if data.other_hand else ()
    make = _EvalBatch(data, source, dataset, rows, tuple(labels), others)
    batches = -(-len(source) // data.eval_batch_size)
    # What is kept decoded is read by threads before worker processes have started.
    workers = 0 if isinstance(source, DecodedSource) else data.workers
    return _iterate(grain.MapDataset.range(batches).map(make), data, workers)


def _with_other(
    example: dict[str, Any],
    source: Source,
    other: int | None,
    data: DataConfig,
    augment: AugmentConfig | None = None,
    rng: np.random.Generator | None = None,
) -> dict[str, Any]:
    """The example with the canvas of another record, or none, behind its own."""
    shown = np.zeros_like(example["image"])
    if other is not None:
        shown = to_canvas(source[other], data.canvas, augment, rng)["image"]
    return example | {"image": np.concatenate([example["image"], shown], -1)}


def fingerprint(data: DataConfig, sources: Sequence[Source]) -> str:
    """Returns a hash of all that decides what the batches hold; two runs whose hashes differ saw different data."""
    settings, defaults = dataclasses.asdict(data), dataclasses.asdict(DataConfig())
    # These change where and how fast, not what.
    for name in ("data_dir", "cache", "cache_dir", "cache_gigabytes", "workers", "prefetch"):
        del settings[name]
    for path in ADDED_KEYS:
        group, _, name = path.rpartition(".")
        of, usual = (settings[group], defaults[group]) if group else (settings, defaults)
        if of[name] == usual[name]:
            del of[name]
    identity = {"sources": [(source.name, len(source), source.report) for source in sources], "data": settings}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class _TrainBatch:
    """Makes this process's rows of the batch of a step; picklable, for worker processes.

    `reads` holds the records of the batch, each as its position in the concatenation of all sources. The rows are
    examples, or where `planned` their plans. `labelled` holds the records whose labels are known, None for all.
    `others` holds the other hand of each record of each source, and is empty where these are not shown.
    """

    data: DataConfig
    sources: tuple[Source, ...]
    seed: int
    rows: slice
    labels: tuple[Labels, ...]
    planned: bool
    labelled: frozenset[int] | None = None
    others: tuple[tuple[int | None, ...], ...] = ()

    def __call__(self, step: int, reads: np.ndarray) -> Batch:
        examples = []
        rows = range(self.rows.start, self.rows.stop)
        for read, crops in itertools.groupby(rows, lambda row: row // self.data.crops):
            slot = int(reads[read])
            dataset, index = self._find(slot)
            source = self.sources[dataset]
            record = source.peek(index) if self.planned else source[index]
            if self.labelled is not None and slot not in self.labelled:
                record = record.without_labels()
            where = {"dataset": np.int32(dataset), "index": np.int32(index)}
            for row in crops:
                example = self._example(record, slot, step, row) | where
                if self.others:
                    example = self._with_other(example, dataset, index, step, row)
                examples.append(example)
        return _stack(examples)

    def _with_other(self, example: dict[str, Any], dataset: int, index: int, step: int, row: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, step * self.data.batch_size + row, 1))
        other = self.others[dataset][index]
        return _with_other(example, self.sources[dataset], other, self.data, self.data.augment, rng)

    def _find(self, read: int) -> tuple[int, int]:
        """The data set, and the record in it."""
        ends = list(itertools.accumulate(map(len, self.sources)))
        dataset = bisect.bisect_right(ends, read)
        return dataset, read - ends[dataset] + len(self.sources[dataset])

    def _example(self, record: Record, slot: int, step: int, row: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, step * self.data.batch_size + row))
        if self.planned:
            return plan.draw(record, self.data.canvas, self.data.augment, rng, self.labels, slot, (step, row))
        return to_canvas(record, self.data.canvas, self.data.augment, rng, self.labels)


@dataclasses.dataclass(frozen=True)
class _EvalBatch:
    """Makes an evaluation batch from its number; picklable, for worker processes."""

    data: DataConfig
    source: Source
    dataset: int
    rows: slice
    labels: tuple[Labels, ...]
    others: tuple[int | None, ...] = ()

    def __call__(self, number: int) -> Batch:
        first = number * self.data.eval_batch_size
        return _stack([self._example(index) for index in range(first + self.rows.start, first + self.rows.stop)])

    def _example(self, index: int) -> dict[str, Any]:
        if index >= len(self.source):
            example = empty(self.data.canvas, self.labels) | {"dataset": np.int32(-1)}
        else:
            where = {"dataset": np.int32(self.dataset), "index": np.int32(index)}
            example = to_canvas(self.source[index], self.data.canvas, labels=self.labels) | where
        if not self.others:
            return example
        other = self.others[index] if index < len(self.source) else None
        return _with_other(example, self.source, other, self.data)


def _rows(batch_size: int, key: str, process_index: int, process_count: int) -> slice:
    """The rows of the global batch that belong to a process."""
    if batch_size % process_count:
        raise ValueError(f"{key} is {batch_size}; it must be a multiple of the {process_count} processes.")
    size = batch_size // process_count
    return slice(process_index * size, (process_index + 1) * size)


def _stack(examples: list[dict[str, Any]]) -> Batch:
    return {key: np.stack([example[key] for example in examples]) for key in examples[0]}


def _iterate(batches: grain.MapDataset, data: DataConfig, workers: int) -> Iterator[Batch]:
    """Iterates with `data.prefetch` batches kept ready, made by so many processes, or by threads where it is 0."""
    threads = 0 if workers else min(max(_READING_THREADS, data.workers), data.prefetch)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=data.prefetch if threads else 0)
    dataset = batches.to_iter_dataset(options)
    if not workers:
        return _closed_at_end(iter(dataset))
    if not flags.FLAGS.is_parsed():  # Grain's workers read absl flags, which nobody parses outside an absl program.
        flags.FLAGS.mark_as_parsed()
    per_worker = -(-data.prefetch // workers)
    processes = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=per_worker)
    return _own(_closed_at_end(iter(dataset.mp_prefetch(processes, worker_init_fn=_start_worker))))


def _closed_at_end(batches: grain.DatasetIterator) -> Iterator[Batch]:
    """Closes the threads or processes behind an iterator when it ends, also where the caller stops early."""
    try:
        yield from batches
    finally:
        batches.close()


def _own(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Copies batches out of the memory that they share with the worker processes, and gives that memory back.

    Grain gives it back when the array is deleted. But the error by which its iterator ends keeps the last batch of each
    worker to the end of the process, which would leave the memory behind with a warning.
    """
    try:
        for batch in batches:
            copied = {name: np.array(value) for name, value in batch.items()}
            _give_back(batch.values())
            yield copied
    finally:
        batches.close()
        _give_back(gc.get_objects())


def _give_back(arrays: Iterable[Any]) -> None:
    """Removes the names of shared memory, which lasts as long as an array has it, here or in another loader."""
    for array in arrays:
        if type(array) is SharedMemoryArray and array.shm is not None:
            with contextlib.suppress(FileNotFoundError):  # another thread has just done so
                array.shm.unlink()
            array.shm.unlink = lambda: None  # Grain calls it when the array is deleted


def _start_worker(index: int, count: int) -> None:
    parallel.start_worker()
    # Slurm tells all processes at once to stop; the main one saves, and ends the workers by SIGKILL.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

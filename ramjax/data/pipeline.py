"""Source -> canvas -> augmentation -> batch, on `grain.MapDataset`.

A training batch is a function of (seed, step) alone: its records come from the epoch's permutation, its randomness from
(seed, position in the stream). So it is the same for any number of workers or processes, and resuming is slicing.

A batch is a dict of numpy arrays with a leading axis B, on a canvas of H x W pixels:

| key | dtype, shape | meaning |
|---|---|---|
| image | float32 (B, H, W, 1) | grey value 0..1, 1st..99.5th percentile of what is shown; 0 in padding |
| padding | bool (B, H, W) | nothing of the record is shown here: no loss, no metric |
| bones | uint32 (B, H, W) | bit k = channel k |
| bones_known | bool (B, 30) | channels annotated |
| erosions | uint8 (B, H, W) | labels 0..3 |
| boxes | float32 (B, 22, 4) | ymin, xmin, ymax, xmax in canvas pixels; 0 where absent |
| present | bool (B, 22) | this site is annotated and wholly on the canvas |
| joints_known | bool (B, 22) | whether the site is present is known; False where the border cuts it |
| be, jsn | int32 (B, 22) | score, -1 unknown |
| has_bones, has_erosions, has_joints, has_be, has_jsn | bool (B,) | what was annotated at all |
| valid | bool (B,) | False for examples that only fill up the last batch |
| index | int32 (B,) | position in the split; -1 where not valid |
| affine | float32 (B, 2, 3) | native to canvas coordinates (x, y), continuous, with mirroring |
| native_size | int32 (B, 2) | height and width of the record |
| mirrored | bool (B,) | the canvas shows the mirror image of the record |
| pixel_spacing_mm | float32 (B,) | of a canvas pixel; NaN unknown |
"""

import dataclasses
import hashlib
import json
import signal
from collections.abc import Iterator
from typing import Any

import cv2
import grain
import numpy as np
from absl import flags

from ramjax.config import DataConfig
from ramjax.data.canvas import empty, to_canvas
from ramjax.data.source import Source, open_source

__all__ = ["Source", "fingerprint", "make_eval_batches", "make_train_batches", "open_source"]

Batch = dict[str, np.ndarray]

_READING_THREADS = 2
"""Threads that make batches where there are no worker processes; OpenCV releases the lock while it works."""


def make_train_batches(
    data: DataConfig,
    source: Source,
    *,
    seed: int,
    start_step: int,
    steps: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Yields this process's rows of the batches of steps `start_step` to `steps` - 1.

    Records are shuffled anew each epoch; a batch may reach across the end of one. Process p of n gets the p-th of n
    equal runs of rows, so that the processes' batches in order are the global batch.

    Raises:
      ValueError: the source is empty, or the batch size is not divisible among the processes.
    """
    if not len(source):
        raise ValueError(f"{source.name} has no records to train on; check data.train_split ({data.train_split}).")
    rows = _rows(data.batch_size, "data.batch_size", process_index, process_count)
    make = _TrainBatch(data, source, seed, rows)
    order = grain.MapDataset.range(len(source)).shuffle(seed=seed).repeat().batch(data.batch_size)
    return _iterate(order.map_with_index(make)[start_step:steps], data)


def make_eval_batches(
    data: DataConfig, source: Source, *, process_index: int = 0, process_count: int = 1
) -> Iterator[Batch]:
    """Yields this process's rows of batches that hold every record once, in order, unaugmented.

    The last batch is filled up with examples whose `valid` is False; every process gets the same number of batches.

    Raises:
      ValueError: the batch size is not divisible among the processes.
    """
    rows = _rows(data.eval_batch_size, "data.eval_batch_size", process_index, process_count)
    make = _EvalBatch(data, source, rows)
    batches = -(-len(source) // data.eval_batch_size)
    return _iterate(grain.MapDataset.range(batches).map(make), data)


def fingerprint(data: DataConfig, source: Source) -> str:
    """Returns a hash of all that decides what the batches hold; two runs whose hashes differ saw different data."""
    settings = dataclasses.asdict(data)
    for name in ("data_dir", "workers", "prefetch"):  # These change where and how fast, not what.
        del settings[name]
    identity = {"source": source.name, "records": len(source), "data": settings}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class _TrainBatch:
    """Makes the batch of a step from the record indices of the whole batch; picklable, for worker processes."""

    data: DataConfig
    source: Source
    seed: int
    rows: slice

    def __call__(self, step: int, indices: np.ndarray) -> Batch:
        first = step * self.data.batch_size + self.rows.start
        return _stack([self._example(first + row, int(index)) for row, index in enumerate(indices[self.rows])])

    def _example(self, position: int, index: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, position))
        example = to_canvas(self.source[index], self.data.canvas, self.data.augment, rng)
        return {**example, "index": np.int32(index)}


@dataclasses.dataclass(frozen=True)
class _EvalBatch:
    """Makes an evaluation batch from its number; picklable, for worker processes."""

    data: DataConfig
    source: Source
    rows: slice

    def __call__(self, number: int) -> Batch:
        first = number * self.data.eval_batch_size
        return _stack([self._example(index) for index in range(first + self.rows.start, first + self.rows.stop)])

    def _example(self, index: int) -> dict[str, Any]:
        if index >= len(self.source):
            return empty(self.data.canvas)
        return {**to_canvas(self.source[index], self.data.canvas), "index": np.int32(index)}


def _rows(batch_size: int, key: str, process_index: int, process_count: int) -> slice:
    """The rows of the global batch that belong to a process."""
    if batch_size % process_count:
        raise ValueError(f"{key} is {batch_size}; it must be a multiple of the {process_count} processes.")
    size = batch_size // process_count
    return slice(process_index * size, (process_index + 1) * size)


def _stack(examples: list[dict[str, Any]]) -> Batch:
    return {key: np.stack([example[key] for example in examples]) for key in examples[0]}


def _iterate(batches: grain.MapDataset, data: DataConfig) -> Iterator[Batch]:
    """Iterates with `data.prefetch` batches kept ready, made by threads or by `data.workers` processes."""
    threads = 0 if data.workers else min(_READING_THREADS, data.prefetch)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=data.prefetch if threads else 0)
    dataset = batches.to_iter_dataset(options)
    if not data.workers:
        return _closed_at_end(iter(dataset))
    if not flags.FLAGS.is_parsed():  # Grain's workers read absl flags, which nobody parses outside an absl program.
        flags.FLAGS.mark_as_parsed()
    per_worker = -(-data.prefetch // data.workers)
    processes = grain.MultiprocessingOptions(num_workers=data.workers, per_worker_buffer_size=per_worker)
    return _closed_at_end(iter(dataset.mp_prefetch(processes, worker_init_fn=_start_worker)))


def _closed_at_end(batches: grain.DatasetIterator) -> Iterator[Batch]:
    """Ends the threads or processes behind an iterator with it, also where the caller stops early."""
    try:
        yield from batches
    finally:
        batches.close()


def _start_worker(index: int, count: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the main process ends the workers.
    cv2.setNumThreads(1)  # The processes are the parallelism.

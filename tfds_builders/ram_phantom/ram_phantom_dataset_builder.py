"""ram_phantom: synthetic hand radiographs with exact masks, boxes and scores (see README.md beside this file)."""

import collections
import dataclasses
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent import futures
from typing import Any, ClassVar

import cv2
import tensorflow_datasets as tfds
from tqdm import tqdm

from ramjax import phantom
from ramjax.data import features

SPLITS = ("train", "validation", "test")

_FEW = 32
"""Fewer cases than this are rendered sooner than worker processes start."""

_AHEAD = 4
"""Cases a worker process that are rendered or waiting to be written at a time; bounds the memory."""


@dataclasses.dataclass(kw_only=True)
class RamPhantomConfig(tfds.core.BuilderConfig):
    """A set of synthetic hands.

    Attributes:
      hands: what is rendered.
      shares: relative sizes of the splits `SPLITS`; a patient's hands are all in one split.
    """

    hands: phantom.PhantomConfig
    shares: tuple[int, int, int] = (793, 140, 267)


class Builder(tfds.core.GeneratorBasedBuilder):
    """Renders the hands on all cores; the same whatever their number."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {
        "1.0.0": "First version. Every change of what `ramjax.phantom` renders gets a new version."
    }

    BUILDER_CONFIGS: ClassVar = [
        RamPhantomConfig(
            name="small",
            description="640 hands of 320 patients at a third of the native resolution: a first model in minutes.",
            hands=phantom.PhantomConfig(patients=320, scale=0.33, seed=1),
            shares=(16, 1, 3),
        ),
        RamPhantomConfig(
            name="tiny",
            description="8 very small hands of 4 patients, for tests.",
            hands=phantom.PhantomConfig(patients=4, scale=0.12, seed=2),
            shares=(2, 1, 1),
        ),
        RamPhantomConfig(
            name="full",
            description="1200 hands at native resolution, some with a follow-up; size and splits of RAM-H1200.",
            hands=phantom.PhantomConfig(patients=480, follow_up_fraction=0.25, seed=9),
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(features=features.features(), homepage="https://arxiv.org/abs/2605.05616")

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        del dl_manager  # Nothing is downloaded.
        cases = split_cases(phantom.cases(self.builder_config.hands), self.builder_config.shares)
        return {split: self._generate_examples(split, cases[split]) for split in SPLITS}

    def _generate_examples(self, split: str, cases: list[phantom.Case]) -> Iterator[tuple[str, dict[str, Any]]]:
        rendered = _in_order(_Render(self.builder_config.hands), cases)
        title = f"Rendering {self.name}/{self.builder_config.name} {split}"
        yield from tqdm(rendered, desc=title, total=len(cases), unit="hand", mininterval=1)


def split_cases(cases: Iterable[phantom.Case], shares: tuple[int, int, int]) -> dict[str, list[phantom.Case]]:
    """Divides cases, ordered by patient, among `SPLITS`: a patient goes where the share of its first case falls."""
    cases = list(cases)
    ends = [sum(shares[: i + 1]) / sum(shares) for i in range(len(shares))]
    first = {}
    for position, case in enumerate(cases):
        first.setdefault(case.patient, position)
    splits = {split: [] for split in SPLITS}
    for case in cases:
        split = next(split for split, end in zip(SPLITS, ends, strict=True) if first[case.patient] < end * len(cases))
        splits[split].append(case)
    return splits


@dataclasses.dataclass(frozen=True)
class _Render:
    """Renders and encodes one case; picklable, for worker processes."""

    hands: phantom.PhantomConfig

    def __call__(self, case: phantom.Case) -> tuple[str, dict[str, Any]]:
        record = phantom.render(self.hands, case).record
        return record.id, features.encode(record)


def _in_order(render: _Render, cases: list[phantom.Case]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the rendered cases in order, made by one process a core."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if len(cases) < _FEW or workers == 1:
        yield from map(render, cases)
        return
    # Spawned, not forked: the caller may hold threads and accelerators, which do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(workers, context, initializer=_start_worker) as pool:
        pending = collections.deque()
        try:
            for case in cases:
                pending.append(pool.submit(render, case))
                if len(pending) >= _AHEAD * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _start_worker() -> None:
    """Leaves Ctrl-C to the parent, and ends with it even where it is killed, as a pool's workers would not."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)

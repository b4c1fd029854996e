"""ram_phantom: synthetic hand radiographs with exact masks, boxes and scores (see README.md beside this file)."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from ramjax import phantom
from ramjax.data.generate import dataset_info, examples
from ramjax.data.report import Made, Report

SPLITS = ("train", "validation", "test")

NOTE = "Synthetic hands, for research on methods; a result on them says nothing about patients."


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

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES: ClassVar = {
        "1.0.0": "First version. Every change of what `ramjax.phantom` renders gets a new version.",
        "1.1.0": "The same hands; `joints_known` tells a joint that the border cuts from one that is absent.",
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
        return dataset_info(self, "https://arxiv.org/abs/2605.05616")

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        del dl_manager  # Nothing is downloaded.
        cases = split_cases(phantom.cases(self.builder_config.hands), self.builder_config.shares)
        report = Report(self.info.full_name, NOTE)
        return {split: self._generate_examples(split, cases[split], report) for split in SPLITS}

    def _generate_examples(
        self, split: str, cases: list[phantom.Case], report: Report
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from examples(self, _Render(self.builder_config.hands), cases, report=report, split=split)


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
    """Renders one case; picklable, for worker processes."""

    hands: phantom.PhantomConfig

    def __call__(self, case: phantom.Case) -> Made:
        return Made(phantom.render(self.hands, case).record)

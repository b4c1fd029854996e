"""ram_h1200: whole-hand radiographs with bones, erosions, joints and scores (see README.md beside this file)."""

from collections.abc import Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from ramjax.data.generate import dataset_info, examples
from ramjax.data.report import Report
from tfds_builders import release
from tfds_builders.ram_h1200 import reading

REPOSITORY = release.Repository(
    name="RAM-H1200-v1",
    id="TokyoTechMagicYang/RAM-H1200-v1",
    folders=("Segmentation",),
    patterns=("Metadata.xlsx", "README.md", "*.json", "Segmentation/*"),
)
CROPS = ("SvdH_Scoring/*.bmp",)
"""The 37,200 released regions of joints, which are needed only where a scored site has no box in a detection file."""

PUBLISHED = {
    "train": {("records", "images"): 793, ("rheumatoid arthritis", "yes"): 719},
    "validation": {("records", "images"): 140, ("rheumatoid arthritis", "yes"): 136},
    "test": {("records", "images"): 267, ("rheumatoid arthritis", "yes"): 265},
}
"""Counts of the release, arXiv 2605.05616 and the split folders."""

NOTE = "CC BY 4.0, Yang et al., arXiv 2605.05616. Research use only, not a medical device."


class Builder(tfds.core.GeneratorBasedBuilder):
    """Reads the release on all cores; one record a hand."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = REPOSITORY.instructions()

    def _info(self) -> tfds.core.DatasetInfo:
        return dataset_info(self, "https://arxiv.org/abs/2605.05616")

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        folder = release.find_release(dl_manager, REPOSITORY)

        def read() -> tuple[Report, dict[str, list[reading.Hand]]]:
            report = Report(self.info.full_name, NOTE, PUBLISHED, release.revision_of(folder))
            return report, reading.read_splits(folder, report)

        report, splits = read()
        if release.is_download(folder) and any(hand.regions.lacks_boxes for hands in splits.values() for hand in hands):
            release.fetch(REPOSITORY, folder, CROPS)
            report, splits = read()
        return {split: self._generate_examples(split, hands, report) for split, hands in splits.items() if hands}

    def _generate_examples(
        self, split: str, hands: list[reading.Hand], report: Report
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from examples(self, reading.make_record, hands, report=report, split=split, name=lambda hand: hand.path)

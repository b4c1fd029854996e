"""ram_w600: wrist radiographs with bones, joints and erosion scores (see README.md beside this file)."""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from ramjax.data.generate import dataset_info, examples
from ramjax.data.report import Report
from ramjax.io.errors import ReleaseError
from tfds_builders import release
from tfds_builders.ram_w600 import reading

REPOSITORY = release.Repository(
    name="RAM-W600",
    id="TokyoTechMagicYang/RAM-W600",
    folders=(reading.SEGMENTATION, reading.DETECTION, reading.SCORING),
    # One region a case: which folder it lies in tells the split; the detection file should have the boxes.
    patterns=("Metadata.xlsx", "README.md", "*.json", "BoneSegmentation/*", "JointLocationDetection/*", "*/Lunate.bmp"),
)

CROPS = (f"{reading.SCORING}/*.bmp",)
"""All released regions, which are needed only where a scored site has no box in the detection file."""

PUBLISHED = {
    "train": {("records with", "bones"): 425, ("records with", "be"): 559},
    "validation": {("records with", "bones"): 69, ("records with", "be"): 81},
    "test": {("records with", "bones"): 124, ("records with", "be"): 160},
}
"""Cases of the official splits (docs of the release; those of the scores were counted by a third party)."""

NOTE = "CC BY 4.0, Yang et al., arXiv 2507.05193. Research use only, not a medical device."


@dataclasses.dataclass(kw_only=True)
class RamW600Config(tfds.core.BuilderConfig):
    """Which levels of `reading.LEVELS` the records have."""

    levels: tuple[str, ...]


class Builder(tfds.core.GeneratorBasedBuilder):
    """Reads the release on all cores; one record a wrist."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = REPOSITORY.instructions()
    BUILDER_CONFIGS: ClassVar = [
        RamW600Config(
            name="joint",
            description="Bones and scores of each wrist in one record; splits by patient, nothing leaks.",
            levels=reading.LEVELS,
        ),
        RamW600Config(name="bones", description="Bones alone, in their official splits.", levels=("bones",)),
        RamW600Config(name="scores", description="Boxes and scores alone, in official splits.", levels=("scores",)),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return dataset_info(self, "https://arxiv.org/abs/2507.05193")

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        folder = release.find_release(dl_manager, REPOSITORY)
        levels = self.builder_config.levels
        named = {"bones": "bones", "scores": "be"}
        published = {
            split: {key: number for key, number in counts.items() if key[1] in [named[level] for level in levels]}
            for split, counts in PUBLISHED.items()
        }

        def read() -> tuple[Report, list[reading.Wrist]]:
            report = Report(self.info.full_name, NOTE, published, release.revision_of(folder))
            return report, reading.read_wrists(folder, report)

        report, wrists = read()
        if release.is_download(folder) and any(wrist.regions.lacks_boxes for wrist in wrists):
            release.fetch(REPOSITORY, folder, CROPS)
            report, wrists = read()
        splits = reading.assign(wrists, levels, report)
        if not any(splits.values()):
            raise ReleaseError(
                f"{folder} has nothing for {self.info.full_name}: no radiograph is in an official split of "
                f"{' or '.join(levels)}; fetch the rest of the release, or prepare ram_w600/joint."
            )
        return {split: self._generate_examples(split, wrists, report) for split, wrists in splits.items() if wrists}

    def _generate_examples(
        self, split: str, wrists: list[reading.Wrist], report: Report
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        def name(wrist: reading.Wrist) -> str:
            return " and ".join(map(str, [*wrist.paths.values(), *([wrist.mask] if wrist.mask else [])]))

        yield from examples(self, reading.make_record, wrists, report=report, split=split, name=name)

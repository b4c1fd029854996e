"""radiographs: a folder of radiographs without labels (see README.md beside this file)."""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from ramjax.data.generate import dataset_info, examples
from ramjax.data.report import Made, Report
from ramjax.io.errors import ReleaseError
from ramjax.io.findings import Finding
from ramjax.io.images import is_candidate, read_radiograph
from ramjax.io.radiograph import ImageError
from ramjax.printable import printable
from ramjax.record import Record

NAME = "radiographs"

HELD_OUT = 0.05
"""Share of the patients in the validation split, and in the test split."""

NOTE = "Radiographs of yours, without labels. Research use only, not a medical device."


class Builder(tfds.core.GeneratorBasedBuilder):
    """Reads the images on all cores; one record a file."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Name the folder of your radiographs with --source, or put it into DATA_DIR/downloads/manual/{NAME}."
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return dataset_info(self, "")

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        folder = find_folder(dl_manager)
        report = Report(self.info.full_name, NOTE)
        splits = assign(find_images(folder), folder)
        return {split: self._generate_examples(split, files, folder, report) for split, files in splits.items()}

    def _generate_examples(
        self, split: str, files: Sequence[pathlib.Path], folder: pathlib.Path, report: Report
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from examples(self, _Read(folder), list(files), report=report, split=split, name=str)


def find_folder(dl_manager: tfds.download.DownloadManager) -> pathlib.Path:
    """The folder that was named, or the one in the manual folder of TFDS; raises ReleaseError where there is none."""
    default = pathlib.Path(dl_manager.download_dir) / "manual"
    try:
        manual = pathlib.Path(dl_manager.manual_dir)
    except AssertionError:  # it is absent or empty
        manual = default
    folder = manual / NAME if manual == default else manual
    if not folder.is_dir():
        raise ReleaseError(f"There is no folder {folder}; name that of your radiographs with --source.")
    return folder


def find_images(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files below a folder that look like radiographs, in order."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and is_candidate(path))
    if not found:
        raise ReleaseError(
            f"{folder} has no radiographs; name a folder of PNG, BMP, JPEG, TIFF or DICOM files with --source."
        )
    return found


def patient_of(file: pathlib.Path, folder: pathlib.Path) -> str:
    """Whose radiograph a file is: that of the first folder below `folder`, or of a patient of its own."""
    parts = file.relative_to(folder).parts
    return printable(parts[0] if len(parts) > 1 else file.stem)


def assign(files: Sequence[pathlib.Path], folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Divides files among the splits, by patient: by a hash of the name, so that it is the same each time.

    Raises:
      ReleaseError: there are fewer than three patients.
    """
    patients = {patient_of(file, folder) for file in files}
    if len(patients) < 3:
        raise ReleaseError(
            f"{folder} has radiographs of {len(patients)} patient(s), and the three splits need one each; put those of "
            "each patient into a folder of their own, or all of them side by side."
        )
    order = sorted(patients, key=lambda name: hashlib.sha256(name.encode()).digest())
    held_out = max(1, round(HELD_OUT * len(order)))
    of_patient = dict.fromkeys(order, "train")
    of_patient |= dict.fromkeys(order[:held_out], "validation") | dict.fromkeys(order[held_out : 2 * held_out], "test")
    splits: dict[str, list[pathlib.Path]] = {"train": [], "validation": [], "test": []}
    for file in files:
        splits[of_patient[patient_of(file, folder)]].append(file)
    return splits


@dataclasses.dataclass(frozen=True)
class _Read:
    """Reads one file; picklable, for worker processes."""

    folder: pathlib.Path

    def __call__(self, file: pathlib.Path) -> Made:
        name = printable(file.relative_to(self.folder).as_posix())
        try:
            radiograph = read_radiograph(file)
        except ImageError as error:
            why = str(error).replace(f"{self.folder}{os.sep}", "")
            return Made(None, findings=(Finding("files that cannot be read", why),))
        record = Record.unlabelled(radiograph.pixels, radiograph.pixel_spacing_mm)
        about = {"patient": patient_of(file, self.folder), "side": radiograph.side, "view": radiograph.view or "hand"}
        return Made(dataclasses.replace(record, id=name, dataset=NAME, **about))

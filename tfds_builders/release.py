"""What the builders of both releases share: where a release lies, how it is fetched, and what its names tell."""

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Sequence

import huggingface_hub
import tensorflow_datasets as tfds

from ramjax import files
from ramjax.io.errors import ReleaseError

SPLIT_FOLDERS: dict[str, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("val", "validation", "valid"),
    "test": ("test",),
}
"""Names that the folder of a split goes by in releases and copies of them."""

REVISION_FILE = "revision.txt"
"""Beside a downloaded release: the commit it was pinned to when its download began."""


@dataclasses.dataclass(frozen=True)
class Repository:
    """A release on the Hugging Face hub.

    Attributes:
      name: of the folder that holds it.
      id: of the data set repository.
      folders: those of which at least one is in every copy of the release.
      patterns: of the files to download, as for `fnmatch`; ``*`` crosses folders.
    """

    name: str
    id: str
    folders: tuple[str, ...]
    patterns: tuple[str, ...]

    def instructions(self, manual: str = "DATA_DIR/downloads/manual") -> str:
        """What to fetch and where to put it, one sentence."""
        return (
            f"Fetch the data set with `hf download {self.id} --repo-type=dataset --local-dir={self.name}` on a machine "
            f"with a network, and put that folder into {manual} or name it with --source."
        )


def find_release(dl_manager: tfds.download.DownloadManager, repository: Repository) -> pathlib.Path:
    """Returns the folder of a release: the manual folder of TFDS or one in it, else a download.

    Raises:
      ReleaseError: the manual folder was named and holds no release, or the download failed.
    """
    downloads = pathlib.Path(dl_manager.download_dir)
    try:
        manual = pathlib.Path(dl_manager.manual_dir)
    except AssertionError:  # it is absent or empty
        return download(repository, downloads)
    for folder in (manual, manual / repository.name):
        if any((folder / name).is_dir() for name in repository.folders):
            return folder
    if manual != downloads / "manual":
        raise ReleaseError(
            f"{manual} does not hold the release {repository.name}: none of the folders "
            f"{', '.join(repository.folders)} is in it; name the folder that has them with --source."
        )
    return download(repository, downloads)


def download(repository: Repository, downloads: pathlib.Path) -> pathlib.Path:
    """Downloads a release into a folder of `downloads` and returns it; what is there already is not fetched again.

    The revision is the newest when the download begins, and stays so until it is whole: `REVISION_FILE` pins it.

    Raises:
      ReleaseError: there is no network, or the hub refuses; one sentence says what to fetch and where to put it.
    """
    folder = downloads / repository.name
    fetch(repository, folder, repository.patterns)
    return folder


def fetch(repository: Repository, folder: pathlib.Path, patterns: Sequence[str]) -> None:
    """Downloads the files that match one of `patterns` into `folder`; see `download`."""
    pin = folder / REVISION_FILE
    try:
        if not pin.exists():
            revision = huggingface_hub.HfApi().dataset_info(repository.id).sha
            folder.mkdir(parents=True, exist_ok=True)
            files.write_text(pin, f"{revision}\n")
        huggingface_hub.snapshot_download(
            repository.id,
            repo_type="dataset",
            revision=_pinned(pin),
            local_dir=folder,
            allow_patterns=list(patterns),
        )
    except Exception as error:  # the client raises errors of the network, the hub and its own
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ReleaseError(
            f"{repository.name} could not be downloaded ({reason}). "
            f"{repository.instructions(str(folder.parent / 'manual'))}"
        ) from error


def is_download(folder: pathlib.Path) -> bool:
    """Whether a release was downloaded here, so that more of it can be fetched."""
    return (folder / REVISION_FILE).exists()


def revision_of(folder: pathlib.Path) -> dict[str, str]:
    """What the report says of the release: its revision, where it was downloaded here."""
    known = is_download(folder)
    return {"revision": _pinned(folder / REVISION_FILE) if known else "unknown; a folder of yours"}


def _pinned(pin: pathlib.Path) -> str:
    """The revision that a file pins; raises ReleaseError where it holds anything else."""
    revision = pin.read_bytes().strip().decode("ascii", "replace")
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ReleaseError(f"{pin} holds no revision (40 digits 0-9, a-f); delete it to fetch the newest one.")
    return revision


def split_folders(parent: pathlib.Path) -> Iterator[tuple[str, pathlib.Path]]:
    """Yields (split, folder) of the split folders that are there."""
    for split, names in SPLIT_FOLDERS.items():
        there = [parent / name for name in names if (parent / name).is_dir()]
        if len(there) > 1:
            raise ReleaseError(f"{there[0]} and {there[1].name} are both there; move one of them away.")
        yield from ((split, folder) for folder in there)


def list_files(folder: pathlib.Path, suffix: str) -> dict[str, pathlib.Path]:
    """Files of a folder with a suffix, in any case, by stem, sorted; empty where there is no folder.

    Raises:
      ReleaseError: two files have the same stem, or a name is no UTF-8 text, which the key of a record must be.
    """
    if not folder.is_dir():
        return {}
    found: dict[str, pathlib.Path] = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() == suffix and path.name[0] != "."):
        if path.stem in found:
            raise ReleaseError(f"{found[path.stem]} and {path.name} are both there; move one of them away.")
        if any("\ud800" <= letter <= "\udfff" for letter in path.name):
            raise ReleaseError(f"{folder} has a file whose name {path.name!a} is no UTF-8 text; rename it.")
        found[path.stem] = path
    return found


@dataclasses.dataclass(frozen=True)
class Stem:
    """What a file name tells; '' where it does not.

    Attributes:
      study: the name without its side, the key of the metadata sheet.
      center, patient, visit: see `ramjax.record.Record`.
      side: ``L`` or ``R``.
    """

    study: str
    center: str
    patient: str
    visit: str
    side: str


def parse_stem(stem: str, pattern: re.Pattern[str]) -> Stem:
    """What a stem tells by a pattern with groups named as the fields of `Stem`.

    Of a stem that does not match only the study and, where the last token names one, the side.
    """
    study, _, side = stem.rpartition("_")
    match = pattern.match(stem)
    if match is not None:
        groups = match.groupdict()
        return Stem(study, *(groups.get(name, "") for name in ("center", "patient", "visit", "side")))
    return Stem(study, "", "", "", side) if side in ("L", "R") else Stem(stem, "", "", "", "")

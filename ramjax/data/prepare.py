"""Prepares a data set and reports what it found."""

import json
import logging
import pathlib

from ramjax import notice
from ramjax.data import source
from ramjax.data.intact import DatasetError
from ramjax.data.report import findings, to_table
from ramjax.typed import ConfigError

log = logging.getLogger(__name__)


def prepare(dataset: str, data_dir: str, release: str | None) -> None:
    """Prepares a data set where it is absent, and prints its report.

    Raises:
      ConfigError: the source is no folder, or the data set takes none.
      ReleaseError, ImageError: what is wrong with the release.
      DatasetError: it was prepared before, and a file is damaged or missing.
      ValueError, OSError: as `ramjax.data.source.prepare`.
    """
    try:
        builder = source.make_builder(dataset, data_dir)
    except DatasetError:
        raise
    except ValueError as error:
        raise ConfigError(f"--dataset: {error}") from error
    folder = pathlib.Path(release).expanduser().absolute() if release else None
    if folder is not None and not builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        raise ConfigError(f"--source is {release}, but {dataset} is made, not read; leave --source out.")
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"--source={release} is no folder; name the one that holds the release.")
    if folder is not None and not any(folder.iterdir()):
        raise ConfigError(f"--source={release} is empty; name the folder that holds the release.")
    there = source.is_prepared(builder)
    builder = source.prepare(dataset, data_dir, folder)
    source.check(builder, dataset, data_dir)
    path = pathlib.Path(builder.data_path)
    report = path / "metadata.json"
    found = json.loads(report.read_text(encoding="utf-8"))
    log.info("%s", to_table(found))
    if findings(found):
        log.warning("%d kinds of defects or deviations from the published counts were found.", findings(found))
    if there:
        log.info("It was prepared before; delete %s to prepare it anew.", path)
    log.info("Data: %s   Report: %s\n%s", path, report, notice.NOTE)

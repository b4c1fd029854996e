"""Prepares a data set and reports what it found."""

import json
import logging
import pathlib

from ramjax import notice
from ramjax.data import source
from ramjax.data.report import findings, to_table
from ramjax.errors import RunError
from ramjax.typed import ConfigError

log = logging.getLogger(__name__)


def prepare(dataset: str, data_dir: str, release: str | None) -> None:
    """Prepares a data set where it is absent, and prints its report.

    Raises:
      ConfigError: the source is no folder, or the data set takes none.
      ReleaseError, ImageError: what is wrong with the release.
      RunError: the data set is there, and its report is damaged.
      ValueError, OSError: as `ramjax.data.source.prepare`.
    """
    try:
        builder = source.make_builder(dataset, data_dir)
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
    path = pathlib.Path(builder.data_path)
    report = path / "metadata.json"
    try:
        found = json.loads(report.read_text(encoding="utf-8"))
        table, number = to_table(found), findings(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(
            f"{report} is missing or damaged ({type(error).__name__}); delete {path} and prepare it again."
        ) from error
    log.info("%s", table)
    if number:
        log.warning("%d kinds of defects or deviations from the published counts were found.", number)
    if there:
        log.info("It was prepared before; delete %s to prepare it anew.", path)
    log.info("Data: %s   Report: %s\n%s", path, report, notice.NOTE)

"""Prepares a data set: reads a release, writes one record a radiograph, and reports what it found.

    python -m ramjax.prepare --dataset=ram_h1200 --source=RAM-H1200-v1 --data_dir=data

Data sets: ram_h1200 (whole hands); ram_w600/joint (wrists with bones and scores, splits by patient), ram_w600/bones and
ram_w600/scores (one level in its official splits); ram_phantom/small, /full, /tiny (synthetic hands, which training
prepares by itself). Without --source the release is looked for in DATA_DIR/downloads/manual. If it is not there, it is
downloaded into DATA_DIR/downloads; an interrupted download continues.

At the end a table is printed: found [published], and all defects. The same report is stored with the data as
metadata.json. A deviation is a warning. What cannot be trusted (a damaged image, an unknown score or category, sizes
that differ) is an error that names the file and the key, and nothing half-written stays.

Exit codes: 0 done, 1 an error that the last line names, 2 wrong usage, 130 interrupted: start the same command again.

Research use only, not a medical device.
"""

import json
import logging
import pathlib
import sys

from absl import flags

from ramjax import command_line, notice
from ramjax.config import ConfigError
from ramjax.errors import explain
from ramjax.logs import logging_to

log = logging.getLogger("ramjax.prepare")


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""
    try:
        values = parse(argv)
    except flags.Error as error:
        print(f"Usage error: {error} See python -m ramjax.prepare --help.", file=sys.stderr)
        return 2
    if values is None:
        return 0
    try:
        prepare(values.dataset, values.data_dir, values.source)
    except KeyboardInterrupt:
        print("Interrupted; nothing half-written stays. Start the same command again.", file=sys.stderr)
        return 130
    except Exception as error:
        print(f"Error: {explain(error)}", file=sys.stderr)
        if values.debug:
            raise
        return 1
    return 0


def parse(argv: list[str]) -> flags.FlagValues | None:
    """Parses the command line; None when it asked for help, which is printed."""
    values = flags.FlagValues()
    define = {"flag_values": values}
    flags.DEFINE_string("dataset", None, "Data set, with its config where it has several: ram_w600/joint.", **define)
    flags.DEFINE_string("source", None, "Folder that holds the release.", **define)
    flags.DEFINE_string("data_dir", "data", "Folder of prepared data sets, as data.data_dir of experiments.", **define)
    flags.DEFINE_bool("debug", False, "Show the traceback of an error.", **define)
    if command_line.wants_help(argv):
        print(command_line.help_text(__doc__, values))
        return None
    extra = values(argv)[1:]
    if extra:
        raise flags.Error(f"{extra[0]!r} is not a flag; flags start with --.")
    if not values.dataset:
        raise flags.Error("--dataset=NAME is missing.")
    return values


def prepare(dataset: str, data_dir: str, release: str | None) -> None:
    """Prepares a data set where it is absent, and prints its report.

    Raises:
      ConfigError: the source is no folder, or the data set takes none.
      ReleaseError, ImageError: what is wrong with the release.
      ValueError, OSError: as `ramjax.data.source.prepare`.
    """
    from ramjax.data import source  # after the flags: a wrong one should not take seconds to say
    from ramjax.data.report import findings, to_table

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
    with logging_to(None):
        there = source.is_prepared(builder)
        builder = source.prepare(dataset, data_dir, folder)
        path = pathlib.Path(builder.data_path)
        report = path / "metadata.json"
        found = json.loads(report.read_text(encoding="utf-8"))
        log.info("%s", to_table(found))
        if findings(found):
            log.warning("%d kinds of things are amiss or deviate from what is published, see above.", findings(found))
        if there:
            log.info("It was prepared before; delete %s to prepare it anew.", path)
        log.info("Data: %s   Report: %s\n%s", path, report, notice.NOTE)


if __name__ == "__main__":
    sys.exit(main(sys.argv))

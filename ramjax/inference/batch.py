"""Predicts many files, one after the other; a file that fails does not stop the others."""

import contextlib
import errno
import itertools
import logging
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tqdm import tqdm

from ramjax import notice
from ramjax.errors import RunError, explain, is_disk_full
from ramjax.figures.overlay import encode_png
from ramjax.inference import files, report
from ramjax.inference.network import TrainedNetwork
from ramjax.inference.reading import NOTHING_KNOWN, Options, read
from ramjax.io.images import ImageError, read_radiograph
from ramjax.printable import printable
from ramjax.tasks.findings import reported
from ramjax.written import Written, sha256

log = logging.getLogger(__name__)

_NAME_ERRORS = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)
"""A file system does not take the name of a result, whatever is wrong with it; it takes others."""


def predict_all(
    inputs: Sequence[str | pathlib.Path],
    output: pathlib.Path,
    network: TrainedNetwork,
    options: Options = NOTHING_KNOWN,
    *,
    masks: bool = False,
    debug: bool = False,
) -> list[str]:
    """Predicts every input and writes the results; returns a sentence for each file that failed.

    Results appear whole or not at all. Those of an earlier prediction of the same file are replaced where nobody
    changed them since; all other files in the folder stay as they are (see `ramjax.written`). Several processes may
    predict into one folder.

    Args:
      inputs: files and folders.
      output: folder of the results; made if absent.
      network: that is asked.
      options: what is known of all radiographs.
      masks: write the tasks' masks, too.
      debug: let an unforeseen error in a file end the run.

    Raises:
      RunError: there is nothing to predict, or the output cannot be written.
    """
    mask_names = [name for task in reported(network.tasks) for name in task.mask_names]
    with _writing_to(output):
        paths = files.find_files(inputs, output, mask_names)
        if not paths:
            raise RunError(f"No radiographs in {', '.join(map(str, inputs))}; PNG, BMP, JPEG, TIFF and DICOM are read.")
        output.mkdir(parents=True, exist_ok=True)
        written = Written(output)
        with written.locked():
            names = files.Names(paths, written, files.suffixes(mask_names))
    rows, failures, reports = [], [], {}
    try:
        shown = tqdm(paths, desc="Predicting", unit="image", disable=None)
        for path, name in zip(shown, names.chosen, strict=True):
            try:
                contents, row = _predict_file(path, name, network, options, masks)
            except Exception as error:
                if debug and not isinstance(error, ImageError):
                    raise
                failures.append(_describe(error, path))
                rows.append(_failed_row(name, path, failures[-1]))
                continue
            try:
                with _writing_to(output):
                    name = _write(path, name, contents, names, written)
                rows.append(row | {"name": name})
                reports[name] = sha256(contents[files.REPORT])
            except OSError as error:
                failures.append(_describe(error, path))
                rows.append(_failed_row(name, path, failures[-1]))
    finally:
        with _writing_to(output):
            _write_summary(output / "summary.csv", network, rows, reports)
    for sentence in failures:
        log.warning("%s", sentence)
    done = len(paths) - len(failures)
    log.info("%d of %d radiographs predicted. %s\nResults: %s", done, len(paths), notice.NOTE, printable(str(output)))
    return failures


@contextlib.contextmanager
def _writing_to(output: pathlib.Path) -> Iterator[None]:
    """Turns errors of the file system into one sentence; one of a single name stays, as others can be written."""
    try:
        yield
    except OSError as error:
        if error.errno in _NAME_ERRORS:
            raise
        reason = error.strerror or str(error)
        remedy = "the disk is full; make room" if is_disk_full(error) else f"{reason}; name another folder"
        raise RunError(f"--output={output} cannot be written: {remedy} and start again.") from error


def _predict_file(
    path: pathlib.Path, name: str, network: TrainedNetwork, options: Options, with_masks: bool
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Predicts a file; returns the contents of its results by what follows its name, and its row of the summary."""
    if os.path.isdir(path):
        raise ImageError(f"{path} is a folder that cannot be read; check its permissions.")
    reading = read(read_radiograph(path), network, options, name=name, source=printable(str(path)))
    contents = {files.OVERLAY: encode_png(reading.overlay())}
    for task in network.tasks if with_masks else ():
        if (finding := reading.findings.of(task)) is not None:
            masks = task.masks(finding, reading.radiograph.pixels.shape)
            contents |= {files.mask(of): encode_png(mask) for of, mask in masks.items()}
    contents[files.REPORT] = report.to_text(reading.report).encode()
    return contents, report.summary_row(network.tasks, name, reading.report)


def _write(path: pathlib.Path, name: str, contents: dict[str, bytes], names: files.Names, written: Written) -> str:
    """Writes the results of a file, and returns the name that was still free for them."""
    with written.locked():
        name = names.confirm(path, name)
        results = {name + suffix: content for suffix, content in contents.items()}
        written.write(results, files.source_of(path, written.folder))
    return name


def _describe(error: Exception, path: pathlib.Path) -> str:
    return printable(str(error) if isinstance(error, ImageError) else f"{path} cannot be predicted: {explain(error)}")


def _failed_row(name: str, path: pathlib.Path, sentence: str) -> dict[str, Any]:
    return {"name": name, "input": printable(str(path)), "error": sentence}


def _write_summary(
    path: pathlib.Path,
    network: TrainedNetwork,
    rows: Sequence[dict[str, Any]],
    reports: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Adds the rows to the existing ones; a row of the same name is replaced.

    Left out is a row of `reports`, digests by name, whose report another process has replaced: that has a row, too.

    A summary that somebody changed, of which something could be lost by that, is kept, and the rows go into one beside
    it: summary-2.csv, summary-3.csv ...
    """
    if not rows:
        return
    written = Written(path.parent)
    with written.locked():
        rows = [
            row
            for row in rows
            if row["name"] not in reports or written.holds(row["name"] + files.REPORT, reports[row["name"]])
        ]
        for number in itertools.count(1):
            place = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
            own = written.is_own(place.name)
            try:
                before = place.read_bytes().decode() if place.is_file() and not place.is_symlink() else None
                if before is not None or not os.path.lexists(place):
                    text = report.merged_summary(network.tasks, rows, before or "", replace=own)
                    break
            except ValueError:
                continue
        written.write({place.name: text.encode()})
    if place != path:
        log.warning(
            "%s was changed, or is of something else; it is kept, and the new rows are in %s.",
            printable(str(path)), place.name,
        )  # fmt: skip

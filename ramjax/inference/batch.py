"""Predicts many files, one after the other; a file that fails does not stop the others."""

import contextlib
import logging
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from tqdm import tqdm

from ramjax import notice
from ramjax.errors import RunError, explain, is_disk_full
from ramjax.figures.overlay import encode_png
from ramjax.files import write_whole
from ramjax.inference import files, report
from ramjax.inference.network import TrainedNetwork
from ramjax.inference.reading import NOTHING_KNOWN, Options, read
from ramjax.io.images import ImageError, read_radiograph
from ramjax.tasks.findings import reported

log = logging.getLogger(__name__)


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

    Results appear whole or not at all; earlier ones in the folder stay until theirs are replaced.

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
    paths = files.find_files(inputs, output, mask_names)
    if not paths:
        raise RunError(f"No radiographs in {', '.join(map(str, inputs))}; PNG, BMP, JPEG, TIFF and DICOM are read.")
    with _writing_to(output):
        output.mkdir(parents=True, exist_ok=True)
        names = files.choose_names(paths, output)
    rows, failures = [], []
    try:
        for path, name in zip(tqdm(paths, desc="Predicting", unit="image", disable=None), names, strict=True):
            try:
                contents, row = _predict_file(path, name, network, options, masks)
            except Exception as error:
                if debug and not isinstance(error, ImageError):
                    raise
                failures.append(_describe(error, path))
                rows.append({"name": name, "input": str(path), "error": failures[-1]})
            else:
                with _writing_to(output):
                    write_whole({output / (name + suffix): content for suffix, content in contents.items()})
                rows.append(row)
    finally:
        with _writing_to(output):
            _write_summary(output / "summary.csv", network, rows)
    for sentence in failures:
        log.warning("%s", sentence)
    done = len(paths) - len(failures)
    log.info("%d of %d radiographs predicted. %s\nResults: %s", done, len(paths), notice.NOTE, output)
    return failures


@contextlib.contextmanager
def _writing_to(output: pathlib.Path) -> Iterator[None]:
    """Turns errors of the file system into one sentence."""
    try:
        yield
    except OSError as error:
        remedy = "the disk is full; make room" if is_disk_full(error) else f"{error.strerror}; name another folder"
        raise RunError(f"--output={output} cannot be written: {remedy} and start again.") from error


def _predict_file(
    path: pathlib.Path, name: str, network: TrainedNetwork, options: Options, with_masks: bool
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Predicts a file; returns the contents of its results by what follows its name, and its row of the summary."""
    reading = read(read_radiograph(path), network, options, name=name, source=str(path))
    contents = {files.OVERLAY: encode_png(reading.overlay())}
    for task in network.tasks if with_masks else ():
        if (finding := reading.findings.of(task)) is not None:
            masks = task.masks(finding, reading.radiograph.pixels.shape)
            contents |= {files.mask(of): encode_png(mask) for of, mask in masks.items()}
    contents[files.REPORT] = report.to_text(reading.report).encode()
    return contents, report.summary_row(network.tasks, name, reading.report)


def _describe(error: Exception, path: pathlib.Path) -> str:
    return str(error) if isinstance(error, ImageError) else f"{path} cannot be predicted: {explain(error)}"


def _write_summary(path: pathlib.Path, network: TrainedNetwork, rows: Sequence[dict[str, Any]]) -> None:
    """Adds the rows to the existing ones; a row of the same name is replaced."""
    if rows:
        # A spreadsheet may have saved it since, with a mark in front or in another encoding.
        before = path.read_text(encoding="utf-8-sig", errors="replace") if path.exists() else ""
        write_whole({path: report.merged_summary(network.tasks, rows, before).encode()})

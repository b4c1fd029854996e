"""Writes a report: the page and the files beside it."""

import functools
import logging
import os
import pathlib
from collections.abc import Callable, Sequence

from tqdm import tqdm

from ramjax import notice
from ramjax.errors import RunError, is_disk_full
from ramjax.files import write_whole
from ramjax.reporting import REPLICATES, build, export, runs, tables
from ramjax.runs.questions import Question
from ramjax.written import Written

log = logging.getLogger(__name__)


def write_report(
    workdirs: list[str],
    output: pathlib.Path,
    replicates: int = REPLICATES,
    *,
    names: Sequence[str] = (),
    baseline: str | None = None,
    chosen: Sequence[str] = (),
    captions: pathlib.Path | None = None,
    asked: Sequence[Question] = (),
) -> None:
    """Writes the page and the files beside it, all of them or none.

    Args:
      workdirs: run directories.
      output: the page.
      replicates: of every bootstrap.
      names: of the runs, as many; none names them by their folders.
      baseline: name or run directory that the others are compared with; None compares all with each other.
      chosen: patterns of ids of tables; none shows all.
      captions: file of titles and captions, written where it is absent.
      asked: questions of the sweep whose runs they are: it is reported question by question, without `baseline`.

    Raises:
      RunError: a run is not finished, or cannot stand beside the others; a name, baseline, table or the file of
        captions is wrong; the output cannot be written, or would replace something else.
    """
    found = runs.read_runs(workdirs, names)
    _check_output(output, [run.folder for run in found])
    beside = [output.with_name(name) for name in ("cases.parquet", "tables.csv", "tables.tex")]
    _check_kept(output, [output, *beside])
    edited = tables.read_captions(captions) if captions and captions.exists() else None
    with tqdm(desc="Intervals", unit="metric", disable=None, leave=False, delay=1.0) as bar:
        start = functools.partial(_start, bar)
        if asked:
            report = build.sweep_report(found, asked, replicates, start, chosen=chosen, captions=edited)
        else:
            report = build.report(found, replicates, start, baseline=baseline, chosen=chosen, captions=edited)
    contents = dict(zip([output, *beside], (report.html, report.cases, report.csv, report.latex), strict=True))
    own = {path.name: content for path, content in contents.items()}
    if captions and edited is None:
        contents[captions] = report.captions
    try:
        for path in contents:
            path.parent.mkdir(parents=True, exist_ok=True)
        written = Written(output.parent)
        with written.locked():
            _check_kept(output, [output, *beside])
            written.record(own)
            write_whole(contents)
    except OSError as error:
        remedy = "the disk is full; make room" if is_disk_full(error) else f"{error.strerror}; name another place"
        of_captions = captions and error.filename in (str(captions), str(captions.parent))
        what = f"--captions={captions}" if of_captions else f"--output={output}"
        raise RunError(f"{what} cannot be written: {remedy} and start again.") from error
    log.info("Report: %s   Beside it: cases.parquet, tables.csv, tables.tex", output)
    if captions and edited is None:
        log.info("Captions to edit: %s   Then start the same command again.", captions)
    if missing := [id for id in edited or () if id not in report.tables]:
        log.warning("%s has captions of %s, which the report does not have.", captions, ", ".join(missing))
    log.info(notice.NOTE)


def _check_output(output: pathlib.Path, folders: list[pathlib.Path]) -> None:
    """Raises RunError for a place that no report can take, before the work."""
    if output.is_dir():
        raise RunError(f"--output={output} is a folder; name a file in it, such as {output / 'report.html'}.")
    folder = output.absolute().parent
    if folder.resolve() in [run.resolve() for run in folders] or (folder / "config.json").exists():
        raise RunError(
            f"--output={output} would replace cases.parquet of a run; name another folder, such as "
            f"{output.parent / 'report' / output.name}."
        )


def _check_kept(output: pathlib.Path, paths: Sequence[pathlib.Path]) -> None:
    """Raises RunError where a file would be replaced that no report wrote, or that was changed since."""
    written = Written(output.parent)
    for path in paths:
        if os.path.lexists(path) and not (written.is_own(path.name) if path.name in written else _is_ours(path)):
            raise RunError(
                f"--output={output} would replace {path}, which no report wrote or which was changed since; move it, "
                "or name another folder."
            )


def _is_ours(path: pathlib.Path) -> bool:
    """Whether a file is of a report of an older version, which kept no record."""
    content = path.read_bytes() if path.is_file() else b""
    if path.suffix == ".parquet":
        return content.startswith(b"PAR1") and b"ramjax" in content
    return notice.NOTE.encode() in content or content.startswith(",".join(export.CSV_COLUMNS).encode() + b"\n")


def _start(bar: tqdm, total: int) -> Callable[[], None]:
    """Tells the bar how much there is, and returns what moves it on."""
    bar.reset(total)
    return bar.update

"""Puts the results of finished runs on one page: tables as in papers, intervals, charts, cases, comparisons.

    python -m ramjax.report --workdir=runs/multitask
    python -m ramjax.report --workdir=runs/a --workdir=runs/b --output=compared/report.html
    python -m ramjax.report --workdir=runs/a --workdir=runs/b --name=Baseline --name="With dropout" --baseline=Baseline

A run is finished when it was evaluated (python -m ramjax.main --workdir=RUN --mode=eval does that again). Several runs
stand side by side and are compared in pairs on the cases they share, or all with the one of --baseline; runs that
differ in nothing but the seed are pooled. They are named by their folders, or by --name: the first --name is of the
first --workdir, and so on; runs that are pooled may have the same one.

Without --output the page is report/report.html in the (first) run. It needs nothing from elsewhere, so it can be sent
as it is. Beside it are written

  cases.parquet   every value of every case of all runs, one a row, with the column run
  tables.csv      all tables of the page in one: table, row, column, value, sd, low, high, n, mode, source
  tables.tex      the same tables for LaTeX (booktabs)

--tables=bones,'be*' keeps these tables only: ids as in tables.csv, with or without the data set in front, * for any
letters. --captions=FILE is of titles and captions of your own: if there is no such file, it is written with the present
ones, to be edited; start the same command again and they are in the page and in tables.tex.

Cases are named by their ids: keep names of patients out of file names.

Exit codes: 0 done, 1 an error that the last line names, 2 wrong usage, 130 interrupted.

Research use only, not a medical device.
"""

import logging
import os
import pathlib
import sys
from collections.abc import Callable, Sequence

from absl import flags
from tqdm import tqdm

from ramjax import command_line, notice
from ramjax.errors import RunError, explain, is_disk_full
from ramjax.files import write_whole
from ramjax.logs import logging_to

log = logging.getLogger("ramjax.report")

REPLICATES = 1000


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""
    try:
        values = parse(argv)
    except flags.Error as error:
        print(f"Usage error: {error} See python -m ramjax.report --help.", file=sys.stderr)
        return 2
    if values is None:
        return 0
    try:
        with logging_to(None):
            write_report(
                values.workdir,
                pathlib.Path(values.output).expanduser(),
                values.replicates,
                names=values.name,
                baseline=values.baseline,
                chosen=values.tables,
                captions=None if values.captions is None else pathlib.Path(values.captions).expanduser(),
            )
    except KeyboardInterrupt:
        print("Interrupted; nothing was written.", file=sys.stderr)
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
    flags.DEFINE_multi_string("workdir", [], "Run directory of a finished run; may be repeated.", **define)
    flags.DEFINE_multi_string("name", [], "Name of a run; as many as --workdir, in their order.", **define)
    flags.DEFINE_string("baseline", None, "Name or run directory that all others are compared with.", **define)
    flags.DEFINE_list("tables", [], "Ids of the tables to show, * for any letters. Default: all.", **define)
    flags.DEFINE_string("captions", None, "TOML file of titles and captions; written if absent.", **define)
    flags.DEFINE_string(
        "output", None, "The page; its folder is made if absent. Default: WORKDIR/report/report.html.", **define
    )
    flags.DEFINE_integer("replicates", REPLICATES, "Bootstrap replicates of each interval.", 100, 100_000, **define)
    flags.DEFINE_bool("debug", False, "Show the traceback of an error.", **define)
    if command_line.wants_help(argv):
        print(command_line.help_text(__doc__, values))
        return None
    extra = values(argv)[1:]
    if extra:
        raise flags.Error(f"{extra[0]!r} is not a flag; flags start with --.")
    if not values.workdir:
        raise flags.Error("--workdir is missing.")
    if values.name and len(values.name) != len(values.workdir):
        raise flags.Error(
            f"--name is given {len(values.name)} times and --workdir {len(values.workdir)}; name each run, or none."
        )
    if not all(name.strip() for name in values.name):
        raise flags.Error("--name is empty; give each run a name.")
    if values.output is None:
        values.output = str(pathlib.Path(values.workdir[0]) / "report" / "report.html")
    if pathlib.Path(values.output).suffix not in (".html", ".htm"):
        raise flags.Error(f"--output is {values.output}; name a file that ends in .html.")
    return values


def write_report(
    workdirs: list[str],
    output: pathlib.Path,
    replicates: int = REPLICATES,
    *,
    names: Sequence[str] = (),
    baseline: str | None = None,
    chosen: Sequence[str] = (),
    captions: pathlib.Path | None = None,
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

    Raises:
      RunError: a run is not finished, or cannot stand beside the others; a name, baseline, table or the file of
        captions is wrong; the output cannot be written.
    """
    from ramjax.reporting import build, runs, tables  # after the flags: a wrong one should not take seconds to say

    found = runs.read_runs(workdirs, names)
    _check_output(output, [run.folder for run in found])
    edited = tables.read_captions(captions) if captions and captions.exists() else None
    with tqdm(desc="Intervals", unit="metric", disable=None, leave=False, delay=1.0) as bar:
        report = build.report(
            found,
            replicates,
            lambda total: _start(bar, total),
            baseline=baseline,
            chosen=chosen,
            captions=edited,
        )
    contents = {
        output: report.html,
        output.with_name("cases.parquet"): report.cases,
        output.with_name("tables.csv"): report.csv,
        output.with_name("tables.tex"): report.latex,
    }
    if captions and edited is None:
        contents[captions] = report.captions
    try:
        for path in contents:
            path.parent.mkdir(parents=True, exist_ok=True)
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


def _start(bar: tqdm, total: int) -> Callable[[], None]:
    """Tells the bar how much there is, and returns what moves it on."""
    bar.reset(total)
    return bar.update


if __name__ == "__main__":
    code = main(sys.argv)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Arrow's threads, still starting when a short program ends, would abort an ordinary exit

"""Puts the results of finished runs on one page: tables as in papers, intervals, charts, cases, comparisons.

    python -m ramjax.report --workdir=runs/multitask
    python -m ramjax.report --workdir=runs/a --workdir=runs/b --output=compared/report.html
    python -m ramjax.report --workdir=runs/a --workdir=runs/b --name=Baseline --name="With dropout" --baseline=Baseline
    python -m ramjax.report --sweep=sweeps/encoder

A run is finished when it was evaluated (python -m ramjax.main --workdir=RUN --mode=eval evaluates it again). Several
runs are shown side by side. They are compared on the cases that they share: in pairs, or all with the one of
--baseline. Runs that differ only in the seed are pooled. Runs are named by their folders, or by --name: the first
--name belongs to the first --workdir, and so on. Pooled runs may have the same name.

--sweep shows the questions that a sweep of experiments/ablations asks, in place of --workdir, --name and --baseline:
for each one a table and charts of its arms beside its baseline, with paired intervals and corrected p-values. Runs that
are not finished are named.

Without --output the page is report/report.html in the (first) run, or in the sweep. The page loads nothing from
elsewhere, so it can be sent as it is. These files are written beside it:

  cases.parquet   every value of every case of all runs, one a row, with the column run
  tables.csv      all tables of the page in one: table, row, column, value, sd, low, high, n, mode, source
  tables.tex      the same tables for LaTeX (booktabs)

Only files of an earlier report are replaced. Where you changed one since, or have a file of that name yourself, the
command ends with a sentence that names it.

--tables=bones,'be*' shows only these tables. They are named by their ids in tables.csv, with or without the data set in
front; * stands for any letters. --captions=FILE uses titles and captions of your own. If the file does not exist, it is
written with the present ones; edit it and start the same command again.

Cases are named by their ids: keep names of patients out of file names.

Exit codes: 0 done, 1 an error that the last line names, 2 wrong usage, 130 interrupted.

Research use only, not a medical device.
"""

import os
import pathlib
import sys

from absl import flags

from ramjax import command_line
from ramjax.reporting import REPLICATES


def define(values: flags.FlagValues) -> None:
    define = {"flag_values": values}
    command_line.define_path(
        "workdir", None, "Run directory of a finished run; may be repeated.", several=True, **define
    )
    command_line.define_path("sweep", None, "Folder of a sweep of ablations, in place of its runs.", **define)
    flags.DEFINE_multi_string("name", [], "Name of a run; as many as --workdir, in their order.", **define)
    flags.DEFINE_string("baseline", None, "Name or run directory that all others are compared with.", **define)
    flags.DEFINE_list("tables", [], "Ids of the tables to show, * for any letters. Default: all.", **define)
    command_line.define_path("captions", None, "TOML file of titles and captions; written if absent.", **define)
    command_line.define_path(
        "output", None, "The page; its folder is made if absent. Default: WORKDIR/report/report.html.", **define
    )
    flags.DEFINE_integer("replicates", REPLICATES, "Bootstrap replicates of each interval.", 100, 100_000, **define)


def check(values: flags.FlagValues) -> None:
    if values.sweep is None:
        command_line.needs(values, "workdir")
    elif other := next((flag for flag in ("workdir", "name", "baseline") if values[flag].value), None):
        raise flags.Error(f"--sweep={values.sweep} has runs, names and baselines of its own; leave out --{other}.")
    if values.name and len(values.name) != len(values.workdir):
        raise flags.Error(
            f"--name is given {len(values.name)} times and --workdir {len(values.workdir)}; name each run, or none."
        )
    if not all(name.strip() for name in values.name):
        raise flags.Error("--name is empty; give each run a name.")
    if values.baseline is not None:
        command_line.needs(values, "baseline")
    if values.output is None:
        values.output = str(pathlib.Path(values.sweep or values.workdir[0]) / "report" / "report.html")
    if pathlib.Path(values.output).suffix not in (".html", ".htm"):
        raise flags.Error(f"--output is {values.output}; name a file that ends in .html.")


def act(values: flags.FlagValues) -> None:
    from ramjax.reporting import questions  # after the flags: a wrong one should not take seconds to say
    from ramjax.reporting.write import write_report

    workdirs, names, asked = values.workdir, values.name, ()
    if values.sweep is not None:
        folder = pathlib.Path(values.sweep)
        asked, named = questions.find_runs(folder)
        workdirs, names = [str(folder / run) for run in named], list(named.values())
    write_report(
        workdirs,
        pathlib.Path(values.output),
        values.replicates,
        names=names,
        baseline=values.baseline,
        chosen=values.tables,
        captions=None if values.captions is None else pathlib.Path(values.captions),
        asked=asked,
    )


main = command_line.command("python -m ramjax.report", __doc__, define, act, check=check)

if __name__ == "__main__":
    code = main(sys.argv)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Arrow's threads, still starting when a short program ends, would abort an ordinary exit

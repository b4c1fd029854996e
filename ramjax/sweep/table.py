"""The results of a sweep in one table: a row a run, and means over seeds and folds."""

import pathlib
import shlex
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ramjax import csv_text, files
from ramjax.notice import NOTE
from ramjax.runs import questions
from ramjax.sweep.plan import FOLD, LABEL, REPLICATES, Run
from ramjax.tasks import make_tasks, union_of


def write(runs: Sequence[Run], output: pathlib.Path) -> str:
    """Writes results.csv (a row a run) and results.md (means too) into the sweep's folder; returns the latter."""
    headlines = _headlines(runs)
    results = [_metrics(run, headlines) for run in runs]
    metrics = [name for name in headlines if any(name in of for of in results)]
    markdown = to_markdown(runs, results, metrics)
    files.write_whole(
        {output / "results.csv": to_csv(runs, results, metrics).encode(), output / "results.md": markdown.encode()}
    )
    return markdown


def to_csv(runs: Sequence[Run], results: Sequence[Mapping[str, float]], metrics: Sequence[str]) -> str:
    """A row a run: its settings, its state and the metrics in full; empty where there is none."""
    of_runs = [_settings(run) for run in runs]
    settings = _columns(of_runs)
    rows: list[list[Any]] = [["run", *settings, "state", *metrics]]
    for run, of_run, result in zip(runs, of_runs, results, strict=True):
        values = [of_run.get(key, "") for key in settings], [result.get(key, "") for key in metrics]
        rows.append([run.name, *values[0], run.state, *values[1]])
    return csv_text.write(rows)


def to_markdown(runs: Sequence[Run], results: Sequence[Mapping[str, float]], metrics: Sequence[str]) -> str:
    """The means over `REPLICATES` with their standard deviations, all runs, and the command that compares them."""
    of_runs = [_settings(run) for run in runs]
    settings = _columns(of_runs)
    changed = [key for key in settings if key not in REPLICATES]
    text = ["# Sweep", ""]
    if len(changed) < len(settings):
        if len(_groups(of_runs, changed)) > len(_groups(of_runs, [key for key in changed if key != LABEL])):
            changed.remove(LABEL)  # it names the seeds, too
        over = " and ".join(f"{key}s" for key in settings if key in REPLICATES)
        text += [f"Mean ± standard deviation over {over}, of the runs that are done:", ""]
        text += _markdown_table([*changed, "runs", *metrics], _mean_rows(of_runs, results, changed, metrics))
    rows = [
        [*(_text(of_run.get(key, "")) for key in settings), run.state, *(_number(of.get(key)) for key in metrics)]
        for run, of_run, of in zip(runs, of_runs, results, strict=True)
    ]
    text += ["Each run:", "", *_markdown_table([*settings, "state", *metrics], rows)]
    done = [run for run, of in zip(runs, results, strict=True) if of]
    if done and (done[0].workdir.parent / questions.FILE).exists():
        command = shlex.join(["python", "-m", "ramjax.report", f"--sweep={done[0].workdir.parent}"])
        text += ["Question by question, with intervals:", "", f"    {command}", ""]
    elif len(done) > 1 and FOLD not in settings:  # the folds' cases differ, so there is nothing to pair
        page = done[0].workdir.parent / "report" / "report.html"
        names = [f"--name={run.label or run.name}" for run in done] if LABEL in settings else []
        flags = shlex.join([*(f"--workdir={run.workdir}" for run in done), *names, f"--output={page}"])
        text += ["Compared in pairs, with intervals:", "", f"    python -m ramjax.report {flags}", ""]
    return "\n".join([*text, NOTE, ""])


def _metrics(run: Run, headlines: Sequence[str]) -> dict[str, float]:
    """The headlines of a run that is done; none of another."""
    if run.state != "done":
        return {}
    path = run.workdir / "eval_test.json"
    try:
        values = files.without_checksum(files.parse_json(path.read_bytes()))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and start the sweep again.") from error
    return {name: values[name] for name in headlines if values.get(name) is not None}


def _headlines(runs: Sequence[Run]) -> list[str]:
    """The headlines of the runs' tasks, where a run has several data sets by the name of each."""
    tasks = union_of([make_tasks(run.config) for run in runs])
    headlines = [headline.metric for task in tasks for headline in task.headlines if headline.in_summary]
    prefixes: dict[str, None] = {}
    for run in runs:
        data = run.config.data
        prefixes |= dict.fromkeys(f"{name}/" for name in data.names) if len(data.datasets) > 1 else {"": None}
    return [f"{prefix}{metric}" for prefix in prefixes for metric in headlines]


def _mean_rows(
    of_runs: Sequence[Mapping[str, Any]],
    results: Sequence[Mapping[str, float]],
    changed: Sequence[str],
    metrics: Sequence[str],
) -> list[list[str]]:
    rows = []
    for key, indices in _groups(of_runs, changed).items():
        of = [results[index] for index in indices if results[index]]
        means = (_mean([result[metric] for result in of if metric in result]) for metric in metrics)
        rows.append([*key, str(len(of)), *means])
    return rows


def _settings(run: Run) -> dict[str, Any]:
    """What tells the run from others, its label first, where it has one."""
    return ({LABEL: run.label} if run.label else {}) | dict(run.settings)


def _groups(of_runs: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> dict[tuple[str, ...], list[int]]:
    """The indices of the runs that have the same settings of these keys."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, of_run in enumerate(of_runs):
        groups.setdefault(tuple(_text(of_run.get(key, "")) for key in keys), []).append(index)
    return groups


def _mean(values: Sequence[float]) -> str:
    """Mean and sample standard deviation, which a lone value has not."""
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.3f}"


def _columns(rows: Any) -> list[str]:
    """The keys of all rows, in the order in which they come."""
    return list(dict.fromkeys(key for row in rows for key in row))


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"

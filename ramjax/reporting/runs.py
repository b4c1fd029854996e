"""Finished runs, read from their folders."""

import dataclasses
import pathlib
import re
import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np

from ramjax import config, files
from ramjax.config import Config, ConfigError
from ramjax.errors import RunError
from ramjax.metrics import cases as cases_lib
from ramjax.metrics.cases import Cases
from ramjax.printable import printable
from ramjax.runs import stored_config
from ramjax.tasks import Task, make_tasks, parts_of, union_of

COMMON = ("split", "grid", "tolerance", "unit")
"""What the evaluations of runs must share to stand in one table."""


AVERAGED = ("overlap", "mirror", "scales", "ensemble")
"""What an evaluation averages predictions over: with other such settings it judges another method."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
      name: the given name, with the seed if several runs share it; otherwise the folder's name, preceded by as much
        of the path as is needed to tell it from the other runs.
      folder: the run directory.
      cases: what was measured.
      config: the content of config.json, with the defaults of what an older version left out.
      tasks: of its network.
      git: revision of the code, ``unknown`` where it was not noted.
      curves: the rows of metrics.jsonl; [] without the file.
      parameters: how many the network has; None where parameters.txt does not say.
      given: the name that was given, which runs of different seeds may share; '' where none was.
    """

    name: str
    folder: pathlib.Path
    cases: Cases
    config: dict[str, Any]
    tasks: tuple[Task, ...]
    git: str
    curves: list[dict[str, Any]]
    parameters: int | None
    given: str = ""


@dataclasses.dataclass(frozen=True)
class System:
    """Runs that differ in nothing but the seed; `key` is its name for ids, of letters, digits and hyphens."""

    name: str
    key: str
    runs: tuple[Run, ...]


def read_runs(workdirs: Sequence[str | pathlib.Path], given: Sequence[str] = ()) -> list[Run]:
    """Reads runs that can be reported together.

    Args:
      workdirs: run directories.
      given: names for them, as many; () names them by their folders. Runs that differ in nothing but the seed may
        have the same name, which is then that of their system.

    Raises:
      RunError: a folder is no finished run, is named twice, or its evaluation cannot stand beside the first one's; a
        name is given to runs that are not seeds of one method.
    """
    folders = [pathlib.Path(workdir).expanduser().absolute() for workdir in workdirs]
    for index, folder in enumerate(folders):
        if folder.resolve() in [other.resolve() for other in folders[:index]]:
            raise RunError(f"--workdir={workdirs[index]} is named twice; name each run once.")
    names = [printable(name) for name in given or _distinct_names(folders)]
    runs = [_read(folder, name) for folder, name in zip(folders, names, strict=True)]
    if given:
        runs = _named(runs)
    first = runs[0]
    for run in runs[1:]:
        for key in COMMON:
            here, there = run.cases.about.get(key), first.cases.about.get(key)
            if here != there:
                raise RunError(
                    f"{run.folder} was evaluated with {key} {here} and {first.folder} with {there}; evaluate them "
                    "alike, or report them apart."
                )
    return runs


def as_systems(runs: Sequence[Run]) -> list[System]:
    """Groups runs that differ in the seed only into systems, in the order of the first run of each."""
    groups: list[list[Run]] = []
    for run in runs:
        for group in groups:
            if _method(run) == _method(group[0]) and run.config.get("seed") not in [
                of.config.get("seed") for of in group
            ]:
                group.append(run)
                break
        else:
            groups.append([run])
    systems = []
    for number, group in enumerate(groups, 1):
        more = len(group) - 1
        name = group[0].name + (f" and {more} more seed{'s' * (more > 1)}" if more else "")
        if group[0].given and len({run.given for run in group}) == 1:
            name = group[0].given
        systems.append(System(name, f"system-{number}", tuple(group)))
    return systems


def find_system(systems: Sequence[System], wanted: str) -> System:
    """The system of a name, or that a run of a name or folder belongs to, beside which there are others.

    Raises:
      RunError: there is none, or no other.
    """
    place = pathlib.Path(wanted).expanduser().resolve()
    for system in systems:
        names = {system.name, *(name for run in system.runs for name in (run.name, run.given) if name)}
        if wanted in names or place in [run.folder.resolve() for run in system.runs]:
            if len(systems) == 1:
                raise RunError(f"--baseline={wanted} has nothing beside it; name more runs with --workdir.")
            return system
    known = ", ".join(system.name for system in systems)
    raise RunError(f"--baseline={wanted} is none of the systems; name one of: {known}.")


def shared_cases(several: Sequence[Cases]) -> list[Cases]:
    """Returns the cases (data set and id) that all runs have, in the order of the first run."""
    keys = [list(zip(cases.attributes["dataset"], cases.attributes["id"], strict=True)) for cases in several]
    places = [{key: index for index, key in enumerate(of)} for of in keys]
    shared = [key for key in keys[0] if all(key in of for of in places)]
    return [cases.take(np.array([of[key] for key in shared], int)) for cases, of in zip(several, places, strict=True)]


def of_dataset(cases: Cases, dataset: str) -> Cases:
    """Returns the cases of one data set."""
    return cases.take(cases.attributes["dataset"] == dataset)


def tasks_of(runs: Sequence[Run]) -> tuple[Task, ...]:
    """The tasks of all runs, each once.

    Raises:
      RunError: two runs have different tasks of the same name.
    """
    try:
        return union_of([run.tasks for run in runs])
    except ConfigError as error:
        raise RunError(f"These runs cannot stand in one report: {error}") from error


def datasets_of(runs: Sequence[Run]) -> list[str]:
    """The data sets that the runs were evaluated on, in the order in which they occur."""
    return list(dict.fromkeys(name for run in runs for name in run.cases.attributes["dataset"]))


def _method(run: Run) -> tuple[dict[str, Any], list[Any]]:
    """All that tells a method from another. How a run is evaluated may have changed since config.json was written."""
    trained = {key: value for key, value in config.trained(run.config).items() if key != "seed"}
    return trained, [run.cases.about.get(key) for key in AVERAGED]


def _read(folder: pathlib.Path, name: str) -> Run:
    if not folder.is_dir():
        raise RunError(f"--workdir={folder} is no folder; name the run directory of a finished run.")
    stored = stored_config.load(folder)
    if not (folder / "cases.parquet").exists():
        raise RunError(_unfinished(folder))
    try:
        cases = cases_lib.read(folder / "cases.parquet")
    except ValueError as error:
        raise RunError(str(error)) from error
    values, tasks = config.to_dict(stored), _tasks(folder, stored, cases)
    versions = _read_json(folder / "versions.json") if (folder / "versions.json").exists() else {}
    git = versions.get("git", "unknown") if isinstance(versions, dict) else "unknown"
    curves = files.read_json_lines(folder / "metrics.jsonl")
    return Run(name, folder, cases, values, tasks, str(git), curves, _parameters(folder))


def _tasks(folder: pathlib.Path, stored: Config, cases: Cases) -> tuple[Task, ...]:
    """The tasks of the config, which must have measured all cases."""
    try:
        tasks = make_tasks(stored)
    except ConfigError as error:
        raise RunError(f"{folder / 'config.json'} cannot be used: {error}") from error
    strange = [group for group in cases.values if group not in parts_of(tasks)]
    if strange:
        raise RunError(
            f"{folder / 'cases.parquet'} has values of {', '.join(strange)}, which no task of its config.json measures "
            f"({', '.join(task.name for task in tasks)}); evaluate the run again."
        )
    return tasks


def _unfinished(folder: pathlib.Path) -> str:
    start = f"{folder} was not evaluated: it has no cases.parquet;"
    if any((folder / "checkpoints" / "best").glob("[0-9]*")):
        return f"{start} do that with python -m ramjax.main --workdir={shlex.quote(str(folder))} --mode=eval."
    return f"{start} it has no checkpoint to evaluate either, so start its training again, which continues to the end."


def _read_json(path: pathlib.Path) -> Any:
    try:
        return files.parse_json(path.read_bytes())
    except ValueError as error:
        raise RunError(f"{path} cannot be read ({type(error).__name__}); restore it from a copy.") from error


def _parameters(folder: pathlib.Path) -> int | None:
    """The total that parameters.txt ends with."""
    path = folder / "parameters.txt"
    text = path.read_bytes().decode(errors="replace") if path.exists() else ""
    found = re.search(r"^total\s+(\d[\d,]{,20})\s*$", text, re.MULTILINE | re.ASCII)
    return int(found[1].replace(",", "")) if found else None


def _named(runs: Sequence[Run]) -> list[Run]:
    """The runs, whose names were given; those that share one get their seeds behind it."""
    named = []
    for run in runs:
        alike = [other for other in runs if other.name == run.name]
        seed = run.config.get("seed")
        seeds = [other.config.get("seed") for other in alike]
        if len(alike) > 1 and (len(set(seeds)) < len(seeds) or any(_method(of) != _method(run) for of in alike)):
            raise RunError(
                f"--name={run.name} is given to {alike[0].folder} and {alike[1].folder}, which are not seeds of one "
                "method; give each a name of its own."
            )
        name = run.name if len(alike) == 1 else f"{run.name}, seed {seed}"
        named.append(dataclasses.replace(run, name=name, given=run.name))
    if twice := next((run.name for run in named if [of.name for of in named].count(run.name) > 1), None):
        raise RunError(f"Two runs would both be named {twice}; give them other names.")
    return named


def _distinct_names(folders: Sequence[pathlib.Path]) -> list[str]:
    """The shortest ends of the paths that differ from each other."""
    depth = 1
    while True:
        names = ["/".join(folder.parts[-depth:]) for folder in folders]
        if len(set(names)) == len(names) or depth > max(len(folder.parts) for folder in folders):
            return names
        depth += 1

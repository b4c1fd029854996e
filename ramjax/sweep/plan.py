"""The runs of a sweep: arms of ablations, a grid or list over config keys, and folds; all checked beforehand."""

import dataclasses
import functools
import hashlib
import itertools
import operator
import pathlib
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ramjax import config as config_lib
from ramjax import files
from ramjax.config import Config
from ramjax.errors import RunError, sentence
from ramjax.experiment import Ablation, find_ablation, parse_experiment
from ramjax.runs import questions, run_dir, stored_config
from ramjax.sweep.folds import fold_splits

FOLD = "fold"
"""Stands among the settings for the number of the fold, from 1; no key of the config has this name."""

LABEL = "name"
"""The key of `Run.label` in a line of a list and in the tables; no key of the config has this name."""

REPLICATES: tuple[str, ...] = ("seed", FOLD)
"""Settings that repeat an experiment instead of changing it."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Attributes:
      name: of its folder, readable: ``optimizer.learning_rate=0.001,seed=2``.
      workdir: its run directory.
      settings: the settings that distinguish it from the other runs, by dotted config key and `FOLD`; and the arm that
        it is, by the name of each ablation.
      flags: of `ramjax.main`.
      config: the config that results from these flags.
      label: what --name makes: the name for people, in tables, the report and trackers; '' where the folder's serves.
        In the code it is called the label, because `name` is the folder's. Runs that differ in `REPLICATES` alone can
        have the same one.
    """

    name: str
    workdir: pathlib.Path
    settings: Mapping[str, Any]
    flags: tuple[str, ...]
    config: Config
    label: str = ""

    @property
    def state(self) -> str:
        """``done`` when it was evaluated with this config, ``unfinished`` when it has begun, else ``not started``."""
        try:
            there = run_dir.load_config(self.workdir)
        except RunError:
            return "unfinished" if (self.workdir / "config.json").exists() else "not started"
        trained_alike = _trained(there) == _trained(self.config)
        evaluated_alike = there.evaluation == self.config.evaluation and (self.workdir / "eval_test.json").exists()
        return "done" if trained_alike and evaluated_alike else "unfinished"


def make_runs(
    config: str | Sequence[str],
    output: pathlib.Path,
    *,
    grid: Sequence[str] = (),
    lines: Sequence[str] = (),
    folds: int = 0,
    fixed: Sequence[str] = (),
    label: str = "",
) -> list[Run]:
    """Plans the runs of every combination of `lines`, `grid`, the arms of ablations, and folds.

    Arms of several ablations that are the same experiment are one run, which has the settings of all of them.

    Args:
      config: experiment file, with a preset or not, as `ramjax.main` takes it; or several files of ablations.
      output: folder of the run directories.
      grid: one ``key=value,value,...`` an axis; a value may hold commas within brackets or quotes.
      lines: ``key=value key=value ...`` each, quoted as in a shell; empty lines and ``#`` comments count for nothing.
        ``name=...`` among them takes the place of `label` for the line's runs.
      folds: number of folds, 2 or more, that divide the training split by patients; 0 for none.
      fixed: ``--config.key=value`` flags of every run.
      label: of every run, with values of its config in braces: ``{model.decoder_width} wide, fold {fold}``.

    Raises:
      ValueError: a file, an axis, a key, a value, a label or the number of folds is invalid; the message names it.
    """
    experiments = _experiments([config] if isinstance(config, str) else config)
    axes = [_parse_axis(axis) for axis in grid]
    sets = [_parse_line(line) for line in lines if shlex.split(line, comments=True)] or [{}]
    combined = [
        (given.get(LABEL, label), [pair for pair in given.items() if pair[0] != LABEL] + list(point))
        for given in sets
        for point in itertools.product(*axes)
    ]  # pairs, so that a key given twice is seen
    if not folds and len(experiments) == 1 and [pairs for _, pairs in combined] == [[]]:
        raise ValueError("There is nothing to sweep over; give --grid KEY=VALUE,VALUE, --list=FILE or --folds=N.")
    runs: dict[str, Run] = {}
    also = [flag.removeprefix("--config.").partition("=")[0] for flag in fixed]
    also += ["data.test_split"] if folds else []  # which the folds set
    also += ["tracking.name"] if label or any(LABEL in given for given in sets) else []
    for text, pairs in combined:
        keys = [key for key, _ in pairs]
        if twice := next((key for key in keys + also if (keys + also).count(key) > 1), None):
            raise ValueError(
                f"{twice} is set twice; name each key once (--folds sets data.test_split, --name tracking.name)."
            )
        flags = [*fixed, *(f"--config.{key}={value}" for key, value in pairs)]
        for file, arms in _distinct(experiments, flags):
            for run in _runs_of(file, output, arms, keys, flags, folds):
                if run.name in runs:
                    raise ValueError(f"Two runs are {run.name}; give each combination of values once.")
                runs[run.name] = _labelled(run, text) if text else run
    _check_labels(list(runs.values()))
    return list(runs.values())


def find_questions(configs: Sequence[str], runs: Sequence[Run]) -> list[questions.Question]:
    """The questions that ablations among the experiment files ask, with the runs of each arm."""
    return [
        questions.Question(
            of.name,
            of.asks,
            {arm: tuple(run.name for run in runs if run.settings.get(of.name) == arm) for arm in of.arms},
            of.about,
        )
        for of in filter(None, map(_ablation, configs))
    ]


def save(runs: Sequence[Run], output: pathlib.Path) -> None:
    """Writes sweep.json, which `load` reads."""
    output.mkdir(parents=True, exist_ok=True)
    content = [
        {
            "name": run.name,
            "label": run.label,
            "settings": run.settings,
            "flags": run.flags,
            "config": config_lib.to_dict(run.config),
        }
        for run in runs
    ]
    files.write_json(output / "sweep.json", content)


def load(output: pathlib.Path) -> list[Run]:
    """The runs of the sweep in a folder.

    Raises:
      ValueError: there is none, or its sweep.json is damaged.
      RunError: a newer version planned it.
    """
    path = output / "sweep.json"
    try:
        content = files.parse_json(path.read_bytes())
        return [
            Run(
                of["name"],
                output / of["name"],
                of["settings"],
                tuple(of["flags"]),
                stored_config.read(of["config"], str(path)),
                of.get("label", ""),
            )
            for of in content
        ]
    except FileNotFoundError:
        raise ValueError(f"{output} holds no sweep: it has no sweep.json; name the --output of one.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); start the sweep's command again.") from error


def _experiments(configs: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Each experiment with the arm that it is, by the name of the ablation; no arm where the file is no ablation."""
    found: list[tuple[str, dict[str, str]]] = []
    for config in configs:
        ablation = _ablation(config)
        if ablation is None and len(configs) > 1:
            raise ValueError(f"--config={config} has no arms; several --config are files of experiments/ablations.")
        if ablation is None:
            return [(config, {})]
        known = [name for _, arms in found for name in arms]
        if ablation.name in (*known, *(field.name for field in dataclasses.fields(Config)), FOLD, LABEL):
            raise ValueError(
                f"--config={config} is named {ablation.name}, like another one or a key; give its file another name."
            )
        found += [(file, {ablation.name: arm}) for arm, file in ablation.arms.items()]
    return found


def _ablation(config: str) -> Ablation | None:
    try:
        return find_ablation(config)
    except Exception as error:  # it is Python and may fail in any way
        raise ValueError(f"{config}: {sentence(error)}") from error


def _distinct(
    experiments: Sequence[tuple[str, dict[str, str]]], flags: Sequence[str]
) -> list[tuple[str, dict[str, str]]]:
    """The experiments with the same flags, each once; one that is an arm of several ablations has all of these.

    Experiments are the same that train the same and are evaluated alike, as for `Run.state`; the first is taken.

    Raises:
      ValueError: two arms of one ablation are the same experiment.
    """
    if len(experiments) == 1:
        return list(experiments)
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for file, arms in experiments:
        typed = _check(file, flags)
        same = found.setdefault(repr((_trained(typed), typed.evaluation)), (file, {}))[1]
        for name, arm in arms.items():
            if name in same:
                raise ValueError(
                    f"The arms {same[name]} and {arm} of {name} are the same experiment; do not set by --config or "
                    "--grid what the arms differ in."
                )
        same |= arms
    return list(found.values())


def _runs_of(
    config: str, output: pathlib.Path, arms: dict[str, str], keys: list[str], flags: list[str], folds: int
) -> list[Run]:
    """One run, or one a fold."""
    typed = _check(config, flags)
    if not folds:
        return [_run(config, output, arms, keys, flags, typed, {})]
    runs = []
    for number, (train, test) in enumerate(fold_splits(typed.data, folds), 1):
        more = [f"--config.data.train_split={train}", f"--config.data.test_split={test}"]
        runs.append(_run(config, output, arms, keys, flags + more, _check(config, flags + more), {FOLD: number}))
    return runs


def _run(
    config: str,
    output: pathlib.Path,
    arms: dict[str, str],
    keys: list[str],
    flags: list[str],
    typed: Config,
    fold: dict[str, int],
) -> Run:
    values = config_lib.to_dict(typed)
    settings = arms | {key: functools.reduce(operator.getitem, key.split("."), values) for key in keys} | fold
    name = ",".join(f"{key}={_readable(value)}" for key, value in settings.items())
    if len(name) > 120:  # folder names end at 255 bytes
        name = f"{name[:100]}...{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    workdir = output / name
    return Run(name, workdir, settings, (f"--config={config}", f"--workdir={workdir}", *flags), typed)


def _labelled(run: Run, text: str) -> Run:
    """The run with its label: `text` with the values of its config put in. Trackers show it, too."""
    values = dict(run.settings) | {field.name: getattr(run.config, field.name) for field in dataclasses.fields(Config)}
    try:
        label = text.format(**values).strip()
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        reason = f"unknown key {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"The name {text!r} cannot be made ({reason}); write keys of the config in braces, such as "
            "'{model.decoder_width} wide'."
        ) from error
    if not label:
        raise ValueError(f"The name {text!r} is empty for {run.name}; write one.")
    config = dataclasses.replace(run.config, tracking=dataclasses.replace(run.config.tracking, name=label))
    return dataclasses.replace(run, label=label, config=config, flags=(*run.flags, f"--config.tracking.name={label}"))


def _check_labels(runs: Sequence[Run]) -> None:
    """Raises ValueError where runs of different experiments have the same label."""
    first: dict[str, Run] = {}
    for run in runs:
        other = first.setdefault(run.label, run)
        here, there = ({k: v for k, v in of.settings.items() if k not in REPLICATES} for of in (run, other))
        if run.label and here != there:
            raise ValueError(
                f"{other.name} and {run.name} would both be named {run.label!r}; put what tells them apart into the "
                f"name, such as {{{next(key for key in {**here, **there} if here.get(key) != there.get(key))}}}."
            )


def _check(config: str, flags: Sequence[str]) -> Config:
    """The config that results from the flags, as the runs themselves will read it."""
    try:
        return parse_experiment(config, flags)
    except Exception as error:  # a config file is Python and may fail in any way
        given = " ".join(flags) or config
        raise ValueError(f"{given}: {sentence(error)}") from error


def _parse_axis(axis: str) -> list[tuple[str, str]]:
    key, values = _pair(axis)
    return [(key, value) for value in _split(values)]


def _parse_line(line: str) -> dict[str, str]:
    pairs = [_pair(word) for word in shlex.split(line, comments=True)]
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"A line names a key twice: {line.strip()}; name each once.")
    return dict(pairs)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not re.fullmatch(r"\w+(\.\w+)*", key) or not equals or not value:
        raise ValueError(f"{text!r} must be KEY=VALUE, such as optimizer.learning_rate=1e-3.")
    return key, value


def _split(values: str) -> list[str]:
    """Splits at the commas outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for character in values:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        depth += (character in "([{") - (character in ")]}") if not quote else 0
        if character == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += character
    if depth or quote or not all(parts):
        raise ValueError(
            f"{values!r} must be values with commas between them; one lacks, or a bracket or quote is open."
        )
    return parts


def _readable(value: Any) -> str:
    text = "+".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return re.sub(r"[^\w.+-]+", "-", text) or "none"


def _trained(config: Config) -> dict[str, Any]:
    return config_lib.trained(config_lib.to_dict(config))

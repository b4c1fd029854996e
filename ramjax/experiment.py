"""Loads an experiment file, with a preset and changed keys, as a config; and the arms of an ablation."""

import dataclasses
import pathlib
import re
import runpy
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
from absl import flags
from ml_collections import config_flags

from ramjax import config as config_lib
from ramjax.config import Config

_KEY = re.compile(r"\w+(\[\d+\])*(\.\w+(\[\d+\])*)*")
"""The path of a key, such as ``data.canvas.height``, or of an element of one, ``model.widths[0]``."""


def load_experiment(path: str, changes: Mapping[str, Any] | None = None) -> Config:
    """The config of an experiment file.

    Args:
      path: of the file, with or without a preset: ``experiments/multitask.py:h1200``.
      changes: values by key: ``{"train.steps": 100, "tasks": ("bones",)}``.

    Raises:
      ConfigError: a key is unknown or mistyped, or a value is out of its range.
      Exception: whatever the file raises; it is Python code.
    """
    return parse_experiment(path, [f"--config.{key}={_text(value)}" for key, value in (changes or {}).items()])


@dataclasses.dataclass(frozen=True)
class Ablation:
    """An experiment file that asks a question: it has a table ``ARMS`` by name, each of which is a preset of it.

    Attributes:
      name: of the file, without folder and ending.
      asks: its docstring to the first question mark, or its first paragraph.
      about: what its docstring says after the paragraph of the expected time.
      arms: the experiment of each arm, as `load_experiment` takes it, by its name; the first is the baseline.
    """

    name: str
    asks: str
    about: str
    arms: Mapping[str, str]


def find_ablation(path: str) -> Ablation | None:
    """The ablation of an experiment file, with or without a preset, which holds for each of its arms.

    Returns None for a file without ``ARMS``, and where the preset has the name of an arm: that is one experiment.

    Raises:
      Exception: whatever the file raises; it is Python code.
    """
    file, _, preset = path.partition(":")
    if not pathlib.Path(file).is_file():
        return None
    content = runpy.run_path(file)
    names, words = tuple(content.get("ARMS", ())), preset.split("+") if preset else []
    if not names or set(words) & set(names):
        return None
    paragraphs = [" ".join(text.split()) for text in (content.get("__doc__") or "").split("\n\n")]
    asked, mark, _ = paragraphs[0].partition("?")
    timed = [number for number, text in enumerate(paragraphs, 1) if text.startswith("Expected time")]
    name, about = pathlib.Path(file).stem, " ".join(paragraphs[timed[0] :] if timed else ())
    return Ablation(name, asked + mark or name, about, {arm: f"{file}:{'+'.join([*words, arm])}" for arm in names})


def parse_experiment(path: str, changes: Sequence[str]) -> Config:
    """As `load_experiment`, with the changes as flags of a command line: ``--config.train.steps=100``."""
    values, argv = flags.FlagValues(), ["ramjax", f"--config={path}", *changes]
    define_experiment(values, argv)
    extra = values(argv)[1:]
    if extra:
        raise flags.Error(f"{extra[0]!r} is no --config.KEY=VALUE.")
    return config_lib.from_config_dict(values.config)


def define_settings(values: flags.FlagValues, argv: Sequence[str], config: Config) -> None:
    """As `define_experiment`, for a config that is known: its keys can be set, and it is the value of ``--config``."""
    _check_keys(argv)
    config_flags.DEFINE_config_dict(
        "config", ml_collections.ConfigDict(config_lib.to_dict(config)), "Known by the run directory.",
        flag_values=values, lock_config=True, sys_argv=list(argv),
    )  # fmt: skip


def define_experiment(values: flags.FlagValues, argv: Sequence[str]) -> None:
    """Adds the flag ``--config`` and the flags of its keys to `values`, for the command line `argv`.

    Raises:
      flags.Error: a flag of a key is not written like one.
    """
    _check_keys(argv)
    config_flags.DEFINE_config_file(
        "config", None, "Experiment file, such as experiments/multitask.py, or one with a preset: FILE:accelerator.",
        flag_values=values, lock_config=True, sys_argv=list(argv),
    )  # fmt: skip


def _check_keys(argv: Sequence[str]) -> None:
    for word in argv[1:]:
        name = word.partition("=")[0]
        if name.startswith(("--config.", "-config.")) and not _KEY.fullmatch(name.partition(".")[2]):
            raise flags.Error(f"{name} names no key of the config; write --config.GROUP.KEY=VALUE.")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)

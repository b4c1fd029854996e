"""Writes what config.json is for every experiment, to keep what a version has stored: run it before a release.

    python -m tests.config_golden.make_configs tests/config_golden/YYYY-MM-DD

Each folder is named by the day of its version, and never written again: the versions after it must read its files.
"""

import importlib
import pathlib
import sys

from ramjax import config as config_lib
from ramjax import files

EXPERIMENTS = {
    "multitask": ("", "accelerator", "h1200", "w600", "h1200+w600+phantom", "accelerator+w600",
                  "accelerator+h1200+w600"),
    "debug": ("",), "bones": ("",), "erosions": ("",), "joints": ("",), "scores": ("",),
}  # fmt: skip
"""The presets of each experiment."""


def get_config(stem: str) -> config_lib.Config:
    """The experiment of a file's stem, such as ``multitask.accelerator+w600``."""
    name, _, preset = stem.partition(".")
    return config_lib.from_config_dict(importlib.import_module(f"experiments.{name}").get_config(preset))


def main(folder: pathlib.Path) -> None:
    """Writes the files to a new folder."""
    folder.mkdir(parents=True)
    for name, presets in EXPERIMENTS.items():
        for preset in presets:
            stem = f"{name}.{preset}" if preset else name
            files.write_json(folder / f"{stem}.json", config_lib.to_dict(get_config(stem)))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))

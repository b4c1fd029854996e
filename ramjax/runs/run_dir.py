"""The run directory: what was run, with which versions, and all its results.

config.json, versions.json, parameters.txt, init.txt (where training began with another network), log.txt,
metrics.jsonl, tensorboard/, tracking/ (of Weights & Biases and MLflow), checkpoints/, eval_test.json, cases.parquet,
pictures/ and test_grid.png.
"""

import contextlib
import datetime
import fcntl
import importlib.metadata
import logging
import math
import pathlib
import platform
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jax

from ramjax import config as config_lib
from ramjax import files
from ramjax.errors import RunError
from ramjax.runs import stored_config
from ramjax.trees import by_name

PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "opencv-python-headless",
    "tensorflow-datasets", "array_record", "ml_collections",
)  # fmt: skip


def prepare(workdir: pathlib.Path, config: config_lib.Config) -> None:
    """Makes the folder, or checks that it belongs to the same config. It belongs to a config from `claim` on.

    Raises:
      RunError: the folder belongs to another config, or is none, or has a name that checkpoints cannot have.
    """
    if workdir.exists() and not workdir.is_dir():
        raise RunError(f"--workdir={workdir} is a file; name a folder.")
    files.check_utf8(workdir, "--workdir")
    if (workdir / "config.json").exists():
        _check_same(workdir, config)
    elif jax.process_index() == 0:
        workdir.mkdir(parents=True, exist_ok=True)


def claim(workdir: pathlib.Path, config: config_lib.Config) -> None:
    """Writes config.json. Call it when the config was found to work: until then it can be corrected."""
    if jax.process_index() == 0:
        files.write_json(workdir / "config.json", config_lib.to_dict(config))


load_config = stored_config.load


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
    """Keeps a second training run out of the folder; raises RunError when one is there."""
    if jax.process_index() != 0:
        yield
        return
    with (workdir / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"Another run is training in {workdir}; wait for it, or name another --workdir.") from error
        yield


def write_about(workdir: pathlib.Path, params: Any, data: dict[str, str]) -> None:
    """Writes versions.json and parameters.txt, and checks that the data are those that the run began with.

    Args:
      workdir: the run directory.
      params: nested dict of arrays or ShapeDtypeStructs.
      data: fingerprints of the pipelines, by split.

    Raises:
      RunError: the run began with other data, or versions.json is damaged.
    """
    path = workdir / "versions.json"
    about = {**versions(), "data": data}
    if path.exists():
        before = _load_about(path)
        changed = [split for split in data if before["data"].get(split, data[split]) != data[split]]
        if changed:
            raise RunError(f"The {changed[0]} data differ from those {workdir} began with; name another --workdir.")
        different = [name for name in about["packages"] if before["packages"].get(name) != about["packages"][name]]
        if different or before["git"] != about["git"]:
            names = ", ".join(different) or "the code"
            logging.getLogger(__name__).warning("%s changed since this run began; see versions.json.", names)
        about = {**before, "continued": [*before.get("continued", []), versions()]}
    if (workdir / "config.json").exists():
        about[stored_config.CONFIG_CHECKSUM] = files.checksum(files.parse_json((workdir / "config.json").read_bytes()))
    if jax.process_index() == 0:
        files.write_json(path, about)
        files.write_text(workdir / "parameters.txt", parameter_table(params))


def versions() -> dict[str, Any]:
    """What the run depends on: packages, Python, git revision, platform, devices and the time."""
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "git": _git_revision(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "devices": [str(device.device_kind) for device in jax.devices()],
        "processes": jax.process_count(),
    }


def parameter_table(params: Any) -> str:
    """A line for each parameter with shape, type and count, a sum for each module, and the total."""
    leaves = list(by_name(params).items())
    modules: dict[str, int] = {}
    for name, leaf in leaves:
        parts = name.split("/")
        for depth in range(1, min(len(parts), 3)):
            module = "/".join(parts[:depth])
            modules[module] = modules.get(module, 0) + math.prod(leaf.shape)
    width = max(len(name) for name, _ in leaves)
    rows = [
        f"{name:{width}}  {leaf.shape!s:>20}  {leaf.dtype!s:>9}  {math.prod(leaf.shape):>12,}" for name, leaf in leaves
    ]
    sums = [f"{name:{width}}  {'':>20}  {'':>9}  {count:>12,}" for name, count in modules.items()]
    total = f"{'total':{width}}  {'':>20}  {'':>9}  {sum(math.prod(leaf.shape) for _, leaf in leaves):>12,}"
    return "\n".join(["Parameters", *rows, "", "Modules", *sums, "", total]) + "\n"


def _load_about(path: pathlib.Path) -> dict[str, Any]:
    """versions.json as it was when the run began."""
    try:
        about = files.parse_json(path.read_bytes())
        if not all(isinstance(about[key], kind) for key, kind in (("packages", dict), ("data", dict), ("git", str))):
            raise ValueError("values of the wrong type")
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} is damaged ({type(error).__name__}: {error}); restore it from a copy, or delete it to continue "
            "without the check that the data are the same."
        ) from error
    return about


def _check_same(workdir: pathlib.Path, config: config_lib.Config) -> None:
    there, here = (config_lib.trained(config_lib.to_dict(of)) for of in (load_config(workdir), config))
    for key in here | there:  # which differ in their keys where a task of the user's own has settings
        if key not in here or key not in there or here[key] != there[key]:
            in_there, in_here = (repr(of[key]) if key in of else "not stated" for of in (there, here))
            raise RunError(
                f"{workdir} belongs to another config: {key} is {in_there} there and {in_here} here; name another "
                f"--workdir to start a new run, or continue with that config."
            )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _git_revision() -> str:
    """Commit of the code, with ``-dirty`` where tracked files differ from it; 'unknown' outside a repository."""
    folder = pathlib.Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", pathlib.Path(__file__).name)
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"

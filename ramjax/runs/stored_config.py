"""Configs on disk, of this and of older versions: renamed keys are found, missing ones filled by their defaults."""

import functools
import logging
import pathlib
from typing import Any

from ramjax import config as config_lib
from ramjax import files
from ramjax.config import Config
from ramjax.errors import RunError
from ramjax.typed import ConfigError, UnknownKeyError

RENAMED: dict[str, str] = {}
"""Old path to new path of every key or group of keys that was renamed, in the order in which it happened."""

CONFIG_CHECKSUM = "config_crc32"
"""The key of versions.json for `ramjax.files.checksum` of what config.json holds."""

log = logging.getLogger(__name__)


def load(workdir: str | pathlib.Path, quiet: bool = False) -> Config:
    """The config of a run, of this or an older version.

    A run notes the checksum of its config.json in versions.json. Where the two differ, somebody has edited the file, or
    it is damaged, which cannot be told apart. It is used as it is, and a warning says so, once for each file and
    process.

    Args:
      workdir: of the run.
      quiet: whether to keep from the log what is missing or changed.

    Raises:
      RunError: `workdir` is no run, has a name that checkpoints cannot have, or its config.json is damaged or of a
        newer version.
    """
    path = pathlib.Path(workdir) / "config.json"
    files.check_utf8(workdir, "--workdir")
    if not path.exists():
        raise RunError(f"{workdir} is no run of ramjax: it has no config.json; name the --workdir of a training run.")
    try:
        values = files.parse_json(path.read_bytes())
        config = read(values, str(path), quiet)
    except ValueError as error:
        raise RunError(f"{path} cannot be read ({error}); restore it from a copy.") from error
    noted = _noted(path.with_name("versions.json"))
    if noted is not None and noted != files.checksum(values) and not quiet:
        _log_changed(str(path))
    return config


def read(values: Any, where: str, quiet: bool = False) -> Config:
    """The config of a nested dict that an earlier `ramjax.config.to_dict` returned and that was stored as JSON.

    Missing keys get their defaults and are listed in the log, once for each file and process.

    Args:
      values: the content of the file.
      where: the file, for the messages.
      quiet: whether to keep from the log what is missing.

    Raises:
      RunError: it has a key that is unknown here, so that a newer version must have written it.
      ConfigError: it is no config, or a value is mistyped or out of range.
    """
    if not values:
        raise ConfigError("it states no key")
    values = _with_new_names(values)
    try:
        config = config_lib.from_dict(values)
    except UnknownKeyError as error:
        raise RunError(
            f"{where} has the key {error.key}, which this version of ramjax does not know: a newer version wrote it; "
            "use that one."
        ) from error
    filled = _missing(config_lib.to_dict(config), values)
    if filled and not quiet:
        _log_filled(where, tuple(filled))
    return config


def _noted(path: pathlib.Path) -> str | None:
    """The checksum of config.json in versions.json; None where there is none, or no such file to read it from."""
    try:
        about = files.parse_json(path.read_bytes())
    except (OSError, ValueError):  # who needs it says so
        return None
    return about.get(CONFIG_CHECKSUM) if isinstance(about, dict) else None


@functools.cache  # once for each file in a process
def _log_changed(where: str) -> None:
    log.warning("%s was changed after its run wrote it; it is used as it is. Was it not you, restore it.", where)


@functools.cache  # once for each file in a process
def _log_filled(where: str, keys: tuple[str, ...]) -> None:
    log.info("%s is of an older version; the keys that it lacks have their defaults: %s.", where, ", ".join(keys))


def _missing(whole: dict[str, Any], values: dict[str, Any], prefix: str = "") -> list[str]:
    """Paths of the keys of `whole` that `values` lacks; a group that is missing altogether is one of them."""
    missing = []
    for key, value in whole.items():
        if key not in values:
            missing.append(prefix + key)
        elif isinstance(value, dict):
            missing += _missing(value, values[key], f"{prefix}{key}.")
    return missing


def _with_new_names(values: Any) -> Any:
    """`values` with the keys of `RENAMED` under their new paths, unless something stands there."""
    for old, new in RENAMED.items():
        found, rest = _take(values, old)
        if found is not None and _take(values, new)[0] is None:
            values = _put(rest, new, found[0])
    return values


def _take(values: Any, path: str) -> tuple[tuple[Any] | None, Any]:
    """The value at `path` (None where there is none), and `values` without it and without emptied groups."""
    name, _, below = path.partition(".")
    if not isinstance(values, dict) or name not in values:
        return None, values
    others = {key: value for key, value in values.items() if key != name}
    if not below:
        return (values[name],), others
    found, rest = _take(values[name], below)
    if found is None:
        return None, values
    return found, others | ({name: rest} if rest else {})


def _put(values: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """`values` with `value` at `path`."""
    name, _, below = path.partition(".")
    return values | {name: _put(values.get(name, {}), below, value) if below else value}

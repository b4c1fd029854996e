"""Configs on disk, of this and of older versions: renamed keys are found, missing ones filled by their defaults."""

import functools
import logging
from typing import Any

from ramjax import config as config_lib
from ramjax.config import Config
from ramjax.errors import RunError
from ramjax.typed import ConfigError, UnknownKeyError

RENAMED: dict[str, str] = {}
"""Old path to new path of every key or group of keys that was renamed, in the order in which it happened."""

log = logging.getLogger(__name__)


def read(values: Any, where: str) -> Config:
    """The config of a nested dict that an earlier `ramjax.config.to_dict` returned and that was stored as JSON.

    Missing keys get their defaults and are listed in the log, once for each file and process.

    Args:
      values: the content of the file.
      where: the file, for the messages.

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
    if filled:
        _log_filled(where, tuple(filled))
    return config


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

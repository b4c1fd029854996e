"""Plain values to frozen dataclasses: every key stated, known and of its type, or an error that names its path."""

import dataclasses
import math
import typing
from typing import Any, Literal


class ConfigError(ValueError):
    """A key that is unknown, missing, of the wrong type or out of range, or values that contradict each other."""


def build(cls: type, values: Any, path: str = "") -> Any:
    """Returns the dataclass `cls` of a nested dict `values`, lists taken for tuples; `path` is where that stands.

    Raises:
      ConfigError: a key is unknown, missing or mistyped, or the dataclass refuses its value.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{path or 'config'} is {values!r}; a group of keys is needed: {', '.join(_names(cls))}.")
    prefix = f"{path}." if path else ""
    for key in values:
        if key not in _names(cls):
            raise ConfigError(f"Unknown config key {prefix}{key}; known here: {', '.join(_names(cls))}.")
    hints = typing.get_type_hints(cls)
    missing = [name for name in _names(cls) if name not in values]
    if missing:
        raise ConfigError(f"Missing config key {prefix}{missing[0]}; an experiment states every key.")
    converted = {name: _convert(hints[name], values[name], prefix + name) for name in _names(cls)}
    try:
        return cls(**converted)
    except ConfigError as error:  # of a range: a group knows the names of its keys, not where it stands
        raise ConfigError(prefix + str(error)) from None


def _convert(hint: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return build(hint, value, path)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value in args:
            return value
        raise ConfigError(f"{path} is {value!r}; use one of {', '.join(map(repr, args))}.")
    if origin is tuple and isinstance(value, (tuple, list)):
        return tuple(_convert(args[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    expected = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    raise ConfigError(f"{path} is {value!r} ({type(value).__name__}); it must be {expected}.")


def _names(cls: type) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def check(group: Any, *names: str, least: float = -math.inf, above: float = -math.inf, most: float = math.inf) -> None:
    """Raises ConfigError for the first named number of a dataclass that is not finite or not in its range."""
    for name in names:
        value = getattr(group, name)
        if math.isfinite(value) and least <= value <= most and value > above:
            continue
        low = f"{least:g} or above" if above == -math.inf else f"above {above:g}"
        wanted = f"finite and {low}" if most == math.inf else f"in {least:g}..{most:g}"
        raise ConfigError(f"{name} is {value}; it must be {wanted}.")

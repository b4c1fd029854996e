"""Makes frozen dataclasses of plain values; an unknown key or a wrong type is an error that names its path."""

import dataclasses
import importlib
import math
import typing
from typing import Any, Literal

from ramjax.errors import UserError

INT32_MAX = 2**31 - 1
UINT32_MAX = 2**32 - 1
UINT64_MAX = 2**64 - 1
FLOAT32_MAX = (2 - 2**-23) * 2.0**127
"""The largest numbers of the types that the settings become in JAX, NumPy and Grain."""

_MISSING = dataclasses.MISSING

_DEPTH = 32
"""How deep plain values may be nested."""

_BITS = 1024
"""Integers of plain values are below 2 to this power, as the numbers of JSON are for other programs."""


class ConfigError(UserError, ValueError):
    """A key is unknown, missing, of the wrong type or out of range, or values contradict each other."""


class UnknownKeyError(ConfigError):
    """A key that the dataclass does not have; `key` is its whole path."""

    def __init__(self, key: str, known: list[str]):
        super().__init__(f"Unknown config key {key}; known here: {', '.join(known)}.")
        self.key = key


def build(cls: type, values: Any, path: str = "") -> Any:
    """Returns the dataclass `cls` of a nested dict `values`; missing keys have their defaults.

    Lists are taken for tuples, integers for floats where a float is needed. Fields may be of type bool, int, float,
    str, ``Literal[...]``, ``tuple[T, ...]``, ``dict[str, T]``, another dataclass, or ``Any`` for plain values.

    Args:
      cls: the dataclass.
      values: a value a key; a dict for a field that is a dataclass or a dict.
      path: path of `values` in the config, such as ``own.handedness``, for the messages.

    Raises:
      UnknownKeyError: `cls` has no such key.
      ConfigError: a key without default is missing, a key is mistyped, or the dataclass refuses its value.
    """
    if not isinstance(values, dict):
        known = ", ".join(_names(cls))
        raise ConfigError(f"{path or 'config'} is {_shown(values)}; a group of keys is needed: {known}.")
    prefix = f"{path}." if path else ""
    for key in values:
        if key not in _names(cls):
            raise UnknownKeyError(f"{prefix}{key}", _names(cls))
    for field in dataclasses.fields(cls):
        if field.name not in values and field.default is _MISSING and field.default_factory is _MISSING:
            raise ConfigError(f"Missing config key {prefix}{field.name}; it has no default, so state it.")
    hints = typing.get_type_hints(cls)
    converted = {name: _convert(hints[name], value, prefix + name) for name, value in values.items()}
    try:
        return cls(**converted)
    except ConfigError as error:  # of a range: a group knows the names of its keys, not where it stands
        raise ConfigError(prefix + str(error)) from None


def import_class(path: str, key: str) -> Any:
    """Returns what a dotted path such as ``package.module.Class`` names.

    Raises:
      ConfigError: it cannot be imported; the message names `key`, the config key that holds the path.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{key} names {path}, which cannot be imported ({error}); write it as package.module.Class, with the "
            "package's folder in PYTHONPATH."
        ) from error


def _convert(hint: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return build(hint, value, path)
    if hint is Any:
        return _plain(value, path)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if isinstance(value, str) and value in args:
            return value
        raise ConfigError(f"{path} is {_shown(value)}; use one of {', '.join(map(repr, args))}.")
    if origin is tuple and isinstance(value, (tuple, list)):
        return tuple(_convert(args[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{path} is {_shown(value)}; a group of keys is needed.")
        return {_key(key, path): _convert(args[1], item, f"{path}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > FLOAT32_MAX:
            raise ConfigError(f"{path} is {_shown(value)}; it must be a number of single precision.")
        return float(value)
    if hint is int and isinstance(value, int) and abs(value) > UINT64_MAX:  # the checks print a number as it is
        raise ConfigError(f"{path} is {_shown(value)}; it must be a number of 64 bits at most.")
    if isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    expected = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    raise ConfigError(f"{path} is {_shown(value)} ({type(value).__name__}); it must be {expected}.")


def _plain(value: Any, path: str, depth: int = 0) -> Any:
    """A value that JSON has too, as it is; its lists as tuples."""
    if depth > _DEPTH:
        raise ConfigError(f"{path[:80]}... is nested too deeply; {_DEPTH} levels are allowed.")
    if isinstance(value, (tuple, list)):
        return tuple(_plain(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value))
    if isinstance(value, dict):
        return {_key(key, path): _plain(item, f"{path}.{key}", depth + 1) for key, item in value.items()}
    if isinstance(value, int) and value.bit_length() > _BITS:
        raise ConfigError(f"{path} is {_shown(value)}; it must be below 2**{_BITS}.")
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ConfigError(
        f"{path} is {_shown(value)} ({type(value).__name__}); it must be a finite number, text, True, False, None, or "
        "a tuple or dict of these."
    )


def _key(key: Any, path: str) -> str:
    if isinstance(key, str) and key and "." not in key:  # which parts the keys of a path
        return key
    raise ConfigError(f"{path} has the key {_shown(key)}; a key is text without a dot.")


def _names(cls: type) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def check(group: Any, *names: str, least: float = -math.inf, above: float = -math.inf, most: float = math.inf) -> None:
    """Raises ConfigError for the first named number of a dataclass that is not in its range.

    A float must be finite in single precision, whatever the range, because that is what JAX computes with.
    """
    for name in names:
        check_number(name, getattr(group, name), least=least, above=above, most=most)


def check_number(
    name: str, value: float, *, least: float = -math.inf, above: float = -math.inf, most: float = math.inf
) -> None:
    """As `check`, for a number that is called `name`."""
    single = isinstance(value, int) or abs(value) <= FLOAT32_MAX  # which NaN is not
    if single and least <= value <= most and value > above:
        return
    if above != -math.inf:
        wanted = f"above {_bound(above)}" + (f" and at most {_bound(most)}" if most != math.inf else "")
    else:
        wanted = f"in {_bound(least)}..{_bound(most)}" if most != math.inf else f"{_bound(least)} or above"
    finite = "finite and " if most == math.inf else ""
    raise ConfigError(f"{name} is {_shown(value)}; it must be {finite}{wanted}.")


def _bound(value: float) -> str:
    """An end of a range: whole numbers with all their digits."""
    return str(int(value)) if math.isfinite(value) and value == int(value) else f"{value:g}"


def _shown(value: Any) -> str:
    """A value for a message, which may be anything that stands in a file: as it is where that is short."""
    if isinstance(value, int) and abs(value) >= 10**40:
        return f"a whole number of more than {int(value.bit_length() * math.log10(2))} digits"
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # deep nesting, and more digits than Python prints
        return f"a {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:200]}..."

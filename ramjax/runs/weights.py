"""A trained network in one safetensors file: its parameters in half precision, and what is needed to use them.

The tensors are called by their place in the network, ``params/encoder/...`` and ``variables/...``. The metadata hold,
each as text: ``ramjax`` (version of this layout), ``config`` (JSON of the experiment), ``step`` (optimiser steps that
the parameters have seen), ``about`` (JSON of free keys: data, device, time, results) and ``crc32`` of the tensors.
"""

import dataclasses
import json
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ramjax import files
from ramjax.config import Config, to_dict
from ramjax.errors import RunError
from ramjax.runs import stored_config

SUFFIX = ".safetensors"

DEFAULT = "default"
"""Names the network that ships with ramjax."""

SHIPPED = pathlib.Path(__file__).parents[1] / "weights" / f"{DEFAULT}{SUFFIX}"

_LAYOUT = "1"


@dataclasses.dataclass(frozen=True)
class Weights:
    """What the file holds.

    Attributes:
      config: the experiment.
      step: optimiser steps that the parameters have seen.
      tensors: float32 by their names, ``params/...`` and ``variables/...``.
      about: what the network was trained on and with, and what it reaches; plain values.
    """

    config: Config
    step: int
    tensors: Mapping[str, np.ndarray]
    about: Mapping[str, Any]


def path_of(name: str | pathlib.Path) -> pathlib.Path | None:
    """The file that a name stands for: `DEFAULT`, or a path that ends in `SUFFIX`; None for what may be a run."""
    if str(name) == DEFAULT:
        return SHIPPED
    path = pathlib.Path(name).expanduser()
    return path if path.suffix == SUFFIX and not path.is_dir() else None


def is_foreign(name: str | pathlib.Path) -> bool:
    """Whether a name is that of a file of tensors that ramjax has not written."""
    path = path_of(name)
    if path is None or not path.is_file():
        return False
    try:
        with safe_open(path, "np") as file:
            return "ramjax" not in (file.metadata() or {})
    except (SafetensorError, OSError):  # what is wrong is said where it is read
        return False


def write(path: str | pathlib.Path, weights: Weights) -> None:
    """Writes the file, in the place of what has that name.

    Raises:
      ValueError: a tensor is not finite in half precision.
      OSError: the file cannot be written.
    """
    with np.errstate(over="ignore"):  # said below
        halves = {name: np.asarray(tensor).astype(np.float16) for name, tensor in weights.tensors.items()}
    for name, half in halves.items():
        if not np.isfinite(half).all():
            raise ValueError(f"{name} has values that half precision cannot hold; the network was not trained well.")
    metadata = {
        "ramjax": _LAYOUT,
        "config": json.dumps(to_dict(weights.config)),
        "step": str(weights.step),
        "about": json.dumps(files.finite_or_none(dict(weights.about))),
    }
    files.write_bytes(path, save(halves, metadata | {"crc32": _checksum(halves, metadata)}))


def read(path: str | pathlib.Path) -> Weights:
    """Reads a file of `write`.

    Raises:
      RunError: there is no such file, it is damaged, or it is not of ramjax or of a newer version.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise RunError(f"There is no file {path}; name a run, a file of weights ({SUFFIX}) or {DEFAULT}.")
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise RunError(f"{path} cannot be read as safetensors ({error}); get the file again.") from error
    if not {"ramjax", "config", "step", "about", "crc32"} <= metadata.keys():
        raise RunError(f"{path} holds tensors, but no network of ramjax; make such a file by ramjax.Run.export.")
    if metadata["ramjax"] != _LAYOUT:
        raise RunError(f"{path} has layout {metadata['ramjax']}, not {_LAYOUT}: a newer ramjax wrote it; use that one.")
    try:
        if metadata.pop("crc32") != _checksum(tensors, metadata):
            raise ValueError("its checksum differs")
        config = stored_config.read(files.parse_json(metadata["config"]), str(path))
        step, about = int(metadata["step"]), files.parse_json(metadata["about"])
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}); get the file again.") from error
    return Weights(config, step, {name: tensor.astype(np.float32) for name, tensor in tensors.items()}, about)


def _checksum(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    """CRC-32 of all names and values, in 8 hexadecimal digits."""
    crc = 0
    for name in sorted(metadata):
        crc = zlib.crc32(f"{name}={metadata[name]}".encode(), crc)
    for name in sorted(tensors):
        crc = zlib.crc32(np.ascontiguousarray(tensors[name]).tobytes(), zlib.crc32(name.encode(), crc))
    return f"{crc:08x}"

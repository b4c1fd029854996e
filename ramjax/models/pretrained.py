"""Parameters of published encoders, from files and hubs of other libraries.

PyTorch keeps a convolution's kernel as (outputs, inputs, rows, columns) and a matrix as (outputs, inputs); here the
outputs come last. A stem that was trained on colours serves other channels: for grey ones its kernels are summed over
the colours, which gives what the grey image, repeated, would have given.
"""

import pathlib
import re
from collections.abc import Mapping, Sequence

import huggingface_hub
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ramjax.errors import RunError

HUB = "hub:"
"""Begins the name of a repository on the Hugging Face Hub, ``hub:OWNER/NAME``, and of a file in it,
``hub:OWNER/NAME/FILE``."""

HUB_FILE = "model.safetensors"
"""The file that timm and transformers keep the parameters in there."""

PICKLES = (".pth", ".pt", ".bin", ".tar")
"""Suffixes of files that only PyTorch reads."""

_WRAPPED_IN = ("state_dict", "model", "model_state", "teacher")
"""Keys under which training scripts keep the parameters."""

COLOURS = 3

_LEAVES = {"weight": ("kernel", "scale", "embedding"), "running_mean": ("mean",), "running_var": ("var",)}
"""What the last part of a name in PyTorch may be called here."""

_COUNTER = "num_batches_tracked"


def is_foreign(source: str) -> bool:
    """Whether a name can only be that of another library's parameters; a .safetensors file tells by what it holds."""
    return source.startswith(HUB) or pathlib.Path(source).suffix in PICKLES


def read(source: str) -> dict[str, np.ndarray]:
    """The tensors of a file or of a repository on the Hugging Face Hub, by their names.

    Args:
      source: a .safetensors file, a file of PyTorch's (`PICKLES`; needs PyTorch), or ``hub:OWNER/NAME``.

    Raises:
      RunError: it is not there, cannot be downloaded or read, or holds no tensors.
    """
    path = _downloaded(source) if source.startswith(HUB) else pathlib.Path(source).expanduser()
    if not path.is_file():
        raise RunError(f"There is no file {path}; name a file of weights, or {HUB}OWNER/NAME for one on the Hub.")
    tensors = _unpickled(path) if path.suffix in PICKLES else _loaded(path)
    if not tensors:
        raise RunError(f"{source} holds no tensors; name a file of a network's parameters.")
    return tensors


def _downloaded(source: str) -> pathlib.Path:
    owner, _, name = source.removeprefix(HUB).partition("/")
    name, _, file = name.partition("/")
    if not owner or not name:
        raise RunError(f"{source} names no repository; write {HUB}OWNER/NAME, such as {HUB}timm/resnet34.a1_in1k.")
    try:
        return pathlib.Path(huggingface_hub.hf_hub_download(f"{owner}/{name}", file or HUB_FILE))
    except (huggingface_hub.errors.HfHubHTTPError, huggingface_hub.errors.HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RunError(
            f"{source} cannot be downloaded ({reason}); check the name and the network, or download {file or HUB_FILE} "
            "yourself and name the file."
        ) from error


def _loaded(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise RunError(f"{path} cannot be read as safetensors ({error}); get the file again.") from error


def _unpickled(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        import torch  # an optional package, and a heavy one
    except ImportError as error:
        raise RunError(
            f"{path} is read by PyTorch, which is not installed: pip install torch, or name a .safetensors file."
        ) from error
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)  # runs no code that the file may hold
    except Exception as error:  # unpickling raises whatever it likes
        reason = str(error).strip().splitlines()[0]
        raise RunError(f"{path} cannot be read by PyTorch ({reason}); get the file again.") from error
    held = next((held[key] for key in _WRAPPED_IN if isinstance(held, dict) and key in held), held)
    tensors = held if isinstance(held, dict) else {}
    return {name: value.float().numpy() for name, value in tensors.items() if isinstance(value, torch.Tensor)}


def convert(
    tensors: Mapping[str, np.ndarray],
    renames: Sequence[tuple[str, str]],
    expected: Mapping[str, tuple[int, ...]],
    source: str,
    unused: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch network by their path in an encoder, float32, in its layout.

    Args:
      tensors: by their names, such as ``layer1.0.conv1.weight``.
      renames: regular expressions and what they become, applied one after the other to a name whose dots are slashes.
      expected: the shapes of the encoder's parameters and statistics by path, such as ``layer1/0/conv1/kernel``.
      source: what the tensors were read from, for errors.
      unused: regular expressions of tensors that the encoder does without, such as those of a classifier; statistics of
        batch normalisation are among them where the encoder has none.

    Raises:
      RunError: a tensor is unknown, missing or of another shape; the first is named.
    """
    found: dict[str, np.ndarray] = {}
    statistics = any(path.endswith("/mean") for path in expected)
    for name, tensor in tensors.items():
        if name.endswith(_COUNTER) or any(re.search(pattern, name) for pattern in unused):
            continue
        if not statistics and name.endswith(("running_mean", "running_var")):
            continue
        path = _path(name, renames, expected)
        if path is None:
            raise RunError(
                f"{source}: {name} has no place in this encoder; set model.encoder to the network that the file is of."
            )
        found[path] = _laid_out(np.asarray(tensor, np.float32), path, expected[path])
        if found[path].shape != expected[path]:
            raise RunError(
                f"{source}: {name} is {tuple(tensor.shape)}, which makes {path} {found[path].shape}, but this encoder "
                f"has {expected[path]}; set model.encoder to the network that the file is of."
            )
    missing = [path for path in expected if path not in found]
    if missing:
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise RunError(f"{source} lacks {missing[0]}{more}; set model.encoder to the network that the file is of.")
    return found


def _path(name: str, renames: Sequence[tuple[str, str]], expected: Mapping[str, tuple[int, ...]]) -> str | None:
    """Where a tensor belongs; None for nowhere."""
    path = name.replace(".", "/")
    for pattern, becomes in renames:
        path = re.sub(pattern, becomes, path)
    module, _, leaf = path.rpartition("/")
    places = [f"{module}/{here}" if module else here for here in (leaf, *_LEAVES.get(leaf, ()))]
    return next((place for place in places if place in expected), None)


def _laid_out(tensor: np.ndarray, path: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor of PyTorch in the layout here; its shape may still differ."""
    if path.endswith("kernel"):
        if tensor.ndim == 4 and len(shape) == 4:
            tensor = tensor.transpose(2, 3, 1, 0)
            if tensor.shape[2] == COLOURS != shape[2]:
                tensor = np.repeat(tensor.sum(2, keepdims=True) / shape[2], shape[2], 2)
        elif tensor.ndim == 4 and len(shape) == 2 and tensor.shape[2:] == (1, 1):
            tensor = tensor[:, :, 0, 0].T  # a 1x1 convolution that is a matrix here
        elif tensor.ndim == 2:
            tensor = tensor.T
    if tensor.ndim != len(shape) and _without_ones(tensor.shape) == _without_ones(shape):
        tensor = tensor.reshape(shape)
    return np.ascontiguousarray(tensor)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(side for side in shape if side != 1)

"""Random tensors that are a function of their name and shape, so that a file of golden values need not hold them."""

import zlib
from collections.abc import Sequence

import numpy as np


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter of a PyTorch network, float32: kernels keep the variance, variances are positive, scales about 1."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    values = rng.standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        return 1 + 0.5 * np.tanh(values)
    if len(shape) > 1:
        return values / np.float32(np.sqrt(np.prod(shape[1:])))
    return (1 if name.endswith("weight") else 0) + 0.1 * values


def image(channels: int, height: int, width: int) -> np.ndarray:
    """(1, height, width, channels) standard normal."""
    return np.random.default_rng(0).standard_normal((1, height, width, channels)).astype(np.float32)


def pyramid(shapes: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Levels of these shapes (b, h, w, c), standard normal, float32."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def sample(features: np.ndarray, count: int = 64) -> np.ndarray:
    """Values of (1, h, w, c) at places that are a function of the shape, float32 (count,)."""
    rng = np.random.default_rng(features.size)
    return features.reshape(-1)[rng.integers(0, features.size, count)].astype(np.float32)

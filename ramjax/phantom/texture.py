"""Texture banks: trabecular patterns and noise, made once in a process from fixed seeds; parts are cut out of them."""

import functools

import cv2
import numpy as np

TILE_MM = 0.15
"""Side of a texture pixel in mm."""

_TILE = 640


@functools.cache
def trabeculae(oriented: bool) -> np.ndarray:
    """Returns a periodic float32 (640, 640) net of trabeculae, mean 0, standard deviation 1, at `TILE_MM`.

    Trabeculae are 0.1-0.2 mm thick and somewhat under 1 mm apart (textbook values); a projection sums several layers of
    them. `oriented`: drawn out along the rows' axis, as in shafts along the lines of load.
    """
    rng = np.random.default_rng(20_001 + oriented)
    layers = []
    for period, weight in ((0.7, 1.0), (1.05, 0.9), (0.5, 0.6)):
        noise = _band(rng, period / TILE_MM, 2.6 if oriented else 1.15)
        # Zero crossings of band-limited noise form a net of lines.
        layers.append(weight * np.exp(-((noise / 0.42) ** 2)))
    net = np.sum(layers, axis=0) + 0.12 * _band(rng, 4.0 / TILE_MM, 1.5 if oriented else 1.0)
    return ((net - net.mean()) / net.std()).astype(np.float32)


@functools.cache
def grain() -> np.ndarray:
    """Returns periodic float32 (1024, 1024) white Gaussian noise of unit variance."""
    return np.random.default_rng(20_003).standard_normal((1024, 1024), dtype=np.float32)


@functools.cache
def clouds() -> np.ndarray:
    """Returns a periodic float32 (256, 256) smooth field of unit variance, about 20 pixels a bump."""
    return _band(np.random.default_rng(20_004), 40.0, 1.0, 256).astype(np.float32)


def _band(rng: np.random.Generator, period: float, stretch: float, size: int = _TILE) -> np.ndarray:
    """Returns periodic noise of unit variance around one period in pixels, `stretch` times longer along rows (axis
    0).
    """
    frequency = np.fft.fftfreq(size)
    radius = np.hypot(frequency[:, None] * stretch, frequency[None, :]) * period
    spectrum = np.fft.fft2(rng.standard_normal((size, size))) * np.exp(-((radius - 0.5) ** 2) / 0.08)
    noise = np.fft.ifft2(spectrum).real
    return (noise - noise.mean()) / noise.std()


def cut(tile: np.ndarray, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Returns a (rows, columns) piece of a periodic tile from a random place, repeating it where the piece is
    larger.
    """
    y, x = rng.integers(0, tile.shape[0]), rng.integers(0, tile.shape[1])
    rows = (np.arange(shape[0]) + y) % tile.shape[0]
    columns = (np.arange(shape[1]) + x) % tile.shape[1]
    return tile.take(rows, axis=0).take(columns, axis=1)


def rotated(
    tile: np.ndarray, shape: tuple[int, int], degrees: float, step: float, rng: np.random.Generator
) -> np.ndarray:
    """Returns a (rows, columns) float32 piece whose rows' axis is turned by `degrees`, `step` tile pixels a pixel."""
    radians = np.deg2rad(degrees)
    cos, sin = step * np.cos(radians), step * np.sin(radians)
    x, y = rng.uniform(0, tile.shape[1]), rng.uniform(0, tile.shape[0])
    back = np.array(((cos, sin, x), (-sin, cos, y)))
    return cv2.warpAffine(
        tile, back, shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_WRAP
    )

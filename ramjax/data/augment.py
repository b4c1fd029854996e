"""Random changes of a training example: of the placement before the one warp, of the grey values after it.

What varies is what the network meets in real radiographs: pose and framing, wrists alone, exposure, detector curve,
uneven illumination, noise, blur or edge enhancement, and markers on the film.
"""

import dataclasses
import math
import statistics

import cv2
import numpy as np

from ramjax import anatomy
from ramjax.config import AugmentConfig, CanvasConfig
from ramjax.data import geometry
from ramjax.data.geometry import Placement
from ramjax.record import Record

_WRIST_MARGIN = (1.2, 1.7)
"""Side of a wrist window over the extent of the carpal sites (about 65 mm): the 90 mm of a wrist film are 1.4."""

_WRIST_JITTER = 0.1
"""A wrist window's centre moves by at most this share of its side."""

_WRIST_FILL = 0.7
"""A magnified wrist window's side, at most, over the canvas height."""

_QUANTILES = np.array([statistics.NormalDist().inv_cdf((k + 0.5) / 256) for k in range(256)], np.float32)
_QUANTILES /= _QUANTILES.std()
"""Of the normal distribution, scaled to unit variance."""

_MARKER_LETTERS = "LRADEGHKMPS"


def vary_placement(
    placement: Placement, record: Record, canvas: CanvasConfig, augment: AugmentConfig, rng: np.random.Generator
) -> Placement:
    """Returns the placement after random rotation, magnification, stretch, shift, wrist window and mirroring."""
    x, y = canvas.width / 2, canvas.height / 2
    stretch = math.sqrt(1 + rng.uniform(-augment.stretch, augment.stretch))
    size = _log_uniform(augment.scale, rng)
    change = geometry.compose(
        geometry.translate(*(rng.uniform(-augment.shift, augment.shift, 2) * (canvas.width, canvas.height))),
        geometry.about(geometry.rotate(rng.uniform(-augment.rotation, augment.rotation)), x, y),
        geometry.about(geometry.scale(size * stretch, size / stretch), x, y),
    )
    placement = placement.then(change)
    if rng.random() < augment.wrist_crop:
        placement = _show_wrist_only(placement, record, canvas, rng)
    if rng.random() < augment.mirror:
        placement = placement.then_mirror(canvas.width)
    return placement


def vary_grey(image: np.ndarray, augment: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Returns another image, float32 (H, W) in 0..1: changed curve, illumination, sharpness and noise, and markers."""
    if augment.gamma or augment.contrast or augment.brightness:
        image = cv2.LUT(cv2.convertScaleAbs(image, alpha=255), _curve(augment, rng))
    else:
        image = image.copy()
    if augment.contrast:
        _compress_range(image, rng.uniform(0, augment.contrast / (1 + augment.contrast)))
    if augment.brightness:
        _add_gradient(image, augment.brightness, rng)
    if augment.blur:
        image = _vary_sharpness(image, rng.uniform(0, augment.blur), rng)
    if augment.noise:
        image += _noise(image.shape, rng.uniform(0, augment.noise), rng)
    if augment.resample and rng.random() < 0.5:
        image = _resample(image, math.exp(rng.uniform(0, math.log1p(augment.resample))), rng)
    if rng.random() < augment.erase:
        for _ in range(rng.integers(1, 4)):
            _cover(image, rng)
    return np.clip(image, 0, 1, out=image)


def _noise(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """White Gaussian noise, float32, drawn from 256 equally likely values: five times as fast, and as good here."""
    return cv2.LUT(rng.integers(0, 256, shape, np.uint8), _QUANTILES * np.float32(sigma))


def _curve(augment: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Exposure and detector curve, float32 (256,) over grey values 0..1.

    The curve is monotonic and nothing saturates, because black and white of the film were normalised before.
    """
    grey = np.linspace(0, 1, 256) ** _log_uniform(augment.gamma, rng)
    # An S whose slope at mid grey is the contrast: Perlin's gain function.
    side = 2 * grey - 1
    grey = 0.5 + 0.5 * np.sign(side) * (1 - (1 - np.abs(side)) ** _log_uniform(augment.contrast, rng))
    shift = rng.uniform(-augment.brightness, augment.brightness)
    return (grey * (1 - abs(shift)) + max(shift, 0)).astype(np.float32)


def _compress_range(image: np.ndarray, share: float) -> None:
    """Weakens slow variation over the image, as the processing of digital films does: fingers become brighter."""
    height, width = image.shape
    small = cv2.resize(image, (-(-width // 8), -(-height // 8)), interpolation=cv2.INTER_AREA)
    slow = cv2.GaussianBlur(small, (0, 0), 0.05 * small.shape[0])
    image -= share * cv2.resize(slow - slow.mean(), (width, height))


def _show_wrist_only(placement: Placement, record: Record, canvas: CanvasConfig, rng: np.random.Generator) -> Placement:
    """Narrows the window to a square about the carpus; half the time that square is also magnified and moved."""
    joints = record.joints if record.has_joints else ()
    carpal = [joint for joint in joints if anatomy.SITE_INDEX[joint.site] in anatomy.WRIST_SITES]
    boxes = np.array([joint.bbox for joint in carpal], float)
    if not len(boxes):
        return placement
    height, width = record.image.shape
    lower, upper = boxes[:, :2].min(axis=0) * (height, width), boxes[:, 2:].max(axis=0) * (height, width)
    side = (upper - lower).max() * rng.uniform(*_WRIST_MARGIN)
    center = (lower + upper) / 2 + side * rng.uniform(-_WRIST_JITTER, _WRIST_JITTER, 2)
    window = np.concatenate([np.maximum(center - side / 2, 0), np.minimum(center + side / 2, (height, width))])
    placement = dataclasses.replace(placement, window=window)
    if rng.random() < 0.5:
        return placement
    shown = side * geometry.linear_scale(placement.affine)
    magnify = rng.uniform(1, max(1, min(_WRIST_FILL * canvas.height, canvas.width) / shown))
    x, y = geometry.apply(placement.affine, center[::-1])
    extent = np.array((canvas.width, canvas.height))
    to_x, to_y = extent / 2 + rng.uniform(-1, 1, 2) * np.maximum(0, extent - magnify * shown) / 2
    return placement.then(
        geometry.compose(geometry.translate(to_x, to_y), geometry.scale(magnify, magnify), geometry.translate(-x, -y))
    )


def _add_gradient(image: np.ndarray, amplitude: float, rng: np.random.Generator) -> None:
    """Adds a slope in a random direction and a bowl (heel effect, vignetting), about `amplitude` at the border."""
    height, width = image.shape
    x = np.linspace(-1, 1, width, dtype=np.float32)
    y = np.linspace(-1, 1, height, dtype=np.float32)
    along_x, along_y, bowl = rng.uniform(-amplitude, amplitude, 3).astype(np.float32) / 2
    image += along_x * x + bowl * x**2
    image += (along_y * y + bowl * y**2)[:, None]


def _vary_sharpness(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian blur, or as often its opposite: unsharp masking, the edge enhancement of digital radiography."""
    sharpen = rng.random() < 0.5
    gain = rng.uniform(0, 2)
    if sigma < 0.2:  # A narrower kernel has a single tap.
        return image
    return _sharpened(image, sigma, gain) if sharpen else cv2.GaussianBlur(image, (0, 0), sigma)


def _resample(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """The image through pixels `factor` times as large, noise included; half the time sharpened at their size."""
    height, width = image.shape
    small = cv2.resize(image, (round(width / factor), round(height / factor)), interpolation=cv2.INTER_AREA)
    image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return _sharpened(image, factor, rng.uniform(0, 2)) if rng.random() < 0.5 else image


def _sharpened(image: np.ndarray, sigma: float, gain: float) -> np.ndarray:
    """Unsharp masking: what a Gaussian takes away is added `gain` times."""
    return cv2.addWeighted(image, 1 + gain, cv2.GaussianBlur(image, (0, 0), sigma), -gain, 0)


def _cover(image: np.ndarray, rng: np.random.Generator) -> None:
    """Draws a bar or disc of one grey value, or a bright letter, somewhere."""
    height, width = image.shape
    center = (int(rng.integers(width)), int(rng.integers(height)))
    grey = rng.random()
    kind = rng.integers(3)
    if kind == 0:
        size = rng.uniform(0.02, 0.25, 2) * min(image.shape)
        corners = cv2.boxPoints((center, tuple(size.tolist()), rng.uniform(-20, 20)))
        cv2.fillPoly(image, [np.round(corners).astype(np.int32)], grey)
    elif kind == 1:
        cv2.circle(image, center, round(rng.uniform(0.005, 0.05) * height), grey, cv2.FILLED)
    else:
        letter = _MARKER_LETTERS[rng.integers(len(_MARKER_LETTERS))]
        thickness = int(rng.integers(1, 4))
        size = rng.uniform(0.001, 0.004) * height
        drawn = np.zeros(image.shape, np.uint8)
        cv2.putText(drawn, letter, center, cv2.FONT_HERSHEY_SIMPLEX, size, 255, thickness)
        image[drawn > 0] = 0.6 + 0.4 * grey


def _log_uniform(limit: float, rng: np.random.Generator) -> float:
    """A factor in [1 / (1 + limit), 1 + limit], log-uniform."""
    return math.exp(rng.uniform(-1, 1) * math.log1p(limit))

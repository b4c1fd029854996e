"""Random changes of a training example: of the placement before the one warp, of the grey values after it.

What is drawn is apart from what it does to an image, so that OpenCV (here) and the devices
(`ramjax.steps.rendering`) make the same of it.

What varies is what the network meets in real radiographs: pose and framing, wrists alone, exposure, detector curve,
uneven illumination, noise, blur or edge enhancement, and markers on the film.
"""

import dataclasses
import functools
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

_ERRONEOUS_SCALES = (2.0, 2.1)
"""Of `AugmentConfig.scale_error`: 1 is added to a factor that is drawn from 1.0 to 1.1."""

_WRIST_JITTER = 0.1
"""A wrist window's centre moves by at most this share of its side."""

_WRIST_FILL = 0.7
"""A magnified wrist window's side, at most, over the canvas height."""

NOISE_LEVELS = np.array([statistics.NormalDist().inv_cdf((k + 0.5) / 256) for k in range(256)], np.float32)
NOISE_LEVELS /= NOISE_LEVELS.std()
"""Quantiles of the normal distribution, scaled to unit variance. White Gaussian noise that is drawn from 256 equally
likely values is drawn five times as fast, and is as good here."""

NO_BLUR = 0.2
"""Standard deviation in pixels; the kernel of a narrower Gaussian has a single tap."""

MOST_COVERS = 3
"""Bars, discs and letters on an image."""

_BAR, _BAR_TURN, _DISC, _LETTER = (0.02, 0.25), 20, (0.005, 0.05), (0.001, 0.004)
"""Sides of a bar over the image's shorter side, and degrees; radius of a disc and size of a letter over its height."""

_MARKER_LETTERS = "LRADEGHKMPS"


def vary_placement(
    placement: Placement, record: Record, canvas: CanvasConfig, augment: AugmentConfig, rng: np.random.Generator
) -> Placement:
    """Returns the placement after random rotation, magnification, stretch, shift, wrist window and mirroring."""
    x, y = canvas.width / 2, canvas.height / 2
    stretch = math.sqrt(1 + rng.uniform(-augment.stretch, augment.stretch))
    size = _log_uniform(augment.scale, rng)
    if augment.scale_error and rng.random() < augment.scale_error:
        size *= rng.uniform(*_ERRONEOUS_SCALES)
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


@dataclasses.dataclass(frozen=True)
class Cover:
    """A bar, a disc or a letter of one grey value on the image.

    Attributes:
      center: x and y in pixels; of a letter, where its baseline begins.
      grey: 0..1.
      corners: of a bar, x and y in pixels, int32 (4, 2); None for another shape.
      radius: of a disc, in pixels.
      letter, size, thickness: of a letter, as `cv2.putText` takes them; '' for another shape.
    """

    center: tuple[int, int]
    grey: float
    corners: np.ndarray | None = None
    radius: int = 0
    letter: str = ""
    size: float = 0.0
    thickness: int = 0

    @property
    def corner(self) -> tuple[int, int]:
        """x and y of the first pixel of a rectangle that it fits into; no side is longer than `cover_side`."""
        x, y = self.center
        if self.corners is not None:
            return tuple(self.corners.min(axis=0).tolist())
        if self.letter:
            (_, height), _ = cv2.getTextSize(self.letter, cv2.FONT_HERSHEY_SIMPLEX, self.size, self.thickness)
            return x - self.thickness - 1, y - height - self.thickness - 1
        return x - self.radius, y - self.radius

    def drawn(self, height: int, width: int) -> np.ndarray:
        """What it covers of an image of that size, bool (height, width)."""
        mask = np.zeros((height, width), np.uint8)
        if self.corners is not None:
            cv2.fillPoly(mask, [self.corners], 255)
        elif self.letter:
            cv2.putText(mask, self.letter, self.center, cv2.FONT_HERSHEY_SIMPLEX, self.size, 255, self.thickness)
        else:
            cv2.circle(mask, self.center, self.radius, 255, cv2.FILLED)
        return mask > 0  # letters have soft edges


@dataclasses.dataclass(frozen=True)
class Sharpness:
    """A Gaussian blur, or its opposite: unsharp masking, the edge enhancement of digital radiography.

    Attributes:
      sigma: standard deviation of the Gaussian in pixels; below `NO_BLUR` nothing is done.
      gain: how strongly what the Gaussian takes away is added; -1 shows the blurred image itself.
    """

    sigma: float = 0.0
    gain: float = -1.0


@dataclasses.dataclass(frozen=True)
class GreyChange:
    """How the grey values of an image change. Changes follow each other in the order of the attributes.

    Attributes:
      curve: exposure and detector curve, float32 (256,) over grey values 0..1; None leaves them.
      compression: share of the slow variation over the image that is taken away, 0..1.
      gradient: slopes along x and along y, and a bowl, float32 (3,), grey values at the border.
      sharpness: of the film.
      noise: standard deviation of white noise.
      levels: the noise, uint8 (H, W), each level equally likely: of `NOISE_LEVELS`; None for no noise.
      pixel: side of the pixels, in those of the image, that it goes through; 1 leaves it.
      crispness: a change of sharpness after that.
      covers: what lies on the image.
    """

    curve: np.ndarray | None
    compression: float
    gradient: np.ndarray
    sharpness: Sharpness
    noise: float
    levels: np.ndarray | None
    pixel: float
    crispness: Sharpness
    covers: tuple[Cover, ...]


def draw_grey(augment: AugmentConfig, height: int, width: int, rng: np.random.Generator) -> GreyChange:
    """Draws a change of the grey values of an image of that size."""
    curve = _curve(augment, rng) if augment.gamma or augment.contrast or augment.brightness else None
    compression = rng.uniform(0, augment.contrast / (1 + augment.contrast)) if augment.contrast else 0.0
    gradient = np.zeros(3, np.float32)
    if augment.brightness:
        gradient = rng.uniform(-augment.brightness, augment.brightness, 3).astype(np.float32) / 2
    sharpness = Sharpness()
    if augment.blur:
        sigma, sharpen, gain = rng.uniform(0, augment.blur), rng.random() < 0.5, rng.uniform(0, 2)
        sharpness = Sharpness(sigma, gain if sharpen else -1.0)
    noise, levels = 0.0, None
    if augment.noise:
        noise = rng.uniform(0, augment.noise)
        levels = rng.integers(0, 256, (height, width), np.uint8)
    pixel, crispness = 1.0, Sharpness()
    if augment.resample and rng.random() < 0.5:
        pixel = math.exp(rng.uniform(0, math.log1p(augment.resample)))
        if rng.random() < 0.5:
            crispness = Sharpness(pixel, rng.uniform(0, 2))
    covers = ()
    if rng.random() < augment.erase:
        covers = tuple(_draw_cover(height, width, rng) for _ in range(rng.integers(1, MOST_COVERS + 1)))
    return GreyChange(curve, compression, gradient, sharpness, noise, levels, pixel, crispness, covers)


def cover_side(height: int, width: int) -> int:
    """Side of a square that holds any cover of an image of that size, a multiple of 8 pixels."""
    bar = _BAR[1] * min(height, width) * (math.cos(math.radians(_BAR_TURN)) + math.sin(math.radians(_BAR_TURN)))
    letter = 30 * _LETTER[1] * height  # the widest of the font is 24 high and wide
    return 8 * math.ceil((max(bar, 2 * _DISC[1] * height, letter) + 12) / 8)


def change_grey(image: np.ndarray, change: GreyChange) -> np.ndarray:
    """Returns another image, float32 (H, W) in 0..1: changed curve, illumination, sharpness and noise, and markers."""
    image = image.copy() if change.curve is None else cv2.LUT(cv2.convertScaleAbs(image, alpha=255), change.curve)
    if change.compression:
        image -= change.compression * slow_variation(image)
    if change.gradient.any():
        _add_gradient(image, *change.gradient)
    image = _change_sharpness(image, change.sharpness)
    if change.levels is not None:
        image += cv2.LUT(change.levels, NOISE_LEVELS * np.float32(change.noise))
    if change.pixel > 1:
        height, width = image.shape
        small = cv2.resize(image, resampled(height, width, change.pixel)[::-1], interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    image = _change_sharpness(image, change.crispness)
    for cover in change.covers:
        image[cover.drawn(*image.shape)] = cover.grey
    return np.clip(image, 0, 1, out=image)


def _change_sharpness(image: np.ndarray, change: Sharpness) -> np.ndarray:
    if change.sigma < NO_BLUR:
        return image
    soft = cv2.GaussianBlur(image, (0, 0), change.sigma)
    return soft if change.gain == -1 else cv2.addWeighted(image, 1 + change.gain, soft, -change.gain, 0)


def resampled(height: int, width: int, pixel: float) -> tuple[int, int]:
    """Height and width of an image of that size in pixels `pixel` times as large."""
    return round(height / pixel), round(width / pixel)


def slow_variation(image: np.ndarray) -> np.ndarray:
    """How an image, float32 (H, W), varies over long distances, less its mean.

    Where it is weakened, as in the processing of digital films, fingers become brighter.
    """
    height, width = image.shape
    small = cv2.resize(image, (-(-width // 8), -(-height // 8)), interpolation=cv2.INTER_AREA)
    slow = cv2.GaussianBlur(small, (0, 0), 0.05 * small.shape[0])
    return cv2.resize(slow - slow.mean(), (width, height))


@functools.cache
def slow_variation_maps(height: int, width: int) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """`slow_variation` of images of that size as matrices, along y and along x: to small images, and back from there.

    They are what OpenCV makes of unit vectors: float32 (small, height) and (height, small), the same of the width.
    """
    rows = -(-height // 8)
    sigma = 0.05 * rows
    maps = []
    for size in (height, width):
        small = -(-size // 8)
        down = cv2.resize(np.eye(size, dtype=np.float32), (size, small), interpolation=cv2.INTER_AREA)
        taps = cv2.getGaussianKernel(gaussian_taps(sigma), sigma, cv2.CV_32F)
        down = cv2.sepFilter2D(down, cv2.CV_32F, np.ones(1, np.float32), taps)
        up = cv2.resize(np.eye(small, dtype=np.float32), (small, size))
        maps.append((down, up))
    return tuple(maps)


def gaussian_taps(sigma: float) -> int:
    """Taps of the kernel that `cv2.GaussianBlur` takes for float32 images."""
    return round(8 * sigma + 1) | 1


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


def _add_gradient(image: np.ndarray, along_x: np.float32, along_y: np.float32, bowl: np.float32) -> None:
    """Adds a slope and a bowl (heel effect, vignetting)."""
    height, width = image.shape
    x = np.linspace(-1, 1, width, dtype=np.float32)
    y = np.linspace(-1, 1, height, dtype=np.float32)
    image += along_x * x + bowl * x**2
    image += (along_y * y + bowl * y**2)[:, None]


def _draw_cover(height: int, width: int, rng: np.random.Generator) -> Cover:
    """A bar or disc of any grey value, or a bright letter, somewhere."""
    center = (int(rng.integers(width)), int(rng.integers(height)))
    grey = rng.random()
    kind = rng.integers(3)
    if kind == 0:
        size = rng.uniform(*_BAR, 2) * min(height, width)
        corners = cv2.boxPoints((center, tuple(size.tolist()), rng.uniform(-_BAR_TURN, _BAR_TURN)))
        return Cover(center, grey, corners=np.round(corners).astype(np.int32))
    if kind == 1:
        return Cover(center, grey, radius=round(rng.uniform(*_DISC) * height))
    letter = _MARKER_LETTERS[rng.integers(len(_MARKER_LETTERS))]
    thickness = int(rng.integers(1, 4))
    return Cover(center, 0.6 + 0.4 * grey, letter=letter, size=rng.uniform(*_LETTER) * height, thickness=thickness)


def _log_uniform(limit: float, rng: np.random.Generator) -> float:
    """A factor in [1 / (1 + limit), 1 + limit], log-uniform."""
    return math.exp(rng.uniform(-1, 1) * math.log1p(limit))

"""From attenuation to grey levels: focal blur, scatter, quantum noise, logarithm, processing, window and curve."""

import dataclasses

import cv2
import numpy as np

from ramjax.phantom import texture

# The display curve reaches this many times white, and bends towards it with this sharpness.
_HEADROOM, _SHOULDER = 1.8, 4.0


@dataclasses.dataclass(frozen=True)
class Exposure:
    """How the radiograph was taken and processed. Ranges cover dark, low-contrast films to bright, hard ones.

    Attributes:
      focal_mm: standard deviation of the blur by focus and detector.
      scatter: scattered light relative to the primary beam's.
      noise: relative noise where the beam is unattenuated.
      edge: strength of unsharp masking (computed radiography's dark halo about the skin).
      equalise: strength of dynamic range compression, 0 to 0.6: slow differences of grey between fingers and wrist
        are taken back.
      low, high: attenuation shown as black and as white, as percentile-based fractions (see `develop`).
      gamma: exponent of the display curve.
      knee: weight of an S-curve, 0 to 1.
      fog: grey level of black, 0 to 1.
      top: grey level of white, 0 to 1.
      gradient: slope of the beam over the image (2,), relative to its mean (heel effect, vignetting).
    """

    focal_mm: float
    scatter: float
    noise: float
    edge: float
    equalise: float
    low: float
    high: float
    gamma: float
    knee: float
    fog: float
    top: float
    gradient: np.ndarray


def sample_exposure(rng: np.random.Generator) -> Exposure:
    """Draws an exposure."""
    dim = rng.random() < 0.25
    return Exposure(
        focal_mm=float(rng.uniform(0.09, 0.2) + (0.25 * rng.random() if rng.random() < 0.12 else 0.0)),
        scatter=float(rng.uniform(0.05, 0.35)),
        noise=float(np.exp(rng.uniform(np.log(0.004), np.log(0.025)))),
        edge=float(rng.uniform(0.0, 0.8)),
        equalise=float(rng.uniform(0.1, 0.65) if rng.random() < 0.85 else 0.0),
        low=float(rng.uniform(-0.06, 0.05)),
        high=float(rng.uniform(0.78, 1.2) if not dim else rng.uniform(1.2, 1.7)),
        gamma=float(np.exp(rng.normal(-0.12, 0.25))),
        knee=float(rng.uniform(0.0, 0.6)),
        fog=float(rng.uniform(0.0, 0.04) if rng.random() < 0.6 else rng.uniform(0.04, 0.2)),
        top=float(rng.uniform(0.9, 1.0) if not dim else rng.uniform(0.62, 0.9)),
        gradient=rng.normal(0.0, 0.06, 2),
    )


def expose(attenuation: np.ndarray, exposure: Exposure, mm: float, rng: np.random.Generator) -> np.ndarray:
    """Returns the light that reaches the detector, float32 (rows, columns), 1 where nothing is in the beam."""
    sigma = exposure.focal_mm / mm
    if sigma > 0.25:
        attenuation = cv2.GaussianBlur(attenuation, (0, 0), sigma)
    light = np.exp(-attenuation)
    rows, columns = light.shape
    step = max(round(2.4 / mm), 1)
    small = cv2.resize(light, (max(columns // step, 2), max(rows // step, 2)), interpolation=cv2.INTER_AREA)
    scattered = cv2.GaussianBlur(small, (0, 0), 6.0, borderType=cv2.BORDER_REPLICATE) * np.float32(exposure.scatter)
    light += cv2.resize(scattered, (columns, rows), interpolation=cv2.INTER_LINEAR)
    noise = texture.cut(texture.grain(), light.shape, rng)
    # Quanta: the noise's variance is the light.
    light += np.sqrt(light) * noise * np.float32(exposure.noise)
    return light


def develop(light: np.ndarray, exposure: Exposure, mm: float) -> np.ndarray:
    """Returns the image, uint8 (rows, columns): logarithm, unsharp mask, window and curve."""
    rows, columns = light.shape
    density = -np.log(np.maximum(light, np.float32(1e-3)))
    step = max(round(1.2 / mm), 1)
    small = cv2.resize(density, (max(columns // step, 2), max(rows // step, 2)), interpolation=cv2.INTER_AREA)
    crisp = np.float32(0.35 * exposure.edge)
    coarse = cv2.resize(small, (max(small.shape[1] // 4, 2), max(small.shape[0] // 4, 2)), interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), 3.5, borderType=cv2.BORDER_REPLICATE)
    slow = cv2.resize(coarse, small.shape[::-1], interpolation=cv2.INTER_LINEAR)
    shift = -crisp * cv2.GaussianBlur(small, (0, 0), 5.0) - np.float32(exposure.equalise) * slow
    # Window by what will be shown: black where little is in the beam, white near the densest bone.
    shown = (1.0 + crisp) * small + shift
    black, white = np.percentile(shown, (2.0, 99.3))
    span = max(float(white - black), 0.15)
    y = np.linspace(-0.5, 0.5, small.shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, small.shape[1], dtype=np.float32)[None, :]
    ramp = exposure.gradient[0] * y + exposure.gradient[1] * x
    shift += (span * ramp).astype(np.float32)
    density *= 1.0 + crisp
    density += cv2.resize(shift, (columns, rows), interpolation=cv2.INTER_LINEAR)
    low = black + exposure.low * span
    high = black + exposure.high * span
    levels = 4096
    density -= np.float32(low)
    density *= np.float32((levels - 1) / (_HEADROOM * (high - low)))
    return _curve(exposure, levels)[np.clip(density, 0, levels - 1).astype(np.uint16)]


def _curve(exposure: Exposure, levels: int) -> np.ndarray:
    """Returns the display curve as uint8 (levels,), rising, up to `_HEADROOM` times white under a shoulder."""
    value = np.linspace(0.0, _HEADROOM, levels) ** exposure.gamma
    value = value / (1.0 + value**_SHOULDER) ** (1.0 / _SHOULDER)
    s_shaped = value * value * (3.0 - 2.0 * value)
    value = (1.0 - exposure.knee) * value + exposure.knee * s_shaped
    return np.round(255.0 * (exposure.fog + (exposure.top - exposure.fog) * value)).astype(np.uint8)

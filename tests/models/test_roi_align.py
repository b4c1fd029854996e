import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramjax.models.roi_align import roi_align


def bilinear(features: np.ndarray, y: float, x: float) -> np.ndarray:
    """Value of (h, w, c) features at a point, cell centres at half integers, edges extended."""
    h, w, _ = features.shape
    y, x = np.clip(y - 0.5, 0, h - 1), np.clip(x - 0.5, 0, w - 1)
    top, left = int(np.floor(y)), int(np.floor(x))
    bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
    fy, fx = y - top, x - left
    upper = (1 - fx) * features[top, left] + fx * features[top, right]
    lower = (1 - fx) * features[bottom, left] + fx * features[bottom, right]
    return (1 - fy) * upper + fy * lower


def slow_roi_align(features: np.ndarray, box: np.ndarray, size: int, samples: int) -> np.ndarray:
    """One box, one bin and one sample at a time."""
    ymin, xmin, ymax, xmax = box
    out = np.zeros((size, size, features.shape[-1]))
    for i in range(size):
        for j in range(size):
            for a in range(samples):
                for b in range(samples):
                    y = ymin + (ymax - ymin) * (i + (a + 0.5) / samples) / size
                    x = xmin + (xmax - xmin) * (j + (b + 0.5) / samples) / size
                    out[i, j] += bilinear(features, y, x) / samples**2
    return out


coordinate = st.floats(-4, 16, allow_nan=False, width=32)
side = st.floats(0.125, 20, allow_nan=False, width=32)


@settings(deadline=None, max_examples=25)
@given(y=coordinate, x=coordinate, height=side, width=side, size=st.integers(1, 5), samples=st.integers(1, 3))
def test_equals_the_slow_reference_inside_across_and_beyond_the_border(y, x, height, width, size, samples):
    features = np.random.default_rng(0).normal(size=(9, 12, 3)).astype(np.float32)
    box = np.array([y, x, y + height, x + width], np.float32)
    fast = roi_align(jnp.asarray(features[None]), jnp.asarray(box[None, None]), size, samples)[0, 0]
    np.testing.assert_allclose(fast, slow_roi_align(features, box, size, samples), atol=2e-4)


def test_whole_map_at_its_own_size_is_the_map():
    features = jnp.arange(2 * 4 * 4 * 1, dtype=jnp.float32).reshape(2, 4, 4, 1)
    boxes = jnp.tile(jnp.array([0.0, 0.0, 4.0, 4.0]), (2, 1, 1))
    np.testing.assert_allclose(roi_align(features, boxes, 4, samples=1)[:, 0], features, atol=1e-6)


def test_gradient_is_that_of_the_samples():
    features = jnp.asarray(np.random.default_rng(1).normal(size=(1, 6, 6, 2)), jnp.float32)
    boxes = jnp.array([[[1.2, 0.7, 4.9, 5.1]]])

    def total(x):
        return (roi_align(x, boxes, 3) ** 2).sum()

    gradient = jax.grad(total)(features)
    step = jnp.zeros_like(features).at[0, 2, 3, 1].set(1e-2)
    numeric = (total(features + step) - total(features - step)) / 2e-2
    assert gradient[0, 2, 3, 1] == pytest.approx(float(numeric), rel=1e-2)

"""ROI align: features of a box, resampled to a fixed square (He et al., Mask R-CNN, arXiv 1703.06870).

Bilinear sampling on a grid parallel to the axes is separable: the sampled square is ``rows @ features @ columns.T``
with one sparse interpolation matrix an axis. As two matrix products it needs no gather, its gradient is two more
products, it shards like any other product, and averaging several samples in a bin costs nothing.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def interpolation_matrix(
    start: Float[Array, "*n"], stop: Float[Array, "*n"], size: int, length: int, samples: int = 2
) -> Float[Array, "*n size length"]:
    """Returns the weights that resample an axis of `length` cells to `size` bins between `start` and `stop`.

    Args:
      start, stop: ends of the interval in cells; cell i covers [i, i + 1), its centre at i + 0.5.
      size: bins.
      length: cells of the axis.
      samples: bilinear samples averaged a bin, at equal distances.

    A sample beyond the outermost cell centres takes the outermost cell's value.
    """
    steps = (jnp.arange(size * samples, dtype=jnp.float32) + 0.5) / (size * samples)
    points = start[..., None] + (stop - start)[..., None] * steps - 0.5
    points = jnp.clip(points, 0, length - 1)
    weights = jnp.maximum(0, 1 - jnp.abs(points[..., None] - jnp.arange(length)))
    return weights.reshape(*start.shape, size, samples, length).mean(-2)


def roi_align(
    features: Float[Array, "b h w c"], boxes: Float[Array, "b n 4"], size: int, samples: int = 2
) -> Float[Array, "b n size size c"]:
    """Samples every box of every example on a `size` x `size` grid.

    Args:
      features: (b, h, w, c).
      boxes: (b, n, 4) ymin, xmin, ymax, xmax in cells of the feature map (canvas pixels divided by its stride).
      size: bins a side.
      samples: bilinear samples averaged a bin and axis.

    Returns:
      (b, n, size, size, c), of the features' dtype.
    """
    rows = interpolation_matrix(boxes[..., 0], boxes[..., 2], size, features.shape[1], samples)
    columns = interpolation_matrix(boxes[..., 1], boxes[..., 3], size, features.shape[2], samples)
    sampled = jnp.einsum("bnyh,bhwc->bnywc", rows.astype(features.dtype), features)
    return jnp.einsum("bnxw,bnywc->bnyxc", columns.astype(features.dtype), sampled)

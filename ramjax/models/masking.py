"""Hides patches of the image from the network, which has to make them up: masked autoencoding.

Hidden patches become grey in the image itself, where a published encoder's input is 0. So the encoder computes on whole
images, as in SimMIM (Xie et al., arXiv 2111.09886) and in the dense form of FCMAE (Woo et al., arXiv 2301.00808). That
serves every encoder, convolutional or not, on every device. Leaving the patches out, as MAE does in a ViT, would save
the time that they take, but needs another encoder.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from ramjax.models.encoders import GREY_MEAN

PLASTIC = 1.32471795724474602596
"""The real root of x^3 = x + 1."""


class Masking(nnx.Module):
    """Hides a share of the patches, others in each image and step; in evaluation the same ones, spread evenly.

    Args:
      patch: side of a patch in pixels; it divides the sides of the image.
      ratio: share of the patches that are hidden.
      rngs: its stream ``mask`` draws the patches.
    """

    def __init__(self, patch: int, ratio: float, *, rngs: nnx.Rngs):
        self.patch, self.ratio, self.deterministic = patch, ratio, False
        self.rngs = rngs["mask"].fork()

    def __call__(self, image: Float[Array, "b h w 1"]) -> tuple[Float[Array, "b h w 1"], Bool[Array, "b rows columns"]]:
        """Returns the image with grey in the place of hidden patches, and which patches these are."""
        b, h, w, _ = image.shape
        grid = h // self.patch, w // self.patch
        if self.deterministic:
            hidden = jnp.broadcast_to(spread_hidden(grid, self.ratio), (b, *grid))
        else:
            hidden = draw_hidden(self.rngs(), b, grid, self.ratio)
        return jnp.where(over_pixels(hidden, self.patch)[..., None], GREY_MEAN, image), hidden


def draw_hidden(key: jax.Array, images: int, grid: tuple[int, int], ratio: float) -> Bool[Array, "b rows columns"]:
    """Chooses as many patches of each image, at least one and not all, whatever the other images."""
    order = jnp.argsort(jax.random.uniform(key, (images, math.prod(grid))))
    return (jnp.argsort(order) < _count(grid, ratio)).reshape(images, *grid)


def spread_hidden(grid: tuple[int, int], ratio: float) -> np.ndarray:
    """As many patches spread evenly, bool (rows, columns).

    They are those of the lowest value of a dither mask, whose steps are the powers of the inverse of the plastic number
    (the R2 sequence, Roberts, extremelearning.com.au, 2018).
    """
    rows, columns = np.indices(grid)
    value = (rows / PLASTIC + columns / PLASTIC**2) % 1
    return (np.argsort(np.argsort(value, axis=None, kind="stable")) < _count(grid, ratio)).reshape(grid)


def _count(grid: tuple[int, int], ratio: float) -> int:
    """How many patches are hidden: at least one, and not all."""
    return min(max(1, round(ratio * math.prod(grid))), math.prod(grid) - 1)


def over_pixels(patches: Array, patch: int) -> Array:
    """A value a patch, (..., rows, columns), as one a pixel, (..., h, w)."""
    return patches.repeat(patch, -2).repeat(patch, -1)

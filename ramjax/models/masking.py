"""Hides patches of the image from the network, which has to make them up: masked autoencoding.

Hidden patches become grey in the image itself, where a published encoder's input is 0. So the encoder computes on whole
images, as in SimMIM (Xie et al., arXiv 2111.09886) and in the dense form of FCMAE (Woo et al., arXiv 2301.00808). That
serves every encoder, convolutional or not, on every device. Leaving the patches out, as MAE does in a ViT, would save
the time that they take, but needs another encoder.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from ramjax.models.encoders import GREY_MEAN


class Masking(nnx.Module):
    """Hides a share of the patches, others in each image and step; in evaluation always the same ones.

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
        key = jax.random.key(0) if self.deterministic else self.rngs()
        hidden = draw_hidden(key, 1 if self.deterministic else b, grid, self.ratio)
        hidden = jnp.broadcast_to(hidden, (b, *grid))
        return jnp.where(over_pixels(hidden, self.patch)[..., None], GREY_MEAN, image), hidden


def draw_hidden(key: jax.Array, images: int, grid: tuple[int, int], ratio: float) -> Bool[Array, "b rows columns"]:
    """Chooses as many patches of each image, at least one and not all, whatever the other images."""
    patches = grid[0] * grid[1]
    count = min(max(1, round(ratio * patches)), patches - 1)
    order = jnp.argsort(jax.random.uniform(key, (images, patches)))
    return (jnp.argsort(order) < count).reshape(images, *grid)


def over_pixels(patches: Array, patch: int) -> Array:
    """A value a patch, (..., rows, columns), as one a pixel, (..., h, w)."""
    return patches.repeat(patch, -2).repeat(patch, -1)

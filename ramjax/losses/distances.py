"""Distance maps on the device: exact Euclidean distances to the nearest pixel of a mask.

Separable (Felzenszwalb and Huttenlocher, Theory of Computing 2012): the distance within each column, then the least sum
of squares along each row. The second pass looks at every pair of pixels of a row: a loop over the w columns, each of
which is compared with all pixels at once. So it takes w operations a pixel, and memory for two maps; the lower envelope
of parabolas would take fewer, but one pixel after the other.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

FAR = 2.0**20
"""Distance in pixels to a mask that is nowhere."""


def distances(mask: Bool[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Distance of each pixel to the nearest pixel of the mask, in pixels, 0 in the mask; `FAR` or more for no mask."""
    squares = jnp.square(_along_columns(mask))
    columns = jnp.arange(mask.shape[2], dtype=jnp.float32)

    def nearer(best, given):
        column, of_column = given
        return jnp.minimum(best, of_column[:, :, None] + jnp.square(columns - column)[:, None]), None

    return jnp.sqrt(jax.lax.scan(nearer, squares, (columns, jnp.moveaxis(squares, 2, 0)))[0])


def signed_distances(mask: Bool[Array, "b h w c"], inside: Bool[Array, "b h w"]) -> Float[Array, "b h w c"]:
    """Distances in pixels from the outline of a mask: 0 at its outermost pixels, negative within, above 0 around it.

    0 everywhere for a mask that is empty or leaves no pixel out.

    Args:
      mask: the mask, which has no pixel that is not inside.
      inside: where there is an image; beyond it there is neither mask nor anything else.
    """
    around = ~mask & inside[..., None]
    outline = mask.any((1, 2), keepdims=True) & around.any((1, 2), keepdims=True)
    signed = jnp.where(mask, 1 - distances(around), distances(mask))
    return jnp.where(outline, signed, 0)


def _along_columns(mask: Bool[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Distance to the nearest pixel of the mask in the same column; `FAR` or more where the column has none."""
    rows = jnp.broadcast_to(jnp.arange(mask.shape[1], dtype=jnp.float32)[:, None, None], mask.shape)
    above = jax.lax.cummax(jnp.where(mask, rows, -2 * FAR), axis=1)
    below = jax.lax.cummin(jnp.where(mask, rows, 2 * FAR), axis=1, reverse=True)
    return jnp.minimum(rows - above, below - rows)

"""Where the annotated sites are on the grid of the heatmaps, and what all ways of placing them have in common."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ramjax.losses import Term
from ramjax.tasks.base import Batch

USUAL_SIDE = 0.1
"""Box sides are learned as the logarithm of their ratio to this share of the canvas height: about a finger joint's."""


@dataclasses.dataclass(frozen=True)
class Target:
    """Annotated sites on a grid of h x w cells, in cells.

    Attributes:
      known: whether it is known that the site is there or not.
      present: it is known, and there.
      center: row and column of its centre; the middle of the first cell is at 0.5.
      log_sides: logarithm of height and width, over `USUAL_SIDE` of the grid's height.
      rows, columns: the middles of the cells.
    """

    known: Bool[Array, "b n"]
    present: Bool[Array, "b n"]
    center: Float[Array, "b n 2"]
    log_sides: Float[Array, "b n 2"]
    rows: Float[Array, "h"]  # noqa: F821
    columns: Float[Array, "w"]  # noqa: F821


def target_on(grid: tuple[int, int], batch: Batch) -> Target:
    """The target of a batch on a grid of that height and width."""
    h, w = grid
    known = batch["joints_known"] & (batch["has_joints"] & batch["valid"])[:, None]
    boxes = batch["boxes"] / (batch["padding"].shape[1] / h)
    return Target(
        known,
        batch["present"] & known,
        (boxes[..., :2] + boxes[..., 2:]) / 2,
        jnp.log(jnp.maximum(boxes[..., 2:] - boxes[..., :2], 1e-3) / (USUAL_SIDE * h)),
        jnp.arange(h) + 0.5,
        jnp.arange(w) + 0.5,
    )


def peaks(target: Target, center: Float[Array, "b n 2"], sigma: float) -> Float[Array, "b n h w"]:
    """Gaussian peaks of height 1 at the centres, with that standard deviation in cells; 0 where no site is present."""
    peak = _gaussian(target.rows, center[..., 0], sigma)[..., :, None]
    peak = peak * _gaussian(target.columns, center[..., 1], sigma)[..., None, :]
    return jnp.where(target.present[..., None, None], peak, 0)


def shares(target: Target, sigma: float) -> Float[Array, "b h w n"]:
    """The peaks of the sites as distributions over the cells."""
    peak = peaks(target, target.center, sigma)
    peak = peak / jnp.maximum(peak.sum((2, 3), keepdims=True), 1e-6)
    return peak.transpose(0, 2, 3, 1)


def box_term(target: Target, share: Float[Array, "b h w n"], regression: Float[Array, "b h w n 4"]) -> Term:
    """The absolute error of offset and size in cells, of the cells by their share of the site's peak."""
    h = len(target.rows)
    offset_y = target.center[:, None, None, :, 0] - target.rows[:, None, None]
    offset_x = target.center[:, None, None, :, 1] - target.columns[None, :, None]
    error = jnp.abs(regression[..., 0] - offset_y) + jnp.abs(regression[..., 1] - offset_x)
    error += USUAL_SIDE * h / 2 * jnp.abs(regression[..., 2:] - target.log_sides[:, None, None]).sum(-1)
    return Term((error * share).sum(), target.present.sum())


def boxes_of(center: Float[Array, "b n 2"], log_sides: Float[Array, "b n 2"], height: int, stride: float) -> Array:
    """Boxes (b, n, 4), ymin, xmin, ymax, xmax in canvas pixels, of centres there and logarithmic sides of `Target`."""
    sides = jnp.exp(log_sides) * (USUAL_SIDE * height * stride)
    return jnp.concatenate([center - sides / 2, center + sides / 2], -1)


def _gaussian(cells: Float[Array, "*m"], center: Float[Array, "b n"], sigma: float) -> Float[Array, "b n *m"]:
    return jnp.exp(-0.5 * ((cells - center[..., None]) / sigma) ** 2)

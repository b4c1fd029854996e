"""``heatmap``: a softmax over the cells and the absence of a site says where it is, or that it is not there."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ramjax.config import JointsConfig
from ramjax.losses import Term
from ramjax.tasks.joints.target import USUAL_SIDE, Target, box_term, shares

PEAK_RADIUS = 2
"""Cells about the peak whose opinions on centre and size are averaged."""


def terms(config: JointsConfig, outputs: dict[str, Array], target: Target) -> list[Term]:
    """Cross entropy of the place (or of the absence), and the absolute error of offset and size near it."""
    heatmap, share = outputs["heatmap"], shares(target, config.sigma)
    # Not the softmax of one array of cells and absence: XLA's compiler for GPUs (of jax 0.10) fails at its reshape.
    total = jnp.logaddexp(jax.nn.logsumexp(heatmap, axis=(1, 2)), outputs["absence"])
    of_cells = (share * (total[:, None, None] - heatmap)).sum((1, 2))
    place = jnp.where(target.present, of_cells, total - outputs["absence"]) * target.known
    return [Term(place.sum(), target.known.sum()), box_term(target, share, outputs["regression"])]


def chances(outputs: dict[str, Array]) -> tuple[Array, ...]:
    """Of each cell, (b, h, w, n), and of the absence, (b, n); 1 together."""
    heatmap, absence = outputs["heatmap"], outputs["absence"]
    total = jnp.logaddexp(jax.nn.logsumexp(heatmap, axis=(1, 2)), absence)
    return jnp.exp(heatmap - total[:, None, None]), jnp.exp(absence - total)


def decode(outputs: dict[str, Array], stride: float) -> tuple[Float[Array, "b n 4"], Float[Array, "b n"]]:
    """Returns each site's box (ymin, xmin, ymax, xmax in canvas pixels) and the confidence in it, 0 to 1.

    The box is that of the cells about the peak, and the confidence is the probability of the cells in it.
    """
    heatmap, absence, regression = (outputs[name] for name in ("heatmap", "absence", "regression"))
    b, h, w, n = heatmap.shape
    best = jnp.argmax(heatmap.reshape(b, h * w, n), axis=1)
    row, column = best // w, best % w
    rows, columns = jnp.arange(h), jnp.arange(w)
    near = (jnp.abs(rows[:, None] - row[:, None]) <= PEAK_RADIUS)[:, :, None, :]
    near = near & (jnp.abs(columns[:, None] - column[:, None]) <= PEAK_RADIUS)[:, None, :, :]
    weight = jax.nn.softmax(jnp.where(near, heatmap, -jnp.inf), axis=(1, 2))
    centers = regression[..., :2] + jnp.stack(jnp.meshgrid(rows + 0.5, columns + 0.5, indexing="ij"), -1)[:, :, None]
    center = (weight[..., None] * centers).sum((1, 2)) * stride
    sides = jnp.exp((weight[..., None] * regression[..., 2:]).sum((1, 2))) * (USUAL_SIDE * h * stride)
    boxes = jnp.concatenate([center - sides / 2, center + sides / 2], -1)
    inside_y = jnp.abs(rows[:, None] + 0.5 - center[:, None, :, 0] / stride) <= sides[:, None, :, 0] / stride / 2
    inside_x = jnp.abs(columns[:, None] + 0.5 - center[:, None, :, 1] / stride) <= sides[:, None, :, 1] / stride / 2
    inside = inside_y[:, :, None] & inside_x[:, None]
    here = jax.nn.logsumexp(jnp.where(inside, heatmap, -jnp.inf), axis=(1, 2))
    anywhere = jax.nn.logsumexp(heatmap, axis=(1, 2))
    return boxes, jnp.exp(here - jnp.logaddexp(anywhere, absence))

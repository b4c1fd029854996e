"""``dsnt``: the mean place of a heatmap is the site's centre (Nibali et al., arXiv 1801.07372)."""

import jax
import jax.numpy as jnp
import optax
from jax.scipy.special import xlogy
from jaxtyping import Array, Float

from ramjax.config import JointsConfig
from ramjax.losses import Term
from ramjax.tasks.joints.target import USUAL_SIDE, Target, boxes_of, shares

_LEAST = 1e-30
"""A probability below this is as good as none; its logarithm is finite."""


def terms(config: JointsConfig, outputs: dict[str, Array], target: Target) -> list[Term]:
    """Distance from the centre with Jensen-Shannon regularisation, the size's error, and cross entropy of the absence.

    Lengths are in halves of the canvas height, as in the paper, where a heatmap reaches from -1 to 1; the divergence
    of the heatmap from the target's peak has the weight 1.
    """
    h = len(target.rows)
    center, log_sides = mean_place(outputs)
    apart = (center - target.center) * (2 / h)
    distance = jnp.sqrt(jnp.square(apart).sum(-1) + 1e-12)  # of no distance the root has no slope
    share = shares(target, config.sigma)
    place = (distance + divergence(outputs["heatmap"], share)) * target.present
    size = USUAL_SIDE * jnp.abs(log_sides - target.log_sides).sum(-1) * target.present
    absence = optax.sigmoid_binary_cross_entropy(outputs["absence"], 1.0 - target.present) * target.known
    there = target.present.sum()
    return [Term(place.sum(), there), Term(size.sum(), there), Term(absence.sum(), target.known.sum())]


def chances(outputs: dict[str, Array]) -> tuple[Array, ...]:
    """Of each cell, (b, h, w, n), 1 together, and of the absence, (b, n)."""
    return jax.nn.softmax(outputs["heatmap"], axis=(1, 2)), jax.nn.sigmoid(outputs["absence"])


def decode(outputs: dict[str, Array], stride: float) -> tuple[Float[Array, "b n 4"], Float[Array, "b n"]]:
    """Returns each site's box (ymin, xmin, ymax, xmax in canvas pixels), of the mean place and the mean size, and the
    probability that it is not absent."""
    center, log_sides = mean_place(outputs)
    boxes = boxes_of(center * stride, log_sides, outputs["heatmap"].shape[1], stride)
    return boxes, jax.nn.sigmoid(-outputs["absence"])


def mean_place(outputs: dict[str, Array]) -> tuple[Float[Array, "b n 2"], Float[Array, "b n 2"]]:
    """Mean row and column, in cells, and mean logarithmic sides, by the softmax of the heatmap over the cells."""
    share = jax.nn.softmax(outputs["heatmap"], axis=(1, 2))
    rows, columns = (jnp.arange(size) + 0.5 for size in share.shape[1:3])
    center = jnp.stack([(share.sum(2) * rows[:, None]).sum(1), (share.sum(1) * columns[:, None]).sum(1)], -1)
    return center, (share[..., None] * outputs["regression"]).sum((1, 2))


def divergence(heatmap: Float[Array, "b h w n"], share: Float[Array, "b h w n"]) -> Float[Array, "b n"]:
    """The Jensen-Shannon divergence of a heatmap's softmax and a distribution over the cells, 0 to log 2."""
    log_found = jax.nn.log_softmax(heatmap, axis=(1, 2))
    found = jnp.exp(log_found)
    log_middle = jnp.log(jnp.maximum((found + share) / 2, _LEAST))
    of_found = found * (log_found - log_middle)
    of_share = xlogy(share, share) - share * log_middle
    return (of_found + of_share).sum((1, 2)) / 2

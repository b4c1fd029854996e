"""``offset``: each cell tells by itself if a site's centre is in it, and how far off that is (CenterNet, Zhou, Wang and
Krähenbühl, arXiv 1904.07850)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ramjax.config import JointsConfig
from ramjax.losses import Term
from ramjax.tasks.joints.target import Target, box_term, boxes_of, peaks, shares

FOCUS, FORGIVING = 2.0, 4.0
"""Powers of the focal loss: of the error of a cell, and of how far it is from the centre (Law and Deng, arXiv
1808.01244)."""


def terms(config: JointsConfig, outputs: dict[str, Array], target: Target) -> list[Term]:
    """The penalty-reduced focal loss of the cells, summed over them, and the absolute error of offset and size.

    Offsets and sizes are learned by the cells near the centre, too, since one of them may be the highest. Zhou et al.
    divide by the sites that are there; this counts those that are known, for a site that is not there has a loss, too.
    """
    logits = outputs["heatmap"]
    cell = jnp.floor(target.center) + 0.5
    at_center = (target.rows[:, None, None] == cell[:, None, None, :, 0]) & (
        target.columns[None, :, None] == cell[:, None, None, :, 1]
    )
    at_center = at_center & target.present[:, None, None]
    far = (1 - peaks(target, cell, config.sigma).transpose(0, 2, 3, 1)) ** FORGIVING
    missed = jax.nn.sigmoid(-logits) ** FOCUS * jax.nn.softplus(-logits)
    false = jax.nn.sigmoid(logits) ** FOCUS * jax.nn.softplus(logits)
    losses = jnp.where(at_center, missed, far * false) * target.known[:, None, None]
    share = shares(target, config.sigma)
    return [Term(losses.sum(), target.known.sum()), box_term(target, share, outputs["regression"])]


def chances(outputs: dict[str, Array]) -> tuple[Array, ...]:
    """Of each cell, (b, h, w, n)."""
    return (jax.nn.sigmoid(outputs["heatmap"]),)


def decode(outputs: dict[str, Array], stride: float) -> tuple[Float[Array, "b n 4"], Float[Array, "b n"]]:
    """Returns the box of each site's highest cell (ymin, xmin, ymax, xmax in canvas pixels), and its probability."""
    heatmap, regression = outputs["heatmap"], outputs["regression"]
    b, h, w, n = heatmap.shape
    best = jnp.argmax(heatmap.reshape(b, h * w, n), axis=1)
    row, column = best // w, best % w
    here = (jnp.arange(h)[:, None, None] == row[:, None, None]) & (
        jnp.arange(w)[None, :, None] == column[:, None, None]
    )
    found = jnp.where(here[..., None], regression, 0).sum((1, 2))
    center = (jnp.stack([row, column], -1) + 0.5 + found[..., :2]) * stride
    confidence = jax.nn.sigmoid(jnp.where(here, heatmap, 0).sum((1, 2)))
    return boxes_of(center, found[..., 2:], h, stride), confidence

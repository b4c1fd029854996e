"""The boundary loss (Kervadec et al., arXiv 1812.07032)."""

import jax.numpy as jnp

from ramjax.config import MaskTaskConfig
from ramjax.losses.distances import signed_distances
from ramjax.losses.masks import Masks
from ramjax.losses.term import Term


def boundary(masks: Masks, config: MaskTaskConfig) -> Term:
    """Mean over pixels of the probability times the signed distance from the target's outline, in pixels of the grid.

    It is below 0 where masks are right, and 0 of masks that are empty: they learn nothing from it. The paper adds it to
    a loss of the overlap, with a weight of 0.01 that grows. Targets are rounded.
    """
    del config
    probability = masks.probability
    signed = signed_distances(masks.seen_target >= 0.5, masks.inside)
    return Term((probability * signed).sum(), masks.seen.sum().astype(jnp.float32))

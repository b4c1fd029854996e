"""Losses of the overlap of a mask with its target: Dice and Tversky.

They are summed over the masks that are known, of each image by itself unless the name says otherwise. Of a mask that is
empty, and found to be, each is 0 (``focal_tversky`` 3e-5).
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ramjax.config import MaskTaskConfig
from ramjax.losses.masks import Masks
from ramjax.losses.term import Term

SMOOTH = 1.0
"""Pixels added to numerator and denominator of a Dice coefficient, so that an empty mask has one."""

FOCAL_TVERSKY_POWER = 0.75
"""Of ``focal_tversky``: 1 / gamma at gamma = 4/3, the best of Abraham and Khan."""

_LEAST = 1e-6  # below this, a power of a loss below 1 has no slope


def dice(masks: Masks, config: MaskTaskConfig) -> Term:
    """1 - 2 |P T| / (|P| + |T|) (Milletari et al., arXiv 1606.04797, without the squares)."""
    del config
    return _of_masks(tversky_losses(masks, 0.5), masks)


def dice_squared(masks: Masks, config: MaskTaskConfig) -> Term:
    """As ``dice`` with squares in the denominator (Milletari et al., arXiv 1606.04797)."""
    del config
    probability, target = masks.probability, masks.seen_target
    overlap = (probability * target).sum(masks.axes)
    squares = (jnp.square(probability) + jnp.square(target)).sum(masks.axes)
    return _of_masks(1 - (2 * overlap + SMOOTH) / (squares + SMOOTH), masks)


def dice_batch(masks: Masks, config: MaskTaskConfig) -> Term:
    """As ``dice``, of all images of a batch together, which a mask that few of them have makes steadier.

    Each mask counts as often as it is known, so that the parts of an accumulated gradient, each a batch of its own, add
    up by their sizes.
    """
    del config
    return _of_masks(tversky_losses(masks, 0.5, axes=(0, *masks.axes)), masks)


def dice_any(masks: Masks, config: MaskTaskConfig) -> Term:
    """``dice`` of all labels but the background together, over the images that have any."""
    del config
    inside = masks.labelled
    probability = (1 - jax.nn.softmax(masks.logits)[..., 0]) * inside
    target = (1 - masks.target[..., 0]) * inside
    overlap = (probability * target).sum(masks.axes)
    sizes = probability.sum(masks.axes) + target.sum(masks.axes)
    some = target.sum(masks.axes) > 0
    return Term(((1 - (2 * overlap + SMOOTH) / (sizes + SMOOTH)) * some).sum(), some.sum(dtype=jnp.float32))


def tversky(masks: Masks, config: MaskTaskConfig) -> Term:
    """``dice`` with misses that weigh `tversky_beta` and false pixels that weigh 1 less that (Salehi et al., arXiv
    1706.05721); 0.5 is ``dice``."""
    return _of_masks(tversky_losses(masks, config.tversky_beta), masks)


def focal_tversky(masks: Masks, config: MaskTaskConfig) -> Term:
    """``tversky`` to the power of 3/4, so that masks that are nearly right still count (Abraham and Khan, arXiv
    1810.07842)."""
    losses = jnp.maximum(tversky_losses(masks, config.tversky_beta), _LEAST)
    return _of_masks(losses**FOCAL_TVERSKY_POWER, masks)


def tversky_losses(masks: Masks, beta: float, axes: tuple[int, ...] | None = None) -> Float[Array, "*b c"]:
    """1 less the Tversky index of each mask: (b, c), or (c,) where `axes` has that of the images."""
    return optax.losses.dice_loss(
        masks.seen_logits[..., None],
        masks.seen_target[..., None],
        alpha=1 - beta,
        beta=beta,
        smooth=SMOOTH / 2,
        axis=axes or masks.axes,
        reduction="none",
    )[..., 0]


def _of_masks(losses: Float[Array, "*b c"], masks: Masks) -> Term:
    return Term((losses * masks.known).sum(), masks.known.sum(dtype=jnp.float32))

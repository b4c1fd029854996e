"""Losses that are means over pixels."""

import jax.numpy as jnp
import optax

from ramjax.config import MaskTaskConfig
from ramjax.losses.masks import Masks
from ramjax.losses.term import Term

BONE_SHARE = 0.02
"""Share of the canvas that a bone takes, about."""


def bce(masks: Masks, config: MaskTaskConfig) -> Term:
    """Binary cross entropy."""
    del config
    return _mean(optax.sigmoid_binary_cross_entropy(masks.logits, masks.target), masks)


def bce_area(masks: Masks, config: MaskTaskConfig) -> Term:
    """Binary cross entropy of a mask, summed over the image and set against a bone's usual size, `BONE_SHARE`.

    So it weighs as much as a Dice loss of the mask.
    """
    del config
    losses = optax.sigmoid_binary_cross_entropy(masks.logits, masks.target) * masks.seen
    usual_size = BONE_SHARE * masks.inside[0].size
    return Term(losses.sum() / usual_size, masks.known.sum(dtype=jnp.float32))


def ce(masks: Masks, config: MaskTaskConfig) -> Term:
    """Cross entropy of labels that exclude each other."""
    del config
    weight = masks.labelled * (1 + (masks.positive_weight - 1) * (1 - masks.target[..., 0]))
    losses = optax.softmax_cross_entropy(masks.logits, masks.target) * weight
    return Term(losses.sum(), weight.sum())


def mse(masks: Masks, config: MaskTaskConfig) -> Term:
    """Squared error of the probability (Brier)."""
    del config
    return _mean(jnp.square(masks.probability - masks.seen_target), masks)


def focal(masks: Masks, config: MaskTaskConfig) -> Term:
    """Cross entropy times (1 - p)^gamma, p the probability of what is right (Lin et al., arXiv 1708.02002).

    A mean over pixels: the number of pixels depends on the labels alone.
    """
    return _mean(optax.sigmoid_focal_loss(masks.logits, masks.target, gamma=config.focal_gamma), masks)


def _mean(losses, masks: Masks) -> Term:
    weight = masks.pixel_weight
    return Term((losses * weight).sum(), weight.sum())

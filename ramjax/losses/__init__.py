"""Losses of masks: predicted and annotated masks to a `Term`, a sum and its count.

=================  ====================================================================================================
``bce``            binary cross entropy, mean over pixels
``bce_area``       the same, summed over the image and set against a bone's usual size
``ce``             cross entropy of labels that exclude each other
``mse``            squared error of the probability
``focal``          cross entropy of what is not yet right (Lin et al., arXiv 1708.02002)
``dice``           1 - 2 |P T| / (|P| + |T|), of each image and mask
``dice_squared``   the same with squares in the denominator (Milletari et al., arXiv 1606.04797)
``dice_batch``     ``dice`` of all images together
``dice_any``       ``dice`` of all labels but the background together, over the images that have any
``tversky``        ``dice`` that weighs misses more than false pixels (Salehi et al., arXiv 1706.05721)
``focal_tversky``  a power of it (Abraham and Khan, arXiv 1810.07842)
``lovasz``         the Jaccard loss, made convex, of the probabilities (Berman et al., arXiv 1705.08790)
``lovasz_hinge``   the same of the logits
``boundary``       the probability times the distance from the outline (Kervadec et al., arXiv 1812.07032)
``cldice``         overlap of the centrelines (Shit et al., arXiv 2003.07311)
=================  ====================================================================================================

Each takes `Masks` and the settings of the task, which hold the numbers that some of them have. Each is finite for empty
masks, takes no notice of what is not known or no image, and has a count that depends on the labels alone. Sums are
float32, whatever the dtype of the network.
"""

import dataclasses
from collections.abc import Callable

from ramjax.config import MaskTaskConfig
from ramjax.losses import overlap, pixelwise
from ramjax.losses.boundary import boundary
from ramjax.losses.cldice import cldice
from ramjax.losses.lovasz import lovasz, lovasz_hinge
from ramjax.losses.masks import Masks
from ramjax.losses.term import Term

__all__ = ["LOSSES", "MaskLoss", "Masks", "Term", "mask_terms", "needs_grid"]


@dataclasses.dataclass(frozen=True)
class MaskLoss:
    """A loss of masks.

    Attributes:
      term: from the masks and the settings of the task to the sum over them and its count.
      of_labels: it is of labels that exclude each other, background and all; other losses are given the masks one by
        one.
      of_neighbours: it looks at neighbours, so that pixels have to be on a grid.
    """

    term: Callable[[Masks, MaskTaskConfig], Term]
    of_labels: bool = False
    of_neighbours: bool = False


LOSSES: dict[str, MaskLoss] = {
    "bce": MaskLoss(pixelwise.bce),
    "bce_area": MaskLoss(pixelwise.bce_area),
    "ce": MaskLoss(pixelwise.ce, of_labels=True),
    "mse": MaskLoss(pixelwise.mse),
    "focal": MaskLoss(pixelwise.focal),
    "dice": MaskLoss(overlap.dice),
    "dice_squared": MaskLoss(overlap.dice_squared),
    "dice_batch": MaskLoss(overlap.dice_batch),
    "dice_any": MaskLoss(overlap.dice_any, of_labels=True),
    "tversky": MaskLoss(overlap.tversky),
    "focal_tversky": MaskLoss(overlap.focal_tversky),
    "lovasz": MaskLoss(lovasz),
    "lovasz_hinge": MaskLoss(lovasz_hinge),
    "boundary": MaskLoss(boundary, of_neighbours=True),
    "cldice": MaskLoss(cldice, of_neighbours=True),
}
"""By their name in `bones.losses` and `erosions.losses`."""


def needs_grid(config: MaskTaskConfig) -> bool:
    """Whether one of the losses of the settings looks at neighbours."""
    return any(LOSSES[name].of_neighbours for name, _ in config.weighted_losses)


def mask_terms(config: MaskTaskConfig, masks: Masks) -> list[Term]:
    """The losses of the settings, each with its weight."""
    terms = []
    for name, weight in config.weighted_losses:
        loss = LOSSES[name]
        terms.append(loss.term(masks if loss.of_labels else masks.one_by_one(), config).times(weight))
    return terms

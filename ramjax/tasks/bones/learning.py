"""How bones are learned: 30 sigmoids, since a projection shows one bone through another."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from ramjax import anatomy
from ramjax.config import BonesConfig, ModelConfig
from ramjax.data.labels import Labels, Spec, View
from ramjax.losses import Masks, Term, mask_terms, needs_grid
from ramjax.losses.pixelwise import BONE_SHARE
from ramjax.record import Record
from ramjax.tasks.base import Batch
from ramjax.tasks.bones.sums import areas, pixel_sums, unpack
from ramjax.tasks.dense import (
    DenseHead,
    cells,
    fine,
    grid_shape,
    in_blocks,
    inside_grid,
    of_levels,
    on_grid,
    share_of_cells,
    upsampled_logits,
)

PRIOR = -3.0
"""Initial logit: a bone covers about 5 % of the canvas, and starting there spares the first steps."""

IN_ONE_PASS = ("dice_squared", "bce_area")
"""The losses that are computed in one pass over the logits. Others keep several arrays of that size, in float32."""


def _labels(record: Record, view: View) -> dict[str, Any]:
    del view
    return {
        "bones_known": np.asarray(record.bones_known, bool) & record.has_bones,
        "has_bones": np.bool_(record.has_bones),
    }


LABELS = Labels(
    {
        "bones": Spec(np.uint32, ("h", "w"), "bit k is channel k of `anatomy.BONES`", plane="bones"),
        "bones_known": Spec(np.bool_, (anatomy.NUM_BONES,), "channels annotated; an unknown bone is not an absent one"),
        "has_bones": Spec(np.bool_, (), "bones were annotated at all"),
    },
    _labels,
)


def make_head(config: BonesConfig, model: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
    """The head: dense logits of each channel."""
    return DenseHead(model, (PRIOR,) * anatomy.NUM_BONES, rngs=rngs, supervise=config.deep_supervision)


def loss(config: BonesConfig, outputs: dict[str, Array], batch: Batch) -> list[Term]:
    """The losses of the config, of each known channel."""
    return of_levels(outputs, functools.partial(_terms, config, batch))


def _terms(config: BonesConfig, batch: Batch, logits: Array) -> list[Term]:
    height, width = grid_shape(logits)
    known = batch["bones_known"] & batch["has_bones"][:, None] & batch["valid"][:, None]
    if not fine(logits, batch["padding"]):
        inside = share_of_cells(batch["padding"], height, width) == 0
        target = share_of_cells(unpack(batch["bones"]), height, width)
        return mask_terms(config, Masks(logits.astype(jnp.float32), target, inside, known))
    inside = inside_grid(batch["padding"], height, width)
    words = jnp.where(inside, majority(cells(batch["bones"], height, width)), 0)
    if {name for name, _ in config.weighted_losses} <= set(IN_ONE_PASS):
        terms = _in_one_pass(logits, words, inside, known)
        return [terms[name].times(weight) for name, weight in config.weighted_losses]
    logits = on_grid(logits) if needs_grid(config) else logits.astype(jnp.float32)
    inside, words = in_blocks(inside, logits), in_blocks(words, logits)
    return mask_terms(config, Masks(logits, unpack(words).astype(jnp.float32), inside, known))


def _in_one_pass(logits: Array, words: Array, inside: Array, known: Array) -> dict[str, Term]:
    """The losses `IN_ONE_PASS`: soft Dice (Milletari et al., arXiv 1606.04797), and the binary cross entropy."""
    cross_entropy, overlap, squares = pixel_sums(logits, in_blocks(words, logits), in_blocks(inside, logits))
    dice = 1 - (2 * overlap + 1) / (squares + areas(words) + 1)
    # Summed over the image and set against a bone's usual size, the cross entropy weighs as much as the Dice term.
    usual_size = BONE_SHARE * words[0].size
    return {
        "dice_squared": Term((dice * known).sum(), known.sum()),
        "bce_area": Term((cross_entropy * known).sum() / usual_size, known.sum()),
    }


def predict(outputs: dict[str, Array]) -> dict[str, Array]:
    return {"bones": jax.nn.sigmoid(on_grid(outputs["logits"]))}


def observe(outputs: dict[str, Array], batch: Batch) -> dict[str, Array]:
    inside = ~batch["padding"][..., None]
    prediction = (upsampled_logits(outputs["logits"], batch["padding"]) > 0) & inside
    target = unpack(batch["bones"]) & inside
    return {
        "intersection": (prediction & target).sum((1, 2)),
        "predicted": prediction.sum((1, 2)),
        "annotated": target.sum((1, 2)),
        "known": batch["bones_known"] & batch["has_bones"][:, None],
    }


def majority(words: list[Array]) -> Array:
    """Returns the bits that at least half of the 1 or 4 words have: a mask's value in a cell of so many pixels."""
    if len(words) == 1:
        return words[0]
    a, b, c, d = words
    return (a & b) | (c & d) | ((a | b) & (c | d))

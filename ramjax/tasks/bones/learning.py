"""How bones are learned: 30 sigmoids, since a projection shows one bone through another."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from ramjax import anatomy
from ramjax.config import ModelConfig
from ramjax.data.labels import Labels, Spec, View
from ramjax.record import Record
from ramjax.tasks.base import Batch, Term
from ramjax.tasks.bones.sums import areas, pixel_sums, unpack
from ramjax.tasks.dense import DenseHead, cells, grid_shape, in_blocks, inside_grid, on_grid, upsampled_logits

PRIOR = -3.0
"""Initial logit: a bone covers about 5 % of the canvas, and starting there spares the first steps."""

BONE_SHARE = 0.02
"""Share of the canvas that a bone takes, about."""


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


def make_head(model: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
    """The head: dense logits of each channel."""
    return DenseHead(model, (PRIOR,) * anatomy.NUM_BONES, rngs=rngs)


def loss(outputs: dict[str, Array], batch: Batch) -> list[Term]:
    """Binary cross entropy and soft Dice (Milletari et al., arXiv 1606.04797) of each known channel."""
    logits = outputs["logits"]
    height, width = grid_shape(logits)
    known = batch["bones_known"] & batch["has_bones"][:, None] & batch["valid"][:, None]
    inside = inside_grid(batch["padding"], height, width)
    words = jnp.where(inside, majority(cells(batch["bones"], height, width)), 0)
    cross_entropy, overlap, squares = pixel_sums(logits, in_blocks(words, logits), in_blocks(inside, logits))
    dice = 1 - (2 * overlap + 1) / (squares + areas(words) + 1)
    # Summed over the image and set against a bone's usual size, the cross entropy weighs as much as the Dice term.
    usual_size = BONE_SHARE * height * width
    return [Term((dice * known).sum(), known.sum()), Term((cross_entropy * known).sum() / usual_size, known.sum())]


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

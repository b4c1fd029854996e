"""Erosion labels: a softmax over background and three exclusive labels, or SvdH-BE-90 against the rest."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from ramjax import anatomy
from ramjax.config import ErosionsConfig, ModelConfig
from ramjax.data.labels import Labels, Spec, View
from ramjax.losses import Masks, Term, mask_terms, needs_grid
from ramjax.record import Record
from ramjax.tasks.base import Batch
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

VARIANT_LABELS = {"labels": tuple(range(anatomy.NUM_EROSION_LABELS)), "svdh90": (0, 1)}
"""The released labels each variant tells apart; the others count as background."""

PRIOR = 2.0
"""Initial logit of the background: about what the weighted lesions amount to."""


def _labels(record: Record, view: View) -> dict[str, Any]:
    del view
    return {"has_erosions": np.bool_(record.has_erosions)}


LABELS = Labels(
    {
        "erosions": Spec(np.uint8, ("h", "w"), "labels 0 to 3 of `anatomy.EROSION_LABELS`", plane="erosions"),
        "has_erosions": Spec(np.bool_, (), "erosions were annotated at all"),
    },
    _labels,
)


def labels_of(config: ErosionsConfig) -> tuple[int, ...]:
    """The released labels that the variant tells apart."""
    return VARIANT_LABELS[config.variant]


def make_head(config: ErosionsConfig, model: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
    """The head: dense logits of the labels. A lesion is small: it is found on the finest level, by one more block."""
    bias = (PRIOR, *(0.0,) * (len(labels_of(config)) - 1))
    return DenseHead(model, bias, rngs=rngs, blocks=1, supervise=config.deep_supervision)


def loss(config: ErosionsConfig, outputs: dict[str, Array], batch: Batch) -> list[Term]:
    """The losses of the config."""
    return of_levels(outputs, functools.partial(_terms, config, batch))


def _terms(config: ErosionsConfig, batch: Batch, logits: Array) -> list[Term]:
    grid = grid_shape(logits)
    known = batch["has_erosions"] & batch["valid"]
    if fine(logits, batch["padding"]):
        logits = on_grid(logits) if needs_grid(config) else logits.astype(jnp.float32)
        inside = in_blocks(inside_grid(batch["padding"], *grid), logits)
        of_cells = [_one_hot(config, in_blocks(labels, logits)) for labels in cells(batch["erosions"], *grid)]
        target = sum(of_cells) / len(of_cells)
    else:
        logits = logits.astype(jnp.float32)
        inside = share_of_cells(batch["padding"], *grid) == 0
        target = share_of_cells(_one_hot(config, batch["erosions"]), *grid)
    known = jnp.broadcast_to(known[:, None], (len(known), target.shape[-1]))
    masks = Masks(logits, target, inside, known, exclusive=True, positive_weight=config.positive_weight)
    return mask_terms(config, masks)


def predict(config: ErosionsConfig, outputs: dict[str, Array]) -> dict[str, Array]:
    probabilities = jax.nn.softmax(on_grid(outputs["logits"]))
    planes = jnp.zeros((*probabilities.shape[:-1], anatomy.NUM_EROSION_LABELS))
    return {"erosions": planes.at[..., jnp.array(labels_of(config))].set(probabilities)}


def observe(config: ErosionsConfig, outputs: dict[str, Array], batch: Batch) -> dict[str, Array]:
    logits = upsampled_logits(outputs["logits"], batch["padding"])
    prediction = (jax.nn.softmax(logits)[..., 0] < 0.5) & ~batch["padding"]
    target = (_one_hot(config, batch["erosions"])[..., 0] == 0) & ~batch["padding"]
    return {
        "intersection": (prediction & target).sum((1, 2)),
        "predicted": prediction.sum((1, 2)),
        "annotated": target.sum((1, 2)),
        "known": batch["has_erosions"],
        "pixel_spacing_mm": batch["pixel_spacing_mm"],
    }


def _one_hot(config: ErosionsConfig, labels: Array) -> Array:
    planes = (labels[..., None] == jnp.array(labels_of(config))).astype(jnp.float32)
    return planes.at[..., 0].set(1 - planes[..., 1:].sum(-1))

"""Erosion labels: a softmax over background and three exclusive labels, or SvdH-BE-90 against the rest."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array

from ramjax import anatomy
from ramjax.config import ErosionsConfig, ModelConfig
from ramjax.metrics import segmentation
from ramjax.tasks.base import Batch, Term
from ramjax.tasks.dense import DenseHead, blocks, inside_grid, upsampled_logits

VARIANT_LABELS = {"labels": tuple(range(anatomy.NUM_EROSION_LABELS)), "svdh90": (0, 1)}
"""The released labels each variant tells apart; the others count as background."""

PRIOR = 2.0
"""Initial logit of the background: about what the weighted lesions amount to."""


@dataclasses.dataclass(frozen=True)
class Erosions:
    """The erosions task."""

    config: ErosionsConfig
    name: str = "erosions"
    selected_by: tuple[str, ...] = ("dsc",)

    @property
    def weight(self) -> float:
        return self.config.weight

    @property
    def labels(self) -> tuple[int, ...]:
        return VARIANT_LABELS[self.config.variant]

    def head(self, model: ModelConfig, *, rngs: nnx.Rngs) -> nnx.Module:
        bias = (PRIOR, *(0.0,) * (len(self.labels) - 1))
        return DenseHead(model, bias, rngs=rngs, blocks=1)  # A lesion is small: it is found on the finest level.

    def loss(self, outputs: dict[str, Array], batch: Batch) -> list[Term]:
        """Weighted cross entropy a pixel, and soft Dice of any erosion against none over the images that have one."""
        logits = outputs["logits"]
        known = batch["has_erosions"] & batch["valid"]
        inside = inside_grid(batch["padding"], *logits.shape[1:3]) & known[:, None, None]
        cells = [self._one_hot(labels) for labels in blocks(batch["erosions"], *logits.shape[1:3])]
        target = sum(cells) / len(cells)
        weight = inside * (1 + (self.config.positive_weight - 1) * (1 - target[..., 0]))
        cross_entropy = optax.softmax_cross_entropy(logits, target) * weight
        probability = (1 - jax.nn.softmax(logits)[..., 0]) * inside
        erosion = (1 - target[..., 0]) * inside
        overlap = (probability * erosion).sum((1, 2))
        sizes = probability.sum((1, 2)) + erosion.sum((1, 2))
        eroded = erosion.sum((1, 2)) > 0
        dice = 1 - (2 * overlap + 1) / (sizes + 1)
        return [Term((dice * eroded).sum(), eroded.sum()), Term(cross_entropy.sum(), weight.sum())]

    def predict(self, outputs: dict[str, Array]) -> dict[str, Array]:
        probabilities = jax.nn.softmax(outputs["logits"])
        planes = jnp.zeros((*probabilities.shape[:-1], anatomy.NUM_EROSION_LABELS))
        return {"erosions": planes.at[..., jnp.array(self.labels)].set(probabilities)}

    def counts(self, outputs: dict[str, Array], batch: Batch) -> dict[str, Array]:
        logits = upsampled_logits(outputs["logits"], batch["padding"])
        prediction = (jax.nn.softmax(logits)[..., 0] < 0.5) & ~batch["padding"]
        target = (self._one_hot(batch["erosions"])[..., 0] == 0) & ~batch["padding"]
        return {
            "intersection": (prediction & target).sum((1, 2)),
            "predicted": prediction.sum((1, 2)),
            "annotated": target.sum((1, 2)),
            "known": batch["has_erosions"],
            "pixel_spacing_mm": batch["pixel_spacing_mm"],
        }

    def summarize(self, counts: dict[str, np.ndarray]) -> dict[str, float]:
        """Mean Dice of any erosion against none over hands with erosions; false-positive area over hands without."""
        dice = segmentation.dice(counts["intersection"], counts["predicted"], counts["annotated"])
        eroded, clean = counts["annotated"] > 0, counts["annotated"] == 0
        value, n = segmentation.mean_of_finite(np.where(counts["known"] & eroded, dice, np.nan))
        area = counts["predicted"] * counts["pixel_spacing_mm"] ** 2
        false_area, n_clean = segmentation.mean_of_finite(np.where(counts["known"] & clean, area, np.nan))
        return {
            "dsc": float(value),
            "dsc/n": int(n),
            "false_area_mm2": float(false_area),
            "false_area_mm2/n": int(n_clean),
        }

    def _one_hot(self, labels: Array) -> Array:
        planes = (labels[..., None] == jnp.array(self.labels)).astype(jnp.float32)
        return planes.at[..., 0].set(1 - planes[..., 1:].sum(-1))

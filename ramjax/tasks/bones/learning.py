"""Bone instances: 30 sigmoids, since a projection shows one bone through another."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array

from ramjax import anatomy
from ramjax.config import BonesConfig, ModelConfig
from ramjax.metrics import segmentation
from ramjax.tasks.base import Batch, Term
from ramjax.tasks.dense import DenseHead, blocks, inside_grid, upsampled_logits

PRIOR = -3.0
"""Initial logit: a bone covers about 5 % of the canvas, and starting there spares the first steps."""

BONE_SHARE = 0.02
"""Share of the canvas that a bone takes, about."""


@dataclasses.dataclass(frozen=True)
class Bones:
    """The bones task."""

    config: BonesConfig
    name: str = "bones"
    selected_by: tuple[str, ...] = ("dsc",)

    @property
    def weight(self) -> float:
        return self.config.weight

    def head(self, model: ModelConfig, *, rngs: nnx.Rngs) -> nnx.Module:
        bias = (PRIOR,) * anatomy.NUM_BONES
        return DenseHead(model, bias, rngs=rngs)

    def loss(self, outputs: dict[str, Array], batch: Batch) -> list[Term]:
        """Binary cross entropy and soft Dice (Milletari et al., arXiv 1606.04797) of each known channel."""
        logits = outputs["logits"]
        known = batch["bones_known"] & batch["has_bones"][:, None] & batch["valid"][:, None]
        inside = inside_grid(batch["padding"], *logits.shape[1:3])[..., None]
        target = unpack(majority(blocks(batch["bones"], *logits.shape[1:3]))) & inside
        probability = jnp.where(inside, jax.nn.sigmoid(logits), 0)
        cross_entropy = jnp.where(inside, optax.sigmoid_binary_cross_entropy(logits, target), 0).sum((1, 2))
        overlap = jnp.where(target, probability, 0).sum((1, 2))
        sizes = jnp.square(probability).sum((1, 2)) + target.sum((1, 2))
        dice = 1 - (2 * overlap + 1) / (sizes + 1)
        # Summed over the image and set against a bone's usual size, the cross entropy weighs as much as the Dice term.
        usual_size = BONE_SHARE * logits.shape[1] * logits.shape[2]
        return [Term((dice * known).sum(), known.sum()), Term((cross_entropy * known).sum() / usual_size, known.sum())]

    def predict(self, outputs: dict[str, Array]) -> dict[str, Array]:
        return {"bones": jax.nn.sigmoid(outputs["logits"])}

    def counts(self, outputs: dict[str, Array], batch: Batch) -> dict[str, Array]:
        inside = ~batch["padding"][..., None]
        prediction = (upsampled_logits(outputs["logits"], batch["padding"]) > 0) & inside
        target = unpack(batch["bones"]) & inside
        return {
            "intersection": (prediction & target).sum((1, 2)),
            "predicted": prediction.sum((1, 2)),
            "annotated": target.sum((1, 2)),
            "known": batch["bones_known"] & batch["has_bones"][:, None],
        }

    def summarize(self, counts: dict[str, np.ndarray]) -> dict[str, float]:
        """Mean Dice over the known, non-empty bones of each image, then over images; and the worst bone's mean.

        SoftTissue, a channel but no bone, is left out of ``dsc`` and is in ``dsc_30_channels``; sesamoids count in
        both, but not as the worst bone.
        """
        dice = segmentation.dice(counts["intersection"], counts["predicted"], counts["annotated"])
        dice = np.where(counts["known"] & (counts["annotated"] > 0), dice, np.nan)
        bones, n_bones = segmentation.mean_of_finite(dice, axis=0)
        metrics = {}
        for name, channels in (("dsc", np.delete(dice, anatomy.SOFT_TISSUE, axis=1)), ("dsc_30_channels", dice)):
            value, n = segmentation.mean_of_finite(segmentation.mean_of_finite(channels, axis=1)[0])
            metrics[name], metrics[f"{name}/n"] = float(value), int(n)
        judged = np.isfinite(bones)
        judged[[anatomy.SESAMOID, anatomy.SOFT_TISSUE]] = False
        worst = np.argmin(np.where(judged, bones, np.inf))
        metrics["dsc_worst_bone"] = float(bones[worst]) if judged.any() else float("nan")
        metrics["dsc_worst_bone/n"] = int(n_bones[worst]) if judged.any() else 0
        for name, value, n in zip(anatomy.BONES, bones, n_bones, strict=True):
            metrics[f"dsc_{name}"], metrics[f"dsc_{name}/n"] = float(value), int(n)
        return metrics


def unpack(words: Array) -> Array:
    """Unpacks uint32 (b, h, w) words into bool (b, h, w, 30) planes, bit k = channel k."""
    return ((words[..., None] >> jnp.arange(anatomy.NUM_BONES, dtype=jnp.uint32)) & 1).astype(bool)


def majority(words: list[Array]) -> Array:
    """Returns the bits that at least half of the 1 or 4 words have: a mask's value in a cell of so many pixels."""
    if len(words) == 1:
        return words[0]
    a, b, c, d = words
    return (a & b) | (c & d) | ((a | b) & (c | d))

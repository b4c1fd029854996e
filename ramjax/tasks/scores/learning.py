"""Sharp/van der Heijde scores: each site's box is sampled from image and features and graded on an ordinal scale."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from ramjax import anatomy
from ramjax.config import ModelConfig, ScoresConfig
from ramjax.models import layers
from ramjax.models.features import Features, dense_level, dense_width
from ramjax.models.roi_align import roi_align
from ramjax.record import UNKNOWN_SCORE
from ramjax.tasks.base import Batch, Term
from ramjax.tasks.scores.ordinal import OrdinalOutput, class_probabilities, ordinal_loss

LEVEL = 1
"""The level of the dense features that are sampled beside the canvas."""


class ScoresHead(nnx.Module):
    """Boxes to ordinal logits.

    A site's square is sampled from the canvas itself, where a joint space is a pixel or two wide, and, at a quarter of
    the samples, from the dense features. The site's embedding scales and shifts the channels; the mean of the coarsest
    level tells how ill the hand is as a whole.
    """

    def __init__(self, config: ScoresConfig, model: ModelConfig, *, rngs: nnx.Rngs):
        dtype, width = jnp.dtype(model.dtype), config.width
        self.size, self.margin, self.level = config.roi_size, config.roi_margin, dense_level(LEVEL, model)
        self.enter = layers.conv(4, width, 3, dtype=dtype, rngs=rngs)
        self.norm = layers.GroupNorm(width, rngs=rngs)
        self.site = layers.Embed(anatomy.NUM_SITES, 2 * width, rngs=rngs)
        self.block = layers.ResidualBlock(width, dtype=dtype, rngs=rngs)
        self.down = layers.ConvNorm(width, 2 * width, 3, stride=2, dtype=dtype, rngs=rngs)
        self.dense = layers.Pointwise(dense_width(self.level, model), 2 * width, dtype=dtype, rngs=rngs)
        self.deep = layers.ResidualBlock(2 * width, dtype=dtype, rngs=rngs)
        self.context = layers.Linear(model.widths[-1], 4 * width, rngs=rngs)
        self.mix = layers.Linear(4 * width, 4 * width, rngs=rngs)
        self.place = layers.Embed(anatomy.NUM_SITES, 4 * width, rngs=rngs)
        self.outputs = nnx.Dict(
            {
                name: OrdinalOutput(4 * width, top, config.ordinal, rngs=rngs)
                for name, (top, _) in anatomy.SCALES.items()
            }
        )

    def __call__(self, features: Features) -> dict[str, Array]:
        """Returns ``be`` and ``jsn``: logits (b, 22, thresholds or classes)."""
        if features.boxes is None:
            raise ValueError(
                "The scores head needs boxes: annotated ones, or those of the joints task; add 'joints' to tasks."
            )
        boxes = enlarge(features.boxes, self.margin)
        b, n, _ = boxes.shape
        image = roi_align(features.image, boxes, self.size).reshape(b * n, self.size, self.size, 1)
        image = image - image.mean((1, 2), keepdims=True)
        x = self.norm(self.enter(layers.space_to_depth(image, 2).astype(features.dense[0].dtype)))
        scale, shift = jnp.split(jnp.tile(self.site.embedding[...], (b, 1))[:, None, None].astype(x.dtype), 2, -1)
        x = self.down(self.block(jax.nn.relu(x * (1 + scale) + shift)))
        dense = roi_align(features.dense[self.level], boxes / (features.stride * 2**self.level), self.size // 4)
        x = self.deep(x + self.dense(dense.reshape(b * n, *dense.shape[2:])))
        x = jnp.concatenate([x.mean((1, 2)), layers.spatial_max(x)], -1).astype(jnp.float32).reshape(b, n, -1)
        context = self.context(features.dense[-1].mean((1, 2)).astype(jnp.float32))
        x = jax.nn.relu(self.mix(x) + self.place.embedding[...] + context[:, None])
        return {name: output(x) for name, output in self.outputs.items()}


def loss(config: ScoresConfig, outputs: dict[str, Array], batch: Batch) -> list[Term]:
    """Ordinal cross entropy of each learned scale, over the sites whose score is known, weighted by the score."""
    terms = []
    for name in config.scales:
        top, _ = anatomy.SCALES[name]
        known = _known(name, batch)
        target = jnp.where(known, batch[name], 0)
        weight = known * jnp.array(getattr(config, f"{name}_weights"))[target]
        losses = ordinal_loss(outputs[name], target, top, config.ordinal)
        terms.append(Term((losses * weight).sum(), weight.sum()))
    return terms


def parts(config: ScoresConfig) -> tuple[str, ...]:
    """Each score of each site."""
    return tuple(f"{name} {anatomy.SITE_NAMES[site]}" for name in config.scales for site in anatomy.SCALES[name][1])


def only(config: ScoresConfig, batch: Batch, kept: Bool[Array, " parts"]) -> Batch:
    """The batch with those of the `parts` alone that are kept."""
    changed, first = {}, 0
    for name in config.scales:
        sites = anatomy.SCALES[name][1]
        of_sites = jnp.zeros(anatomy.NUM_SITES, bool).at[jnp.array(sites)].set(kept[first : first + len(sites)])
        changed[name] = jnp.where(of_sites, batch[name], UNKNOWN_SCORE)
        first += len(sites)
    return batch | changed


def predict(config: ScoresConfig, outputs: dict[str, Array]) -> dict[str, Array]:
    return {name: class_probabilities(outputs[name], config.ordinal) for name in anatomy.SCALES}


def observe(config: ScoresConfig, outputs: dict[str, Array], batch: Batch) -> dict[str, Array]:
    observed = {f"{name}_probabilities": p for name, p in predict(config, outputs).items()}
    return observed | {name: jnp.where(_known(name, batch), batch[name], -1) for name in anatomy.SCALES}


def jitter_boxes(key: Array, boxes: Float[Array, "b n 4"], amount: float) -> Float[Array, "b n 4"]:
    """Moves each box by up to `amount` of its sides and scales it by up to 1 + `amount` either way, uniformly."""
    move_key, grow_key = jax.random.split(key)
    centers, sides = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    centers = centers + sides * jax.random.uniform(move_key, centers.shape, minval=-amount, maxval=amount)
    sides = sides * jnp.exp(jax.random.uniform(grow_key, (*sides.shape[:2], 1), minval=-1, maxval=1) * np.log1p(amount))
    return jnp.concatenate([centers - sides / 2, centers + sides / 2], -1)


def enlarge(boxes: Float[Array, "b n 4"], factor: float) -> Float[Array, "b n 4"]:
    """Scales the boxes about their centres."""
    centers, sides = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    return jnp.concatenate([centers - sides * factor / 2, centers + sides * factor / 2], -1)


def _known(name: str, batch: Batch) -> Array:
    graded = np.isin(np.arange(anatomy.NUM_SITES), anatomy.SCALES[name][1])
    annotated = batch["present"] & (batch["has_" + name] & batch["valid"])[:, None]
    return annotated & (batch[name] >= 0) & graded

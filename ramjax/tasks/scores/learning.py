"""What the scores learn: the loss of the ordinal scales, of the sites whose score is known."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ramjax import anatomy
from ramjax.config import ScoresConfig
from ramjax.record import UNKNOWN_SCORE
from ramjax.tasks.base import Batch, Term
from ramjax.tasks.scores.ordinal import class_probabilities, ordinal_loss


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


def _known(name: str, batch: Batch) -> Array:
    graded = np.isin(np.arange(anatomy.NUM_SITES), anatomy.SCALES[name][1])
    annotated = batch["present"] & (batch["has_" + name] & batch["valid"])[:, None]
    return annotated & (batch[name] >= 0) & graded

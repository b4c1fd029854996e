"""How joint sites are learned: a heatmap a site, with size and offset. A site occurs at most once.

===========  ==========================================================================================================
``heatmap``  a softmax over all cells and the absence: `ramjax.tasks.joints.heatmap`
``offset``   each cell by itself, as detectors without anchors do: `ramjax.tasks.joints.offset`
``dsnt``     the mean place of the heatmap: `ramjax.tasks.joints.dsnt`
===========  ==========================================================================================================
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ramjax import anatomy
from ramjax.config import JointsConfig, ModelConfig
from ramjax.losses import Term
from ramjax.models import initializers, layers
from ramjax.models.features import Features, dense_level, dense_width
from ramjax.tasks.base import Batch
from ramjax.tasks.consistency import TAUGHT
from ramjax.tasks.joints import dsnt, heatmap, offset
from ramjax.tasks.joints.target import Target, target_on

LEVEL = 1
"""The level of the dense features that the heatmaps are on: a joint is many cells wide on the finest one."""


@dataclasses.dataclass(frozen=True)
class Placing:
    """A way of placing sites.

    Attributes:
      terms: from settings, outputs and target to the terms of the loss.
      decode: from outputs and the stride of the heatmaps in canvas pixels to boxes (b, 22, 4) in canvas pixels and
        confidence (b, 22).
      chances: from outputs to the probabilities of the cells, (b, h, w, 22), and of the absence, (b, 22), if it has
        one.
      regressed: numbers of each cell and site: offset (row, column) and logarithmic sides, or the sides alone.
      tells_absence: it has a logit of a site's absence.
      prior: the first logit of a cell.
    """

    terms: Callable[[JointsConfig, dict[str, Array], Target], list[Term]]
    decode: Callable[[dict[str, Array], float], tuple[Float[Array, "b n 4"], Float[Array, "b n"]]]
    chances: Callable[[dict[str, Array]], tuple[Array, ...]]
    regressed: int = 4
    tells_absence: bool = True
    prior: float = 0.0


PLACINGS: dict[str, Placing] = {
    "heatmap": Placing(heatmap.terms, heatmap.decode, heatmap.chances),
    # The chance of a cell begins at 0.1, as in CenterNet.
    "offset": Placing(offset.terms, offset.decode, offset.chances, tells_absence=False, prior=-2.19),
    "dsnt": Placing(dsnt.terms, dsnt.decode, dsnt.chances, regressed=2),
}
"""By their name in `joints.loss`."""


class JointsHead(nnx.Module):
    """Dense features to a heatmap, and to offsets, sizes and the absence of each site."""

    def __init__(self, config: JointsConfig, model: ModelConfig, *, rngs: nnx.Rngs):
        dtype, self.level = jnp.dtype(model.dtype), dense_level(LEVEL, model)
        self.loss, placing = config.loss, PLACINGS[config.loss]
        width = dense_width(self.level, model)
        prior = initializers.constant(placing.prior)
        self.mix = layers.ConvNorm(width, width, 3, dtype=dtype, rngs=rngs)
        self.heatmap = layers.Pointwise(width, anatomy.NUM_SITES, dtype=dtype, bias_init=prior, rngs=rngs)
        self.boxes = layers.Pointwise(width, anatomy.NUM_SITES * placing.regressed, dtype=dtype, rngs=rngs)
        if placing.tells_absence:
            self.absence = layers.Linear(model.widths[-1], anatomy.NUM_SITES, dtype=dtype, rngs=rngs)

    def __call__(self, features: Features) -> dict[str, Array]:
        """Returns ``heatmap`` (b, h, w, 22), ``regression`` (b, h, w, 22, 4 or 2), ``boxes`` (b, 22, 4), ``confidence``
        (b, 22), and ``absence`` (b, 22) where it has one."""
        placing = PLACINGS[self.loss]
        x = self.mix(features.dense[self.level])
        of_cells = self.heatmap(x).astype(jnp.float32)
        outputs = {
            "heatmap": of_cells,
            "regression": self.boxes(x).astype(jnp.float32).reshape(*of_cells.shape, placing.regressed),
        }
        if placing.tells_absence:
            outputs["absence"] = self.absence(layers.spatial_max(features.dense[-1])).astype(jnp.float32)
        boxes, confidence = placing.decode(outputs, features.stride * 2**self.level)
        return outputs | {"boxes": jax.lax.stop_gradient(boxes), "confidence": confidence}


def loss(config: JointsConfig, outputs: dict[str, Array], batch: Batch) -> list[Term]:
    """The terms of the config's way of placing sites."""
    target = target_on(outputs["heatmap"].shape[1:3], batch)
    return PLACINGS[config.loss].terms(config, outputs, target)


def consistency(config: JointsConfig, outputs: dict[str, Array], taught: dict[str, Array], batch: Batch) -> list[Term]:
    """Squared differences of the chances that a site is in each cell, or absent; the mean over all sites."""
    chances = PLACINGS[config.loss].chances
    error = sum(
        jnp.square(ours - theirs).sum((1, 2) if ours.ndim == 4 else ())
        for ours, theirs in zip(chances(outputs), chances(taught), strict=True)
    )
    valid = jnp.broadcast_to(batch["valid"][:, None], error.shape)
    return [Term((error * valid * batch[TAUGHT].weight[:, None]).sum(), valid.sum())]


def predict(outputs: dict[str, Array]) -> dict[str, Array]:
    return {"boxes": outputs["boxes"], "confidence": outputs["confidence"]}


def observe(outputs: dict[str, Array], batch: Batch) -> dict[str, Array]:
    return {
        "predicted": outputs["boxes"],
        "confidence": outputs["confidence"],
        "annotated": batch["boxes"],
        "present": batch["present"] & batch["has_joints"][:, None],
        "absent": batch["joints_known"] & ~batch["present"] & batch["has_joints"][:, None],
        "pixel_spacing_mm": batch["pixel_spacing_mm"],
    }

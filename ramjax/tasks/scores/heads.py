"""The heads of the scores: what each joint site's box shows, from one place or another, to ordinal logits.

`ScoresConfig.source` names the head in `HEADS`. Both end alike: a vector of each site, attention among the sites where
`ScoresConfig.attention` wants it, and the logits of each scale.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ramjax import anatomy
from ramjax.config import ModelConfig, ScoresConfig
from ramjax.models import initializers, layers
from ramjax.models.attention import TransformerBlock
from ramjax.models.features import Features, dense_level, dense_width
from ramjax.models.roi_align import roi_align
from ramjax.tasks.dense import on_grid
from ramjax.tasks.scores.ordinal import OrdinalOutput

LEVEL = 1
"""The level of the dense features that are sampled beside the canvas."""

ATTENTION_HEADS = 4

MASKED = -1e9
"""Added to what attention thinks of a site that is not there; finite in all dtypes of a network."""

MAPS: dict[str, tuple[int, Callable[[Array], Array]]] = {
    "bones": (anatomy.NUM_BONES, jax.nn.sigmoid),
    "erosions": (1, lambda logits: 1 - jax.nn.softmax(logits)[..., :1]),
}
"""What `ScoresConfig.maps` can name, tasks whose masks the head may look at: channels, and how logits become them."""


class ScoresHead(nnx.Module):
    """Boxes to ordinal logits; a subclass says what a site's box tells, by `make_sampling` and `sites`."""

    def __init__(self, config: ScoresConfig, model: ModelConfig, *, rngs: nnx.Rngs):
        self.margin, self.attention = config.roi_margin, config.attention
        self.make_sampling(config, model, rngs)
        width = 4 * config.width
        self.place = layers.Embed(anatomy.NUM_SITES, width, rngs=rngs)
        self.outputs = nnx.Dict(
            {name: OrdinalOutput(width, top, config.ordinal, rngs=rngs) for name, (top, _) in anatomy.SCALES.items()}
        )
        if config.attention != "none":
            self.among = TransformerBlock(width, ATTENTION_HEADS, dtype=jnp.dtype(model.dtype), rngs=rngs)
        if config.attention == "hands":
            self.of_other = nnx.Param(initializers.zeros(None, (width,)))

    def make_sampling(self, config: ScoresConfig, model: ModelConfig, rngs: nnx.Rngs) -> None:
        """Makes the modules of `sites`."""
        raise NotImplementedError

    def sites(self, features: Features, boxes: Float[Array, "b n 4"]) -> Float[Array, "b n c"]:
        """Returns a vector of what each box shows, and of its `place`, in 4 x `ScoresConfig.width` channels."""
        raise NotImplementedError

    def __call__(self, features: Features) -> dict[str, Array]:
        """Returns ``be`` and ``jsn``: logits (b, 22, thresholds or classes)."""
        x = self._tokens(features)
        if self.attention == "hands" and features.other is not None:
            x = self._among_hands(x, features.other)
        elif self.attention != "none":
            x = self.among(x)
        return {name: output(x) for name, output in self.outputs.items()}

    def _tokens(self, features: Features) -> Float[Array, "b n c"]:
        if features.boxes is None:
            raise ValueError(
                "The scores head needs boxes: annotated ones, or those of the joints task; add 'joints' to tasks."
            )
        return jax.nn.relu(self.sites(features, enlarge(features.boxes, self.margin)))

    def _among_hands(self, x: Float[Array, "b n c"], other: Features) -> Float[Array, "b n c"]:
        """The sites after attention among those of both hands, without a hand that is absent.

        The other hand's boxes are found, not annotated; the loss does not teach to find them.
        """
        found = dataclasses.replace(other, boxes=jax.lax.stop_gradient(other.boxes))
        both = jnp.concatenate([x, self._tokens(found) + self.of_other[...]], 1)
        absent = ~other.image.any((1, 2, 3))[:, None] & (jnp.arange(both.shape[1]) >= x.shape[1])
        return self.among(both, jnp.where(absent, MASKED, 0.0)[:, None, None])[:, : x.shape[1]]


class FeaturesHead(ScoresHead):
    """Samples the canvas and the features that the tasks share.

    A site's square is sampled from the canvas in its finest pixels, where a joint space is one or two of them wide,
    and, at a quarter of the samples, from the dense features; the masks of `ScoresConfig.maps` at half of the samples.
    The site's embedding scales and shifts the channels; the mean of the coarsest level tells how ill the hand is as a
    whole.
    """

    def make_sampling(self, config: ScoresConfig, model: ModelConfig, rngs: nnx.Rngs) -> None:
        dtype, width = jnp.dtype(model.dtype), config.width
        self.size, self.maps, self.level = config.roi_size, config.maps, dense_level(LEVEL, model)
        self.enter = layers.conv(4 + sum(MAPS[name][0] for name in config.maps), width, 3, dtype=dtype, rngs=rngs)
        self.norm = layers.GroupNorm(width, rngs=rngs)
        self.site = layers.Embed(anatomy.NUM_SITES, 2 * width, rngs=rngs)
        self.block = layers.ResidualBlock(width, dtype=dtype, rngs=rngs)
        self.down = layers.ConvNorm(width, 2 * width, 3, stride=2, dtype=dtype, rngs=rngs)
        self.dense = layers.Pointwise(dense_width(self.level, model), 2 * width, dtype=dtype, rngs=rngs)
        self.deep = layers.ResidualBlock(2 * width, dtype=dtype, rngs=rngs)
        self.context = layers.Linear(model.widths[-1], 4 * width, rngs=rngs)
        self.mix = layers.Linear(4 * width, 4 * width, rngs=rngs)

    def sites(self, features: Features, boxes: Float[Array, "b n 4"]) -> Float[Array, "b n c"]:
        b, n, _ = boxes.shape
        image = crops(features, boxes, self.size)
        image = image - image.mean((1, 2), keepdims=True)
        x = layers.space_to_depth(image, 2)
        if self.maps:
            x = jnp.concatenate([x, *(self._mask(name, features, boxes) for name in self.maps)], -1)
        x = self.norm(self.enter(x.astype(features.dense[0].dtype)))
        scale, shift = jnp.split(jnp.tile(self.site.embedding[...], (b, 1))[:, None, None].astype(x.dtype), 2, -1)
        x = self.down(self.block(jax.nn.relu(x * (1 + scale) + shift)))
        dense = roi_align(features.dense[self.level], boxes / (features.stride * 2**self.level), self.size // 4)
        x = self.deep(x + self.dense(dense.reshape(b * n, *dense.shape[2:])))
        x = jnp.concatenate([x.mean((1, 2)), layers.spatial_max(x)], -1).astype(jnp.float32).reshape(b, n, -1)
        context = self.context(features.dense[-1].mean((1, 2)).astype(jnp.float32))
        return self.mix(x) + self.place.embedding[...] + context[:, None]

    def _mask(self, name: str, features: Features, boxes: Float[Array, "b n 4"]) -> Float[Array, "m size size c"]:
        """A task's probabilities in the boxes. The scores do not teach that task."""
        _, probabilities = MAPS[name]
        masks = probabilities(on_grid(jax.lax.stop_gradient(features.outputs[name]["logits"])))
        sampled = roi_align(masks, boxes * (masks.shape[1] / features.image.shape[1]), self.size // 2)
        return sampled.reshape(-1, *sampled.shape[2:])


class CropsHead(ScoresHead):
    """Runs each site's square through the encoder alone, as the published networks do, and pools the coarsest level.

    With `CanvasConfig.detail` the squares have the finer pixels, up to those of the radiograph.
    """

    def make_sampling(self, config: ScoresConfig, model: ModelConfig, rngs: nnx.Rngs) -> None:
        self.size = config.crop_size
        self.mix = layers.Linear(2 * model.widths[-1], 4 * config.width, rngs=rngs)

    def sites(self, features: Features, boxes: Float[Array, "b n 4"]) -> Float[Array, "b n c"]:
        x = features.encode(crops(features, boxes, self.size))[-1]
        x = jnp.concatenate([x.mean((1, 2)), layers.spatial_max(x)], -1).astype(jnp.float32)
        return self.mix(x.reshape(*boxes.shape[:2], -1)) + self.place.embedding[...]


HEADS: dict[str, type[ScoresHead]] = {"features": FeaturesHead, "crops": CropsHead}
"""By the name of `ScoresConfig.source`."""


def crops(features: Features, boxes: Float[Array, "b n 4"], size: int) -> Float[Array, "m size size 1"]:
    """The squares of all boxes, from the finest pixels that there are, one after another."""
    finer = features.detail.shape[1] // features.image.shape[1]
    return roi_align(features.detail, boxes * finer, size).reshape(-1, size, size, 1)


def enlarge(boxes: Float[Array, "b n 4"], factor: float) -> Float[Array, "b n 4"]:
    """Scales the boxes about their centres."""
    centers, sides = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    return jnp.concatenate([centers - sides * factor / 2, centers + sides * factor / 2], -1)

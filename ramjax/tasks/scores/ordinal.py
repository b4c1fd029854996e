"""Ordinal scales 0..top: the logits of a vector, their loss, and the probability of each score.

==============  =======================================================================================================
``thresholds``  `top` logits of score > k, each by itself
``coral``       the same from one projection and ordered biases (Cao, Mirjalili and Raschka, arXiv 1901.07884)
``corn``        `top` logits of score > k where the score is k or more: a chain, which makes the probabilities of
                score > k fall with k (Shi, Cao and Raschka, arXiv 2111.08851)
``softmax``     a logit of each score
``soft``        a logit of each score, trained on labels that neighbours share by their distance: scores k get shares in
                proportion to exp(-(k - score)^2) (Díaz and Marathe, CVPR 2019, with the squared distance)
``distance``    a logit of each score; every other score k costs -(k - score)^2 log(1 - its probability) (class distance
                weighted cross entropy, Polat et al., arXiv 2202.05167, with the power 2)
==============  =======================================================================================================
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from ramjax.losses.masks import one_against_rest
from ramjax.models import layers

BY_CLASS = ("softmax", "soft", "distance")
"""Kinds with a logit of each score; the others have one of each threshold."""


class OrdinalOutput(nnx.Module):
    """A vector to the logits of an ordinal scale 0..top."""

    def __init__(self, features: int, top: int, kind: str, *, rngs: nnx.Rngs):
        self.kind = kind
        outputs = 1 if kind == "coral" else top + (kind in BY_CLASS)
        self.project = layers.Linear(features, outputs, rngs=rngs)
        if kind == "coral":
            self.steps = nnx.Param(jnp.zeros(top - 1))

    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b k"]:
        logits = self.project(x)
        if self.kind == "coral":
            logits = logits - jnp.concatenate([jnp.zeros(1), jnp.cumsum(jax.nn.softplus(self.steps[...]))])
        return logits


def ordinal_loss(logits: Float[Array, "*b k"], target: Int[Array, "*b"], top: int, kind: str) -> Float[Array, "*b"]:
    """Cross entropy of the score, or summed over the thresholds: over those that are asked, for ``corn``; for
    ``distance``, summed over the other scores."""
    if kind == "softmax":
        return optax.softmax_cross_entropy_with_integer_labels(logits, target)
    if kind == "soft":
        distance = target[..., None] - jnp.arange(top + 1)
        return optax.softmax_cross_entropy(logits, jax.nn.softmax(-(distance.astype(jnp.float32) ** 2)))
    if kind == "distance":
        squares = (target[..., None] - jnp.arange(top + 1)).astype(jnp.float32) ** 2
        return (squares * jax.nn.softplus(one_against_rest(logits))).sum(-1)
    threshold = jnp.arange(top)
    losses = optax.sigmoid_binary_cross_entropy(logits, (target[..., None] > threshold).astype(jnp.float32))
    if kind == "corn":
        losses = jnp.where(target[..., None] >= threshold, losses, 0.0)
    return losses.sum(-1)


def class_probabilities(logits: Float[Array, "*b k"], kind: str) -> Float[Array, "*b c"]:
    """Returns the probability of each score; thresholds that contradict each other count as the lower one."""
    if kind in BY_CLASS:
        return jax.nn.softmax(logits)
    above, last = jax.nn.sigmoid(logits), logits.ndim - 1
    above = jnp.cumprod(above, axis=last) if kind == "corn" else jax.lax.cummin(above, axis=last)
    ones, zeros = jnp.ones_like(above[..., :1]), jnp.zeros_like(above[..., :1])
    return jnp.concatenate([ones, above], -1) - jnp.concatenate([above, zeros], -1)

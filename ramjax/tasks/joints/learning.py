"""Joint sites: a heatmap a site with offset and size. A site occurs at most once, so its peak is its box."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ramjax import anatomy
from ramjax.config import JointsConfig, ModelConfig
from ramjax.models import layers
from ramjax.models.features import Features, dense_level, dense_width
from ramjax.tasks.base import Batch, Term
from ramjax.tasks.consistency import TAUGHT

LEVEL = 1
"""The level of the dense features that the heatmaps are on: a joint is many cells wide on the finest one."""

PEAK_RADIUS = 2
"""Cells about the peak whose opinions on centre and size are averaged."""

USUAL_SIDE = 0.1
"""Box sides are learned as the logarithm of their ratio to this share of the canvas height: about a finger joint's."""


class JointsHead(nnx.Module):
    """Dense features to a heatmap, offsets, sizes and the absence of each site."""

    def __init__(self, model: ModelConfig, *, rngs: nnx.Rngs):
        dtype, self.level = jnp.dtype(model.dtype), dense_level(LEVEL, model)
        width = dense_width(self.level, model)
        self.mix = layers.ConvNorm(width, width, 3, dtype=dtype, rngs=rngs)
        self.heatmap = layers.Pointwise(width, anatomy.NUM_SITES, dtype=dtype, rngs=rngs)
        self.boxes = layers.Pointwise(width, anatomy.NUM_SITES * 4, dtype=dtype, rngs=rngs)
        self.absence = layers.Linear(model.widths[-1], anatomy.NUM_SITES, dtype=dtype, rngs=rngs)

    def __call__(self, features: Features) -> dict[str, Array]:
        """Returns ``heatmap`` (b, h, w, 22), ``absence`` (b, 22), ``regression`` (b, h, w, 22, 4), ``boxes`` and
        ``confidence``.

        The softmax of a site's heatmap and absence together says where the site is, or that it is not there.
        """
        x = self.mix(features.dense[self.level])
        heatmap = self.heatmap(x).astype(jnp.float32)
        regression = self.boxes(x).astype(jnp.float32).reshape(*heatmap.shape, 4)
        absence = self.absence(layers.spatial_max(features.dense[-1])).astype(jnp.float32)
        boxes, confidence = decode(heatmap, absence, regression, features.stride * 2**self.level)
        return {
            "heatmap": heatmap,
            "absence": absence,
            "regression": regression,
            "boxes": jax.lax.stop_gradient(boxes),
            "confidence": confidence,
        }


def loss(config: JointsConfig, outputs: dict[str, Array], batch: Batch) -> list[Term]:
    """Cross entropy of the place (or of the absence), and the absolute error of offset and size near it."""
    known = batch["joints_known"] & (batch["has_joints"] & batch["valid"])[:, None]
    present = batch["present"] & known
    heatmap = outputs["heatmap"]
    h, w = heatmap.shape[1:3]
    stride = batch["padding"].shape[1] / h
    boxes = batch["boxes"] / stride
    center = (boxes[..., :2] + boxes[..., 2:]) / 2
    rows, columns = jnp.arange(h) + 0.5, jnp.arange(w) + 0.5
    peak = _gaussian(rows, center[..., 0], config.sigma)[..., :, None]
    peak = peak * _gaussian(columns, center[..., 1], config.sigma)[..., None, :]
    peak = jnp.where(present[..., None, None], peak, 0)
    peak = peak / jnp.maximum(peak.sum((2, 3), keepdims=True), 1e-6)
    peak = peak.transpose(0, 2, 3, 1)
    # Not the softmax of one array of cells and absence: XLA's compiler for GPUs (of jax 0.10) fails at its reshape.
    total = jnp.logaddexp(jax.nn.logsumexp(heatmap, axis=(1, 2)), outputs["absence"])
    of_cells = (peak * (total[:, None, None] - heatmap)).sum((1, 2))
    place = jnp.where(present, of_cells, total - outputs["absence"]) * known

    offset_y = center[:, None, None, :, 0] - rows[:, None, None]
    offset_x = center[:, None, None, :, 1] - columns[None, :, None]
    sides = jnp.log(jnp.maximum(boxes[..., 2:] - boxes[..., :2], 1e-3) / (USUAL_SIDE * h))[:, None, None]
    regression = outputs["regression"]
    error = jnp.abs(regression[..., 0] - offset_y) + jnp.abs(regression[..., 1] - offset_x)
    error += USUAL_SIDE * h / 2 * jnp.abs(regression[..., 2:] - sides).sum(-1)  # in cells, as the offset
    return [Term(place.sum(), known.sum()), Term((error * peak).sum(), present.sum())]


def consistency(outputs: dict[str, Array], taught: dict[str, Array], batch: Batch) -> list[Term]:
    """Squared differences of the chances that a site is in each cell, or absent; the mean over all sites."""
    error = sum(
        jnp.square(ours - theirs).sum(axis)
        for ours, theirs, axis in zip(_chances(outputs), _chances(taught), ((1, 2), ()), strict=True)
    )
    valid = jnp.broadcast_to(batch["valid"][:, None], error.shape)
    return [Term((error * valid * batch[TAUGHT].weight[:, None]).sum(), valid.sum())]


def _chances(outputs: dict[str, Array]) -> tuple[Float[Array, "b h w n"], Float[Array, "b n"]]:
    """Of each cell and of the absence, 1 together."""
    heatmap, absence = outputs["heatmap"], outputs["absence"]
    total = jnp.logaddexp(jax.nn.logsumexp(heatmap, axis=(1, 2)), absence)
    return jnp.exp(heatmap - total[:, None, None]), jnp.exp(absence - total)


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


def decode(
    heatmap: Float[Array, "b h w n"], absence: Float[Array, "b n"], regression: Float[Array, "b h w n 4"], stride: float
) -> tuple[Float[Array, "b n 4"], Float[Array, "b n"]]:
    """Returns each site's box (ymin, xmin, ymax, xmax in canvas pixels) and the confidence in it, 0 to 1."""
    b, h, w, n = heatmap.shape
    best = jnp.argmax(heatmap.reshape(b, h * w, n), axis=1)
    row, column = best // w, best % w
    rows, columns = jnp.arange(h), jnp.arange(w)
    near = (jnp.abs(rows[:, None] - row[:, None]) <= PEAK_RADIUS)[:, :, None, :]
    near = near & (jnp.abs(columns[:, None] - column[:, None]) <= PEAK_RADIUS)[:, None, :, :]
    weight = jax.nn.softmax(jnp.where(near, heatmap, -jnp.inf), axis=(1, 2))
    centers = regression[..., :2] + jnp.stack(jnp.meshgrid(rows + 0.5, columns + 0.5, indexing="ij"), -1)[:, :, None]
    center = (weight[..., None] * centers).sum((1, 2)) * stride
    sides = jnp.exp((weight[..., None] * regression[..., 2:]).sum((1, 2))) * (USUAL_SIDE * h * stride)
    boxes = jnp.concatenate([center - sides / 2, center + sides / 2], -1)
    inside_y = jnp.abs(rows[:, None] + 0.5 - center[:, None, :, 0] / stride) <= sides[:, None, :, 0] / stride / 2
    inside_x = jnp.abs(columns[:, None] + 0.5 - center[:, None, :, 1] / stride) <= sides[:, None, :, 1] / stride / 2
    inside = inside_y[:, :, None] & inside_x[:, None]
    here = jax.nn.logsumexp(jnp.where(inside, heatmap, -jnp.inf), axis=(1, 2))
    anywhere = jax.nn.logsumexp(heatmap, axis=(1, 2))
    return boxes, jnp.exp(here - jnp.logaddexp(anywhere, absence))


def _gaussian(cells: Float[Array, "*m"], center: Float[Array, "b n"], sigma: float) -> Float[Array, "b n *m"]:
    return jnp.exp(-0.5 * ((cells - center[..., None]) / sigma) ** 2)

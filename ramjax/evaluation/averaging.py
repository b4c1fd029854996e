"""Averaged predictions: of an image and its mirror image, of several scales, of several checkpoints.

Each function takes predict functions and returns one with the same inputs and outputs. So they can be nested, and used
wherever a predict function is: on canvases, and on the tiles of a sliding window. The shape that a network sees never
changes. Predict functions are called as they are; jit the whole if you like. Parameters then must be arguments, or they
are compiled in as constants::

    step = make_predict_step(config)

    @jax.jit
    def predict(state, images):
        return mirrored(lambda images: step(state, images), kinds)(images)

How an entry is averaged depends on its kind (see `ramjax.tasks.base.Kind`). Dense maps are averaged cell by cell.
Confidences, and entries of the whole image, have a plain mean. Other entries of a joint site are weighted by the
confidence, because a score is only as good as the box at which it was read; without confidences they have a plain mean,
too.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ramjax.tasks.base import Kind

Predictions = Mapping[str, Array]
"""By name, each (b, ...)."""

PredictFn = Callable[[Array], Predictions]
"""Images float32 (b, h, w, 1) in 0..1 to predictions. Boxes are (ymin, xmin, ymax, xmax) in pixels of the image."""

Kinds = Mapping[str, Kind]
"""Of every entry that a predict function returns."""

_LEAST = 1e-6  # a weight, so that sites that nobody is confident of have a mean too


def mirrored(predict: PredictFn, kinds: Kinds) -> PredictFn:
    """The mean of the predictions of an image and, mirrored back, of its mirror image (left and right swapped).

    A mirrored right hand is a left one: for networks trained on both, `config.data.augment.mirror` above 0 or
    `config.data.canvas.mirror_left` False.
    """

    def predict_both(images: Float[Array, "b h w 1"]) -> dict[str, Array]:
        there = predict(images)
        back = _mirror(predict(images[:, :, ::-1]), kinds, images.shape[2])
        return _mean([there, back], kinds)

    return predict_both


def multi_scale(predict: PredictFn, scales: Sequence[float], kinds: Kinds) -> PredictFn:
    """The mean of the predictions of an image scaled about its centre, put back on its own grid.

    A smaller image is padded with zeros, as on the canvas. Of a larger one only the middle is seen, so dense maps and
    joint sites further out are averaged over the smaller scales alone. Resampling is linear and antialiased.

    Args:
      predict: of images of one shape.
      scales: factors above 0, one of them at most 1, so that everything is seen.
      kinds: of the predictions.

    Raises:
      ValueError: no such scales.
    """
    if not scales or not all(scale > 0 for scale in scales) or min(scales) > 1:
        raise ValueError(
            f"scales are {tuple(scales)}; expected factors above 0, and one of at most 1 to see everything."
        )

    def predict_all(images: Float[Array, "b h w 1"]) -> dict[str, Array]:
        views, seen = [], []
        for scale in scales:
            view = _unscale(predict(_zoom(images, scale)), kinds, scale, images.shape[1:3])
            views.append(view)
            dense = {name: value for name, value in view.items() if kinds[name] is Kind.DENSE}
            seen.append({name: _seen(value.shape[1:3], scale) for name, value in dense.items()})
        boxes, confidence = name_of(Kind.BOXES, kinds, views[0]), name_of(Kind.CONFIDENCE, kinds, views[0])
        if boxes and confidence:
            inside = _sites_seen([(v[boxes], v[confidence]) for v in views], scales, images.shape[1:3])
            for weights, of_scale in zip(seen, inside, strict=True):
                weights[confidence] = of_scale
        return _mean(views, kinds, seen)

    return predict_all


def ensemble(
    predicts: Sequence[PredictFn], kinds: Kinds, transform: Callable[[Predictions], Predictions] | None = None
) -> PredictFn:
    """The mean of the predictions of several networks, or of several checkpoints of one.

    Networks that were trained separately are best averaged as probabilities (Lakshminarayanan, Pritzel and Blundell,
    arXiv 1612.01474). The mean of logits is a geometric mean, in which one very confident network outvotes the others.
    Where dense maps are logits, `transform` should turn them into probabilities.

    Args:
      predicts: at least one; all return the same entries.
      kinds: of the predictions.
      transform: applied to the predictions of each before they are averaged; None leaves them as they are.

    Raises:
      ValueError: `predicts` is empty; when called, predictions differ in their entries or shapes.
    """
    if not predicts:
        raise ValueError("The ensemble is empty; name at least one predict function.")

    def predict_all(images: Float[Array, "b h w 1"]) -> dict[str, Array]:
        views = [predict(images) for predict in predicts]
        return _mean([transform(view) for view in views] if transform else views, kinds)

    return predict_all


def name_of(kind: Kind, kinds: Kinds, predictions: Predictions) -> str | None:
    """The name of the only predictions of a kind; None where there are none."""
    return next((name for name in predictions if kinds[name] is kind), None)


def _mean(views: Sequence[Predictions], kinds: Kinds, seen: Sequence[Predictions] | None = None) -> dict[str, Array]:
    """The mean entry by entry; `seen` weighs each view's dense maps and, at the confidence, its sites; None is 1."""
    shapes = [{name: value.shape for name, value in view.items()} for view in views]
    for other in shapes[1:]:
        if other != shapes[0]:
            raise ValueError(f"Predictions to be averaged differ: {shapes[0]} and {other}; take runs of one config.")
    seen = seen or [{} for _ in views]
    confidence = name_of(Kind.CONFIDENCE, kinds, views[0])
    of_sites = [weights.get(confidence, 1.0) for weights in seen]
    if confidence:
        sure = [jnp.maximum(view[confidence], _LEAST) * weight for view, weight in zip(views, of_sites, strict=True)]
    else:
        sure = of_sites
    means = {}
    for name in views[0]:
        weights = {
            Kind.DENSE: [weight.get(name, 1.0) for weight in seen],
            Kind.CONFIDENCE: of_sites,
            Kind.IMAGE: [1.0] * len(views),
        }.get(kinds[name], sure)
        means[name] = _weighted_mean([view[name] for view in views], weights)
    return means


def _weighted_mean(values: Sequence[Array], weights: Sequence[Array | float]) -> Array:
    """Sums in order; weights have the leading or all dimensions of the values."""
    rank = values[0].ndim
    weights = [jnp.expand_dims(weight, tuple(range(jnp.ndim(weight), rank))) for weight in weights]
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)


def _mirror(predictions: Predictions, kinds: Kinds, width: int) -> dict[str, Array]:
    """Predictions of the mirror image of one `width` pixels wide."""
    back = dict(predictions)
    for name, value in predictions.items():
        if kinds[name] is Kind.DENSE:
            back[name] = value[:, :, ::-1]
        elif kinds[name] is Kind.BOXES:
            ymin, xmin, ymax, xmax = jnp.moveaxis(value, -1, 0)
            back[name] = jnp.stack([ymin, width - xmax, ymax, width - xmin], -1)
    return back


def _unscale(predictions: Predictions, kinds: Kinds, scale: float, size: tuple[int, int]) -> dict[str, Array]:
    """What predictions of the scaled image say of the image, `size` in pixels."""
    back, middle = dict(predictions), jnp.array(2 * size) / 2
    for name, value in predictions.items():
        if kinds[name] is Kind.DENSE:
            back[name] = _zoom(value, 1 / scale)
        elif kinds[name] is Kind.BOXES:
            back[name] = middle + (value - middle) / scale
    return back


@functools.partial(jax.jit, static_argnums=1)
def _zoom(maps: Float[Array, "b h w c"], scale: float) -> Float[Array, "b h w c"]:
    """Scales maps about their centre within their grid; 0 outside of them."""
    if scale == 1:
        return maps
    middle = jnp.array(maps.shape[1:3]) / 2
    factors = jnp.full(2, scale)
    return jax.image.scale_and_translate(maps, maps.shape, (1, 2), factors, middle * (1 - factors), "linear")


def _seen(grid: tuple[int, int], scale: float) -> Float[Array, "1 h w 1"]:
    """1 for the cells that the scaled image shows, 0 elsewhere."""
    return jnp.round(_zoom(jnp.ones((1, *grid, 1)), 1 / scale))


def _sites_seen(
    views: Sequence[tuple[Array, Array]], scales: Sequence[float], size: tuple[int, int]
) -> list[Float[Array, "b sites"]]:
    """1 where a scale shows the whole box, as the most confident view has it; 1 for all where no scale does."""
    boxes, confidence = (jnp.stack(of_views) for of_views in zip(*views, strict=True))
    best = jnp.take_along_axis(boxes, confidence.argmax(0)[None, ..., None], 0)[0]
    middle = jnp.array(2 * size) / 2
    whole = [(abs(best - middle) * scale <= middle).all(-1) for scale in scales]
    nobody = ~functools.reduce(jnp.logical_or, whole)
    return [(one | nobody).astype(jnp.float32) for one in whole]

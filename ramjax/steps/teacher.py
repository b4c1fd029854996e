"""A mean teacher (Tarvainen and Valpola, arXiv 1703.01780): what it says of a batch, and what the student is shown.

The teacher is the network with the averaged parameters, which the training keeps anyway. It sees the canvas as the
pipeline made it. The student sees the same canvas with other grey values, changed here, on the devices; so every pixel,
box and site is in the same place for both. Each task adds how far the student's predictions are from the teacher's to
its loss (`Task.consistency`), which takes no label.

Heads that need boxes get the same ones in both networks: the annotated ones, or those that the teacher finds where a
site is not annotated.
"""

import zlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ramjax import anatomy
from ramjax.config import Config, TeacherConfig
from ramjax.steps.batches import SHOWN_BOXES, join, split
from ramjax.steps.state import TrainState, make_apply
from ramjax.tasks import Kind, make_tasks
from ramjax.tasks.base import Batch
from ramjax.tasks.consistency import TAUGHT, Taught

_STREAM = zlib.crc32(b"teacher")


def make_teacher(config: Config) -> Callable[[TrainState, jax.Array, Batch], Batch]:
    """Returns ``teach(state, key, batch) -> batch``, the batch that the student learns from; the same for no teacher.

    The new batch has the student's image, boxes for all sites, and what the teacher says, as `TAUGHT`. The teacher
    takes the batch in as many parts as the training does.
    """
    settings = config.teacher
    if not settings.weight:
        return lambda state, key, batch: batch
    tasks, apply, parts = make_tasks(config), make_apply(config), config.train.accumulation_steps
    finder = next((task for task in tasks if task.finds_boxes), None)

    def outputs_of(state, part):
        """The teacher's outputs, the boxes that they are of, and how much each site counts."""
        image, boxes = part["image"], part.get(SHOWN_BOXES)
        sites = jnp.ones((len(image), anatomy.NUM_SITES))
        if boxes is not None:
            sites = (part["present"] & part["has_joints"][:, None]).astype(jnp.float32)
        if finder and boxes is not None:
            # Both applications share all but the heads, which XLA computes once.
            of_finder = apply(state.ema_params, image, variables=state.ema_variables)[finder.name]
            boxes = jnp.where(sites[..., None] > 0, boxes, of_finder["boxes"])
            predicted = finder.predict(of_finder)
            for name, kind in finder.predictions.items():
                if kind is Kind.CONFIDENCE:
                    sites = jnp.maximum(sites, predicted[name])
        return apply(state.ema_params, image, boxes, variables=state.ema_variables), boxes, sites

    def teach(state, key, batch):
        names = ("image", SHOWN_BOXES, "present", "has_joints")
        seen = {name: batch[name] for name in names if name in batch}
        if parts == 1:
            outputs, boxes, sites = outputs_of(state, seen)
        else:
            outputs, boxes, sites = join(jax.lax.map(lambda part: outputs_of(state, part), split(seen, parts)))
        weight = jnp.full(len(batch["image"]), settings.weight * ramp(settings, state.step))
        image = disturb(settings, jax.random.fold_in(key, _STREAM), batch["image"], batch["padding"])
        shown = {} if boxes is None else {SHOWN_BOXES: boxes}
        return {**batch, **shown, "image": image, TAUGHT: Taught(outputs, sites, weight)}

    return teach


def ramp(settings: TeacherConfig, step: Array) -> Float[Array, ""]:
    """The share of the weight at a step: exp(-5 (1 - t)^2), t from 0 to 1 (Laine and Aila, arXiv 1610.02242)."""
    share = jnp.minimum(step / max(settings.ramp_steps, 1), 1) if settings.ramp_steps else 1.0
    return jnp.exp(-5 * jnp.square(1 - jnp.float32(share)))


def disturb(
    settings: TeacherConfig, key: jax.Array, image: Float[Array, "b h w 1"], padding: Array
) -> Float[Array, "b h w 1"]:
    """The images with other exposure and noise, still 0 to 1, and 0 in padding."""
    of_gamma, of_noise = jax.random.split(key)
    exponent = jnp.exp(jax.random.uniform(of_gamma, (len(image), 1, 1, 1), minval=-1) * jnp.log1p(settings.gamma))
    changed = image**exponent + settings.noise * jax.random.normal(of_noise, image.shape)
    return jnp.where(padding[..., None], 0, jnp.clip(changed, 0, 1))

"""How far a student's predictions are from its teacher's: the consistency term of a task without labels."""

from collections.abc import Mapping, Sequence

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float

from ramjax.tasks.base import Batch, Kind, Task, Term
from ramjax.tasks.dense import inside_grid

TAUGHT = "taught"
"""The `Taught` of a batch, where a teacher has seen it."""


@flax.struct.dataclass
class Taught:
    """What a teacher says of a batch.

    Attributes:
      outputs: its raw outputs by task, as those of the student.
      sites: (b, 22) how much each joint site counts, 0 to 1: how sure it is that there is something to read.
      weight: (b,) of the disagreement about each image.
    """

    outputs: Mapping[str, Mapping[str, Array]]
    sites: Float[Array, "b n"]
    weight: Float[Array, " b"]


def terms_of(tasks: Sequence[Task], outputs: Mapping[str, Mapping[str, Array]], batch: Batch) -> dict[str, list[Term]]:
    """The terms of each task's loss, those of its consistency among them where the batch has a `Taught`."""
    terms = {task.name: task.loss(outputs[task.name], batch) for task in tasks}
    if taught := batch.get(TAUGHT):
        for task in tasks:
            terms[task.name] += task.consistency(outputs[task.name], taught.outputs[task.name], batch)
    return terms


def of_predictions(
    kinds: Mapping[str, Kind], ours: Mapping[str, Array], theirs: Mapping[str, Array], batch: Batch
) -> list[Term]:
    """Squared differences of predictions, summed over their last axes: a mean over cells, sites and images.

    Boxes and the confidence in them are left out.

    Args:
      kinds: of the predictions.
      ours, theirs: predictions of the student and of the teacher, by name.
      batch: with its `Taught`.
    """
    terms = []
    for name, kind in kinds.items():
        if kind in (Kind.BOXES, Kind.CONFIDENCE):
            continue
        error = jnp.square(ours[name] - theirs[name])
        if kind is Kind.DENSE:
            terms.append(dense_term(error.sum(-1), batch))
        elif kind is Kind.SITE:
            terms.append(site_term(error.reshape(*error.shape[:2], -1).sum(-1), batch))
        else:
            terms.append(image_term(error.reshape(len(error), -1).sum(-1), batch))
    return terms


def dense_term(error: Float[Array, "b h w"], batch: Batch) -> Term:
    """The mean over the cells that show no padding."""
    inside = inside_grid(batch["padding"], *error.shape[1:]) & batch["valid"][:, None, None]
    return Term(((error * inside).sum((1, 2)) * batch[TAUGHT].weight).sum(), inside.sum())


def site_term(error: Float[Array, "b n"], batch: Batch) -> Term:
    """The mean over all sites, each by how much it counts."""
    valid = jnp.broadcast_to(batch["valid"][:, None], error.shape)
    return Term((error * valid * batch[TAUGHT].sites * batch[TAUGHT].weight[:, None]).sum(), valid.sum())


def image_term(error: Float[Array, " b"], batch: Batch) -> Term:
    """The mean over the images."""
    return Term((error * batch["valid"] * batch[TAUGHT].weight).sum(), batch["valid"].sum())

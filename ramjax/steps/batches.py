"""What the steps do with a batch as a whole: the boxes that heads are given, and its parts."""

from collections.abc import Sequence
from typing import Any

import jax

from ramjax.tasks import Task
from ramjax.tasks.base import Batch

SHOWN_BOXES = "shown_boxes"
"""The boxes that the heads are given in training, in the batch beside the annotated ones."""


def vary_boxes(tasks: Sequence[Task], key: jax.Array, batch: Batch) -> Batch:
    """The batch with the boxes that heads are given in training, as `SHOWN_BOXES`."""
    if "boxes" not in batch:
        return batch
    boxes = batch["boxes"]
    for task in tasks:
        boxes = task.vary_boxes(key, boxes)
    return {**batch, SHOWN_BOXES: boxes}


def split(batch: Any, parts: int) -> Any:
    """A tree of (b, ...) to (parts, b / parts, ...). Each part has rows of every device, so no row has to move."""
    return jax.tree.map(lambda leaf: leaf.reshape(len(leaf) // parts, parts, *leaf.shape[1:]).swapaxes(0, 1), batch)


def join(batch: Any) -> Any:
    """The inverse of `split`."""
    return jax.tree.map(lambda leaf: leaf.swapaxes(0, 1).reshape(-1, *leaf.shape[2:]), batch)

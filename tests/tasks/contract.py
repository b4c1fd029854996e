"""What every task has to keep to, checked on a task of any kind: see `ramjax.tasks.base.Term` and `Task.loss`."""

import dataclasses
import functools
import json
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ramjax import phantom
from ramjax.config import Config, to_dict
from ramjax.data.canvas import empty, to_canvas
from ramjax.record import LABEL_FLAGS, Record
from ramjax.steps.state import init_state, make_apply
from ramjax.tasks import Task, labels_of, make_tasks


def check(config: Config, name: str) -> None:
    """Checks the task of that name among those of `config`.

    Raises AssertionError where
      - a count depends on the predictions,
      - a label that is not known, or an example that only fills up a batch, changes the loss by a single bit,
      - without any label the loss or its gradient is not exactly 0.
    """
    task = next(task for task in make_tasks(config) if task.name == name)
    loss = jax.jit(lambda outputs, batch: [(term.total, term.count) for term in task.loss(outputs, batch)])

    def terms(outputs, batch) -> list[tuple[float, float]]:
        return [(float(total), float(count)) for total, count in loss(outputs, batch)]

    known, secret = records()
    nothing = dataclasses.replace(Record.unlabelled(secret.image, secret.pixel_spacing_mm), id=secret.id)
    batch = batch_of(config, [known, known])
    outputs = outputs_of(config, task, batch)

    counts = [count for _, count in terms(outputs, batch)]
    for other in (jax.tree.map(jnp.zeros_like, outputs), jax.tree.map(lambda leaf: 50 * leaf - 7, outputs)):
        assert [count for _, count in terms(other, batch)] == counts, "a count depends on the predictions"
    assert any(counts), "a record that is fully annotated gives the task nothing to learn"

    of_secret = batch_of(config, [known, forget(secret)])
    of_nothing = batch_of(config, [known, nothing])
    assert terms(outputs, of_secret) == terms(outputs, of_nothing), "an unknown label changes the loss"
    for (total, count), (whole, twice) in zip(terms(outputs, of_nothing), terms(outputs, batch), strict=True):
        assert count <= twice and (math.isfinite(total) and math.isfinite(whole)), "a loss is not finite"

    fill = batch | {"valid": np.array([True, False])}
    blank = stack([to_canvas(known, config.data.canvas, labels=labels_of([task])), blank_example(config, task)])
    assert terms(outputs, fill) == terms(outputs, blank), "an example that fills up changes the loss"

    unknown = batch_of(config, [forget(known), nothing])
    assert all(total == 0 and count == 0 for total, count in terms(outputs, unknown))
    grads = jax.jit(jax.grad(lambda o: sum(term.mean() for term in task.loss(o, unknown))))(outputs)
    assert all(not np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(grads)), "a gradient without any label"


@functools.cache
def records() -> tuple[Record, Record]:
    """Two hands of whom everything is known; ill ones, so that there is something to learn of every kind."""
    hands = phantom.PhantomConfig(patients=6, scale=0.12, seed=5)
    made = [phantom.render(hands, case).record for case in phantom.cases(hands)]
    made.sort(key=lambda record: sum(max(joint.be, 0) + max(joint.jsn, 0) for joint in record.joints))
    return made[-1], made[-2]


def forget(record: Record) -> Record:
    """The same annotations, marked as unknown: nobody may look at them."""
    unknown = dict(
        bones_known=np.zeros_like(record.bones_known),
        joints_known=np.zeros_like(record.joints_known),
        side="",
        sex="",
        age=math.nan,
        is_ra=-1,
    )
    return dataclasses.replace(record, **dict.fromkeys(LABEL_FLAGS, False), **unknown)


def batch_of(config: Config, of: Sequence[Record]) -> dict[str, np.ndarray]:
    labels = labels_of(make_tasks(config))
    return stack([to_canvas(record, config.data.canvas, labels=labels) for record in of])


def blank_example(config: Config, task: Task) -> dict[str, np.ndarray]:
    return empty(config.data.canvas, labels_of([task]))


def stack(examples: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.stack([example[name] for example in examples]) for name in examples[0]}


def outputs_of(config: Config, task: Task, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """Raw outputs of an untrained network."""
    key = json.dumps(to_dict(config))
    if key not in _outputs:  # of all tasks at once: compiling takes a while
        state = init_state(config)
        _outputs[key] = jax.jit(make_apply(config))(state.params, batch["image"], batch.get("boxes"))
    return _outputs[key][task.name]


_outputs: dict[str, dict[str, dict[str, jax.Array]]] = {}

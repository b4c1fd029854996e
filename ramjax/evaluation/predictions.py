"""The network's predictions of a whole split, one radiograph after the other, each in the process that read it.

Where the canvas shows the whole radiograph, batches are predicted as in training. Where it shows a part at a given
scale, each radiograph is predicted by a sliding window of canvases.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from ramjax.config import Config
from ramjax.data import canvas as canvases
from ramjax.data import pipeline
from ramjax.devices import compilation, sharding
from ramjax.errors import RunError
from ramjax.evaluation import averaging
from ramjax.evaluation.measuring import Prediction
from ramjax.evaluation.sliding_window import sliding_window
from ramjax.steps.predict import make_predict_step
from ramjax.tasks import Task, labels_of, make_tasks, needs_boxes, predictions_of


def predict_split(
    config: Config,
    states: Sequence[Any],
    source: pipeline.Source,
    *,
    mesh: Mesh,
    dataset: int = 0,
    check: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, Prediction]]:
    """Yields the index in the source and the prediction of each record that this process handles.

    With whole canvases, all devices share each batch; with windows, every process predicts its own radiographs, one on
    each device. All processes must iterate to the end. Each record is handled by exactly one process, for any number of
    devices and processes and any size of the split.

    Args:
      config: of the run; `config.evaluation` says how predictions are averaged.
      states: of the checkpoints to average, on the devices of `mesh`; one or more.
      source: the split.
      mesh: of the devices.
      dataset: position of the source in `config.data.datasets`.
      check: called before every batch; an exception it raises ends the iteration.

    Raises:
      RunError: the settings ask for averages of predictions that need annotated boxes.
      ValueError: a prediction by windows is not finite; the message names the record.
    """
    whole = config.data.canvas.sizing == "fit"
    return (_by_canvas if whole else _by_window)(config, tuple(states), source, mesh, dataset, check)


def make_predict(config: Config) -> Callable[..., dict[str, jax.Array]]:
    """Returns ``predict(states, images, boxes=None)``: the network's predictions, averaged as `config.evaluation` says.

    Raises:
      RunError: the predictions to be averaged need annotated boxes.
    """
    predict_one, settings = make_predict_step(config), config.evaluation
    tasks = make_tasks(config)
    kinds = predictions_of(tasks)
    averaged = settings.mirror or settings.scales != (1.0,) or settings.ensemble
    if averaged and (task := needs_annotated_boxes(tasks)):
        raise RunError(
            f"Without a task that finds joints, {task} are read at annotated boxes and cannot be averaged; set "
            "evaluation.mirror, evaluation.scales and evaluation.ensemble to False, (1.0,) and ()."
        )

    def predict(states, images, boxes=None):
        predictions = []
        for state in states:
            function = functools.partial(predict_one, state, boxes=boxes)
            if settings.scales != (1.0,):
                function = averaging.multi_scale(function, settings.scales, kinds)
            predictions.append(averaging.mirrored(function, kinds) if settings.mirror else function)
        return (predictions[0] if len(predictions) == 1 else averaging.ensemble(predictions, kinds))(images)

    return predict


def needs_annotated_boxes(tasks: Sequence[Task]) -> str | None:
    """The name of a task that reads annotated boxes because no task finds joints; None without such a task."""
    if any(task.finds_boxes for task in tasks):
        return None
    return next((task.name for task in tasks if needs_boxes(task, tasks)), None)


def _by_canvas(config, states, source, mesh, dataset, check) -> Iterator[tuple[int, Prediction]]:
    predict, tasks = make_predict(config), make_tasks(config)
    shown_names = ("image", "boxes") if needs_annotated_boxes(tasks) else ("image",)

    def of_batch(states, shown):
        return predict(states, shown["image"], shown.get("boxes"))

    forward = compilation.jit(sharding.row_by_row(of_batch, mesh), deterministic=config.train.deterministic)
    batches = pipeline.make_eval_batches(
        config.data,
        source,
        labels=labels_of(tasks),
        dataset=dataset,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    with contextlib.closing(batches):
        for batch in batches:
            check()
            shown = sharding.place_rows({name: batch[name] for name in shown_names}, mesh)
            found = {name: sharding.local_rows(value) for name, value in forward(states, shown).items()}
            for row in np.flatnonzero(batch["valid"]):
                maps = {name: value[row] for name, value in found.items()}
                affine = np.asarray(batch["affine"][row], np.float64)
                yield int(batch["index"][row]), Prediction(maps, affine, config.data.canvas.height)


def _by_window(config, states, source, mesh, dataset, check) -> Iterator[tuple[int, Prediction]]:
    del dataset  # each radiograph is rendered here
    tasks = make_tasks(config)
    if task := needs_annotated_boxes(tasks):
        raise RunError(
            f"Without a task that finds joints, {task} are read at annotated boxes, which a sliding window does not "
            "take; train joints too, or set data.canvas.sizing to fit."
        )
    canvas = config.data.canvas
    states = jax.device_put(jax.device_get(states), jax.local_devices()[0])
    jitted = compilation.jit(make_predict(config), deterministic=config.train.deterministic)
    forward = functools.partial(jitted, states)
    for first in range(0, len(source), jax.process_count()):
        check()  # by every process equally often
        index = first + jax.process_index()
        if index >= len(source):
            break
        record = source[index]
        steps = (config.model.max_stride,) * 2
        whole = canvases.enlarged(canvas, record.image.shape, record.pixel_spacing_mm, steps)
        placement = canvases.place(record, whole)
        try:
            maps = sliding_window(
                forward,
                canvases.render(record, placement, whole)["image"],
                kinds=predictions_of(tasks),
                tile=(canvas.height, canvas.width),
                overlap=config.evaluation.overlap,
                batch=config.data.eval_batch_size,
            )
        except ValueError as error:
            raise ValueError(f"{record.dataset} {record.id}: {error}") from error
        yield index, Prediction(maps, placement.affine, whole.height)

"""Validation: runs the validation step on the batches of a split, drops padding, and computes the metrics."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from ramjax.devices import compilation, sharding
from ramjax.evaluation.split_metrics import summarize_canvas
from ramjax.metrics.cases import ATTRIBUTES, Cases, Values
from ramjax.tasks import Task, parts_of

EvalStep = Callable[[Any, dict[str, jax.Array]], tuple[dict[str, jax.Array], jax.Array]]


def jit_eval_step(
    step: Callable[[Any, dict[str, jax.Array]], dict[str, jax.Array]], mesh: Mesh, *, deterministic: bool = False
) -> EvalStep:
    """Compiles ``step(state, batch) -> per-example arrays``; every process gets all rows, and ``valid`` beside them.

    `deterministic` is that of `compilation.jit`.
    """

    def with_valid(state, batch):
        return step(state, batch), batch["valid"]

    return compilation.jit(with_valid, deterministic=deterministic, out_shardings=sharding.replicated(mesh))


def evaluate(
    eval_step: EvalStep,
    state: Any,
    batches: Iterable[dict[str, np.ndarray]],
    *,
    mesh: Mesh,
    size: int,
    summarize: Callable[[Sequence[Mapping[str, np.ndarray]]], dict[str, float]],
    label: str,
    check: Callable[[], None] = lambda: None,
    total: int | None = None,
    quiet: bool | None = None,
) -> dict[str, float]:
    """Evaluates one split.

    Args:
      eval_step: from `jit_eval_step`.
      state: as the step takes it, on the devices of `mesh`.
      batches: this process's rows of the batches, equally many on every process, ``valid`` False where an example pads.
      size: number of records of the split.
      summarize: takes each batch's valid rows and returns the metrics.
      label: shown beside the progress bar.
      check: called before every batch; an exception it raises ends the evaluation.
      total: number of batches, where it is known.
      quiet: no progress bar; None shows one on a terminal only.

    Returns:
      The metrics, ``<task>/<metric>`` with ``<task>/<metric>/n`` beside each.

    Raises:
      RuntimeError: the valid examples are not `size`, so that some record was left out or counted twice.
    """
    rows: list[dict[str, np.ndarray]] = []
    seen = 0
    for batch in tqdm(batches, desc=label, total=total, unit="batch", leave=False, disable=quiet):
        check()
        observed, valid = jax.device_get(eval_step(state, sharding.place_batch(batch, mesh)))
        rows.append({name: value[valid] for name, value in observed.items()})
        seen += int(valid.sum())
    if seen != size:
        raise RuntimeError(f"The evaluation of {label} saw {seen} valid examples of a split of {size}.")
    return summarize(rows)


def canvas_metrics_of(
    tasks: Sequence[Task], dataset: str, observed: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, float]:
    """The metrics of a split, measured on the canvas: ``canvas/<task>/<metric>`` with ``.../n`` beside each.

    Args:
      tasks: of the network.
      dataset: name of the data set.
      observed: of the validation step, batch after batch.
    """
    whole = {name: np.concatenate([batch[name] for batch in observed]) for name in observed[0]}
    n = len(next(iter(whole.values()), ()))
    values: Values = {}
    for task in tasks:
        begin = f"{task.name}/"
        values |= task.canvas_values({k.removeprefix(begin): v for k, v in whole.items() if k.startswith(begin)})
    unknown = {str: "", int: -1, float: math.nan}
    attributes = {name: np.full(n, unknown[kind], object if kind is str else kind) for name, kind in ATTRIBUTES.items()}
    parts = parts_of(tasks)
    cases = Cases(attributes | {"dataset": np.full(n, dataset, object)}, values, {g: parts[g] for g in values}, {})
    return summarize_canvas(tasks, cases)


def selection_score(metrics: Sequence[Mapping[str, float]], selected_by: Mapping[str, Sequence[str]]) -> float:
    """How good a checkpoint is: the mean over the data sets of the mean over the tasks.

    Args:
      metrics: of each data set, by name, with ``<name>/n``.
      selected_by: the names of the metrics whose mean stands for each task.

    Returns:
      The score. A metric for which a data set has no labels is left out, and so is a task or data set without any
      metric left. A metric that has labels and is not finite counts as 0. The score is 0 if there are no labels at all.
    """
    of_datasets = [
        _mean([_mean([_judged(of, name) for name in names]) for names in selected_by.values()]) for of in metrics
    ]
    return _mean(of_datasets) or 0.0


def _judged(metrics: Mapping[str, float], name: str) -> float | None:
    """The metric, at least -1; 0 where it is not finite, None where nothing was counted."""
    if not metrics.get(f"{name}/n"):
        return None
    return max(metrics[name], -1.0) if math.isfinite(metrics[name]) else 0.0


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None

"""The evaluation loop: batches of a split through the evaluation step, padding dropped, one summary at the end."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from ramjax.training import sharding

EvalStep = Callable[[Any, dict[str, jax.Array]], tuple[dict[str, jax.Array], jax.Array]]


def jit_eval_step(step: Callable[[Any, dict[str, jax.Array]], dict[str, jax.Array]], mesh: Mesh) -> EvalStep:
    """Compiles ``step(state, batch) -> per-example arrays`` to return them, and ``valid``, whole on every process."""

    def with_valid(state, batch):
        return step(state, batch), batch["valid"]

    return jax.jit(with_valid, out_shardings=sharding.replicated(mesh))


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
    for batch in tqdm(batches, desc=label, total=total, unit="batch", leave=False, disable=quiet):
        check()
        counts, valid = jax.device_get(eval_step(state, sharding.place_batch(batch, mesh)))
        rows.append({name: value[valid] for name, value in counts.items()})
    seen = sum(len(next(iter(batch.values()))) for batch in rows)
    if seen != size:
        raise RuntimeError(f"The evaluation of {label} saw {seen} valid examples of a split of {size}.")
    return summarize(rows)


def selection_score(metrics: Mapping[str, float], selected_by: Mapping[str, Sequence[str]]) -> float:
    """Mean over the tasks of the mean of the metrics that each is `selected_by`; one that is not finite counts as 0."""
    scores = [
        np.mean([np.nan_to_num(metrics[f"{task}/{name}"], nan=0.0, posinf=0.0, neginf=0.0) for name in names])
        for task, names in selected_by.items()
    ]
    return float(np.mean(scores))

"""A job that trains in milliseconds: hand-made batches and a linear model in place of the pipeline and the network.

The loop, the checkpoints and the run directory around it are the real ones.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from ramjax.data import pipeline
from ramjax.devices.preemption import Preempted, Preemption
from ramjax.evaluation import testing, validation
from ramjax.evaluation.split_metrics import by_dataset
from ramjax.logs import logging_to
from ramjax.runs import run_dir
from ramjax.steps import evaluate as eval_steps
from ramjax.steps import state as states
from ramjax.steps import train as train_steps
from ramjax.training.loop import run

RECORDS = {"train": 10, "validation": 5, "test": 7}


class Source(list):
    name, report = "tiny", ""


def open_sources(data, split):
    """A source a data set, each one record longer than the one before."""
    return tuple(Source(range(RECORDS[split] + more)) for more, _ in enumerate(data.datasets))


class StopAt(Preemption):
    """Told to stop at the n-th time the loop looks; never for None."""

    def __init__(self, look: int | None = None):
        super().__init__()
        self.looks, self._stop_at = 0, look

    def check(self) -> None:
        self.looks += 1
        if self.looks == self._stop_at:
            raise Preempted


def init_state(config):
    key = jax.random.key(config.seed)
    params = {"w": jax.random.normal(key, (3,)), "b": jnp.zeros(())}
    momentum = jax.tree.map(jnp.zeros_like, params)
    return states.TrainState(step=jnp.zeros((), jnp.int32), params=params, opt_state=momentum, ema_params=params)


def make_train_step(config):
    """Momentum on a least-squares loss, with noise that depends on the step as dropout would."""

    def train_step(state, batch, seed=config.seed):
        noise = jax.random.normal(jax.random.fold_in(jax.random.key(seed), state.step), (3,))

        def loss_of(params):
            return jnp.mean((batch["x"] @ (params["w"] + 0.01 * noise) + params["b"] - batch["y"]) ** 2)

        loss, grads = jax.value_and_grad(loss_of)(state.params)
        momentum = jax.tree.map(lambda m, g: 0.9 * m + g, state.opt_state, grads)
        params = jax.tree.map(lambda p, m: p - 0.05 * m, state.params, momentum)
        ema = jax.tree.map(lambda e, p: 0.9 * e + 0.1 * p, state.ema_params, params)
        metrics = {"loss": loss, "grad_norm": jnp.abs(grads["b"]), "learning_rate": jnp.float32(0.05)}
        metrics |= {f"loss/{task}": loss / len(config.tasks) for task in config.tasks}
        return states.TrainState(step=state.step + 1, params=params, opt_state=momentum, ema_params=ema), metrics

    return train_step


def make_eval_step(config):
    def eval_step(state, batch):
        return {"error": (batch["x"] @ state.ema_params["w"] + state.ema_params["b"] - batch["y"]) ** 2}

    return eval_step


def canvas_metrics_of(tasks, dataset, counts):
    error = np.concatenate([batch["error"] for batch in counts])
    return {"canvas/bones/dsc": float(np.exp(-error.mean())), "canvas/bones/dsc/n": len(error)}


def _rows(indices, valid, dataset=0):
    """The rows of another data set are noisy, so that its error is another."""
    x = np.stack([np.random.default_rng(index).normal(size=3) for index in indices]).astype(np.float32)
    y = x @ np.float32([1, -2, 0.5]) + np.float32(0.1 + dataset * (-1.0) ** indices)
    return {"x": x, "y": y, "valid": np.array(valid), "index": np.int32(indices), "image": x, "boxes": x}


def make_train_batches(data, sources, *, seed, start_step, steps, labels, process_index, process_count):
    for number in range(start_step, steps):
        rng = np.random.default_rng((seed, number))
        rows = _rows(rng.choice(len(sources[0]), data.batch_size), [True] * data.batch_size)
        yield _share(rows, process_index, process_count)


def make_eval_batches(data, source, *, labels, dataset, process_index, process_count):
    size = data.eval_batch_size
    for first in range(0, len(source), size):
        indices = np.arange(first, first + size)
        yield _share(_rows(indices, indices < len(source), dataset), process_index, process_count)


def _share(rows, process_index, process_count):
    """A process's part of the rows of a batch."""
    return {name: np.split(values, process_count)[process_index] for name, values in rows.items()}


@dataclasses.dataclass(frozen=True)
class EvaluatedCase:
    case: float


def evaluate_source(config, states, source, *, mesh, dataset, name, check, quiet):
    """The error of each record, that of the mean of the states' parameters."""
    w, b = (np.mean([np.asarray(state.ema_params[key]) for state in states], axis=0) for key in ("w", "b"))
    batches = make_eval_batches(config.data, source, labels=(), dataset=dataset, process_index=0, process_count=1)
    evaluated = []
    for batch in batches:
        check()
        error = (batch["x"] @ w + b - batch["y"])[batch["valid"]] ** 2
        evaluated += [EvaluatedCase(float(value)) for value in error]
    return evaluated


def metrics_of(config, evaluated):
    def of_dataset(errors):
        return {"bones/dsc": float(np.exp(-np.mean(errors))), "bones/dsc/n": len(errors)}

    return by_dataset(config, [of_dataset([one.case for one in of]) for of in evaluated.values()])


def write(workdir, evaluated, about, parts, shown):
    Image.new("RGB", (4, 2)).save(workdir / "test_grid.png")
    (workdir / "cases.parquet").write_text(f"{about['run']} {about['step']} {[len(of) for of in evaluated.values()]}")


def install(monkeypatch) -> None:
    """Puts the tiny job's parts where the loop looks for the real ones."""
    monkeypatch.setattr(states, "init_state", init_state)
    monkeypatch.setattr(train_steps, "make_train_step", make_train_step)
    monkeypatch.setattr(eval_steps, "make_eval_step", make_eval_step)
    monkeypatch.setattr(validation, "canvas_metrics_of", canvas_metrics_of)
    monkeypatch.setattr(pipeline, "open_sources", open_sources)
    monkeypatch.setattr(pipeline, "make_train_batches", make_train_batches)
    monkeypatch.setattr(pipeline, "make_eval_batches", make_eval_batches)

    monkeypatch.setattr(testing, "evaluate_source", evaluate_source)
    monkeypatch.setattr(testing, "write", write)
    monkeypatch.setattr(testing, "metrics_of", metrics_of)


def tiny(config, **train):
    """`config` with one task and the lengths given."""
    data = dataclasses.replace(config.data, batch_size=4, eval_batch_size=2)
    return dataclasses.replace(config, tasks=("bones",), data=data, train=dataclasses.replace(config.train, **train))


def go(config, workdir, look=None, mode="train_and_eval") -> StopAt:
    """Runs the job as `main` does; returns how often the loop looked for a signal, raises Preempted at look `look`."""
    run_dir.prepare(workdir, config)
    with logging_to(workdir / "log.txt"), StopAt(look) as preemption:
        run(config, workdir, mode, preemption)
    return preemption

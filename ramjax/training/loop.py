"""Training from the first line to the last, in the order it happens.

    data -> mesh -> compiled init -> restore -> steps (batch, step, last step's metrics, validation, checkpoint) -> test

Everything that decides the outcome is a function of the config, the data and the step: an interrupted run that is
started again with the same workdir ends with the same parameters, bit for bit, as one that was not.
"""

import contextlib
import dataclasses
import functools
import logging
import math
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh

from ramjax import files
from ramjax.config import Config
from ramjax.data import pipeline
from ramjax.devices import sharding
from ramjax.devices.compilation import compile_train_step, is_out_of_memory, out_of_memory
from ramjax.devices.preemption import Preempted, Preemption
from ramjax.errors import RunError
from ramjax.evaluation import test_split
from ramjax.evaluation import validation as evaluation
from ramjax.evaluation.flat import flat
from ramjax.metrics.cases import collect
from ramjax.notice import NOTE
from ramjax.runs import run_dir
from ramjax.runs.checkpoints import Checkpoints
from ramjax.steps import evaluate as eval_steps
from ramjax.steps import state as states
from ramjax.steps import train as train_steps
from ramjax.steps.state import abstract_state, restore_best
from ramjax.tasks import make_tasks
from ramjax.training.profiling import Profile
from ramjax.training.progress import Progress
from ramjax.training.writers import Writer

Mode = Literal["train", "eval", "train_and_eval"]
PICTURES = 6

HEADLINES = (
    "bones/dsc", "bones/dsc_worst_bone", "bones/nsd", "bones/msd", "pairs/dsc", "erosions/dsc",
    "erosions/lesion_f1_distance", "erosions/false_area_mm2", "joints/recall_50", "joints/iou",
    "joints/center_error_mm", "joints/false_finds", "scores/be_qwk", "scores/be_mae", "scores/jsn_qwk",
    "scores/jsn_mae", "scores/total_mae",
)  # fmt: skip
"""Ends of the names of the metrics that the table shows; eval_test.json has all of them."""

SELECTION = "validation/selection"
"""The score that the best checkpoint is chosen by, in the metrics."""

log = logging.getLogger(__name__)


def run(config: Config, workdir: pathlib.Path, mode: Mode, preemption: Preemption) -> dict[str, float] | None:
    """Trains, evaluates, or both.

    Args:
      config: the experiment.
      workdir: the run directory; a run that was interrupted there goes on.
      mode: ``train`` stops after the last step, ``eval`` repeats the test evaluation of the best checkpoint.
      preemption: entered, so that signals arrive.

    Returns:
      The metrics of the test split, also in eval_test.json; None for ``train``.

    Raises:
      ConfigError, RunError: something a user can mend; the message says how.
      Preempted: told to stop; all that was done is saved.
    """
    mesh = sharding.make_mesh(config)
    try:
        if mode != "eval":
            with run_dir.locked(workdir):
                train(config, workdir, mesh, preemption)
        return None if mode == "train" else test(config, workdir, mesh, preemption)
    except jax.errors.JaxRuntimeError as error:
        if is_out_of_memory(error):  # outside the steps: when the state was made or restored, or in the test
            raise out_of_memory(config, abstract_state(config, mesh), {}, None) from error
        raise


def train(config: Config, workdir: pathlib.Path, mesh: Mesh, preemption: Preemption) -> None:
    """Takes the steps that are left, with validation and checkpoints; see `run`."""
    # 1. Data. Opening the training split prepares a synthetic data set where it is not there yet.
    train_sources = _open(config, config.data.train_split)
    validation_sources = _open(config, config.data.validation_split)
    _open(config, config.data.test_split)  # a mistake in its name should not show only after the training
    fingerprints = {
        "train": pipeline.fingerprint(config.data, train_sources),
        "validation": pipeline.fingerprint(config.data, validation_sources),
    }

    # 2. State: abstract first, so that a run that goes on never initialises.
    abstract = abstract_state(config, mesh)
    run_dir.claim(workdir, config)
    run_dir.write_about(workdir, abstract.params, fingerprints)
    checkpoints = Checkpoints(workdir / "checkpoints", keep=config.train.keep_checkpoints)
    state = checkpoints.restore_latest(abstract)
    if state is None:
        shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
        state = jax.jit(lambda: states.init_state(config), out_shardings=shardings)()
    start = done = int(state.step)
    steps = config.train.steps
    for source, weight in zip(train_sources, config.data.weights, strict=True):
        log.info("%s: %d records, weight %g.", source.name, len(source), weight)
    log.info(
        "%s %s: %d steps, %s parameters, %d device(s) (%s, %s).",
        f"Going on from step {start} of" if start else "Training",
        workdir,
        steps,
        f"{sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(abstract.params)):,}",
        mesh.size,
        mesh.devices.flat[0].device_kind,
        " x ".join(f"{axis} {size}" for axis, size in mesh.shape.items()),
    )

    # 3. Validation: also the last thing a run does that was interrupted just before it.
    writer = Writer(workdir, start)
    progress = Progress(start, steps, config.data.batch_size, quiet=jax.process_index() != 0)
    eval_step = evaluation.jit_eval_step(eval_steps.make_eval_step(config), mesh)

    def validate():
        began = time.perf_counter()
        with preemption.excused():
            of_datasets = _evaluate(config, state, validation_sources, "validation", mesh, eval_step, preemption.check)
        score = evaluation.selection_score(of_datasets, _selected_by(config))
        metrics = _named(config, of_datasets)
        log.info("step %d/%d: validation %s, mean %.4f", done, steps, _headlines(config, metrics), score)
        checkpoints.wait()  # for the best one before, long written: the score to beat is on disk
        best = checkpoints.best_score
        if best is None or score > best:
            checkpoints.save_best(done, state, score)
        if writer.value(done, SELECTION) is None:
            writer.write(done, {SELECTION: score} | {f"validation/{key}": value for key, value in metrics.items()})
        progress.pause(time.perf_counter() - began)

    def validated() -> bool:
        """Whether a run that goes on has the validation of its step, and a best checkpoint that is as good."""
        there, best = writer.value(done, SELECTION), checkpoints.best_score
        return there is not None and best is not None and best >= there

    finish_step = functools.partial(_finish_step, config, writer, progress)

    # 4. The loop. `state` is always that after `done` steps, so that it can be saved wherever a signal is looked at.
    train_step: Callable | None = None
    batch: dict[str, jax.Array] = {}
    profile = Profile(config.profile, workdir / "profile")
    pending: tuple[int, dict[str, jax.Array]] | None = None
    with preemption.deferred(), checkpoints:
        try:
            if _due(start, config.train.eval_every, steps) and not validated():
                validate()
            batches = _make_train_batches(config, train_sources, start)
            for batch in progress.timed(_prefetch_to_device(batches, mesh, preemption)):
                preemption.check()
                if train_step is None:
                    began = time.perf_counter()
                    train_step = compile_train_step(train_steps.make_train_step(config), config, state, batch, mesh)
                    progress.pause(time.perf_counter() - began)
                with profile.step(done + 1):
                    state, metrics = train_step(state, batch)
                progress.watch(metrics)
                done += 1
                profile.finish(done, metrics)
                # The metrics of the step before: the devices compute this one meanwhile, and the queue stays short.
                finish_step(pending)
                pending = (done, metrics)
                evaluate_now = _due(done, config.train.eval_every, steps)
                save_now = _due(done, config.train.checkpoint_every, steps)
                if evaluate_now or save_now:
                    finish_step(pending)  # a state whose loss is not finite is not saved
                    pending = None
                if save_now:
                    began = time.perf_counter()
                    checkpoints.save_latest(done, state)
                    progress.pause(time.perf_counter() - began)
                if evaluate_now:
                    validate()
        except Preempted:
            finish_step(pending)
            checkpoints.save_latest(done, state)
            checkpoints.wait()  # before it is said
            log.info("Stopped and saved after step %d of %d; the same command goes on from there.", done, steps)
            raise
        except jax.errors.JaxRuntimeError as error:
            if is_out_of_memory(error):
                raise out_of_memory(config, abstract, batch, train_step) from error
            raise
        finally:
            profile.close()
            progress.close()
            writer.close()
    if start == steps:
        log.info("All %d steps were done before.", steps)


def test(config: Config, workdir: pathlib.Path, mesh: Mesh, preemption: Preemption) -> dict[str, float]:
    """Evaluates the best checkpoint on the test split, on the radiographs' own grid, and prints a table.

    Writes eval_test.json, cases.parquet, the pictures and test_grid.png.
    """
    sources, names = _open(config, config.data.test_split), config.data.names
    records = [len(source) for source in sources]
    state, chosen = restore_best(workdir, config, mesh)
    states = [state, *(_restore_other(other, config, mesh) for other in config.evaluation.ensemble)]
    log.info("Testing the checkpoint of step %d, %s, on %d records.", state.step, chosen, sum(records))
    # One of several processes must not stop alone: it waits for the next check, which all of them make.
    with preemption.deferred() if jax.process_count() > 1 else contextlib.nullcontext(), preemption.excused():
        evaluated = {
            name: test_split.evaluate_source(
                config,
                states,
                source,
                mesh=mesh,
                dataset=dataset,
                name=name,
                check=preemption.check,
                quiet=None if jax.process_index() == 0 else True,
            )
            for dataset, (source, name) in enumerate(zip(sources, names, strict=True))
        }
    about = {
        "note": NOTE,
        "split": config.data.test_split,
        "records": dict(zip(names, records, strict=True)) if len(records) > 1 else records[0],
        "step": int(state.step),
        "checkpoint": chosen,
        **dataclasses.asdict(config.evaluation),
    }
    cases = {name: collect([one.case for one in of_dataset], {}) for name, of_dataset in evaluated.items()}
    metrics = _named(config, [flat(of_dataset) for of_dataset in cases.values()])
    if jax.process_index() == 0:
        run = {"run": workdir.resolve().name, "seed": config.seed, "tasks": config.tasks}
        test_split.write(workdir, evaluated, run | about, PICTURES)
        files.write_json(workdir / "eval_test.json", about | metrics)
    log.info("%s", _table(metrics))
    log.info(
        "Metrics: %s   Cases: %s   Pictures: %s and %s   Everything else: %s",
        workdir / "eval_test.json",
        workdir / "cases.parquet",
        workdir / "test_grid.png",
        workdir / test_split.PICTURES,
        workdir,
    )
    log.info("A report to look at: python -m ramjax.report --workdir=%s", workdir)
    log.info(NOTE)
    return metrics


def _restore_other(workdir: str, config: Config, mesh: Mesh) -> Any:
    """The best state of another run of the same network; raises RunError where it is none."""
    other = run_dir.load_config(workdir)
    if (other.model, other.tasks, other.data.canvas) != (config.model, config.tasks, config.data.canvas):
        raise RunError(
            f"evaluation.ensemble names {workdir}, whose network, tasks or canvas differ; name runs of the same."
        )
    return restore_best(workdir, other, mesh)[0]


def _named(config: Config, of_datasets: Sequence[dict[str, float]]) -> dict[str, float]:
    """The metrics of all data sets; where there are several, each one's begin with its name."""
    if len(of_datasets) == 1:
        return of_datasets[0]
    named = zip(config.data.names, of_datasets, strict=True)
    return {f"{name}/{key}": value for name, metrics in named for key, value in metrics.items()}


def _open(config: Config, split: str) -> tuple[pipeline.Source, ...]:
    """Opens the split of every data set; one that is unknown or empty is the user's to mend."""
    try:
        sources = pipeline.open_sources(config.data, split)
    except ValueError as error:
        raise RunError(str(error)) from error
    for dataset, source in zip(config.data.datasets, sources, strict=True):
        if not len(source):
            raise RunError(f"Split {split!r} of data set {dataset} has no records; name another.")
    return sources


def _make_train_batches(
    config: Config, sources: Sequence[pipeline.Source], start: int
) -> Iterable[dict[str, np.ndarray]]:
    return pipeline.make_train_batches(
        config.data,
        sources,
        seed=config.seed,
        start_step=start,
        steps=config.train.steps,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def _make_eval_batches(config: Config, source: pipeline.Source, dataset: int) -> Iterable[dict[str, np.ndarray]]:
    return pipeline.make_eval_batches(
        config.data,
        source,
        dataset=dataset,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def _prefetch_to_device(
    batches: Iterable[dict[str, np.ndarray]], mesh: Mesh, preemption: Preemption
) -> Iterator[dict[str, jax.Array]]:
    """Keeps one batch ready on the devices while the step before it runs."""
    ready = None
    with preemption.excused():
        for batch in batches:
            following = sharding.place_batch(batch, mesh)
            if ready is not None:
                yield ready
            ready = following
    if ready is not None:
        yield ready


def _finish_step(
    config: Config,
    writer: Writer,
    progress: Progress,
    pending: tuple[int, dict[str, jax.Array]] | None,
) -> None:
    """Waits for a step, stops where its loss is not finite, and reports it where the log is due."""
    if pending is None:
        return
    number, metrics = pending[0], {key: float(value) for key, value in jax.device_get(pending[1]).items()}
    progress.advance()
    broken = [key for key, value in metrics.items() if not math.isfinite(value)]
    if broken:
        where = [key.removeprefix("loss/") for key in broken if key.startswith("loss/")]
        what = f"loss of {' and '.join(where)}" if where else broken[0]
        raise RunError(
            f"The {what} is not finite at step {number}; lower optimizer.learning_rate (now "
            f"{config.optimizer.learning_rate:g}) or look at the data of that batch; earlier checkpoints are whole."
        )
    if _due(number, config.train.log_every, config.train.steps):
        speed = progress.report(number, metrics)
        writer.write(number, {f"train/{key}": value for key, value in (metrics | speed).items()})


def _evaluate(config, state, sources, label, mesh, eval_step, check) -> list[dict[str, float]]:
    """The metrics of each data set by itself, all by the one compiled step."""
    names = config.data.names
    return [
        evaluation.evaluate(
            eval_step,
            state,
            _make_eval_batches(config, source, dataset),
            mesh=mesh,
            size=len(source),
            summarize=functools.partial(eval_steps.summarize, config),
            label=label if len(sources) == 1 else f"{label} {names[dataset]}",
            check=check,
            total=-(-len(source) // config.data.eval_batch_size),
            quiet=None if jax.process_index() == 0 else True,
        )
        for dataset, source in enumerate(sources)
    ]


def _selected_by(config: Config) -> dict[str, tuple[str, ...]]:
    return {task.name: task.selected_by for task in make_tasks(config)}


def _headlines(config: Config, metrics: dict[str, float]) -> str:
    """The metrics that checkpoints are selected by, of each data set those it has labels of."""
    ends = tuple(f"{task}/{name}" for task, names in _selected_by(config).items() for name in names)
    return ", ".join(
        f"{name} {value:.4f}" for name, value in metrics.items() if name.endswith(ends) and metrics[f"{name}/n"]
    )


def _table(metrics: dict[str, float]) -> str:
    """The headlines of the test metrics, in both modes where they differ."""
    names = [name for name in metrics if name.endswith(HEADLINES) and "compat/" not in name]
    width = max(len(name) for name in names)
    rows = []
    for name in names:
        dataset = name.removesuffix(next(filter(name.endswith, HEADLINES)))
        compat = metrics.get(f"{dataset}compat/{name.removeprefix(dataset)}")
        shown = "" if compat is None else f"{compat:.4f}"
        rows.append(f"  {name:{width}}  {metrics[name]:>10.4f}  {shown:>10}  {metrics[name + '/n']:>8}")
    return "\n".join([f"  {'test metric':{width}}  {'strict':>10}  {'compat':>10}  {'n':>8}", *rows])


def _due(number: int, every: int, last: int) -> bool:
    """Whether something done every so many steps, and at the last, is due after `number` steps."""
    return number > 0 and (number % every == 0 or number == last)

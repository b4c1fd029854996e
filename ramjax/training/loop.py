"""Training from beginning to end, in the order in which it happens.

    data -> mesh -> compiled init -> restore -> steps (batch, step, last step's metrics, validation, checkpoint) -> test

The result is a function of the config, the data and the step alone. So an interrupted run that is started again with
the same workdir ends with the same parameters, bit for bit, as an uninterrupted one.
"""

import contextlib
import dataclasses
import functools
import logging
import math
import pathlib
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh

from ramjax import files
from ramjax.config import Config
from ramjax.data import pipeline
from ramjax.devices import compilation, sharding
from ramjax.devices.compilation import compile_train_step, is_device_out_of_memory, out_of_memory
from ramjax.devices.preemption import Preempted, Preemption
from ramjax.errors import RunError
from ramjax.evaluation import testing, validation
from ramjax.evaluation.split_metrics import CANVAS, by_dataset
from ramjax.notice import NOTE
from ramjax.printable import printable
from ramjax.runs import run_dir
from ramjax.runs.checkpoints import Checkpoints
from ramjax.steps import device_cache
from ramjax.steps import evaluate as eval_steps
from ramjax.steps import state as states
from ramjax.steps import train as train_steps
from ramjax.steps.affinity import make_affinity
from ramjax.steps.device_cache import DeviceCache
from ramjax.tasks import Task, labels_of, make_tasks
from ramjax.training import beginning, log_lines
from ramjax.training.profiling import Profile
from ramjax.training.progress import Progress
from ramjax.training.writers import Writer

Mode = Literal["train", "eval", "train_and_eval"]
SHOWN_HANDS = 6

SELECTION = "validation/selection"
"""The score that the best checkpoint is chosen by, in the metrics."""

log = logging.getLogger(__name__)


def run(config: Config, workdir: pathlib.Path, mode: Mode, preemption: Preemption) -> dict[str, float] | None:
    """Trains, evaluates, or both.

    Args:
      config: the experiment.
      workdir: the run directory; an interrupted run continues there.
      mode: ``train`` stops after the last step, ``eval`` repeats the test evaluation of the best checkpoint.
      preemption: entered, so that signals arrive.

    Returns:
      The metrics of the test split, also in eval_test.json; None for ``train``.

    Raises:
      ConfigError, RunError: something that a user can fix; the message says how.
      Preempted: told to stop; everything done so far is saved.
    """
    mesh = sharding.make_mesh(config)
    try:
        with Writer(workdir, config) as writer:
            if mode != "eval":
                with run_dir.locked(workdir):
                    train(config, workdir, mesh, preemption, writer)
            return None if mode == "train" else test(config, workdir, mesh, preemption, writer)
    except jax.errors.JaxRuntimeError as error:
        if is_device_out_of_memory(error):  # outside the steps: when the state was made or restored, or in the test
            raise out_of_memory(config, states.abstract_state(config, mesh), {}, None) from error
        raise


def train(config: Config, workdir: pathlib.Path, mesh: Mesh, preemption: Preemption, writer: Writer) -> None:
    """Takes the remaining steps, with validation and checkpoints; see `run`."""
    # 1. Data. Opening the training split prepares a synthetic data set where it is not there yet.
    tasks = make_tasks(config)
    train_sources = _open(config, config.data.train_split, pipeline.open_train_sources)
    validation_sources = _open(config, config.data.validation_split)
    _open(config, config.data.test_split)  # a mistake in its name should not show only after the training
    fingerprints = {
        "train": pipeline.fingerprint(config.data, train_sources),
        "validation": pipeline.fingerprint(config.data, validation_sources),
    }

    # 2. State: abstract first, so that a run that goes on never initialises.
    abstract = states.abstract_state(config, mesh)
    run_dir.claim(workdir, config)
    run_dir.write_about(workdir, abstract.params, fingerprints)
    checkpoints = Checkpoints(workdir / "checkpoints", keep=config.train.keep_checkpoints)
    state = checkpoints.restore_latest(abstract)
    if state is None:
        state = states.place_first_state(config, abstract)
        if config.init.source:
            state = beginning.start_from_source(config, state, abstract, workdir)
    start = done = int(state.step)
    steps = config.train.steps
    log_lines.start(config, tasks, workdir, mesh, train_sources, abstract.params, start)

    # 3. What watches over the steps.
    writer.start(start)
    progress = Progress(start, steps, config.data.batch_size, quiet=jax.process_index() != 0)
    eval_step = validation.jit_eval_step(
        eval_steps.make_eval_step(config), mesh, deterministic=config.train.deterministic
    )
    validate = _Validation(
        config, tasks, validation_sources, mesh, eval_step, checkpoints, writer, progress, preemption
    )
    profile = Profile(config.profile, workdir / "profile")
    if config.affinity.every:
        measure_affinity = compilation.jit(make_affinity(config), deterministic=config.train.deterministic)

    # 4. The loop. `state` is always that after `done` steps, so that it can be saved wherever a signal is looked at.
    seed = states.place_seed(config, mesh)
    train_step: Callable | None = None
    batch: dict[str, jax.Array] = {}
    pending: tuple[int, dict[str, jax.Array]] | None = None
    with preemption.deferred(), checkpoints, contextlib.ExitStack() as ending:
        try:
            # A run that was stopped in the validation of its step, be it the last one, makes that up first.
            if _due(start, config.train.eval_every, steps) and not validate.was_made(start):
                validate(start, state)
            cache = device_cache.fill(config, train_sources, labels_of(tasks), mesh) if start < steps else None
            batches = _make_train_batches(config, tasks, train_sources, start, cache)
            ending.enter_context(contextlib.closing(batches))
            for batch in progress.timed(_prefetch_to_device(batches, mesh, cache, preemption)):
                preemption.check()
                if train_step is None:
                    began = time.perf_counter()
                    step = train_steps.make_train_step(config)
                    train_step = compile_train_step(step, config, state, batch, mesh, seed)
                    progress.pause(time.perf_counter() - began)
                with profile.step(done + 1):
                    state, metrics = train_step(state, batch, seed)
                progress.watch(metrics)
                done += 1
                profile.finish(done, metrics)
                # The metrics of the step before: the devices compute this one meanwhile, and the queue stays short.
                _finish_step(config, writer, progress, pending)
                pending = (done, metrics)
                evaluate_now = _due(done, config.train.eval_every, steps)
                save_now = _due(done, config.train.checkpoint_every, steps)
                if evaluate_now or save_now:
                    _finish_step(config, writer, progress, pending)  # a state whose loss is not finite is not saved
                    pending = None
                if config.affinity.every and done % config.affinity.every == 0:
                    began = time.perf_counter()
                    _write_affinity(writer, done, measure_affinity(state, batch, seed))
                    progress.pause(time.perf_counter() - began)
                if save_now:
                    began = time.perf_counter()
                    checkpoints.save_latest(done, state)
                    progress.pause(time.perf_counter() - began)
                if evaluate_now:
                    validate(done, state)
        except Preempted:
            _finish_step(config, writer, progress, pending)
            checkpoints.save_latest(done, state)
            checkpoints.wait()  # before it is said
            log.info("Stopped and saved after step %d of %d; the same command continues from there.", done, steps)
            raise
        except jax.errors.JaxRuntimeError as error:
            if is_device_out_of_memory(error):
                raise out_of_memory(config, abstract, batch, train_step) from error
            raise
        finally:
            profile.close()
            progress.close()
    if start == steps:
        log.info("All %d steps were done before.", steps)


@dataclasses.dataclass(frozen=True)
class _Validation:
    """Validates a state, writes its metrics, and saves it if it is the best so far."""

    config: Config
    tasks: Sequence[Task]
    sources: Sequence[pipeline.Source]
    mesh: Mesh
    eval_step: validation.EvalStep
    checkpoints: Checkpoints
    writer: Writer
    progress: Progress
    preemption: Preemption

    def __call__(self, done: int, state: Any) -> None:
        began = time.perf_counter()
        with self.preemption.excused():
            of_datasets = [self._evaluate(state, dataset) for dataset in range(len(self.sources))]
        selected_by = _selected_by(self.tasks)
        score = validation.selection_score(of_datasets, selected_by) if selected_by else float(done)
        metrics = by_dataset(self.config, of_datasets)
        shown = log_lines.selected(self.config, selected_by, metrics)
        log.info("step %d/%d: validation %s, mean %.4f", done, self.config.train.steps, shown, score)
        self.checkpoints.wait()  # for the best one before, long written: the score to beat is on disk
        best = self.checkpoints.best_score
        if best is None or score > best:
            self.checkpoints.save_best(done, state, score)
        if self.writer.value(done, SELECTION) is None:
            self.writer.write(done, {SELECTION: score} | {f"validation/{key}": value for key, value in metrics.items()})
        self.progress.pause(time.perf_counter() - began)

    def was_made(self, step: int) -> bool:
        """Whether the metrics of a step are written, and the best checkpoint is at least as good."""
        there, best = self.writer.value(step, SELECTION), self.checkpoints.best_score
        return there is not None and best is not None and best >= there

    def _evaluate(self, state: Any, dataset: int) -> dict[str, float]:
        """The metrics of one data set, by the compiled step that all share."""
        source, name = self.sources[dataset], self.config.data.names[dataset]
        batches = pipeline.make_eval_batches(
            self.config.data,
            source,
            labels=labels_of(self.tasks),
            dataset=dataset,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        with contextlib.closing(batches):
            return validation.evaluate(
                self.eval_step,
                state,
                batches,
                mesh=self.mesh,
                size=len(source),
                summarize=functools.partial(validation.canvas_metrics_of, self.tasks, name),
                label="validation" if len(self.sources) == 1 else f"validation {name}",
                check=self.preemption.check,
                total=-(-len(source) // self.config.data.eval_batch_size),
                quiet=None if jax.process_index() == 0 else True,
            )


def test(config: Config, workdir: pathlib.Path, mesh: Mesh, preemption: Preemption, writer: Writer) -> dict[str, float]:
    """Evaluates the best checkpoint on the test split, on the radiographs' own grid, and prints a table.

    Writes eval_test.json, cases.parquet, the pictures and test_grid.png.
    """
    tasks = make_tasks(config)
    sources, names = _open(config, config.data.test_split), config.data.names
    records = [len(source) for source in sources]
    averaged, chosen = states.restore_averaged(workdir, config, mesh)
    step = int(averaged[0].step)
    log.info("Testing the checkpoint of step %d, %s, on %d records.", step, chosen, sum(records))
    # One of several processes must not stop alone: it waits for the next check, which all of them make.
    with preemption.deferred() if jax.process_count() > 1 else contextlib.nullcontext(), preemption.excused():
        quiet = None if jax.process_index() == 0 else True
        evaluated = testing.evaluate_sources(config, averaged, sources, mesh=mesh, check=preemption.check, quiet=quiet)
    about = {
        "note": NOTE,
        "split": config.data.test_split,
        "records": dict(zip(names, records, strict=True)) if len(records) > 1 else records[0],
        "step": step,
        "checkpoint": chosen,
        **dataclasses.asdict(config.evaluation),
    }
    metrics = testing.metrics_of(config, evaluated)
    if jax.process_index() == 0:
        run = {"run": printable(workdir.resolve().name), "seed": config.seed, "tasks": config.tasks}
        testing.write(workdir, evaluated, run | about, tasks, SHOWN_HANDS)
        files.write_json(workdir / "eval_test.json", files.with_checksum(about | metrics))
    writer.test(step, metrics, {"test_grid": workdir / "test_grid.png"})
    log.info("%s", log_lines.table(config, tasks, metrics))
    log.info(
        "Metrics: %s   Cases: %s   Pictures: %s and %s   Everything else: %s",
        workdir / "eval_test.json",
        workdir / "cases.parquet",
        workdir / "test_grid.png",
        workdir / testing.PICTURES,
        workdir,
    )
    log.info("A report to look at: python -m ramjax.report --workdir=%s", shlex.quote(str(workdir)))
    log.info(NOTE)
    return metrics


def _open(config: Config, split: str, open_train: Callable | None = None) -> tuple[pipeline.Source, ...]:
    """Opens the split of every data set, by `open_train` if given; raises RunError if one is unknown or empty."""
    try:
        sources = open_train(config.data) if open_train else pipeline.open_sources(config.data, split)
    except ValueError as error:
        raise RunError(str(error)) from error
    for dataset, source in zip(config.data.datasets, sources, strict=True):
        if not len(source):
            raise RunError(f"Split {split!r} of data set {dataset} has no records; name another.")
    return sources


def _make_train_batches(
    config: Config, tasks: Sequence[Task], sources: Sequence[pipeline.Source], start: int, cache: DeviceCache | None
) -> Iterator[dict[str, np.ndarray]]:
    """The batches, or with a cache the plans that it makes them of."""
    make = pipeline.make_train_batches if cache is None else pipeline.make_train_plans
    return make(
        config.data,
        sources,
        seed=config.seed,
        start_step=start,
        steps=config.train.steps,
        labels=labels_of(tasks),
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def _prefetch_to_device(
    batches: Iterable[dict[str, np.ndarray]], mesh: Mesh, cache: DeviceCache | None, preemption: Preemption
) -> Iterator[dict[str, jax.Array]]:
    """Keeps one batch ready on the devices while the step before it runs."""
    ready = None
    with preemption.excused():
        for batch in batches:
            following = sharding.place_batch(batch, mesh)
            if cache is not None:
                following = cache.batch(following)
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


def _write_affinity(writer: Writer, number: int, metrics: dict[str, jax.Array]) -> None:
    """Writes what `make_affinity` measured; pairs of which one had no label in the batch are left out."""
    values = {f"train/affinity/{name}": float(value) for name, value in jax.device_get(metrics).items()}
    writer.write(number, {name: value for name, value in values.items() if math.isfinite(value)})


def _selected_by(tasks: Sequence[Task]) -> dict[str, tuple[str, ...]]:
    """By task, the names of the validation metrics that checkpoints are selected by."""
    return {task.name: tuple(CANVAS + name for name in task.selected_by) for task in tasks if task.selected_by}


def _due(number: int, every: int, last: int) -> bool:
    """Whether something is due after `number` steps that is done `every` so many steps and at the `last`."""
    return number > 0 and (number % every == 0 or number == last)

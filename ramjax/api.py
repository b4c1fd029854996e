"""What `import ramjax` offers: experiments, data, networks and runs, for scripts and notebooks.

The commands use the same functions. Everything here is for research use only, not a medical device.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from ramjax import command_line
from ramjax.config import Config
from ramjax.data import pipeline
from ramjax.data.source import Source, open_source
from ramjax.devices import compilation, sharding
from ramjax.devices.preemption import Preemption
from ramjax.devices.sharding import on_one_device
from ramjax.evaluation import testing
from ramjax.experiment import load_experiment
from ramjax.figures import overlay
from ramjax.inference import network as networks
from ramjax.inference.reading import HandReading, Options, read
from ramjax.io.images import read_radiograph
from ramjax.io.radiograph import Radiograph, to_uint8
from ramjax.logs import logging_to
from ramjax.models.network import MultiTaskNetwork, unpack
from ramjax.printable import printable
from ramjax.record import Record
from ramjax.runs import run_dir, weights
from ramjax.steps.batches import SHOWN_BOXES
from ramjax.steps.state import make_network, restore_averaged, restore_network, split_network
from ramjax.steps.train import make_gradient
from ramjax.tasks import TASKS, Task, labels_of, make_tasks

__all__ = (
    "Config", "HandReading", "Record", "Run", "build_network", "draw", "eval_batches", "load", "load_experiment",
    "loss_and_gradient", "open_dataset", "train", "train_batches",
)  # fmt: skip


def open_dataset(dataset: str, split: str, data_dir: str = "data") -> Source:
    """The records of a split, as a sequence; a synthetic data set that is absent is rendered first.

    Args:
      dataset: builder and config, such as ``ram_phantom/small``, ``ram_h1200`` or ``ram_w600/joint``.
      split: ``train``, ``validation``, ``test``, or a part of one: ``train[:8]``.
      data_dir: folder of prepared data sets.

    Raises:
      ValueError, OSError: the data set, its config or its split is unknown; it is absent and needs a release.
    """
    return open_source(dataset, data_dir, split)


def train_batches(config: Config, start_step: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """The batches that training sees, from `start_step` to its last step; see `ramjax.data.pipeline` for their keys."""
    data = config.data
    return pipeline.make_train_batches(
        data,
        pipeline.open_train_sources(data),
        seed=config.seed,
        start_step=start_step,
        steps=config.train.steps,
        labels=labels_of(make_tasks(config)),
    )


def eval_batches(config: Config, split: str) -> Iterator[dict[str, np.ndarray]]:
    """The batches of a split, data set by data set, without augmentation; ``valid`` is False in rows that are fill."""
    labels = labels_of(make_tasks(config))
    for dataset, source in enumerate(pipeline.open_sources(config.data, split)):
        yield from pipeline.make_eval_batches(config.data, source, labels=labels, dataset=dataset)


def build_network(config: Config) -> MultiTaskNetwork:
    """The network of an experiment with its first parameters: images (b, h, w, 1) to {task: raw outputs}."""
    network = make_network(config, config.seed)
    network.eval()
    return network


def loss_and_gradient(
    config: Config, network: MultiTaskNetwork, batch: Mapping[str, np.ndarray], seed: int = 0
) -> tuple[dict[str, float], Any]:
    """The losses of a batch, and the gradient of the whole loss, in training.

    Args:
      config: of the network.
      network: is not changed.
      batch: of `train_batches` or `eval_batches`. Heads that need boxes are given the annotated ones.
      seed: of dropout and all other random numbers.

    Returns:
      ``loss``, and the unweighted loss of each task by its name; and the gradient, a nested dict of the parameters.
    """
    params, variables = split_network(network)
    batch = dict(batch)
    if "boxes" in batch:
        batch[SHOWN_BOXES] = batch["boxes"]
    grads, losses, _, _ = _gradient(config)(params, variables, jax.random.key(seed), batch)
    weights = {task.name: task.weight for task in make_tasks(config)}
    losses = {name: float(loss) for name, loss in losses.items()}
    return {"loss": sum(weights[name] * loss for name, loss in losses.items()), **losses}, grads


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained run, or a network from a file of weights.

    Attributes:
      workdir: its folder, or the file.
      config: the experiment.
      tasks: of the network, in the order in which their heads run.
      step: optimiser steps that the parameters have seen.
      network: with averaged parameters; those of a run are of the checkpoint that was best on validation.
    """

    workdir: pathlib.Path
    trained: networks.TrainedNetwork

    @property
    def config(self) -> Config:
        return self.trained.config

    @property
    def tasks(self) -> tuple[Task, ...]:
        return self.trained.tasks

    @property
    def name(self) -> str:
        return self.trained.name

    @property
    def step(self) -> int:
        return self.trained.step

    @property
    def parameters(self) -> Any:
        """A nested dict of arrays."""
        return self.trained.state.ema_params

    @functools.cached_property
    def network(self) -> MultiTaskNetwork:
        state = self.trained.state
        network = restore_network(self.config, state.ema_params, state.ema_variables, jax.random.key(0))
        network.eval()
        return network

    def outputs(self, images: Float[Array, "b h w 1"], boxes: Array | None = None) -> dict[str, dict[str, Array]]:
        """The raw outputs of every head. Images are of the canvas's size, grey values 0..1, with as many channels as
        `CanvasConfig.detail` asks for."""
        return self._outputs(images, boxes)

    def features(self, images: Float[Array, "b h w 1"]) -> list[Array]:
        """The dense features that the heads are given, finest first."""
        return self._features(images)

    def predictions(self, images: Float[Array, "b h w 1"]) -> dict[str, np.ndarray]:
        """Probabilities, boxes in canvas pixels, and what else the tasks predict; see `Task.predictions`."""
        return dict(self.trained.predict(np.asarray(images, np.float32)))

    def predict(
        self,
        radiograph: str | pathlib.Path | np.ndarray | Radiograph,
        pixel_spacing_mm: float | None = None,
        **known: str,
    ) -> HandReading:
        """Finds bones, joints, erosions and scores in one radiograph of a hand or wrist, of any size and either side.

        Args:
          radiograph: a file (PNG, BMP, JPEG, TIFF, DICOM), or grey values (H, W), uint8 or float; of floats the least
            is black and the greatest is white.
          pixel_spacing_mm: side of a pixel; it takes precedence over what the file says.
          **known: ``side`` (``L`` or ``R``) and ``view`` (``hand`` or ``wrist``), where they are known.

        Raises:
          ImageError: the file is not a readable radiograph.
        """
        name = ""
        if isinstance(radiograph, str | pathlib.Path):
            path = pathlib.Path(radiograph).expanduser()
            name, radiograph = printable(path.name), read_radiograph(path)
        elif isinstance(radiograph, np.ndarray):
            radiograph = Radiograph(radiograph if radiograph.dtype == np.uint8 else to_uint8(radiograph))
        return read(radiograph, self.trained, Options(spacing_mm=pixel_spacing_mm, **known), name=name)

    def evaluate(self, split: str = "test", quiet: bool | None = None) -> dict[str, float]:
        """The metrics of a split on the radiographs' own grid, as in eval_test.json; writes nothing."""
        mesh = sharding.make_mesh(on_one_device(self.config))
        of_run = self.workdir.is_dir()
        states = restore_averaged(self.workdir, self.config, mesh)[0] if of_run else [self.trained.state]
        sources = pipeline.open_sources(self.config.data, split)
        evaluated = testing.evaluate_sources(self.config, states, sources, mesh=mesh, quiet=quiet)
        return testing.metrics_of(self.config, evaluated)

    def export(self, path: str | pathlib.Path, about: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Writes the network to one safetensors file, in half precision, which `load` and ``--workdir`` take.

        Args:
          path: of the file; its name ends in .safetensors.
          about: what people should know of the network, plain values; it is kept in the file.

        Raises:
          ValueError: the name ends otherwise, or a parameter is not finite in half precision.
        """
        networks.export(self.trained, path, about)

    @functools.cached_property
    def _outputs(self) -> Callable[..., dict[str, dict[str, Array]]]:
        graphdef, state = nnx.split(self.network)
        jitted = compilation.jit(
            lambda state, images, boxes: nnx.merge(graphdef, state)(images, boxes),
            deterministic=self.config.train.deterministic,
        )
        return functools.partial(jitted, state)

    @functools.cached_property
    def _features(self) -> Callable[..., list[Array]]:
        graphdef, state = nnx.split(self.network)

        def features(state, images):
            network = nnx.merge(graphdef, state)
            return network.encode(unpack(images, network.detail)[0])

        return functools.partial(compilation.jit(features, deterministic=self.config.train.deterministic), state)


def load(workdir: str | pathlib.Path = weights.DEFAULT) -> Run:
    """Loads a network.

    Args:
      workdir: a run, of which the checkpoint that was best on validation is taken; a safetensors file of `Run.export`;
        or ``default``, the network that ships with ramjax.

    Raises:
      RunError: `workdir` is none of these, or has no whole checkpoint.
    """
    command_line.keep_compiled_programs()
    return Run(weights.path_of(workdir) or pathlib.Path(workdir).expanduser(), networks.load(workdir))


def train(config: Config, workdir: str | pathlib.Path) -> Run:
    """Trains and evaluates as `python -m ramjax.main` does, in one process; continues where it was stopped.

    Raises:
      ConfigError, RunError: something that you can fix; the message says how.
    """
    from ramjax.training import epochs, loop

    command_line.keep_compiled_programs()
    config, workdir = epochs.in_steps(config), pathlib.Path(workdir).expanduser()
    run_dir.prepare(workdir, config)
    with logging_to(workdir / "log.txt"), Preemption() as preemption:
        loop.run(config, workdir, "train_and_eval", preemption)
    return load(workdir)


def draw(record: Record, height: int = 900) -> np.ndarray:
    """A record with what is annotated in it, uint8 RGB."""
    drawn: list[overlay.Shape] = []
    for task in (task(None) for task in TASKS):
        if (finding := task.annotated(record)) is not None:
            drawn = task.draw(finding, drawn)
    scale = height / record.image.shape[0]
    return overlay.paint(overlay.grey_to_rgb(record.image, scale), drawn, scale, max(1, round(height / 900)))


@functools.lru_cache(maxsize=4)
def _gradient(config: Config):
    return compilation.jit(make_gradient(config), deterministic=config.train.deterministic)

"""One writer for the training: it keeps metrics.jsonl and hands everything on to the trackers, in process 0 only."""

import importlib.util
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from ramjax import config as config_lib
from ramjax import files
from ramjax.config import Config
from ramjax.errors import RunError
from ramjax.training.writers import jsonl
from ramjax.training.writers.follower import Follower
from ramjax.training.writers.jsonl import JsonLines
from ramjax.training.writers.mlflow import MLflow
from ramjax.training.writers.tensorboard import TensorBoard
from ramjax.training.writers.tracker import Tracker
from ramjax.training.writers.wandb import WandB


class Writer:
    """Writes what a run measures; a context that closes it.

    Nothing is opened before `start` or `test`, so that a run that cannot begin leaves nothing.

    Args:
      folder: the run directory.
      config: of the run; `config.tracking` names the trackers.

    Raises:
      RunError: the package of a tracker is not installed.
    """

    def __init__(self, folder: pathlib.Path, config: Config):
        self._folder, self._config = folder, config
        self._lines: JsonLines | None = None
        self._trackers: list[Tracker] | None = None
        for name in config.tracking.writers:
            if name != "tensorboard" and not _is_installed(name):
                raise RunError(
                    f"tracking.writers names {name}, which is not installed; do that with: "
                    f"pip install 'ramjax[{name}]', or leave it out."
                )

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(failed=kind is not None)

    def start(self, step: int) -> None:
        """Begins the training, or goes on from `step`: rows after it are dropped, for their steps are done again."""
        self._lines = JsonLines(self._folder, step, writing=jax.process_index() == 0)
        self._trackers = self._open_trackers(self._lines.rows, step)

    def value(self, step: int, key: str) -> float | None:
        """What was written of `step` before the training went on; None where that is nothing, or no number."""
        return None if self._lines is None else self._lines.value(step, key)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Writes metrics of a training step; numbers that are not finite are gaps. Only after `start`.

        Raises:
          OSError: the run directory does not take them; it names the file.
        """
        if self._lines is None or self._trackers is None:
            raise ValueError("The writer was not started.")
        self._lines.write(step, metrics)
        for tracker in self._trackers:
            tracker.write(step, metrics)

    def test(self, step: int, metrics: Mapping[str, float], pictures: Mapping[str, pathlib.Path]) -> None:
        """Hands the metrics of the test split on to the trackers, as ``test/...``, and pictures by name.

        Raises:
          OSError: as `write`.
        """
        if self._trackers is None:
            self._trackers = self._open_trackers(files.read_json_lines(self._folder / jsonl.NAME), None)
        for tracker in self._trackers:
            tracker.test(step, {f"test/{name}": value for name, value in metrics.items()})
            tracker.pictures(step, pictures)

    def close(self, failed: bool = False) -> None:
        """Closes all files and sessions; `failed` where the run was stopped or broke off."""
        if self._lines is not None:
            self._lines.close()
        for tracker in self._trackers or ():
            tracker.close(failed)
        self._lines = self._trackers = None

    def _open_trackers(self, rows: Sequence[Mapping[str, Any]], start_step: int | None) -> list[Tracker]:
        """Those of the config, in its order; `start_step` None where there is only a test."""
        if jax.process_index() != 0:
            return []
        settings, kept = self._config.tracking, self._folder / "tracking"
        name = settings.name or self._folder.resolve().name
        made: list[Tracker] = []
        for kind in settings.writers:
            if kind == "tensorboard":
                made.append(TensorBoard(self._folder / "tensorboard", start_step))
                continue
            kept.mkdir(exist_ok=True)
            title, connect = {
                "wandb": ("Weights & Biases", lambda id: WandB(settings.project, name, id, kept)),
                "mlflow": ("MLflow", lambda id: MLflow(settings.project, name, id)),
            }[kind]
            made.append(Follower(title, connect, kept / f"{kind}.json", rows))
        for tracker in made:
            tracker.hyperparameters(config_lib.to_dict(self._config))
        return made


def _is_installed(package: str) -> bool:
    """Whether it can be imported; a mere folder of that name in the working directory is no package."""
    found = importlib.util.find_spec(package)
    return found is not None and found.origin is not None

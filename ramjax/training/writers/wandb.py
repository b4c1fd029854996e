"""Weights & Biases: pip install "ramjax[wandb]"."""

import logging
import os
import pathlib
import secrets
from collections.abc import Mapping
from typing import Any

from ramjax.training.writers.tracker import finite

log = logging.getLogger(__name__)


class WandB:
    """A run of Weights & Biases; see `Tracker`.

    The package's own environment variables hold, such as WANDB_MODE, WANDB_API_KEY, WANDB_ENTITY, WANDB_BASE_URL and
    WANDB_DIR. Where WANDB_MODE is not set and nobody is logged in, the run is written offline, to be sent by
    ``wandb sync``; nothing is asked.

    Args:
      project, name: of the run.
      id: of a run that goes on; '' begins one.
      folder: for the package's own files, unless WANDB_DIR names another.
    """

    def __init__(self, project: str, name: str, id: str, folder: pathlib.Path):
        import wandb

        self.id = id or secrets.token_hex(4)
        self._wandb = wandb
        mode = None if os.environ.get("WANDB_MODE") or wandb.login(prompt=False) else "offline"
        self._run = wandb.init(
            project=project,
            name=name,
            id=self.id,
            resume="allow",
            mode=mode,
            dir=os.environ.get("WANDB_DIR") or folder,
            settings=wandb.Settings(console="off", silent=True),
        )
        # The step is a value as others are: W&B's own may not go back, which a run that goes on would have to.
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")
        if self._run.offline:
            sessions = pathlib.Path(self._run.dir).parents[1] / f"offline-run-*-{self.id}"
            log.info("Weights & Biases, offline; to send it: wandb sync %s", sessions)
        elif self._run.url:
            log.info("Weights & Biases: %s", self._run.url)

    def hyperparameters(self, config: Mapping[str, Any]) -> None:
        self._run.config.update(dict(config), allow_val_change=True)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log({"step": step, **finite(metrics)})

    def test(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.summary.update({"test/step": step, **finite(metrics)})

    def pictures(self, step: int, pictures: Mapping[str, pathlib.Path]) -> None:
        images = {name: self._wandb.Image(str(path)) for name, path in pictures.items()}
        self._run.log({"step": step, **images})

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))

"""A trained run, ready to be asked."""

import dataclasses
import functools
import pathlib

from ramjax.config import Config
from ramjax.devices import compilation, sharding
from ramjax.errors import RunError
from ramjax.inference.search import PredictFn
from ramjax.runs import run_dir
from ramjax.steps.predict import make_predict_step
from ramjax.steps.state import restore_best


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained network and where it comes from.

    Attributes:
      config: of the run.
      name: of the run's folder.
      step: optimiser steps the parameters have seen.
      predict: image float32 (b, h, w, 1) in 0..1 to the predictions, each (b, ...).
    """

    config: Config
    name: str
    step: int
    predict: PredictFn


def load(workdir: str | pathlib.Path) -> Model:
    """Loads the checkpoint of a run that was best on validation, or the latest, on one device.

    Raises:
      RunError: `workdir` is no run, holds no whole checkpoint, or has only scores, which need joints to stand at.
    """
    workdir = pathlib.Path(workdir).expanduser()
    config = run_dir.load_config(workdir)
    if set(config.tasks) == {"scores"}:
        raise RunError(
            f"{workdir} has only scores and cannot find joints; predict with a run whose tasks include joints."
        )
    mesh = sharding.make_mesh(
        dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, data=1, fsdp=1, space=1))
    )
    state, _ = restore_best(workdir, config, mesh)
    predict = functools.partial(compilation.jit(make_predict_step(config)), state)
    return Model(config, workdir.resolve().name, int(state.step), predict)

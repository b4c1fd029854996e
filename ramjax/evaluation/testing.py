"""The evaluation of a test split: every record is predicted, measured on its own grid and drawn, exactly once."""

import dataclasses
import itertools
import pathlib
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from ramjax.config import Config, EvaluationConfig
from ramjax.data import parallel, pipeline
from ramjax.devices import sharding
from ramjax.evaluation import measuring, pictures, predictions
from ramjax.evaluation.measuring import Prediction
from ramjax.evaluation.split_metrics import by_dataset, summarize
from ramjax.metrics import cases as cases_lib
from ramjax.metrics.cases import Case, Cases
from ramjax.tasks import Task, make_tasks, parts_of
from ramjax.written import Written

PICTURES = "pictures"
"""Folder of the cases' pictures in the run directory."""

_JPEG_QUALITY = 90


@dataclasses.dataclass(frozen=True)
class EvaluatedCase:
    """A case with its picture.

    Attributes:
      index: of the record in its source.
      case: what was measured.
      picture: JPEG.
    """

    index: int
    case: Case
    picture: bytes


def evaluate_source(
    config: Config,
    states: Sequence[Any],
    source: pipeline.Source,
    *,
    mesh: Mesh,
    dataset: int,
    name: str,
    check: Callable[[], None] = lambda: None,
    quiet: bool | None = None,
) -> list[EvaluatedCase]:
    """Evaluates all records of a source: the devices predict, all cores measure.

    Args:
      config: of the run.
      states: of the checkpoints to average, on the devices of `mesh`.
      source: the split.
      mesh: of the devices.
      dataset: position of the source in `config.data.datasets`.
      name: of the data set, for the cases, the bar and the pictures' names.
      check: called before every batch; an exception it raises ends the evaluation.
      quiet: no progress bar; None shows one on a terminal only.

    Returns:
      The cases in the order of the source, the same on every process.

    Raises:
      RuntimeError: a record was left out or counted twice.
      ValueError: a record cannot be measured; the message names it.
    """
    predicted = predictions.predict_split(config, states, source, mesh=mesh, dataset=dataset, check=check)
    share = -(-len(source) // jax.process_count())
    evaluated = parallel.in_order(
        _Evaluate(make_tasks(config), source, config.evaluation, name), predicted, total=share
    )
    bar = tqdm(evaluated, desc=f"test {name}", total=share, unit="hand", leave=False, disable=quiet)
    gathered = sharding.gather_bytes(pickle.dumps(list(bar)))
    of_all = sorted((one for part in gathered for one in pickle.loads(part)), key=lambda one: one.index)
    if [one.index for one in of_all] != list(range(len(source))):
        raise RuntimeError(f"The evaluation of {name} saw {len(of_all)} cases of a split of {len(source)}.")
    return of_all


def evaluate_sources(
    config: Config,
    states: Sequence[Any],
    sources: Sequence[pipeline.Source],
    *,
    mesh: Mesh,
    check: Callable[[], None] = lambda: None,
    quiet: bool | None = None,
) -> dict[str, list[EvaluatedCase]]:
    """As `evaluate_source`, of a split of every data set of the config, by the data set's name."""
    return {
        name: evaluate_source(config, states, source, mesh=mesh, dataset=dataset, name=name, check=check, quiet=quiet)
        for dataset, (source, name) in enumerate(zip(sources, config.data.names, strict=True))
    }


def metrics_of(config: Config, evaluated: Mapping[str, Sequence[EvaluatedCase]]) -> dict[str, float]:
    """The metrics of what `evaluate_sources` returned, as eval_test.json has them."""
    tasks = make_tasks(config)
    cases = [
        cases_lib.collect([one.case for one in of_dataset], {}, parts_of(tasks)) for of_dataset in evaluated.values()
    ]
    return by_dataset(config, [summarize(tasks, of_dataset) for of_dataset in cases])


def write(
    workdir: pathlib.Path,
    evaluated: Mapping[str, Sequence[EvaluatedCase]],
    about: Mapping[str, Any],
    tasks: Sequence[Task],
    shown: int,
) -> Cases:
    """Writes cases.parquet, the picture of each case, and test_grid.png of the first `shown`; returns the cases.

    Pictures of an earlier evaluation are removed. What else is in their folder stays as it is, pictures that somebody
    changed among it; a new picture of such a name gets another.

    Args:
      workdir: the run directory.
      evaluated: by the name of each data set.
      about: what holds for all cases (see `Cases`).
      tasks: of the network.
      shown: hands in the grid, as many of each data set.
    """
    of_all = _write_pictures(workdir, [one for of_dataset in evaluated.values() for one in of_dataset])
    result = cases_lib.collect([one.case for one in of_all], about, parts_of(tasks))
    cases_lib.write(workdir / "cases.parquet", result)
    grid = []
    for number, of_dataset in enumerate(evaluated.values()):
        share = shown // len(evaluated) + (number < shown % len(evaluated))
        grid += [cv2.imdecode(np.frombuffer(one.picture, np.uint8), cv2.IMREAD_COLOR_RGB) for one in of_dataset[:share]]
    pictures.save_test_grid(workdir / "test_grid.png", grid, tasks)
    return result


def _write_pictures(workdir: pathlib.Path, evaluated: Sequence[EvaluatedCase]) -> list[EvaluatedCase]:
    """Writes the pictures in the place of those of an earlier evaluation; returns the cases with their names."""
    (workdir / PICTURES).mkdir(exist_ok=True)
    written = Written(workdir)
    with written.locked():
        if not written.names(PICTURES):  # a run of an older version, or none
            written.adopt(_pictures_of(workdir / "cases.parquet"))
        named = {_free_name(one.case.attributes["picture"], written): one for one in evaluated}
        written.write({name: one.picture for name, one in named.items()})
        for name in set(written.names(PICTURES)) - set(named):
            if written.is_own(name):
                written.path(name).unlink()
    return [
        dataclasses.replace(one, case=dataclasses.replace(one.case, attributes=one.case.attributes | {"picture": name}))
        for name, one in named.items()
    ]


def _free_name(picture: str, written: Written) -> str:
    """The name of a picture, or another with a number where somebody has a file of that name."""
    path = pathlib.PurePosixPath(picture)
    others = (str(path.with_stem(f"{path.stem}-{number}")) for number in itertools.count(2))
    return next(name for name in itertools.chain([picture], others) if written.is_free(name))


def _pictures_of(path: pathlib.Path) -> list[str]:
    """The pictures that an evaluation made, as its cases name them; none where they cannot be read."""
    try:
        return [str(name) for name in cases_lib.read(path).attributes["picture"] if name] if path.exists() else []
    except ValueError:
        return []


@dataclasses.dataclass(frozen=True)
class _Evaluate:
    """Measures and pictures one record; picklable, for worker processes."""

    tasks: tuple[Task, ...]
    source: pipeline.Source
    settings: EvaluationConfig
    name: str

    def __call__(self, item: tuple[int, Prediction]) -> EvaluatedCase:
        index, prediction = item
        record = self.source[index]
        picture = f"{PICTURES}/{self.name.replace('/', '-')}-{index:05}.jpg"
        case = measuring.measure(self.tasks, record, prediction, self.settings, picture)
        case = dataclasses.replace(case, attributes=case.attributes | {"dataset": self.name})
        shown = pictures.case_picture(self.tasks, record, prediction.maps, prediction.affine, prediction.canvas_height)
        quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        return EvaluatedCase(index, case, cv2.imencode(".jpg", shown[..., ::-1], quality)[1].tobytes())

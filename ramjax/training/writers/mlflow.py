"""MLflow: pip install "ramjax[mlflow]"."""

import logging
import pathlib
import re
import time
from collections.abc import Mapping
from typing import Any

from ramjax.config import by_path
from ramjax.training.writers.tracker import finite

PARAMS_A_CALL, METRICS_A_CALL = 100, 1000
"""What MLflow takes at once. Source: its REST API, runs/log-batch."""

log = logging.getLogger(__name__)


class MLflow:
    """A run of MLflow; see `Tracker`.

    The package's own environment variables hold, such as MLFLOW_TRACKING_URI; without that one MLflow writes to where
    it does by itself (since version 3.7 ``mlflow.db`` and ``mlruns`` in the working directory). What MLflow does not
    take in a name becomes an underscore. Its parameters never change: of a run that goes on, it keeps the first ones.

    Args:
      experiment: in which the run is; made if absent.
      name: of the run.
      id: of a run that goes on; '', or one that is not there any more, begins a new one.
    """

    def __init__(self, experiment: str, name: str, id: str):
        import mlflow
        from mlflow.exceptions import MlflowException

        for chatty in ("alembic", "mlflow"):  # they tell each table that they make
            logging.getLogger(chatty).setLevel(logging.WARNING)
        self._entities = mlflow.entities
        self._client = client = mlflow.MlflowClient()
        self.id = id
        if id:
            try:
                there = client.get_run(id)
                if there.info.lifecycle_stage != "active":
                    raise MlflowException("deleted")
                client.update_run(id, status="RUNNING", name=name)
            except MlflowException as error:
                log.debug("MLflow run %s cannot go on (%s): a new one begins.", id, error)
                self.id = ""
        if not self.id:
            found = client.get_experiment_by_name(experiment)
            number = found.experiment_id if found else client.create_experiment(experiment)
            self.id = client.create_run(number, run_name=name).info.run_id
        log.info("MLflow: run %s of experiment %s in %s", self.id, experiment, mlflow.get_tracking_uri())

    def hyperparameters(self, config: Mapping[str, Any]) -> None:
        there = self._client.get_run(self.id).data.params
        params = [
            self._entities.Param(_name(key), str(value))
            for key, value in by_path(config).items()
            if _name(key) not in there
        ]
        for first in range(0, len(params), PARAMS_A_CALL):
            self._client.log_batch(self.id, params=params[first : first + PARAMS_A_CALL])

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        now = round(time.time() * 1000)
        values = [self._entities.Metric(_name(key), value, now, step) for key, value in finite(metrics).items()]
        for first in range(0, len(values), METRICS_A_CALL):
            self._client.log_batch(self.id, metrics=values[first : first + METRICS_A_CALL])

    def test(self, step: int, metrics: Mapping[str, float]) -> None:
        self.write(step, metrics)

    def pictures(self, step: int, pictures: Mapping[str, pathlib.Path]) -> None:
        for path in pictures.values():
            self._client.log_artifact(self.id, str(path), "pictures")

    def close(self, failed: bool) -> None:
        self._client.set_terminated(self.id, "FAILED" if failed else "FINISHED")


def _name(name: str) -> str:
    """`name` in letters that MLflow takes: alphanumerics, ``_-. /``."""
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)

"""A task that ramjax knows nothing of: how sharp each half of a radiograph is. It draws no section of its own."""

import dataclasses

import numpy as np

from ramjax.metrics.cases import Cases
from ramjax.metrics.metric import Headline, Metric, Ranking, constant_metric, mean_metric
from ramjax.tasks import Task

HALVES = ("upper", "lower")


@dataclasses.dataclass(frozen=True)
class SharpnessConfig:
    weight: float = 1.0


@dataclasses.dataclass(frozen=True)
class Sharpness(Task):
    config: SharpnessConfig
    name = "sharpness"
    parts = {"sharpness": HALVES}  # noqa: RUF012
    selected_by = ("sharpness/agreement",)
    headlines = (
        Headline("sharpness/error", "Sharpness, error", better=-1, by_group=True),
        Headline("sharpness/largest", "Sharpness, largest error", better=-1),
        Headline("sharpness/offset", "Sharpness, offset", better=0, by_group=True, in_summary=False),
    )
    definitions = {"Error": "How far off the sharpness is."}  # noqa: RUF012
    evaluators = {"Blank halves": ("Left out.", "Count as 0.")}  # noqa: RUF012

    def metrics(self, cases: Cases, mode) -> dict[str, Metric]:
        off = cases.get("sharpness", "off", mode)
        found = {"sharpness/error": mean_metric(np.abs(off).mean(1))}
        if mode == "strict":
            found["sharpness/largest"] = constant_metric(np.abs(off).max(), off.size)
            found["sharpness/offset"] = mean_metric(off.mean(1))
            found["sharpness/agreement"] = mean_metric(1 - np.abs(off).mean(1))
        return found

    def rank(self, cases: Cases) -> Ranking:
        return Ranking("error of sharpness", np.abs(cases.get("sharpness", "off")).mean(1), better=-1)


@dataclasses.dataclass(frozen=True)
class Other(Sharpness):
    """Another task of the same name, which tells other headlines."""

    headlines = ()

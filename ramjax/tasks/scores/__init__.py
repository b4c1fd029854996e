"""Sharp/van der Heijde scores of the joint sites: bone erosion (BE) and joint space narrowing (JSN)."""

import dataclasses
from typing import ClassVar

from ramjax.config import ScoresConfig
from ramjax.data.joint_labels import JOINT_LABELS
from ramjax.metrics.metric import Headline
from ramjax.tasks.base import Kind, Task
from ramjax.tasks.scores import finding, heads, learning, measuring


@dataclasses.dataclass(frozen=True)
class Scores(Task):
    """The scores task."""

    config: ScoresConfig = dataclasses.field(default_factory=ScoresConfig)
    name = "scores"
    labels = (JOINT_LABELS,)
    predictions: ClassVar = {"be": Kind.SITE, "jsn": Kind.SITE}
    parts = measuring.PARTS
    headlines = (
        Headline("scores/be_qwk", "BE, QWK"),
        Headline("scores/be_mae", "BE, MAE", better=-1, by_group=True),
        Headline("scores/be_total_rmse", "BE, RMSE of hand totals", better=-1),
        Headline("scores/be_total_bias", "BE, bias of totals", better=0, by_group=True, in_summary=False),
        Headline("scores/jsn_qwk", "JSN, QWK"),
        Headline("scores/jsn_mae", "JSN, MAE", better=-1, by_group=True),
        Headline("scores/jsn_total_rmse", "JSN, RMSE of hand totals", better=-1),
        Headline("scores/jsn_total_bias", "JSN, bias of totals", better=0, by_group=True, in_summary=False),
        Headline("scores/total_mae", "MAE of hand totals", better=-1),
    )
    definitions = measuring.DEFINITIONS
    evaluators = measuring.EVALUATORS
    absent = "the model was not trained on scores, or not to find the joints they belong to"
    leading_columns = finding.LEADING_COLUMNS
    columns = finding.COLUMNS

    @property
    def needs(self):
        return ("boxes", *self.config.maps)

    @property
    def selected_by(self):
        return tuple(f"scores/{scale}_qwk" for scale in self.config.scales)

    @property
    def learned_parts(self):
        return learning.parts(self.config)

    def head(self, model, *, rngs):
        return heads.HEADS[self.config.source](self.config, model, rngs=rngs)

    def loss(self, outputs, batch):
        return learning.loss(self.config, outputs, batch)

    def only(self, batch, kept):
        return learning.only(self.config, batch, kept)

    def vary_boxes(self, key, boxes):
        return learning.jitter_boxes(key, boxes, self.config.jitter)

    def predict(self, outputs):
        return learning.predict(self.config, outputs)

    def observe(self, outputs, batch):
        return learning.observe(self.config, outputs, batch)

    canvas_values = staticmethod(measuring.canvas_values)
    measure = staticmethod(measuring.measure)
    metrics = staticmethod(measuring.metrics)
    part_metrics = staticmethod(measuring.part_metrics)
    rank = staticmethod(measuring.rank)

    def sections(self, several):
        from ramjax.tasks.scores import reporting  # draws charts, which take a second to load

        return reporting.sections(several)

    find = staticmethod(finding.find)
    annotated = staticmethod(finding.annotated)
    write = staticmethod(finding.write)
    cells = staticmethod(finding.cells)
    draw = staticmethod(finding.draw)
    headline = staticmethod(finding.headline)
    panel = staticmethod(finding.panel)
    contrast = staticmethod(finding.contrast)
    captions = staticmethod(finding.captions)
    legend = staticmethod(finding.legend)

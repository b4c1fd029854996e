"""Erosions: a label of the lesion in each pixel."""

import dataclasses
from typing import ClassVar

from ramjax.config import ErosionsConfig
from ramjax.metrics.metric import Headline
from ramjax.tasks.base import Kind, Task
from ramjax.tasks.erosions import finding, learning, measuring


@dataclasses.dataclass(frozen=True)
class Erosions(Task):
    """The erosions task."""

    config: ErosionsConfig = dataclasses.field(default_factory=ErosionsConfig)
    name = "erosions"
    labels = (learning.LABELS,)
    predictions: ClassVar = {"erosions": Kind.DENSE}
    parts = measuring.PARTS
    selected_by = ("erosions/dsc",)
    headlines = (
        Headline("erosions/dsc", "Erosions, DSC of any", by_group=True),
        Headline("erosions/lesion_f1_distance", "Lesions, F1 at 2 mm"),
        Headline("erosions/false_area_mm2", "Area found on clean hands (mm²)", better=-1),
    )
    definitions = measuring.DEFINITIONS
    evaluators = measuring.EVALUATORS
    absent = "the model was not trained on erosions"
    leading_columns = finding.LEADING_COLUMNS
    columns = ()
    mask_names = ("erosions",)

    def head(self, model, *, rngs):
        return learning.make_head(self.config, model, rngs)

    def loss(self, outputs, batch):
        return learning.loss(self.config, outputs, batch)

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
        from ramjax.tasks.erosions import reporting  # draws charts, which take a second to load

        return reporting.sections(several)

    find = staticmethod(finding.find)
    annotated = staticmethod(finding.annotated)
    write = staticmethod(finding.write)
    cells = staticmethod(finding.cells)
    masks = staticmethod(finding.masks)
    draw = staticmethod(finding.draw)
    panel = staticmethod(finding.panel)
    legend = staticmethod(finding.legend)

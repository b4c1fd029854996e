"""Bones: 30 overlapping masks, each of a bone but the one of soft tissue."""

import dataclasses
from typing import ClassVar

from ramjax import anatomy
from ramjax.config import BonesConfig
from ramjax.metrics.metric import Headline
from ramjax.tasks.base import Kind, Task
from ramjax.tasks.bones import finding, learning, measuring


@dataclasses.dataclass(frozen=True)
class Bones(Task):
    """The bones task."""

    config: BonesConfig = dataclasses.field(default_factory=BonesConfig)
    name = "bones"
    labels = (learning.LABELS,)
    predictions: ClassVar = {"bones": Kind.DENSE}
    parts = measuring.PARTS
    learned_parts = anatomy.BONES
    selected_by = ("bones/dsc",)
    headlines = (
        Headline("bones/dsc", "Bones, DSC", by_group=True),
        Headline("bones/dsc_worst_bone", "Worst bone, DSC"),
        Headline("bones/nsd", "Bones, NSD"),
        Headline("bones/msd", "Bones, MSD", better=-1),
        Headline("pairs/dsc", "Overlaps, DSC"),
    )
    definitions = measuring.DEFINITIONS
    evaluators = measuring.EVALUATORS
    absent = "the model was not trained on bones"
    columns = ()
    mask_names = ("bones",)

    def head(self, model, *, rngs):
        return learning.make_head(self.config, model, rngs)

    def loss(self, outputs, batch):
        return learning.loss(self.config, outputs, batch)

    def only(self, batch, kept):
        return batch | {"bones_known": batch["bones_known"] & kept}

    predict = staticmethod(learning.predict)
    observe = staticmethod(learning.observe)
    canvas_values = staticmethod(measuring.canvas_values)
    measure = staticmethod(measuring.measure)
    metrics = staticmethod(measuring.metrics)
    part_metrics = staticmethod(measuring.part_metrics)
    rank = staticmethod(measuring.rank)

    def sections(self, several):
        from ramjax.tasks.bones import reporting  # draws charts, which take a second to load

        return reporting.sections(several)

    certainty = staticmethod(finding.certainty)
    find = staticmethod(finding.find)
    annotated = staticmethod(finding.annotated)
    write = staticmethod(finding.write)
    masks = staticmethod(finding.masks)
    draw = staticmethod(finding.draw)
    panel = staticmethod(finding.panel)

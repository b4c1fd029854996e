"""Joint sites: where each of the 22 is, if it is there."""

import dataclasses
from typing import ClassVar

from ramjax import anatomy
from ramjax.config import JointsConfig
from ramjax.data.joint_labels import JOINT_LABELS
from ramjax.metrics.metric import Headline
from ramjax.tasks.base import Kind, Task
from ramjax.tasks.joints import finding, framing, learning, measuring


@dataclasses.dataclass(frozen=True)
class Joints(Task):
    """The joints task."""

    config: JointsConfig = dataclasses.field(default_factory=JointsConfig)
    name = "joints"
    labels = (JOINT_LABELS,)
    finds_boxes = True
    predictions: ClassVar = {"boxes": Kind.BOXES, "confidence": Kind.CONFIDENCE}
    parts = measuring.PARTS
    learned_parts = anatomy.SITE_NAMES
    selected_by = ("joints/iou",)
    headlines = (
        Headline("joints/recall_50", "Joint sites, recall at IoU 0.5"),
        Headline("joints/iou", "Joint sites, IoU"),
        Headline("joints/center_error_mm", "Joint sites, centre error (mm)", better=-1),
        Headline("joints/false_finds", "Absent sites found", better=-1),
    )
    definitions = measuring.DEFINITIONS
    absent = "the model was not trained to find joints"
    columns = ("sites_found",)

    def head(self, model, *, rngs):
        return learning.JointsHead(self.config, model, rngs=rngs)

    def loss(self, outputs, batch):
        return learning.loss(self.config, outputs, batch)

    def consistency(self, outputs, taught, batch):
        return learning.consistency(self.config, outputs, taught, batch)

    def only(self, batch, kept):
        return batch | {"joints_known": batch["joints_known"] & kept}

    predict = staticmethod(learning.predict)
    observe = staticmethod(learning.observe)
    canvas_values = staticmethod(measuring.canvas_values)
    measure = staticmethod(measuring.measure)
    metrics = staticmethod(measuring.metrics)
    rank = staticmethod(measuring.rank)

    def sections(self, several):
        from ramjax.tasks.joints import reporting  # draws charts, which take a second to load

        return reporting.sections(several)

    certainty = staticmethod(framing.certainty)
    reframed = staticmethod(framing.reframed)
    find = staticmethod(finding.find)
    annotated = staticmethod(finding.annotated)
    view = staticmethod(finding.view)
    doubts = staticmethod(finding.doubts)
    write = staticmethod(finding.write)
    cells = staticmethod(finding.cells)
    draw = staticmethod(finding.draw)
    panel = staticmethod(finding.panel)
    contrast = staticmethod(finding.contrast)
    remark = staticmethod(finding.remark)
    legend = staticmethod(finding.legend)

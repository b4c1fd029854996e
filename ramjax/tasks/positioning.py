"""How a radiograph lies on the canvas: which side it shows, and whether a whole hand or a wrist.

Prediction asks it where neither the user nor the file says so (see `ramjax.inference.search`). Its chances are those of
a classifier trained on both answers, so they mean the same however long and on what else a network was trained.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import numpy as np
import optax
from jaxtyping import Array

from ramjax import anatomy
from ramjax.config import ModelConfig, PositioningConfig
from ramjax.data.grid import Grid
from ramjax.data.joint_labels import JOINT_LABELS
from ramjax.data.labels import Labels, Spec, View
from ramjax.metrics.cases import Cases, Mode, Values
from ramjax.metrics.metric import Headline, Metric, mean_metric
from ramjax.record import Record
from ramjax.tasks.base import Batch, Kind, NotJudged, Task, Term
from ramjax.tasks.image import ImageHead
from ramjax.tasks.masks import alike

MIN_FINGERS = 3
"""So many whole finger joints show a hand; a wrist shows none."""

_FINGERS = ~np.isin(np.arange(anatomy.NUM_SITES), anatomy.WRIST_SITES)


def _make(record: Record, view: View) -> dict[str, Any]:
    """What the canvas shows. A crop of a given scale may show any part of a hand, so it is no answer to the second."""
    right = -1 if not record.side else int((record.side == "R") != view.placement.mirrored)
    hand = -1
    if view.canvas.sizing == "fit" and record.view == "wrist":
        hand = 0
    elif view.canvas.sizing == "fit" and record.has_joints:
        fingers = int(JOINT_LABELS.of(record, view)["present"][_FINGERS].sum())
        hand = 1 if fingers >= MIN_FINGERS else 0 if not fingers else -1
    return {"shows_right": np.int32(right), "shows_hand": np.int32(hand)}


_LABELS = Labels(
    {
        "shows_right": Spec(np.int32, (), "the canvas shows a right hand: 1 yes, 0 no, -1 unknown"),
        "shows_hand": Spec(np.int32, (), "it shows a whole hand: 1 yes, 0 a wrist alone, -1 unknown"),
    },
    _make,
)

_TARGETS = {"positioning_right": "shows_right", "positioning_hand": "shows_hand"}
"""The label of each prediction."""


@dataclasses.dataclass(frozen=True)
class Positioning(Task):
    """The positioning task. Validation measures it; on canvases that are not augmented, all hands are right ones."""

    config: PositioningConfig = dataclasses.field(default_factory=PositioningConfig)
    name = "positioning"
    labels = (_LABELS,)
    tells_positioning = True
    predictions: ClassVar = dict.fromkeys(_TARGETS, Kind.IMAGE)
    parts: ClassVar = {"positioning": ("right", "hand")}
    headlines = (
        Headline("positioning/right_acc", "Side shown, accuracy"),
        Headline("positioning/hand_acc", "Hand or wrist, accuracy"),
    )

    def head(self, model: ModelConfig, *, rngs):
        return ImageHead(dict.fromkeys(_TARGETS, 1), model, rngs=rngs)

    def loss(self, outputs: dict[str, Array], batch: Batch) -> list[Term]:
        """The cross entropy of both answers."""
        terms = []
        for name, target in _TARGETS.items():
            label = batch[target]
            known = (label >= 0) & batch["valid"]
            losses = optax.sigmoid_binary_cross_entropy(outputs[name][:, 0], (label > 0).astype(outputs[name].dtype))
            terms.append(Term((losses * known).sum(), known.sum()))
        return terms

    def predict(self, outputs: dict[str, Array]) -> dict[str, Array]:
        """Returns the chances, (b,) each."""
        return {name: jax.nn.sigmoid(outputs[name][:, 0]) for name in _TARGETS}

    def observe(self, outputs: dict[str, Array], batch: Batch) -> dict[str, Array]:
        return self.predict(outputs) | {label: batch[label] for label in _TARGETS.values()}

    def canvas_values(self, observed: Mapping[str, np.ndarray]) -> Values:
        """``chance`` and ``annotated`` (1, 0, NaN unknown) of both answers."""
        chances = np.stack([observed[name] for name in _TARGETS], -1)
        labels = np.stack([observed[label] for label in _TARGETS.values()], -1)
        annotated = np.where(labels < 0, np.nan, labels)
        return {"positioning": {"chance": alike(chances.astype(np.float64)), "annotated": alike(annotated)}}

    def metrics(self, cases: Cases, mode: Mode) -> dict[str, Metric]:
        """The share of canvases whose likelier answer is the true one: ``right_acc`` and ``hand_acc``."""
        if mode == "compat" or not cases.has("positioning"):
            return {}
        chance, annotated = (cases.get("positioning", name) for name in ("chance", "annotated"))
        right = np.where(np.isfinite(annotated), (chance >= 0.5) == (annotated > 0), np.nan)
        return {f"positioning/{name}_acc": mean_metric(right[:, k]) for k, name in enumerate(self.parts["positioning"])}

    def positioning(self, predictions: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(predictions["positioning_right"]), np.asarray(predictions["positioning_hand"])

    def find(
        self, maps: Mapping[str, np.ndarray], grid: Grid, min_confidence: float, found: Mapping[str, Any]
    ) -> tuple[None, list[NotJudged]]:
        """Nothing: the report has the chances that decided on side and view, ``chance_right`` and ``chance_hand``."""
        del maps, grid, min_confidence, found
        return None, []

    def write(self, finding: None, written: dict[str, Any], spacing_mm: float) -> dict[str, Any]:
        del finding, spacing_mm
        return written

    @property
    def columns(self) -> tuple[str, ...]:
        return ()

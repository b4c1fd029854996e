"""What a task is: one object, from the labels it learns from to what a report shows of it.

A task is a frozen dataclass with one field, `config`, its settings in the experiment. What it does not define, it
inherits from `Task`. The rest of the code uses tasks only through this class; `ramjax.tasks` lists them.
"""

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from ramjax import anatomy
from ramjax.config import CanvasConfig, EvaluationConfig, ModelConfig
from ramjax.data.geometry import Placement
from ramjax.data.grid import Grid
from ramjax.data.joint_labels import JOINT_LABELS
from ramjax.data.labels import Labels
from ramjax.figures.content import Section
from ramjax.figures.estimates import Evaluated
from ramjax.figures.metric_table import metric_section
from ramjax.figures.overlay import Colour, Shape
from ramjax.figures.panel import Block, Entries, Entry
from ramjax.losses.term import Term
from ramjax.metrics.cases import Cases, Mode, Values
from ramjax.metrics.metric import Headline, Metric, Ranking
from ramjax.record import Record

Batch = dict[str, Any]
"""Arrays by name, leading axis b: those of `ramjax.data.pipeline`, and the labels of the tasks."""

CONFIDENT = 0.3
"""What is found less surely than this is not judged, unless it is asked for."""


class Kind(enum.Enum):
    """What an array of predictions is, which decides how predictions are merged.

    Predictions are merged when several views of an image are averaged, and when a sliding window puts tiles together.

    ============  ============================================  =======================  ============================
    kind          shape                                         mean of several views    of overlapping tiles
    ============  ============================================  =======================  ============================
    `DENSE`       (b, h, w, channels), over the whole canvas    cell by cell             weighted mean, cell by cell
    `BOXES`       (b, sites, 4) ymin, xmin, ymax, xmax in       weighted by confidence   of the most confident tile
                  canvas pixels
    `CONFIDENCE`  (b, sites), that the site is there, 0 to 1    plain                    the highest
    `SITE`        (b, sites, ...)                               weighted by confidence   of the most confident tile
    `IMAGE`       (b, ...), of the image as a whole             plain                    plain mean
    ============  ============================================  =======================  ============================

    Only one task of a network can have `CONFIDENCE`. Without one, the means of `SITE` are plain, and boxes cannot be
    put together from tiles.
    """

    DENSE = "dense"
    BOXES = "boxes"
    CONFIDENCE = "confidence"
    SITE = "site"
    IMAGE = "image"


@dataclasses.dataclass(frozen=True)
class NotJudged:
    """A site, bone or whole task without an answer.

    Attributes:
      kind: ``site``, ``bone`` or ``task``.
      name: of it.
      reason: one clause for people.
      plain: the picture shows it, so that it need not say so in words.
    """

    kind: str
    name: str
    reason: str
    plain: bool = False


@dataclasses.dataclass(frozen=True)
class Task:
    """One task: labels, head, loss, predictions, measurements, metrics, and what people see of them.

    Attributes:
      config: its settings; they have a `weight`, which multiplies the loss.
      name: of the task, of its group in the config and of its head.
      labels: the arrays that it learns from.
      needs: what its head takes from elsewhere: ``boxes``, or the name of another task, whose outputs it finds in
        `Features.outputs`. Boxes come from the task that `finds_boxes`; without one they are the annotated ones, and a
        radiograph without annotation is not judged.
      finds_boxes: its outputs have ``boxes`` (b, 22, 4) in canvas pixels, for the heads after it.
      tells_positioning: it has the method `positioning`.
      hides: it has the method `masking`, and is the only task of its network.
      predictions: what `predict` returns, and of which kind each is. Names are unique among the tasks of a network.
      parts: the groups of values that it measures, and the names of each one's parts, such as ``{"bones": (...),
        "pairs": (...)}``.
      learned_parts: what it can be trained on alone, such as single sites, by name; see `only`.
      selected_by: the metrics, at most 1 and higher for better, whose mean tells which checkpoint is the best.
      headlines: the metrics that come first, in the order of the tables.
      definitions: what its metrics mean, by their name in the report.
      evaluators: matters in which the strict and the published evaluator differ: what each does.
      absent: why there is no finding where a model was not trained on the task, one clause. Its keys and columns stay,
        empty. '' for a task that needs no such words.
      leading_columns: of summary.csv, those that are read first. They stand before those of the tasks before it.
      mask_names: the masks that it may write beside the report, ``NAME_bones.png`` for ``bones``.
    """

    config: Any
    name: ClassVar[str]
    labels: ClassVar[tuple[Labels, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    finds_boxes: ClassVar[bool] = False
    tells_positioning: ClassVar[bool] = False
    hides: ClassVar[bool] = False
    predictions: ClassVar[Mapping[str, Kind]] = {}
    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    learned_parts: ClassVar[tuple[str, ...]] = ()
    selected_by: ClassVar[tuple[str, ...]] = ()
    headlines: ClassVar[tuple[Headline, ...]] = ()
    definitions: ClassVar[Mapping[str, str]] = {}
    evaluators: ClassVar[Mapping[str, tuple[str, str]]] = {}
    absent: ClassVar[str] = ""
    leading_columns: ClassVar[tuple[str, ...]] = ()
    mask_names: ClassVar[tuple[str, ...]] = ()

    @property
    def weight(self) -> float:
        return self.config.weight

    # Learning.

    def head(self, model: ModelConfig, *, rngs: nnx.Rngs) -> nnx.Module:
        """Returns the module that turns `ramjax.models.features.Features` into a dict of raw outputs."""
        raise NotImplementedError(f"The task {self.name} has no head; define {type(self).__name__}.head.")

    def masking(self, *, rngs: nnx.Rngs) -> nnx.Module:
        """Returns the module that hides parts of the images from encoder and decoder; asked of a task that `hides`.

        Of images (b, h, w, 1) it returns what these see, and what is hidden, as heads find it in `Features.hidden`.
        """
        raise NotImplementedError(f"The task {self.name} hides nothing; define {type(self).__name__}.masking.")

    def loss(self, outputs: dict[str, Array], batch: Batch) -> list[Term]:
        """Returns the terms whose means add up to the task's loss.

        Unknown labels add nothing to the total and to the count of a term, whatever value is stored for them. Counts
        depend on the labels alone (see `Term`). `tests/tasks/contract.py` checks both. With accumulation, counts are
        taken first, of outputs that are all zero: `jax.debug.print` prints these too, `print` does not.
        """
        raise NotImplementedError(f"The task {self.name} has no loss; define {type(self).__name__}.loss.")

    def only(self, batch: Batch, kept: Bool[Array, " parts"]) -> Batch:
        """Returns the batch without the labels of those of the `learned_parts` that are not kept."""
        raise NotImplementedError(f"The task {self.name} has learned_parts; define {type(self).__name__}.only.")

    def consistency(self, outputs: dict[str, Array], taught: dict[str, Array], batch: Batch) -> list[Term]:
        """Returns terms that tell how far the outputs are from those of a teacher, whatever is labelled.

        By default squared differences of the predictions, which suits probabilities; a task whose predictions are
        numbers of another scale redefines it, or returns nothing.

        Args:
          outputs: of the student.
          taught: the teacher's outputs of the same images; constants.
          batch: with the `ramjax.tasks.consistency.Taught` of the teacher. Counts depend on it, and on `valid` and
            `padding`, alone.
        """
        from ramjax.tasks import consistency  # which knows of tasks

        return consistency.of_predictions(self.predictions, self.predict(outputs), self.predict(taught), batch)

    def vary_boxes(self, key: Array, boxes: Float[Array, "b n 4"]) -> Float[Array, "b n 4"]:
        """Returns the boxes that heads are given in training, instead of the annotated ones."""
        del key
        return boxes

    def predict(self, outputs: dict[str, Array]) -> dict[str, Array]:
        """Returns the `predictions` of the batch."""
        raise NotImplementedError(f"The task {self.name} predicts nothing; define {type(self).__name__}.predict.")

    # Measuring. A task that measures nothing takes part in training alone, which the log says.

    def observe(self, outputs: dict[str, Array], batch: Batch) -> dict[str, Array]:
        """Returns what `canvas_values` needs of each example, each (b, ...). It runs on the devices."""
        del outputs, batch
        return {}

    def canvas_values(self, observed: dict[str, np.ndarray]) -> Values:
        """Returns what validation measures on the canvas, of what was observed in n examples: float64 (2, n, parts)."""
        del observed
        return {}

    def measure(self, record: Record, maps: Mapping[str, np.ndarray], grid: Grid, settings: EvaluationConfig) -> Values:
        """Returns what is measured of one radiograph on its own grid: float64 (2, parts), strict and compat.

        Args:
          record: as annotated. What it does not know is NaN.
          maps: the `predictions`, without the batch axis.
          grid: where it is measured.
          settings: tolerance and unit of distances.

        Raises:
          ValueError: an annotation cannot be right; the message names the record.
        """
        del record, maps, grid, settings
        return {}

    def metrics(self, cases: Cases, mode: Mode) -> dict[str, Metric]:
        """Returns the metrics of a split by name, of cases measured on the canvas or on their own grid.

        Names are ``<task>/<metric>``. Metrics whose values the cases lack are left out: validation measures less. A
        task that measures the same in both modes returns nothing for compat.
        """
        del cases, mode
        return {}

    def part_metrics(self, cases: Cases) -> dict[str, Metric]:
        """Returns what charts show of single bones, sites and scores, strict."""
        del cases
        return {}

    def rank(self, cases: Cases) -> Ranking | None:
        """Returns what tells good cases from bad ones, None for no such value."""
        del cases
        return None

    # A report.

    def sections(self, several: Sequence[Evaluated]) -> list[Section]:
        """Returns what a report shows of one data set, of the systems that were evaluated on it.

        What draws charts is imported within, since Matplotlib takes a second to load.
        """
        section = metric_section(several, self.name, self.headlines)
        return [section] if section else []

    # One radiograph, for people. What is found in it, or annotated, has one form of the task's own, its finding. Where
    # a method is given what the tasks before made, it returns that with its own part: put where people look for it, or
    # added to theirs.

    def positioning(self, predictions: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the chances that each of b images shows a right hand, not a left one, and a whole hand, not a wrist,
        (b,) each, 0 to 1. It is asked of a task that `tells_positioning`."""
        raise NotImplementedError(f"The task {self.name} tells none; define {type(self).__name__}.positioning.")

    def certainty(self, predictions: Mapping[str, np.ndarray], view: str) -> np.ndarray | None:
        """Returns how sure the network is that each of b images shows a hand or wrist as it should, (b,), 0 to 1.

        Args:
          predictions: of the batch.
          view: ``hand``, ``wrist``, or '' for the more certain of the two.
        """
        del predictions, view
        return None

    def reframed(
        self, placement: Placement, predictions: Mapping[str, np.ndarray], canvas: CanvasConfig, view: str
    ) -> list[Placement]:
        """Returns placements that may show better what an image shows in this one; `predictions` have no batch axis."""
        del placement, predictions, canvas, view
        return []

    def find(
        self, maps: Mapping[str, np.ndarray], grid: Grid, min_confidence: float, found: Mapping[str, Any]
    ) -> tuple[Any, list[NotJudged]]:
        """Returns the finding of a radiograph, and what of it is not judged.

        By default plain values, ready for JSON: of the image, or by site, of all predictions but maps and boxes.

        Args:
          maps: the `predictions`, without the batch axis.
          grid: of the radiograph's own pixels.
          min_confidence: what is found less surely is not judged.
          found: the findings of the tasks before, by the task's name.
        """
        del grid, min_confidence, found
        values = {name: _plain(maps[name], kind) for name, kind in self.predictions.items() if kind not in _PLACES}
        if values:
            return values, []
        return None, [NotJudged("task", self.name, "it does not say what to show of its maps")]

    def annotated(self, record: Record) -> Any:
        """Returns what is annotated, in the form of a finding; None where nothing is."""
        del record

    def view(self, finding: Any) -> str:
        """Returns ``hand`` or ``wrist`` where the finding tells which is shown, else ''."""
        del finding
        return ""

    def doubts(self, finding: Any) -> list[str]:
        """Returns sentences about what may be wrong with the radiograph."""
        del finding
        return []

    def write(self, finding: Any, written: dict[str, Any], spacing_mm: float) -> dict[str, Any]:
        """Returns the report as the tasks before have `written` it, with the finding in plain values, ready for JSON.

        Args:
          finding: None where there is none, such as of a task that is `absent`.
          written: by key.
          spacing_mm: side of the radiograph's pixels; NaN unknown.
        """
        del spacing_mm
        return {**written, self.name: finding}

    @property
    def columns(self) -> tuple[str, ...]:
        """Its columns of summary.csv that are no `leading_columns`, after those of the tasks before it."""
        return tuple(name for name, kind in self.predictions.items() if kind is Kind.IMAGE)

    def cells(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the cells of its columns in summary.csv, of the written report; what is left out stays empty."""
        values = report.get(self.name) or {}
        return {name: _words(values[name]) for name in self.columns if values.get(name) is not None}

    def masks(self, finding: Any, shape: tuple[int, int]) -> dict[str, np.ndarray]:
        """Returns what there is of `mask_names`, uint8 (H, W) or (H, W, 4) on the radiograph's grid of that shape."""
        del finding, shape
        return {}

    def draw(self, finding: Any, drawn: list[Shape]) -> list[Shape]:
        """Returns the shapes that lie on the radiograph."""
        del finding
        return drawn

    def headline(self, finding: Any) -> list[str]:
        """Returns what stands above the picture in large letters, a few words each."""
        del finding
        return []

    def panel(self, finding: Any, report: Mapping[str, Any], blocks: list[Block]) -> list[Block]:
        """Returns the blocks beside the picture. By default the finding's values, if it is a dictionary.

        Args:
          finding: of the radiograph.
          report: of the same, with the keys of all tasks.
          blocks: from top to bottom.
        """
        del report
        if not isinstance(finding, dict):
            return blocks
        entries = tuple(Entry(str(name), _words(value)) for name, value in finding.items())
        return [*blocks, Entries(self.name.capitalize(), entries)]

    # The picture of a test case: the truth on the left, the prediction on the right.

    def covered(self, finding: Any) -> list[Shape]:
        """Returns what covers the parts of the radiograph that were hidden from the network; where there is any, it is
        shown between truth and prediction."""
        del finding
        return []

    def contrast(self, truth: Any, finding: Any, drawn: list[Shape]) -> list[Shape]:
        """Returns the shapes of the prediction in colours that tell how near the truth it is; either may be None."""
        del truth
        return drawn if finding is None else self.draw(finding, drawn)

    def captions(self, truth: Any, finding: Any) -> list[tuple[str, str]]:
        """Returns what stands above truth and prediction, a word or two each; either may be None."""
        del truth, finding
        return []

    def remark(self, truth: Any, finding: Any, spacing_mm: float) -> str:
        """Returns what is said below the prediction; truth or finding may be None."""
        del truth, finding, spacing_mm
        return ""

    def legend(self, entries: list[tuple[str, Colour]]) -> list[tuple[str, Colour]]:
        """Returns the words above many such pictures, in the colours that they explain."""
        return entries


_PLACES = (Kind.DENSE, Kind.BOXES)
"""Kinds that say where; numbers alone tell nothing of them."""


def _plain(value: np.ndarray, kind: Kind) -> Any:
    """Numbers of an array, rounded for a report, NaN as None; by site where the kind says so."""
    if kind in (Kind.SITE, Kind.CONFIDENCE):
        return {site: _plain(of, Kind.IMAGE) for site, of in zip(anatomy.SITE_NAMES, value, strict=True)}
    value = np.asarray(value)
    if value.ndim:
        return [_plain(of, Kind.IMAGE) for of in value]
    return round(float(value), 4) if np.isfinite(value) else None


def _words(value: Any) -> str:
    """A plain value in words, short."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(of)}" for name, of in value.items())
    if isinstance(value, list):
        return " ".join(map(_words, value))
    return "unknown" if value is None else f"{value:.4g}"


def predictions_of(tasks: Sequence[Task]) -> dict[str, Kind]:
    """What the tasks of a network predict together, and of which kind each is."""
    return {name: kind for task in tasks for name, kind in task.predictions.items()}


def labels_of(tasks: Sequence[Task]) -> tuple[Labels, ...]:
    """What the tasks learn from, each group of arrays once."""
    found: list[Labels] = []
    for task in tasks:
        wanted = (*task.labels, JOINT_LABELS) if "boxes" in task.needs else task.labels
        found += [labels for labels in wanted if labels not in found]
    return tuple(found)


def measured_by(tasks: Sequence[Task], cases: Cases) -> list[Task]:
    """Those of the tasks that measured something of the cases."""
    return [task for task in tasks if any(cases.has(group) for group in task.parts)]


def parts_of(tasks: Sequence[Task]) -> dict[str, tuple[str, ...]]:
    """The groups of values that the tasks measure, and the parts of each."""
    return {group: names for task in tasks for group, names in task.parts.items()}

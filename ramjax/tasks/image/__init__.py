"""Tasks of the whole image: each target is a class or a number, such as the sex or the age of the patient.

A task states its targets; labels, head, loss, metrics, report and prediction follow from them.

Keys of the report, of a class and a number that are called ``sex`` and ``age``, in a task that is called ``patient``:

| key | meaning |
|---|---|
| patient.sex.value | the likeliest class |
| patient.sex.probabilities | of each class |
| patient.age | the number, to a hundredth of its spread or finer; null where it is not finite |
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array

from ramjax.config import EvaluationConfig, ModelConfig
from ramjax.data.grid import Grid
from ramjax.data.labels import Labels, Spec, View
from ramjax.figures.content import Section
from ramjax.figures.estimates import Evaluated
from ramjax.figures.panel import Block, Entries, Entry
from ramjax.metrics import scoring
from ramjax.metrics.cases import Cases, Mode, Values
from ramjax.metrics.metric import Headline, Metric, mean_metric
from ramjax.models import layers
from ramjax.models.features import Features
from ramjax.record import Record
from ramjax.tasks import consistency
from ramjax.tasks.base import Batch, Kind, NotJudged, Task, Term
from ramjax.tasks.image.targets import Classes, Number
from ramjax.tasks.masks import alike

__all__ = ["Classes", "ImageHead", "ImageTask", "Number"]


@dataclasses.dataclass(frozen=True)
class _Make:
    """Makes the labels of a task; picklable, for worker processes."""

    task: str
    targets: tuple[tuple[str, Classes | Number], ...]

    def __call__(self, record: Record, view: View) -> dict[str, Any]:
        del view
        return {
            f"{self.task}_{name}": np.int32(target.of(record))
            if isinstance(target, Classes)
            else np.float32(target.of(record))
            for name, target in self.targets
        }


class ImageHead(nnx.Module):
    """The coarsest features, averaged and at their largest, through one hidden layer to a vector for each target."""

    def __init__(self, sizes: Mapping[str, int], model: ModelConfig, *, rngs: nnx.Rngs):
        width = model.widths[-1]
        self.mix = layers.Linear(2 * width, width, rngs=rngs)
        self.outputs = nnx.Dict({name: layers.Linear(width, size, rngs=rngs) for name, size in sizes.items()})

    def __call__(self, features: Features) -> dict[str, Array]:
        """Returns float32 (b, classes) for a class, (b, 1) for a number, by the name of the target."""
        coarse = features.dense[-1]
        x = jnp.concatenate([coarse.mean((1, 2)), layers.spatial_max(coarse)], -1).astype(jnp.float32)
        x = jax.nn.relu(self.mix(x))
        return {name: output(x) for name, output in self.outputs.items()}


@dataclasses.dataclass(frozen=True)
class ImageTask(Task):
    """A task whose labels are of the image as a whole.

    Attributes:
      targets: by name, in the order of tables. A target's term of the loss is multiplied by the setting
        ``<target>_weight``, where `config` has one.
    """

    targets: ClassVar[Mapping[str, Classes | Number]]

    @property
    def labels(self) -> tuple[Labels, ...]:
        arrays = {
            f"{self.name}_{name}": Spec(np.int32, (), f"{', '.join(target.names)} from 0; -1 unknown")
            if isinstance(target, Classes)
            else Spec(np.float32, (), f"{target.unit}; NaN unknown")
            for name, target in self.targets.items()
        }
        return (Labels(arrays, _Make(self.name, tuple(self.targets.items()))),)

    @property
    def predictions(self) -> dict[str, Kind]:
        return {f"{self.name}_{name}": Kind.IMAGE for name in self.targets}

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        return {self.name: tuple(self.targets)}

    @property
    def selected_by(self) -> tuple[str, ...]:
        return tuple(
            f"{self.name}/{name}_{'acc' if isinstance(target, Classes) else 'r2'}"
            for name, target in self.targets.items()
        )

    @property
    def headlines(self) -> tuple[Headline, ...]:
        found = []
        for name, target in self.targets.items():
            if isinstance(target, Classes):
                found.append(Headline(f"{self.name}/{name}_acc", f"{target.title}, accuracy"))
                found.append(Headline(f"{self.name}/{name}_auroc", f"{target.title}, AUROC"))
            else:
                found.append(Headline(f"{self.name}/{name}_mae", f"{target.title}, MAE ({target.unit})", better=-1))
                found.append(Headline(f"{self.name}/{name}_r2", f"{target.title}, R²"))
        return tuple(found)

    @property
    def definitions(self) -> dict[str, str]:
        found = {}
        if any(isinstance(target, Classes) for target in self.targets.values()):
            found["Accuracy"] = "Share of images of which the likeliest class is the annotated one."
            found["AUROC"] = (
                "The chance that an image of the class ranks above one that is not, by its probability; of more than "
                "two classes the mean over those annotated."
            )
        if any(isinstance(target, Number) for target in self.targets.values()):
            found["R²"] = "Share of the variance of the annotated numbers that the predicted ones explain; at most 1."
        return found

    def head(self, model: ModelConfig, *, rngs: nnx.Rngs) -> nnx.Module:
        sizes = {name: len(target.names) if isinstance(target, Classes) else 1 for name, target in self.targets.items()}
        return ImageHead(sizes, model, rngs=rngs)

    def loss(self, outputs: dict[str, Array], batch: Batch) -> list[Term]:
        """Cross entropy of each class; absolute error of each number, in spreads."""
        terms = []
        for name, target in self.targets.items():
            label, raw = batch[f"{self.name}_{name}"], outputs[name]
            if isinstance(target, Classes):
                known = (label >= 0) & batch["valid"]
                losses = optax.softmax_cross_entropy_with_integer_labels(raw, jnp.where(known, label, 0))
            else:
                known = jnp.isfinite(label) & batch["valid"]
                losses = jnp.abs(raw[:, 0] - (jnp.where(known, label, target.usual) - target.usual) / target.spread)
            factor = getattr(self.config, f"{name}_weight", 1.0)
            terms.append(Term(factor * (losses * known).sum(), known.sum()))
        return terms

    def consistency(self, outputs: dict[str, Array], taught: dict[str, Array], batch: Batch) -> list[Term]:
        """Squared differences of the probabilities of classes, and of numbers in spreads."""
        terms = []
        for name, target in self.targets.items():
            ours, theirs = outputs[name], taught[name]
            if isinstance(target, Classes):
                ours, theirs = jax.nn.softmax(ours), jax.nn.softmax(theirs)
            error = getattr(self.config, f"{name}_weight", 1.0) * jnp.square(ours - theirs).sum(-1)
            terms.append(consistency.image_term(error, batch))
        return terms

    def predict(self, outputs: dict[str, Array]) -> dict[str, Array]:
        """Returns (b, classes) probabilities of a class, (b,) numbers in their unit."""
        return {
            f"{self.name}_{name}": jax.nn.softmax(outputs[name])
            if isinstance(target, Classes)
            else outputs[name][:, 0] * target.spread + target.usual
            for name, target in self.targets.items()
        }

    def observe(self, outputs: dict[str, Array], batch: Batch) -> dict[str, Array]:
        annotated = {f"annotated_{name}": batch[f"{self.name}_{name}"] for name in self.targets}
        return self.predict(outputs) | annotated

    def canvas_values(self, observed: Mapping[str, np.ndarray]) -> Values:
        annotated = {
            name: np.where(observed[f"annotated_{name}"] < 0, np.nan, observed[f"annotated_{name}"])
            if isinstance(target, Classes)
            else observed[f"annotated_{name}"]
            for name, target in self.targets.items()
        }
        return self._values(observed, annotated)

    def measure(self, record: Record, maps: Mapping[str, np.ndarray], grid: Grid, settings: EvaluationConfig) -> Values:
        del grid, settings
        annotated = {}
        for name, target in self.targets.items():
            value = float(target.of(record))
            annotated[name] = np.float64(np.nan if isinstance(target, Classes) and value < 0 else value)
        return self._values(maps, annotated)

    def metrics(self, cases: Cases, mode: Mode) -> dict[str, Metric]:
        """``<target>_acc`` and ``<target>_auroc`` of classes, ``<target>_mae`` and ``<target>_r2`` of numbers."""
        if mode == "compat" or not cases.has(self.name):
            return {}
        found = {}
        for part, (name, target) in enumerate(self.targets.items()):
            predicted, annotated = (cases.get(self.name, which)[:, part] for which in ("predicted", "annotated"))
            known = np.isfinite(predicted) & np.isfinite(annotated)
            if isinstance(target, Classes):
                right = np.where(known, predicted == annotated, np.nan)
                found[f"{name}_acc"] = mean_metric(right)
                chances = np.stack([cases.get(self.name, f"p{k}")[:, part] for k in range(len(target.names))], -1)
                data = {"annotated": np.where(known, annotated, np.nan), "chances": chances}
                found[f"{name}_auroc"] = Metric(data, _auroc, int(known.sum()))
            else:
                found[f"{name}_mae"] = mean_metric(np.where(known, np.abs(predicted - annotated), np.nan))
                data = {"predicted": predicted, "annotated": np.where(known, annotated, np.nan)}
                found[f"{name}_r2"] = Metric(data, _explained, int(known.sum()))
        return {f"{self.name}/{name}": metric for name, metric in found.items()}

    def sections(self, several: Sequence[Evaluated]) -> list[Section]:
        from ramjax.tasks.image import reporting  # draws charts, which take a second to load

        return reporting.sections(several, self.name, self.targets, self.headlines)

    def find(
        self, maps: Mapping[str, np.ndarray], grid: Grid, min_confidence: float, found: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[NotJudged]]:
        del grid, min_confidence, found
        return {name: target.finding(maps[f"{self.name}_{name}"]) for name, target in self.targets.items()}, []

    def annotated(self, record: Record) -> dict[str, Any] | None:
        known = {name: target.annotated(record) for name, target in self.targets.items()}
        return {name: finding for name, finding in known.items() if finding is not None} or None

    def cells(self, report: Mapping[str, Any]) -> dict[str, Any]:
        finding = report[self.name] or {}
        return {
            f"{self.name}_{name}": target.value(finding[name])
            for name, target in self.targets.items()
            if name in finding
        }

    def panel(self, finding: dict[str, Any], report: Mapping[str, Any], blocks: list[Block]) -> list[Block]:
        del report
        entries = tuple(Entry(target.title, target.words(finding[name])) for name, target in self.targets.items())
        return [*blocks, Entries(self.name.capitalize(), entries)]

    def captions(self, truth: dict[str, Any] | None, finding: dict[str, Any] | None) -> list[tuple[str, str]]:
        return [
            tuple(f"{target.title} {target.value(of[name])}" if of and name in of else "" for of in (truth, finding))
            for name, target in self.targets.items()
        ]

    def _values(self, maps: Mapping[str, np.ndarray], annotated: Mapping[str, np.ndarray]) -> Values:
        """``predicted`` and ``annotated`` (a class as its position), and ``p0``, ``p1``, ... of classes."""
        most = max((len(t.names) for t in self.targets.values() if isinstance(t, Classes)), default=0)
        columns: dict[str, list[np.ndarray]] = {key: [] for key in ("predicted", "annotated")}
        columns |= {f"p{k}": [] for k in range(most)}
        for name, target in self.targets.items():
            value = np.asarray(maps[f"{self.name}_{name}"], np.float64)
            classes = len(target.names) if isinstance(target, Classes) else 0
            columns["predicted"].append(value.argmax(-1).astype(np.float64) if classes else value)
            columns["annotated"].append(np.asarray(annotated[name], np.float64))
            for k in range(most):
                columns[f"p{k}"].append(
                    value[..., k] if k < classes else np.full(columns["predicted"][-1].shape, np.nan)
                )
        return {self.name: {key: alike(np.stack(of_targets, -1)) for key, of_targets in columns.items()}}


def _auroc(data: Mapping[str, np.ndarray]) -> float:
    """Of two classes, that of the second; of more, the mean over those that some images have and some have not."""
    known = np.isfinite(data["annotated"])
    annotated, chances = data["annotated"][known], data["chances"][known]
    classes = [1] if chances.shape[-1] == 2 else range(chances.shape[-1])
    values = [scoring.auroc(chances[:, k], annotated == k) for k in classes]
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def _explained(data: Mapping[str, np.ndarray]) -> float:
    """The coefficient of determination; NaN for fewer than two numbers or where all are the same."""
    known = np.isfinite(data["annotated"]) & np.isfinite(data["predicted"])
    annotated, predicted = data["annotated"][known], data["predicted"][known]
    if len(annotated) < 2 or np.ptp(annotated) == 0:
        return float("nan")
    return float(1 - np.square(predicted - annotated).sum() / np.square(annotated - annotated.mean()).sum())

"""Masked autoencoding: the network sees a part of the patches of a radiograph, and makes up the others.

It needs no label, so it prepares an encoder on any radiographs (He et al., MAE, arXiv 2111.06377; Woo et al., FCMAE,
arXiv 2301.00808); a run of it is the `init.source` of another. The head is light, so that the encoder has to know what
a hand looks like.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from flax import nnx
from jaxtyping import Array

from ramjax.config import EvaluationConfig, ModelConfig, ReconstructionConfig
from ramjax.data.geometry import Placement, visible
from ramjax.data.grid import Grid
from ramjax.figures.overlay import Pixels, Shape
from ramjax.metrics.cases import Cases, Mode, Values
from ramjax.metrics.metric import Headline, Metric, Ranking, mean_metric
from ramjax.models.encoders import GREY_MEAN
from ramjax.models.masking import Masking
from ramjax.record import Record
from ramjax.tasks.base import Batch, Kind, NotJudged, Task, Term
from ramjax.tasks.masks import alike
from ramjax.tasks.reconstruction import learning


@dataclasses.dataclass(frozen=True)
class Made:
    """What is made of a radiograph.

    Attributes:
      seen: float32 (h, w) 0..1, the canvas, grey in the place of hidden patches.
      made: the same with what is made of these patches.
      hidden: bool (h, w), which pixels these are.
      to_canvas: float64 (2, 3), pixels of the radiograph to those of the canvas.
    """

    seen: np.ndarray
    made: np.ndarray
    hidden: np.ndarray
    to_canvas: np.ndarray


@dataclasses.dataclass(frozen=True)
class Reconstruction(Task):
    """The reconstruction task; it is trained alone, for it hides most of the image from the network."""

    config: ReconstructionConfig = dataclasses.field(default_factory=ReconstructionConfig)
    name = "reconstruction"
    hides = True
    predictions: ClassVar = {"reconstruction": Kind.DENSE}
    parts: ClassVar = {"reconstruction": ("hidden",)}
    selected_by = ("reconstruction/explained",)
    headlines = (Headline("reconstruction/explained", "Hidden patches, variance explained"),)
    definitions: ClassVar = {
        "Variance explained": "One less the squared error of the hidden pixels over their variance in each patch, both "
        "relative to the patch's contrast; 0 is the mean grey value of each patch, 1 is perfect."
    }

    def masking(self, *, rngs: nnx.Rngs) -> nnx.Module:
        return Masking(self.config.patch, self.config.ratio, rngs=rngs)

    def head(self, model: ModelConfig, *, rngs: nnx.Rngs) -> nnx.Module:
        return learning.ReconstructionHead(model, rngs=rngs)

    def loss(self, outputs: dict[str, Array], batch: Batch) -> list[Term]:
        return learning.loss(self.config, outputs, batch)

    def predict(self, outputs: dict[str, Array]) -> dict[str, Array]:
        return learning.predict(self.config, outputs)

    def observe(self, outputs: dict[str, Array], batch: Batch) -> dict[str, Array]:
        return learning.observe(self.config, outputs, batch)

    def canvas_values(self, observed: Mapping[str, np.ndarray]) -> Values:
        return {"reconstruction": {"explained": alike(_explained(observed["error"], observed["variance"])[:, None])}}

    def measure(self, record: Record, maps: Mapping[str, np.ndarray], grid: Grid, settings: EvaluationConfig) -> Values:
        """On the canvas: nothing is annotated, and the network is asked for nothing finer."""
        del record, settings
        image, hidden, _, pixels = np.moveaxis(maps["reconstruction"], -1, 0)
        shown = visible(Placement(grid.to_canvas, np.array((0, 0, *grid.shape)), False), *image.shape)
        error, variance = learning.squares(pixels, image, (hidden > 0.5) & shown, self.config.patch)
        return {"reconstruction": {"explained": alike(_explained(error, variance)[None])}}

    def metrics(self, cases: Cases, mode: Mode) -> dict[str, Metric]:
        """``explained``, the mean over the images."""
        if mode == "compat" or not cases.has("reconstruction"):
            return {}
        return {"reconstruction/explained": mean_metric(cases.get("reconstruction", "explained")[:, 0])}

    def rank(self, cases: Cases) -> Ranking | None:
        if not cases.has("reconstruction"):
            return None
        return Ranking("variance explained", cases.get("reconstruction", "explained")[:, 0])

    def find(
        self, maps: Mapping[str, np.ndarray], grid: Grid, min_confidence: float, found: Mapping[str, Any]
    ) -> tuple[Made, list[NotJudged]]:
        del min_confidence, found
        image, hidden, made, _ = np.moveaxis(maps["reconstruction"], -1, 0)
        hidden = hidden > 0.5
        return Made(
            np.where(hidden, np.float32(GREY_MEAN), image), np.where(hidden, made, image), hidden, grid.to_canvas
        ), []

    def write(self, finding: Made | None, written: dict[str, Any], spacing_mm: float) -> dict[str, Any]:
        """Nothing: it finds nothing in a radiograph."""
        del finding, spacing_mm
        return written

    @property
    def columns(self) -> tuple[str, ...]:
        return ()

    def covered(self, finding: Made) -> list[Shape]:
        return [Pixels(finding.seen, finding.hidden, finding.to_canvas)]

    def draw(self, finding: Made, drawn: list[Shape]) -> list[Shape]:
        return [*drawn, Pixels(finding.made, finding.hidden, finding.to_canvas)]


def _explained(error: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """The share of the variance; NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(variance > 0, 1 - np.asarray(error, np.float64) / variance, np.nan)

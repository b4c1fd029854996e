"""What a head is given: the image, the dense features of the decoder, and what other heads found."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Optional

from jaxtyping import Array, Float

from ramjax.config import ModelConfig


@dataclasses.dataclass(frozen=True)
class Features:
    """What a head is given.

    Attributes:
      image: (b, h, w, 1) the canvas, grey values 0..1.
      dense: the decoder's features, (b, h / stride, w / stride, c) at the finest level, half that at each further one;
        with a `model.sharing` other than ``hard``, what the task of the head makes of them.
      stride: of the finest level, in canvas pixels.
      boxes: (b, 22, 4) ymin, xmin, ymax, xmax of the joint sites in canvas pixels, or None where they are unknown.
      hidden: what was hidden from encoder and decoder, of the module that did; None for nothing.
      outputs: of the heads before, by the name of the task.
      detail: (b, k h, k w, 1) the canvas in finer pixels, k of `CanvasConfig.detail`.
      encode: encoder and decoder, from images (n, h, w, 1) whose sides are multiples of the largest stride to dense
        features.
      other: what the head would be given for the patient's other hand; None where that is not shown. Where a patient
        has none, its image is 0.
    """

    image: Float[Array, "b h w 1"]
    dense: list[Array]
    stride: int
    boxes: Array | None
    hidden: Array | None = None
    outputs: Mapping[str, Mapping[str, Array]] = dataclasses.field(default_factory=dict)
    detail: Float[Array, "b kh kw 1"] | None = None
    encode: Callable[[Array], list[Array]] | None = None
    other: Optional["Features"] = None


def dense_level(wanted: int, model: ModelConfig) -> int:
    """The level of the dense features a head works on: the one wanted, or the coarsest of a network with fewer."""
    return min(wanted, len(model.widths) - 1)


def dense_width(level: int, model: ModelConfig) -> int:
    """Channels of the dense features at a level."""
    return model.widths[level] if level else model.decoder_width

"""Settings of the network that the tasks share."""

import dataclasses
from typing import Literal

from ramjax.config.checks import check_width, is_dotted_path
from ramjax.typed import ConfigError, check_number


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The shared network (see `ramjax.models.network`).

    Attributes:
      encoder: ``residual``, or ``package.module.Class`` for an encoder of your own (see `ramjax.models.encoder`).
      stem_stride: 1, 2 or 4: the stride of the first pyramid level.
      widths: channels of the pyramid levels, two or more, finest first; each level halves the resolution of the one
        before. Every width of the network is a multiple of 8, or so small that it is one group of channels.
      blocks: residual blocks of each level.
      decoder_width: channels of the dense features, at the stride of the first level.
      dtype: of activations; parameters, gradients and the optimiser's state are float32.
      remat: what the backward pass computes again instead of keeping it: ``none``; ``activations``, everything within a
        block except the results of its convolutions; ``blocks``, everything within a block, which needs the least
        memory.
    """

    encoder: str = "residual"
    stem_stride: int = 4
    widths: tuple[int, ...] = (32, 64, 96, 128, 160)
    blocks: tuple[int, ...] = (0, 1, 2, 2, 2)
    decoder_width: int = 32
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: Literal["none", "activations", "blocks"] = "none"

    def __post_init__(self):
        if self.encoder != "residual" and not is_dotted_path(self.encoder):
            raise ConfigError(f"encoder is {self.encoder}; use residual, or package.module.Class for one of your own.")
        if self.stem_stride not in (1, 2, 4):
            raise ConfigError(f"stem_stride is {self.stem_stride}; use 1, 2 or 4.")
        if not 2 <= len(self.widths) <= 12:
            raise ConfigError(f"widths is {self.widths}; the pyramid needs two levels or more, and at most twelve.")
        if len(self.widths) != len(self.blocks):
            raise ConfigError(f"blocks is {self.blocks}; it must be as long as widths, which is {self.widths}.")
        for level, (width, blocks) in enumerate(zip(self.widths, self.blocks, strict=True)):
            check_width(f"widths[{level}]", width, below=16)
            check_number(f"blocks[{level}]", blocks, least=0, most=1000)
        check_width("decoder_width", self.decoder_width, below=16)

    @property
    def max_stride(self) -> int:
        """The coarsest pyramid level's stride in canvas pixels."""
        return self.stem_stride * 2 ** (len(self.widths) - 1)

"""Settings of the network that the tasks share."""

import dataclasses
from typing import Literal

from ramjax.config.architectures import DECODERS, ENCODERS, Pyramid
from ramjax.config.checks import check_width, is_dotted_path
from ramjax.typed import ConfigError, check, check_number


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The shared network (see `ramjax.models.network`).

    Attributes:
      encoder: ``residual``, a published encoder by its name (`ENCODERS`), or ``package.module.Class`` for an encoder of
        your own (see `ramjax.models.encoders`).
      decoder: a name of `DECODERS` (see `ramjax.models.decoders`).
      stem_stride: 1, 2 or 4: the stride of the first pyramid level. A published encoder has its own levels; those finer
        than this are not used.
      widths: channels of the pyramid levels, two or more, finest first; each level halves the resolution of the one
        before. Every width of the network is a multiple of 8, or so small that it is one group of channels. A published
        encoder has its own.
      blocks: residual blocks of each level; a published encoder has its own.
      decoder_width: channels of the dense features, at the stride of the first level.
      batch_norm: of a published encoder that has batch normalisation: ``global``, over the whole batch on all devices;
        ``frozen``, with the statistics, scales and biases that it begins with, for pretrained ones; ``group``, group
        normalisation in its place.
      drop_path: of a published encoder: stochastic depth, the share of the examples that skip its last residual block
        in training; those before are skipped less often, in proportion to their number.
      sharing: what a task has of its own between the decoder and its head: ``hard``, nothing; ``adapters``, ``mtan`` or
        ``cross_attention``, which also lets tasks tell each other (see `ramjax.models.sharing`).
      dtype: of activations; parameters, gradients and the optimiser's state are float32.
      remat: what the backward pass computes again instead of keeping it: ``none``; ``activations``, everything within a
        block except the results of its convolutions; ``blocks``, everything within a block, which needs the least
        memory.
    """

    encoder: str = "residual"
    decoder: str = "additive"
    stem_stride: int = 4
    widths: tuple[int, ...] = (32, 64, 96, 128, 160)
    blocks: tuple[int, ...] = (0, 1, 2, 2, 2)
    decoder_width: int = 32
    batch_norm: Literal["global", "frozen", "group"] = "global"
    drop_path: float = 0.0
    sharing: Literal["hard", "adapters", "mtan", "cross_attention"] = "hard"
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: Literal["none", "activations", "blocks"] = "none"

    def __post_init__(self):
        if self.encoder not in ("residual", *ENCODERS) and not is_dotted_path(self.encoder):
            raise ConfigError(
                f"encoder is {self.encoder}; use residual, {', '.join(ENCODERS)}, or package.module.Class for one of "
                "your own."
            )
        if self.decoder not in DECODERS:
            raise ConfigError(f"decoder is {self.decoder}; use {', '.join(DECODERS)}.")
        if self.stem_stride not in (1, 2, 4):
            raise ConfigError(f"stem_stride is {self.stem_stride}; use 1, 2 or 4.")
        check(self, "drop_path", least=0, most=0.9)
        published = ENCODERS.get(self.encoder)
        if published and self.stem_stride not in published.strides:
            raise ConfigError(
                f"stem_stride is {self.stem_stride}, but encoder {self.encoder} has the strides "
                f"{', '.join(map(str, published.strides))}; set stem_stride={published.stride} "
                "or choose another encoder."
            )
        if not 2 <= len(self.widths) <= 12:
            raise ConfigError(f"widths is {self.widths}; the pyramid needs two levels or more, and at most twelve.")
        if len(self.widths) != len(self.blocks):
            raise ConfigError(f"blocks is {self.blocks}; it must be as long as widths, which is {self.widths}.")
        for level, (width, blocks) in enumerate(zip(self.widths, self.blocks, strict=True)):
            check_width(f"widths[{level}]", width, below=16)
            check_number(f"blocks[{level}]", blocks, least=0, most=1000)
        check_width("decoder_width", self.decoder_width, below=16)

    @property
    def pyramid(self) -> Pyramid:
        """The levels of the encoder that are used."""
        published = ENCODERS.get(self.encoder)
        return published.begin(self.stem_stride) if published else Pyramid(self.stem_stride, self.widths)

    @property
    def max_stride(self) -> int:
        """The coarsest pyramid level's stride in canvas pixels."""
        return self.pyramid.strides[-1]

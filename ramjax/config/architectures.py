"""What the settings must know of the published encoders and of the decoders, before one is made.

The networks themselves are in `ramjax.models.encoders` and `ramjax.models.decoders`, whose tables have the same names.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Pyramid:
    """The levels of an encoder.

    Attributes:
      stride: of the finest level, in canvas pixels; each further level has twice that of the one before.
      widths: channels of the levels, finest first.
    """

    stride: int
    widths: tuple[int, ...]

    @property
    def strides(self) -> tuple[int, ...]:
        """Of all levels, finest first."""
        return tuple(self.stride * 2**level for level in range(len(self.widths)))

    def begin(self, stride: int) -> "Pyramid":
        """The levels from one of that stride on; `stride` is one of `strides`."""
        return Pyramid(stride, self.widths[self.strides.index(stride) :])


ENCODERS: dict[str, Pyramid] = {
    "resnet18": Pyramid(2, (64, 64, 128, 256, 512)),
    "resnet34": Pyramid(2, (64, 64, 128, 256, 512)),
    "resnet50": Pyramid(2, (64, 256, 512, 1024, 2048)),
}
"""The published encoders by name."""

DECODERS: tuple[str, ...] = ("additive",)
"""Names of the decoders."""

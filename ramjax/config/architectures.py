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
    "unet": Pyramid(1, (64, 128, 256, 512, 1024)),
    "nnunet": Pyramid(1, (32, 64, 128, 256, 512, 512, 512)),
    "resnet18": Pyramid(2, (64, 64, 128, 256, 512)),
    "resnet34": Pyramid(2, (64, 64, 128, 256, 512)),
    "resnet50": Pyramid(2, (64, 256, 512, 1024, 2048)),
    "densenet121": Pyramid(2, (64, 256, 512, 1024, 1024)),
    "efficientnetv2_s": Pyramid(2, (24, 48, 64, 160, 256)),
    "mobilevit_s": Pyramid(2, (32, 64, 96, 128, 640)),
    "convnextv2_atto": Pyramid(4, (40, 80, 160, 320)),
    "convnextv2_femto": Pyramid(4, (48, 96, 192, 384)),
    "convnextv2_pico": Pyramid(4, (64, 128, 256, 512)),
    "convnextv2_nano": Pyramid(4, (80, 160, 320, 640)),
    "convnextv2_tiny": Pyramid(4, (96, 192, 384, 768)),
    "convnextv2_base": Pyramid(4, (128, 256, 512, 1024)),
    "swin_tiny": Pyramid(4, (96, 192, 384, 768)),
    "swin_small": Pyramid(4, (96, 192, 384, 768)),
    "swinv2_tiny": Pyramid(4, (96, 192, 384, 768)),
    "swinv2_small": Pyramid(4, (96, 192, 384, 768)),
    "mit_b0": Pyramid(4, (32, 64, 160, 256)),
    "mit_b1": Pyramid(4, (64, 128, 320, 512)),
    "mit_b2": Pyramid(4, (64, 128, 320, 512)),
    "mit_b3": Pyramid(4, (64, 128, 320, 512)),
    "vit_small": Pyramid(4, (256, 256, 256, 256)),
    "vit_base": Pyramid(4, (256, 256, 256, 256)),
    "vit_small_dinov3": Pyramid(4, (256, 256, 256, 256)),
    "vit_base_dinov3": Pyramid(4, (256, 256, 256, 256)),
    "vmamba_tiny": Pyramid(4, (96, 192, 384, 768)),
    "umamba": Pyramid(1, (32, 64, 128, 256, 512, 512, 512)),
}
"""The published encoders by name."""

DECODERS: tuple[str, ...] = (
    "additive",
    "unet",
    "unetpp",
    "fpn",
    "segformer",
    "upernet",
    "transunet",
    "mask_transformer",
)
"""Names of the decoders."""

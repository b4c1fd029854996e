"""Encoders: image -> pyramid of features, finest level first.

A published encoder is a class whose constructor takes the number of input channels and the keywords `batch_norm` and
`drop_path` (of `ModelConfig`), `dtype`, `remat` and `rngs`, and whose call takes (b, h, w, channels) and returns all
levels of its pyramid, with the strides and widths that `ramjax.config.architectures.ENCODERS` states. Its modules are
called as in timm where that serves; `TIMM` of its file says how the names of timm's parameters become those here (see
`ramjax.models.pretrained`).

An encoder of your own is a class with the constructor and the call of `ResidualEncoder`; name it in `model.encoder` by
its dotted path, ``package.module.Class``.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable
from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from ramjax.config import ModelConfig
from ramjax.models.encoders import (
    convnextv2,
    densenet,
    efficientnetv2,
    mit,
    mobilevit,
    resnet,
    swin,
    umamba,
    unet,
    vit,
    vmamba,
)
from ramjax.models.encoders.residual import ResidualEncoder
from ramjax.typed import import_class

Renames = tuple[tuple[str, str], ...]
"""Regular expressions and what they become, one after the other."""


@dataclasses.dataclass(frozen=True)
class Published:
    """A published encoder.

    Attributes:
      make: its constructor.
      renames: from the names of timm's parameters to those here.
      paper: where it was published.
      unused: regular expressions of timm's parameters that are not in the pyramid, such as those of the classifier.
      own: regular expressions of the parameters here that no file holds, such as those of a pyramid on a transformer.
    """

    make: Callable[..., nnx.Module]
    renames: Renames
    paper: str
    unused: tuple[str, ...] = (r"^(fc|classifier|head)\b",)
    own: tuple[str, ...] = ()

    def held(self, names: Iterable[str]) -> list[str]:
        """The parameters here, by their names, that a file of weights holds."""
        return [name for name in names if not any(re.search(pattern, name) for pattern in self.own)]


def _resnet(block: type, counts: tuple[int, ...]) -> Published:
    make = functools.partial(resnet.ResNet, block, counts)
    return Published(make, resnet.TIMM, "He et al., arXiv 1512.03385")


def _convnextv2(width: int, counts: tuple[int, ...]) -> Published:
    make = functools.partial(convnextv2.ConvNeXtV2, width, counts)
    return Published(make, convnextv2.TIMM, "Woo et al., arXiv 2301.00808")


def _swin(version: int, counts: tuple[int, ...], window: int, paper: str) -> Published:
    make = functools.partial(swin.Swin, version, 96, counts, window, 3)
    return Published(make, swin.TIMM, paper, swin.UNUSED)


def _mit(widths: tuple[int, ...], counts: tuple[int, ...]) -> Published:
    make = functools.partial(mit.MixTransformer, widths, counts)
    return Published(make, mit.TRANSFORMERS, "Xie et al., arXiv 2105.15203", mit.UNUSED)


def _vit(kind: vit.Kind, width: int, paper: str) -> Published:
    make = functools.partial(vit.PyramidTransformer, kind, width)
    return Published(make, vit.TIMM, paper, vit.UNUSED, vit.OWN)


ENCODERS: dict[str, Published] = {
    "unet": Published(
        functools.partial(unet.UNetEncoder, unet.PLAIN), (), "Ronneberger, Fischer and Brox, arXiv 1505.04597"
    ),
    "nnunet": Published(
        functools.partial(unet.ResidualUNetEncoder, unet.RESIDUAL),
        unet.FILES,
        "Isensee et al., arXiv 2404.09556",
        unet.UNUSED,
    ),
    "resnet18": _resnet(resnet.BasicBlock, (2, 2, 2, 2)),
    "resnet34": _resnet(resnet.BasicBlock, (3, 4, 6, 3)),
    "resnet50": _resnet(resnet.Bottleneck, (3, 4, 6, 3)),
    "densenet121": Published(
        functools.partial(densenet.DenseNet, 32, (6, 12, 24, 16)), densenet.TIMM, "Huang et al., arXiv 1608.06993"
    ),
    "efficientnetv2_s": Published(
        functools.partial(efficientnetv2.EfficientNetV2, efficientnetv2.SMALL),
        efficientnetv2.TIMM,
        "Tan and Le, arXiv 2104.00298",
        efficientnetv2.UNUSED,
    ),
    "mobilevit_s": Published(
        functools.partial(mobilevit.MobileViT, mobilevit.SMALL), mobilevit.TIMM, "Mehta and Rastegari, arXiv 2110.02178"
    ),
    "convnextv2_atto": _convnextv2(40, (2, 2, 6, 2)),
    "convnextv2_femto": _convnextv2(48, (2, 2, 6, 2)),
    "convnextv2_pico": _convnextv2(64, (2, 2, 6, 2)),
    "convnextv2_nano": _convnextv2(80, (2, 2, 8, 2)),
    "convnextv2_tiny": _convnextv2(96, (3, 3, 9, 3)),
    "convnextv2_base": _convnextv2(128, (3, 3, 27, 3)),
    "swin_tiny": _swin(1, (2, 2, 6, 2), 7, "Liu et al., arXiv 2103.14030"),
    "swin_small": _swin(1, (2, 2, 18, 2), 7, "Liu et al., arXiv 2103.14030"),
    "swinv2_tiny": _swin(2, (2, 2, 6, 2), 8, "Liu et al., arXiv 2111.09883"),
    "swinv2_small": _swin(2, (2, 2, 18, 2), 8, "Liu et al., arXiv 2111.09883"),
    "mit_b0": _mit((32, 64, 160, 256), (2, 2, 2, 2)),
    "mit_b1": _mit((64, 128, 320, 512), (2, 2, 2, 2)),
    "mit_b2": _mit((64, 128, 320, 512), (3, 4, 6, 3)),
    "mit_b3": _mit((64, 128, 320, 512), (3, 4, 18, 3)),
    "vit_small": _vit(vit.DINOV2, 384, "Oquab et al., arXiv 2304.07193"),
    "vit_base": _vit(vit.DINOV2, 768, "Oquab et al., arXiv 2304.07193"),
    "vit_small_dinov3": _vit(vit.DINOV3, 384, "Siméoni et al., arXiv 2508.10104"),
    "vit_base_dinov3": _vit(vit.DINOV3, 768, "Siméoni et al., arXiv 2508.10104"),
    "vmamba_tiny": Published(
        functools.partial(vmamba.VMamba, 96, (2, 2, 8, 2)), vmamba.FILES, "Liu et al., arXiv 2401.10166", vmamba.UNUSED
    ),
    "umamba": Published(umamba.UMamba, umamba.FILES, "Ma et al., arXiv 2401.04722", umamba.UNUSED),
}
"""The published encoders by their name in `model.encoder`."""

GREY_MEAN, GREY_STD = 0.449, 0.226
"""Means over the colours of the mean and standard deviation of ImageNet's images, 0..1 (0.485, 0.456, 0.406; 0.229,
0.224, 0.225): the grey values that a published encoder is given have these taken out, as its weights expect."""


class PublishedEncoder(nnx.Module):
    """A published encoder of grey canvases, without the levels that are finer than `config.stem_stride`."""

    def __init__(self, config: ModelConfig, **options: Any):
        self.levels = len(config.pyramid.widths)
        self.dtype = options["dtype"]
        own = {"batch_norm": config.batch_norm, "drop_path": config.drop_path}
        self.network = ENCODERS[config.encoder].make(1, **own, **options)

    def __call__(self, image: Float[Array, "b h w 1"]) -> list[Float[Array, "b _ _ _"]]:
        return self.network(((image - GREY_MEAN) / GREY_STD).astype(self.dtype))[-self.levels :]


def make_encoder(config: ModelConfig, **options: Any) -> nnx.Module:
    """Returns the encoder that `config.encoder` names; `options` are `dtype`, `remat` and `rngs`.

    Raises:
      ConfigError: its dotted path cannot be imported.
    """
    if config.encoder in ENCODERS:
        return PublishedEncoder(config, **options)
    own = config.encoder != "residual"
    encoder = import_class(config.encoder, "model.encoder") if own else ResidualEncoder
    return encoder(config.stem_stride, config.widths, config.blocks, **options)

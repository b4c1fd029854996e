"""Decoders: pyramid -> dense features at the strides of its levels, finest first.

A decoder is a class whose constructor takes the channels of the pyramid's levels, finest first, and those that the
finest dense features shall have, and the keywords `dtype`, `remat` and `rngs`. Its attribute `widths` tells the
channels of the dense features at each level; the first is the number asked for. Its call takes the pyramid and returns
as many levels.
"""

from collections.abc import Callable
from typing import Any

from flax import nnx

from ramjax.config import ModelConfig
from ramjax.models.decoders.additive import AdditiveDecoder
from ramjax.models.decoders.mask_transformer import MaskTransformer
from ramjax.models.decoders.pyramids import FeaturePyramid, SegFormerDecoder, UPerNetDecoder
from ramjax.models.decoders.unet import TransUNetDecoder, UNetDecoder, UNetPlusPlusDecoder

DECODERS: dict[str, Callable[..., nnx.Module]] = {
    "additive": AdditiveDecoder,
    "unet": UNetDecoder,
    "unetpp": UNetPlusPlusDecoder,
    "fpn": FeaturePyramid,
    "segformer": SegFormerDecoder,
    "upernet": UPerNetDecoder,
    "transunet": TransUNetDecoder,
    "mask_transformer": MaskTransformer,
}
"""The decoders by their name in `model.decoder`."""


def make_decoder(config: ModelConfig, **options: Any) -> nnx.Module:
    """Returns the decoder that `config.decoder` names; `options` are `dtype`, `remat` and `rngs`."""
    return DECODERS[config.decoder](config.pyramid.widths, config.decoder_width, **options)

"""The multi-task network: one encoder, one decoder, and a head for each task that is trained."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ramjax.config import ModelConfig
from ramjax.models.decoders import make_decoder
from ramjax.models.encoders import make_encoder
from ramjax.models.features import Features
from ramjax.models.sharing import SHARING, features_of

Head = Callable[..., nnx.Module]
"""Makes a head: ``head(config, rngs=rngs)`` returns the module that turns `Features` into a dict of raw outputs."""


class MultiTaskNetwork(nnx.Module):
    """Image to the raw outputs of every task, in one pass.

    Args:
      config: of encoder and decoder.
      heads: by the name of the task, in the order in which they run.
      masking: makes the module that hides parts of the images (see `ramjax.tasks.base.Task.masking`); None for none.
      finds_boxes: the head whose output ``boxes`` the heads after it are given; None for none.
      detail: finer pixels a side of a canvas pixel, `CanvasConfig.detail`.
      rngs: for the first parameters.
    """

    def __init__(
        self,
        config: ModelConfig,
        heads: Mapping[str, Head],
        *,
        rngs: nnx.Rngs,
        finds_boxes: str | None = None,
        detail: int = 1,
        masking: Callable[..., nnx.Module] | None = None,
    ):
        options = {"dtype": jnp.dtype(config.dtype), "remat": config.remat, "rngs": rngs}
        self.stride, self.finds_boxes, self.sharing = config.stem_stride, finds_boxes, config.sharing
        self.detail = detail
        self.encoder = make_encoder(config, **options)
        self.decoder = make_decoder(config, **options)
        # What a head asks of the config is what the dense features are like.
        levels = self.decoder.widths
        config = dataclasses.replace(config, widths=levels, blocks=(0,) * len(levels))
        self.heads = nnx.Dict({name: head(config, rngs=rngs) for name, head in heads.items()})
        if config.sharing != "hard":
            for head in self.heads.values():
                head.sharing = SHARING[config.sharing](levels, len(heads) - 1, **options)
        self.masking = masking(rngs=rngs) if masking else None

    def __call__(
        self,
        image: Float[Array, "b h w c"],
        boxes: Float[Array, "b n 4"] | None = None,
        heads: Sequence[str] | None = None,
    ) -> dict[str, dict[str, Array]]:
        """Returns {task: its head's outputs}.

        Args:
          image: (b, h, w, c) grey values in 0..1. c is detail^2, the finer pixels of each canvas pixel, or twice that,
            those of the patient's other hand behind them.
          boxes: (b, 22, 4) where the sites are, in canvas pixels; None takes them from the head that finds boxes.
          heads: the tasks wanted; None is all.
        """
        own, other = image[..., : self.detail**2], image[..., self.detail**2 :]
        shown = self._run(other, None, heads, {})[1] if other.shape[-1] else {}
        return self._run(own, boxes, heads, shown)[0]

    def _run(
        self, image: Array, boxes: Array | None, heads: Sequence[str] | None, other: Mapping[str, Features]
    ) -> tuple[dict[str, dict[str, Array]], dict[str, Features]]:
        """The outputs of each head and what it was given, of one hand; `other` is what it was given of the other."""
        canvas, detail = unpack(image, self.detail)
        seen, hidden = self.masking(canvas) if self.masking else (canvas, None)
        dense = self.encode(seen)
        of_task = {} if self.sharing == "hard" else features_of(self.heads, dense)
        features = Features(
            image=canvas,
            detail=detail,
            dense=dense,
            stride=self.stride,
            boxes=boxes,
            hidden=hidden,
            encode=self.encode,
        )
        outputs, given = {}, {}
        for name, head in self.heads.items():
            if heads is not None and name not in heads:
                continue
            given[name] = dataclasses.replace(features, dense=of_task.get(name, dense), other=other.get(name))
            outputs[name] = head(given[name])
            if boxes is None and name == self.finds_boxes:
                features = dataclasses.replace(features, boxes=outputs[name]["boxes"])
            features = dataclasses.replace(features, outputs=dict(outputs))
        return outputs, given

    def encode(self, image: Float[Array, "b h w 1"]) -> list[Array]:
        """The dense features of a canvas, finest first."""
        return self.decoder(self.encoder(image))


def unpack(image: Float[Array, "b h w kk"], detail: int) -> tuple[Float[Array, "b h w 1"], Float[Array, "b kh kw 1"]]:
    """The canvas and its finer pixels, of an image that holds those of a canvas pixel as channels, row by row.

    Raises:
      ValueError: it holds another number of them.
    """
    b, h, w, channels = image.shape
    if channels != detail**2:
        raise ValueError(
            f"The image has {channels} channels; a network of data.canvas.detail={detail} needs {detail**2}, or twice "
            "as many with the other hand."
        )
    if detail == 1:
        return image, image
    blocks = image.reshape(b, h, w, detail, detail).transpose(0, 1, 3, 2, 4)
    return image.mean(-1, keepdims=True), blocks.reshape(b, h * detail, w * detail, 1)

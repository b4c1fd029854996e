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
      rngs: for the first parameters.
    """

    def __init__(
        self,
        config: ModelConfig,
        heads: Mapping[str, Head],
        *,
        rngs: nnx.Rngs,
        finds_boxes: str | None = None,
        masking: Callable[..., nnx.Module] | None = None,
    ):
        options = {"dtype": jnp.dtype(config.dtype), "remat": config.remat, "rngs": rngs}
        self.stride, self.finds_boxes, self.sharing = config.stem_stride, finds_boxes, config.sharing
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
        image: Float[Array, "b h w 1"],
        boxes: Float[Array, "b n 4"] | None = None,
        heads: Sequence[str] | None = None,
    ) -> dict[str, dict[str, Array]]:
        """Returns {task: its head's outputs}.

        Args:
          image: (b, h, w, 1) grey values in 0..1.
          boxes: (b, 22, 4) where the sites are, in canvas pixels; None takes them from the head that finds boxes.
          heads: the tasks wanted; None is all.
        """
        seen, hidden = self.masking(image) if self.masking else (image, None)
        dense = self.decoder(self.encoder(seen))
        of_task = {} if self.sharing == "hard" else features_of(self.heads, dense)
        features = Features(image=image, dense=dense, stride=self.stride, boxes=boxes, hidden=hidden)
        outputs = {}
        for name, head in self.heads.items():
            if heads is not None and name not in heads:
                continue
            outputs[name] = head(dataclasses.replace(features, dense=of_task.get(name, dense)))
            if boxes is None and name == self.finds_boxes:
                features = dataclasses.replace(features, boxes=outputs[name]["boxes"])
            features = dataclasses.replace(features, outputs=dict(outputs))
        return outputs

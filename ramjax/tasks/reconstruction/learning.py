"""How hidden patches are learned: the head, and a loss that looks at hidden pixels alone."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from ramjax.config import ModelConfig, ReconstructionConfig
from ramjax.models import layers
from ramjax.models.features import Features
from ramjax.models.masking import over_pixels
from ramjax.tasks.base import Batch, Term

FLOOR = 0.05
"""Grey values (0-1) that are added to the contrast of a patch before it is divided by it, so that the noise of an empty
patch is not blown up; MAE adds next to nothing, but photographs have few empty patches."""


class ReconstructionHead(nnx.Module):
    """The finest dense features, through one convolution, to the pixels of each of their cells."""

    def __init__(self, model: ModelConfig, *, rngs: nnx.Rngs):
        dtype, width = jnp.dtype(model.dtype), model.decoder_width
        self.stride = model.stem_stride
        self.mix = layers.ConvNorm(width, width, 3, dtype=dtype, rngs=rngs)
        self.pixels = layers.Pointwise(width, self.stride**2, dtype=dtype, rngs=rngs)

    def __call__(self, features: Features) -> dict[str, Array]:
        """Returns ``pixels`` (b, h, w) relative to the mean and contrast of their patch, ``hidden`` (b, rows, columns)
        and the whole ``image`` (b, h, w)."""
        pixels = layers.depth_to_space(self.pixels(self.mix(features.dense[0])), self.stride)[..., 0]
        return {"pixels": pixels.astype(jnp.float32), "hidden": features.hidden, "image": features.image[..., 0]}


def loss(config: ReconstructionConfig, outputs: dict[str, Array], batch: Batch) -> list[Term]:
    """Squared error of the hidden pixels that are no padding, each image's mean, relative to their patch."""
    asked = _asked(config, outputs, batch["padding"])
    target = normalised(batch["image"][..., 0], config.patch)
    errors = (jnp.square(outputs["pixels"] - target) * asked).sum((1, 2)) / jnp.maximum(asked.sum((1, 2)), 1)
    return [Term((errors * batch["valid"]).sum(), batch["valid"].sum())]  # as many patches are hidden in each image


def predict(config: ReconstructionConfig, outputs: dict[str, Array]) -> dict[str, Array]:
    """Returns (b, h, w, 4): the image, what is hidden of it, what is made of all of it, and that relative to each
    patch."""
    image, pixels = outputs["image"], outputs["pixels"]
    mean, contrast = patch_moments(image, config.patch)
    hidden = over_pixels(outputs["hidden"], config.patch).astype(jnp.float32)
    made = jnp.clip(mean + pixels * contrast, 0, 1)
    return {"reconstruction": jnp.stack([image, hidden, made, pixels], -1)}


def observe(config: ReconstructionConfig, outputs: dict[str, Array], batch: Batch) -> dict[str, Array]:
    error, variance = squares(
        outputs["pixels"], batch["image"][..., 0], _asked(config, outputs, batch["padding"]), config.patch
    )
    return {"error": error, "variance": variance}


def squares(
    pixels: Float[Array, "*b h w"], image: Float[Array, "*b h w"], asked: Bool[Array, "*b h w"], patch: int
) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
    """The squared error of the pixels that are asked for and their own square, relative to their patch; also of NumPy's
    arrays."""
    target = normalised(image, patch)
    return ((pixels - target) ** 2 * asked).sum((-2, -1)), (target**2 * asked).sum((-2, -1))


def normalised(image: Float[Array, "*b h w"], patch: int) -> Float[Array, "*b h w"]:
    """Grey values less the mean of their patch, over its contrast."""
    mean, contrast = patch_moments(image, patch)
    return (image - mean) / contrast


def patch_moments(image: Float[Array, "*b h w"], patch: int) -> tuple[Array, Array]:
    """The mean of each pixel's patch, and its standard deviation and `FLOOR`; both (..., h, w)."""
    h, w = image.shape[-2:]
    patches = image.reshape(*image.shape[:-2], h // patch, patch, w // patch, patch)
    mean, contrast = patches.mean((-3, -1)), patches.std((-3, -1)) + FLOOR
    return over_pixels(mean, patch), over_pixels(contrast, patch)


def _asked(config: ReconstructionConfig, outputs: dict[str, Array], padding: Array) -> Bool[Array, "b h w"]:
    return over_pixels(outputs["hidden"], config.patch) & ~padding

"""The encoder of U-Net, which no library has as published: counted by its paper's figure, and an invariant."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ramjax.models.encoders import ENCODERS, unet
from ramjax.trees import by_name

FIGURE = [
    (1, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512), (512, 1024), (1024, 1024),
]  # fmt: skip
"""Channels that the 3x3 convolutions of the contracting path read and give, in figure 1 of arXiv 1505.04597."""

KEYS = {"batch_norm": "global", "drop_path": 0.0, "dtype": jnp.float32}


def test_unet_has_the_convolutions_of_its_figure_and_as_many_parameters_as_they():
    network = nnx.eval_shape(lambda: ENCODERS["unet"].make(1, rngs=nnx.Rngs(0), **KEYS))
    shapes = [leaf.shape for leaf in by_name(nnx.to_pure_dict(nnx.state(network, nnx.Param))).values()]
    kernels = sorted(shape for shape in shapes if len(shape) == 4)
    assert kernels == sorted((3, 3, ins, outs) for ins, outs in FIGURE)
    published = sum(9 * ins * outs + outs for ins, outs in FIGURE)  # the paper's have biases and no normalisation
    assert abs(sum(np.prod(shape) for shape in shapes) / published - 1) < 0.02


def test_a_mirrored_image_and_mirrored_kernels_give_the_mirrored_pyramid():
    """So no convolution is padded, and no pair of pixels pooled, on one side alone."""
    network = unet.UNetEncoder((8, 16, 24), 1, rngs=nnx.Rngs(0), **KEYS)
    graphdef, state = nnx.split(network)
    mirrored = jax.tree.map(lambda leaf: leaf[::-1, ::-1] if leaf.ndim == 4 else leaf, state)
    image = jnp.asarray(np.random.default_rng(0).normal(size=(1, 32, 48, 1)), jnp.float32)
    apply = jax.jit(lambda state, image: nnx.merge(graphdef, state)(image))
    plain, turned = apply(state, image), apply(mirrored, image[:, ::-1, ::-1])
    for level, other in zip(plain, turned, strict=True):
        assert float(jnp.abs(level).max()) > 0.1
        np.testing.assert_allclose(other[:, ::-1, ::-1], level, rtol=0, atol=1e-4)

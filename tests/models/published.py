"""What the tests of published encoders and decoders share."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ramjax.trees import name_of
from tests.models.golden import random_tensors

TOLERANCE = 1e-4
"""Of the values of a level, relative to the largest of them."""


def fill(state, tensors):
    """Puts the tensors into the state of a network, and zeros where there are none."""
    values = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.asarray(tensors.get(name_of(path), np.zeros(leaf.shape, leaf.dtype))),
        nnx.to_pure_dict(state),
    )
    nnx.replace_by_pure_dict(state, values)


def assert_sampled(levels, expected):
    """Asserts that the levels have the golden values, one list for each level."""
    for level, values in zip(levels, expected, strict=True):
        np.testing.assert_allclose(
            random_tensors.sample(np.asarray(level)), values, rtol=0, atol=TOLERANCE * float(np.abs(values).max())
        )

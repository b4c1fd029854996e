"""The state before the first step: each host computes it, and its devices get their parts."""

import dataclasses

import jax
import numpy as np
import pytest

from ramjax.devices import sharding
from ramjax.errors import RunError
from ramjax.steps.state import abstract_state, init_state, place_first_state


@pytest.fixture
def config(debug_config):
    model = dataclasses.replace(debug_config.model, widths=(8, 16), blocks=(0, 1), decoder_width=8)
    return dataclasses.replace(debug_config, tasks=("erosions", "scores"), model=model)


def test_it_is_that_of_the_config_wherever_it_is_placed(config):
    abstract = abstract_state(config, sharding.make_mesh(config))
    placed, expected = place_first_state(config, abstract), init_state(config)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.sharding), placed) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype, leaf.sharding), abstract
    )
    jax.tree.map(np.testing.assert_array_equal, placed, expected)
    other = init_state(dataclasses.replace(config, seed=config.seed + 1))
    kernels = placed.params["encoder"]["stem"]["conv"]["kernel"], other.params["encoder"]["stem"]["conv"]["kernel"]
    assert not np.array_equal(*kernels)


def test_its_memory_can_be_given_to_the_first_step(config):
    """A step writes into the buffers that it is given; none may be another's, or the host's."""
    abstract = abstract_state(config, sharding.make_mesh(config))
    state, expected = place_first_state(config, abstract), init_state(config)
    kept = jax.tree.map(lambda leaf: np.asarray(leaf).copy(), expected)
    double = jax.jit(lambda state: jax.tree.map(lambda leaf: 2 * leaf, state), donate_argnums=0)
    jax.tree.map(lambda given, first: np.testing.assert_array_equal(given, 2 * first), double(state), kept)
    jax.tree.map(np.testing.assert_array_equal, place_first_state(config, abstract), kept)


def test_without_the_cpu(config, monkeypatch):
    abstract = abstract_state(config, sharding.make_mesh(config))

    def unknown(backend):
        raise RuntimeError(f"Unknown backend {backend}. Available backends are ['cuda']")

    monkeypatch.setattr(jax, "local_devices", unknown)
    with pytest.raises(RunError, match=r"JAX_PLATFORMS is .*; set .*,cpu\."):
        place_first_state(config, abstract)

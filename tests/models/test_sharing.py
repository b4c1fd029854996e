"""What tasks have of their own between the decoder and their heads."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import expit

from experiments import debug
from ramjax import config as config_lib
from ramjax.config import ConfigError
from ramjax.models import sharing
from ramjax.steps.state import init_state, make_apply
from ramjax.steps.train import make_train_step
from ramjax.trees import by_name
from tests.tasks.batches import random_batch

CONFIG = config_lib.from_config_dict(debug.get_config())
CONFIG = dataclasses.replace(
    CONFIG,
    tasks=("erosions", "joints"),
    model=dataclasses.replace(CONFIG.model, widths=(8, 16), blocks=(0, 0), decoder_width=8),
)
WIDTHS = (8, 16)


def sharing_of(name):
    return dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, sharing=name))


def random_values(module):
    """Sets all parameters to random numbers, also those that are 0 at first."""
    rng = np.random.default_rng(0)
    state = nnx.state(module, nnx.Param)
    nnx.update(module, jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), state))
    return module


def dense_of(seed, widths=WIDTHS, side=8):
    rng = np.random.default_rng(seed)
    return [
        jnp.asarray(rng.normal(size=(2, 2 * side >> level, side >> level, width)), jnp.float32)
        for level, width in enumerate(widths)
    ]


def linear(layer, x):
    y = np.asarray(x, np.float64) @ np.asarray(layer.kernel[...], np.float64)
    return y if layer.bias is None else y + np.asarray(layer.bias[...], np.float64)


def group_norm(norm, x):
    """In groups of eight channels, as NumPy has it."""
    groups = np.asarray(x, np.float64).reshape(len(x), x.shape[1] * x.shape[2], -1, 8)
    mean, variance = groups.mean((1, 3), keepdims=True), groups.var((1, 3), keepdims=True)
    normal = ((groups - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape)
    return normal * np.asarray(norm.scale[...]) + np.asarray(norm.bias[...])


def test_an_adapter_is_a_residual_bottleneck():
    adapter, x = random_values(sharing.Adapter(16, dtype=jnp.float32, rngs=nnx.Rngs(0))), dense_of(0)[1]
    assert adapter.down.out_features == 4
    hidden = np.maximum(linear(adapter.down, group_norm(adapter.norm, x)), 0)
    np.testing.assert_allclose(adapter(x), np.asarray(x) + linear(adapter.up, hidden), rtol=1e-4, atol=1e-4)


def test_a_mask_of_mtan_weighs_the_shared_features():
    mask = random_values(sharing.Mask(16, 8, dtype=jnp.float32, rngs=nnx.Rngs(0)))
    x = dense_of(0)[1]
    first = np.asarray(x, np.float64) @ np.asarray(mask.first.conv.kernel[...][0, 0], np.float64)
    hidden = np.maximum(group_norm(mask.first.norm, first), 0)
    weights = expit(group_norm(mask.norm, linear(mask.second, hidden)))
    np.testing.assert_allclose(mask(x), np.asarray(x[..., :8]) * weights, rtol=1e-4, atol=1e-4)


def test_a_message_is_the_sum_of_what_each_of_the_others_tells():
    message = random_values(sharing.Message(8, 2, dtype=jnp.float32, rngs=nnx.Rngs(0)))
    mine, one, other = (np.asarray(dense_of(seed)[0], np.float64) for seed in range(3))
    kernel = np.asarray(message.tell.kernel[...], np.float64)
    told = one @ kernel[:8] + other @ kernel[8:]
    expected = mine + expit(linear(message.gate, mine)) * told
    joined = jnp.asarray(np.concatenate([mine, one, other], -1), jnp.float32)
    np.testing.assert_allclose(message(joined), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", list(sharing.SHARING))
def test_every_parameter_takes_part_and_tasks_see_each_other_only_by_cross_attention(name):
    options = {"dtype": jnp.float32, "rngs": nnx.Rngs(0), "remat": "blocks"}
    heads = {}
    for task in ("a", "b"):
        heads[task] = nnx.Module()
        heads[task].sharing = random_values(sharing.SHARING[name](WIDTHS, 1, **options))
    state = nnx.state(nnx.Dict(heads))
    graphdef = nnx.graphdef(nnx.Dict(heads))

    @jax.jit
    def gradient(state, dense):
        def total(state):
            features = sharing.features_of(dict(nnx.merge(graphdef, state).items()), dense)["a"]
            assert [level.shape for level in features] == [level.shape for level in dense]
            return sum((jnp.square(level) * (number + 1)).sum() for number, level in enumerate(features))

        return jax.grad(total)(state)

    grads = by_name(nnx.to_pure_dict(gradient(state, dense_of(1))))
    moved = {path for path, leaf in grads.items() if np.abs(leaf).max() > 0}
    mine = {path for path in grads if path.startswith("a/")}
    theirs = {path for path in grads if path.startswith("b/") and "adapters" in path}
    assert moved == mine | (theirs if name == "cross_attention" else set())


@pytest.mark.parametrize("name", list(sharing.SHARING))
def test_features_keep_their_shapes_and_dtype(name):
    widths = (8, 16, 24)
    dense = [level.astype(jnp.bfloat16) for level in dense_of(0, widths)]

    def features():
        head = nnx.Module()
        head.sharing = sharing.SHARING[name](widths, 1, dtype=jnp.bfloat16, rngs=nnx.Rngs(0), remat="blocks")
        return sharing.features_of({"a": head, "b": head}, dense)["a"]

    assert [(level.shape, level.dtype) for level in jax.eval_shape(features)] == [
        (level.shape, level.dtype) for level in dense
    ]


@pytest.mark.parametrize("name", list(sharing.SHARING))
def test_what_is_added_belongs_to_the_heads_and_the_rest_begins_as_with_hard_sharing(name):
    hard, soft = (by_name(init_state(sharing_of(kind)).params) for kind in ("hard", name))
    added = soft.keys() - hard.keys()
    assert {path.split("/")[:3][1] for path in added} == {"erosions", "joints"}
    assert all(path.startswith(("heads/erosions/sharing/", "heads/joints/sharing/")) for path in added)
    for path, leaf in hard.items():
        np.testing.assert_array_equal(soft[path], leaf, err_msg=path)


def test_at_first_cross_attention_changes_nothing():
    """Nor do adapters, which are a part of it."""
    image = random_batch(1)["image"]
    hard, soft = (
        jax.jit(make_apply(config))(init_state(config).params, image)
        for config in (CONFIG, sharing_of("cross_attention"))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), hard, soft)


def test_a_batch_without_labels_of_a_task_leaves_what_it_has_of_its_own():
    config = sharing_of("cross_attention")
    batch = {**random_batch(2), "has_joints": np.zeros(2, bool)}
    start = init_state(config)
    after, step = start, jax.jit(make_train_step(config))
    for _ in range(3):  # what is 0 at first stops the gradients of what is before it
        after, _ = step(after, batch)
    before, params = by_name(start.params), by_name(after.params)
    changed = {path for path in params if np.any(params[path] != before[path])}
    assert not [path for path in changed if path.startswith("heads/joints/")]
    assert {path for path in changed if path.startswith("heads/erosions/sharing/adapters")}
    assert {path for path in changed if path.startswith("heads/erosions/sharing/messages")}


@pytest.mark.parametrize("name", list(sharing.SHARING))
def test_one_task_has_nobody_to_share_with(name):
    with pytest.raises(ConfigError, match=rf"model\.sharing is {name}, but tasks has joints alone"):
        dataclasses.replace(sharing_of(name), tasks=("joints",))

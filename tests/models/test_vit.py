"""The Vision Transformer's positions and its feature pyramid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ramjax.models import attention
from ramjax.models.encoders import vit


def test_products_of_turned_tokens_depend_on_their_offset_alone():
    rng = np.random.default_rng(0)
    query, key = rng.normal(size=(2, vit.HEAD_WIDTH)).astype(np.float32)
    angles = vit.angles_of(5, 7)
    queries, keys = (
        np.asarray(vit.rotate(jnp.broadcast_to(one, (1, 35, vit.HEAD_WIDTH)), angles, 1))[0] for one in (query, key)
    )
    products = (queries @ keys.T).reshape(5, 7, 5, 7)
    np.testing.assert_allclose(products[1, 2, 3, 3], products[2, 5, 4, 6], rtol=1e-4)
    np.testing.assert_allclose(np.einsum("ijij->ij", products), query @ key, rtol=1e-4)
    assert abs(products[1, 2, 3, 3] - products[1, 2, 3, 4]) > 1e-2 < abs(products[1, 2, 3, 3] - products[1, 2, 2, 3])


def test_heads_are_turned_alike():
    x = np.random.default_rng(0).normal(size=(2, 6, 3 * vit.HEAD_WIDTH)).astype(np.float32)
    angles = vit.angles_of(2, 3)
    apart = [vit.rotate(jnp.asarray(part), angles, 1) for part in np.split(x, 3, -1)]
    np.testing.assert_allclose(vit.rotate(jnp.asarray(x), angles, 3), np.concatenate(apart, -1), atol=1e-6)


@pytest.mark.parametrize("finer", [2, 1, 0, -1])
def test_a_level_sees_what_its_stride_and_one_pixel_around_it_cover(finer):
    level = vit.Level(16, finer, dtype=jnp.float32, rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 8, 16)), jnp.float32)
    y = level(x)
    side = round(8 * 2**finer)
    assert y.shape == (1, side, side, vit.WIDTH)
    changed = level(x.at[0, 3, 5].add(1.0)) - y
    rows, columns = np.nonzero(np.abs(np.asarray(changed)[0]).max(-1) > 1e-5)
    for found, place in ((rows, 3), (columns, 5)):
        first, last = int(place * 2.0**finer), int(np.ceil((place + 1) * 2.0**finer)) - 1
        assert (found.min(), found.max()) == (first - 1, last + 1)


def test_learned_positions_serve_other_images_and_smaller_patches_the_same_canvas():
    network = nnx.eval_shape(
        lambda: vit.PyramidTransformer(
            vit.DINOV2, 64, 1, batch_norm="global", drop_path=0.1, dtype=jnp.bfloat16, rngs=nnx.Rngs(0)
        )
    )
    levels = nnx.eval_shape(lambda network: network(jnp.zeros((2, 96, 160, 1), jnp.bfloat16)), network)
    assert [level.shape[1:3] for level in levels] == [(24, 40), (12, 20), (6, 10), (3, 5)]


def test_attention_is_that_of_numpy():
    rng = np.random.default_rng(0)
    queries, keys, values = rng.normal(size=(3, 2, 5, 6)).astype(np.float32)
    bias = rng.normal(size=(1, 3, 5, 5)).astype(np.float32)
    found = attention.attend(*map(jnp.asarray, (queries, keys, values)), 3, jnp.asarray(bias))
    for head in range(3):
        part = slice(2 * head, 2 * head + 2)
        logits = queries[..., part] @ keys[..., part].transpose(0, 2, 1) / np.sqrt(2) + bias[0, head]
        shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        np.testing.assert_allclose(np.asarray(found)[..., part], shares @ values[..., part], rtol=1e-4, atol=1e-5)
    wide = attention.attend(*(jnp.asarray(part, jnp.bfloat16) for part in (queries, keys, values)), 3)
    assert wide.dtype == jnp.bfloat16
    assert jax.numpy.isfinite(wide.astype(jnp.float32)).all()

"""Decoders: what all of them promise, and single ones beside slow or hand-worked answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ramjax import anatomy
from ramjax.config import ModelConfig, architectures
from ramjax.models.decoders import DECODERS, make_decoder, mask_transformer, pyramids, unet

KEYS = {"dtype": jnp.float32, "rngs": nnx.Rngs(0)}


def pyramid_of(widths, side=16):
    rng = np.random.default_rng(0)
    sides = [side // 2**level for level in range(len(widths))]
    return [
        jnp.asarray(rng.normal(size=(2, 2 * of, of, width)), jnp.float32)
        for of, width in zip(sides, widths, strict=True)
    ]


def test_the_tables_of_settings_and_networks_have_the_same_decoders():
    assert tuple(DECODERS) == architectures.DECODERS


@pytest.mark.parametrize("name", list(DECODERS))
@pytest.mark.parametrize("widths", [(8, 24), (8, 16, 24, 40)])
def test_dense_features_have_the_strides_of_the_pyramid_and_the_promised_widths(name, widths):
    config = ModelConfig(decoder=name, widths=widths, blocks=(0,) * len(widths), decoder_width=16)

    def make(dtype):
        decoder = make_decoder(config, dtype=dtype, remat="blocks", rngs=nnx.Rngs(0))
        dense = decoder([level.astype(dtype) for level in pyramid_of(widths)])
        assert decoder.widths[0] == 16
        assert len(decoder.widths) == len(dense) == len(widths)
        assert [level.shape[-1] for level in dense] == list(decoder.widths)
        return dense

    dense = jax.eval_shape(lambda: make(jnp.bfloat16))
    assert [level.shape[:3] for level in dense] == [level.shape[:3] for level in pyramid_of(widths)]
    assert {level.dtype for level in dense} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize("name", list(DECODERS))
def test_every_parameter_takes_part(name):
    """A gradient reaches each of them, and the finest features depend on every level of the pyramid."""
    widths = (8, 16, 24)
    config = ModelConfig(decoder=name, widths=widths, blocks=(0,) * 3, decoder_width=8)
    decoder, pyramid = make_decoder(config, remat="none", **KEYS), pyramid_of(widths, 8)

    @nnx.jit
    def gradients(decoder, pyramid):
        def total(decoder, pyramid):
            return sum(jnp.square(level).sum() * (number + 1) for number, level in enumerate(decoder(pyramid)))

        def finest(pyramid):
            return jnp.square(decoder(pyramid)[0]).sum()

        return nnx.grad(total)(decoder, pyramid), jax.grad(finest)(pyramid)

    of_decoder, of_pyramid = gradients(decoder, pyramid)
    still = [path for path, leaf in nnx.to_flat_state(of_decoder) if not np.abs(leaf[...]).max() > 0]
    # Softmax does not see what is added to all its inputs: the bias of a key.
    assert [path for path in still if "bias" not in path] == []
    assert all(np.abs(level).max() > 0 for level in of_pyramid)


def test_a_feature_pyramid_by_hand():
    """With lateral and smoothing convolutions that copy, a level is the sum of itself and the coarser ones above it."""
    decoder = pyramids.FeaturePyramid((8, 8, 8), 8, **KEYS)
    for lateral in decoder.lateral:
        lateral.kernel[...] = jnp.eye(8)
    for smooth in decoder.smooth:
        smooth.kernel[...] = jnp.zeros((3, 3, 8, 8)).at[1, 1].set(jnp.eye(8))
    fine, middle, coarse = pyramid = pyramid_of((8, 8, 8), 8)
    dense = decoder(pyramid)
    blocks = [np.kron(coarse[0, :, :, 0], np.ones((size, size))) for size in (1, 2, 4)]
    np.testing.assert_allclose(dense[2][0, :, :, 0], blocks[0], rtol=1e-5)
    np.testing.assert_allclose(dense[1][0, :, :, 0], middle[0, :, :, 0] + blocks[1], rtol=1e-5)
    expected = fine[0, :, :, 0] + np.kron(middle[0, :, :, 0], np.ones((2, 2))) + blocks[2]
    np.testing.assert_allclose(dense[0][0, :, :, 0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("size", "side"), [((7, 5), 3), ((4, 9), 6), ((6, 6), 2)])
def test_pooling_to_a_grid_has_the_cells_of_adaptive_pooling(size, side):
    """Cell i of n goes from floor(i h / n) to ceil((i + 1) h / n); one pixel counts as often as it is needed."""
    x = np.random.default_rng(0).normal(size=(1, *size, 2)).astype(np.float32)
    expected = np.empty((1, side, side, 2))
    for i in range(side):
        for j in range(side):
            rows = slice(int(np.floor(i * size[0] / side)), int(np.ceil((i + 1) * size[0] / side)))
            columns = slice(int(np.floor(j * size[1] / side)), int(np.ceil((j + 1) * size[1] / side)))
            expected[:, i, j] = x[:, rows, columns].mean((1, 2))
    np.testing.assert_allclose(pyramids.pool(jnp.asarray(x), side), expected, rtol=1e-5, atol=1e-6)


def test_segformer_fuses_pixel_by_pixel():
    """A changed pixel of the finest level changes the fused features there alone, before the normalisation."""
    decoder = pyramids.SegFormerDecoder((8, 16), 8, **KEYS)
    fine, coarse = pyramid_of((8, 16), 8)
    moved = fine.at[0, 3, 4].add(1.0)

    def fused(fine):
        levels = [decoder.project[0](fine), pyramids.layers.upsample(decoder.project[1](coarse), *fine.shape[1:3])]
        return decoder.fuse(jnp.concatenate(levels, -1))

    changed = np.abs(np.asarray(fused(moved) - fused(fine))).max(-1) > 1e-6
    assert np.argwhere(changed).tolist() == [[0, 3, 4]]
    dense = decoder([fine, coarse])
    means = np.asarray(dense[0]).reshape(2, 8, 2, 4, 2, 8).mean((2, 4))
    np.testing.assert_allclose(dense[1], means, rtol=1e-5, atol=1e-6)


def test_nested_levels_see_all_their_versions():
    """As many convolutions as there are pairs of a level and a coarser one; inputs grow with each version."""
    decoder = unet.UNetPlusPlusDecoder((8, 16, 24, 32), 8, **KEYS)
    ins = [[of.first.conv.in_features for of in column] for column in decoder.columns]
    assert ins == [[8 + 16, 16 + 24, 24 + 32], [8 + 8 + 16, 16 + 16 + 24], [8 + 8 + 8 + 16]]


def test_positions_differ_and_keep_their_length():
    waves = unet.position_waves(5, 7, 24)
    assert waves.shape == (35, 24)
    np.testing.assert_allclose(np.square(waves).sum(1), 12, rtol=1e-5)
    assert len(np.unique(waves.round(5), axis=0)) == 35


def test_a_query_looks_where_its_mask_is_and_everywhere_where_it_is_nowhere():
    masks = np.full((1, 4, 4, 2), -1.0, np.float32)
    masks[0, :2, :2, 0] = 1  # the first query's upper left quarter; the second's nowhere
    bias = np.asarray(mask_transformer._outside(jnp.asarray(masks), 2, 2))[0, 0]
    np.testing.assert_array_equal(bias == 0, [[True, False, False, False], [True] * 4])
    assert mask_transformer.MaskTransformer((8, 16), 8, **KEYS).queries.shape == (anatomy.NUM_BONES, 8)

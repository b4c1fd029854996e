"""Sliding windows against MONAI's own, against a plain loop, and on hand-made joint sites."""

import functools
import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramjax import anatomy
from ramjax.devices import compilation
from ramjax.evaluation import sliding_window as windows
from ramjax.evaluation.sliding_window import sliding_window
from ramjax.steps.predict import make_predict_step
from ramjax.steps.state import init_state
from tests.evaluation.golden import sliding_window_cases as cases
from tests.evaluation.kinds import KINDS

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden" / "sliding_window.json").read_text())


@jax.jit
def predict_case(tiles):
    """The logits of the golden cases."""
    dimensions = "NHWC", "HWIO", "NHWC"
    maps = jax.lax.conv_general_dilated(tiles, cases.KERNEL, (1, 1), "SAME", dimension_numbers=dimensions)
    return {"logits": maps + cases.PLACE}


@jax.jit
def predict_strided(tiles):
    """Two maps of strides 2 and 4 that show where in the tile they are."""
    b, h, w, _ = tiles.shape
    halves, quarters = (tiles.reshape(b, h // s, s, w // s, s, 1).mean((2, 4)) for s in (2, 4))
    ramp = jnp.arange(h // 2)[:, None, None] + 0.1 * jnp.arange(w // 2)[:, None]
    return {"two": jnp.concatenate([halves + ramp, halves], -1), "four": quarters}


@jax.jit
def predict_sites(tiles):
    """Site 0 is the brightest pixel and as sure as it is bright; site 1 is sure of dark tiles; `be` is the mean."""
    b, h, w, _ = tiles.shape
    flat = tiles.reshape(b, h * w)
    row, column = jnp.divmod(flat.argmax(1), w)
    boxes = jnp.stack([row, column, row + 1, column + 1], -1).astype(jnp.float32)
    mean = flat.mean(1)
    return {
        "boxes": jnp.stack([boxes, jnp.zeros((b, 4))], 1),
        "confidence": jnp.stack([flat.max(1), 1 - mean], 1),
        "be": jnp.stack([mean, mean], 1)[..., None],
        "map": tiles,
    }


@pytest.mark.parametrize("blending", cases.BLENDINGS)
@pytest.mark.parametrize("overlap", cases.OVERLAPS)
@pytest.mark.parametrize("name", cases.SIZES)
def test_equal_to_monai(name, overlap, blending):
    image = cases.image(cases.SIZES[name])
    expected = GOLDEN[cases.key(name, overlap, blending)]
    maps = sliding_window(
        predict_case,
        image,
        kinds=KINDS,
        tile=cases.TILE,
        overlap=overlap,
        blending=blending,
        sigma=cases.SIGMA,
        batch=3,
    )["logits"]
    assert maps.dtype == np.float32 and list(maps.shape) == expected["shape"]
    np.testing.assert_allclose(maps[cases.KEPT].ravel(), expected["kept"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(maps.mean((0, 1), np.float64) * image.size, expected["sum"], atol=1e-5 * image.size)


@settings(max_examples=12, deadline=None)
@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 90)),
    overlap=st.floats(0, 0.9),
    batch=st.sampled_from([1, 4]),
    blending=st.sampled_from(["gaussian", "constant"]),
)
def test_strided_maps_equal_a_plain_loop(size, overlap, batch, blending):
    tile = 16, 24
    image = np.random.default_rng(3).random((*size, 1), np.float32)
    found = sliding_window(
        predict_strided, image, kinds=KINDS, tile=tile, overlap=overlap, batch=batch, blending=blending
    )
    # The plain way: whole numbers of cells of the coarsest map, one tile after the other.
    before = [max(side - whole, 0) // 2 // 4 * 4 for whole, side in zip(size, tile, strict=True)]
    whole = [max(side, -(-length // 4) * 4) for length, side in zip(size, tile, strict=True)]
    padded = np.zeros((*whole, 1), np.float32)
    padded[before[0] : before[0] + size[0], before[1] : before[1] + size[1]] = image
    for name, stride, channels in (("two", 2, 2), ("four", 4, 1)):
        h, w = tile[0] // stride, tile[1] // stride
        weight = np.ones((h, w))
        if blending == "gaussian":
            y, x = np.mgrid[:h, :w]
            exponent = ((y + 0.5) / h - 0.5) ** 2 + ((x + 0.5) / w - 0.5) ** 2
            weight = np.maximum(np.exp(-exponent / (2 * 0.125**2)), 1e-3)
        total, weights = np.zeros((whole[0] // stride, whole[1] // stride, channels)), 0
        weights = np.zeros((*total.shape[:2], 1))
        intervals = [max(4, int(side * (1 - overlap)) // 4 * 4) for side in tile]
        counts = [1 + math.ceil((a - t) / i) for a, t, i in zip(whole, tile, intervals, strict=True)]
        for i in range(counts[0]):
            for j in range(counts[1]):
                y, x = min(i * intervals[0], whole[0] - tile[0]), min(j * intervals[1], whole[1] - tile[1])
                maps = predict_strided(padded[None, y : y + tile[0], x : x + tile[1]])[name][0]
                where = np.s_[y // stride : y // stride + h, x // stride : x // stride + w]
                total[where] += weight[..., None] * np.asarray(maps)
                weights[where] += weight[..., None]
        expected = total / weights
        top, left = before[0] // stride, before[1] // stride
        expected = expected[top : top + -(-size[0] // stride), left : left + -(-size[1] // stride)]
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-4)


def test_cells_cover_their_pixels():
    """Cell (i, j) of a map of stride s shows pixels s i to s (i + 1), also where the image is smaller than the tile."""
    for size in ((8, 8), (13, 50), (70, 90)):
        image = np.random.default_rng(5).random(size, np.float32)
        maps = sliding_window(predict_strided, image, kinds=KINDS, tile=(16, 24))
        full = np.zeros([-(-side // 4) * 4 for side in size])
        full[: size[0], : size[1]] = image
        for s, found in ((2, maps["two"][..., 1]), (4, maps["four"][..., 0])):
            h, w = found.shape
            assert (h, w) == (-(-size[0] // s), -(-size[1] // s))
            expected = full[: h * s, : w * s].reshape(h, s, w, s).mean((1, 3))
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_network_is_compiled_once():
    traced = []

    @jax.jit
    def predict(tiles):
        traced.append(tiles.shape)
        return {"map": tiles[:, ::2, ::2] * 2}

    sizes = [(10, 12), (32, 32), (33, 40), (61, 35), (64, 64), (64, 63), (100, 90)]
    buffers = windows._add._cache_size()
    for size in sizes:
        assert sliding_window(predict, np.ones(size), kinds=KINDS, tile=(32, 32))["map"].shape[0] == -(-size[0] // 2)
    assert traced == [(4, 32, 32, 1)] and predict._cache_size() == 1
    assert windows._add._cache_size() - buffers == 3, "buffers of 1 x 1, 2 x 2 and 4 x 3 tiles"


def test_fill_up_counts_for_nothing():
    """Blanks have the most confident site, and their maps are not finite."""

    @jax.jit
    def predict(tiles):
        blank = (tiles == 0).all((1, 2, 3))
        sure = jnp.where(blank, 1.0, 0.5)[:, None]
        boxes = jnp.where(blank[:, None, None], -99.0, jnp.array([1.0, 2, 3, 4]))
        return {"map": jnp.where(blank[:, None, None, None], jnp.nan, tiles), "confidence": sure, "boxes": boxes}

    image = np.random.default_rng(0).random((40, 16), np.float32) + 0.1
    found = sliding_window(predict, image, kinds=KINDS, tile=(16, 16), overlap=0.25, batch=8)
    np.testing.assert_allclose(found["map"][..., 0], image, rtol=1e-6)
    np.testing.assert_array_equal(found["boxes"], [[1, 2, 3, 4]])
    assert found["confidence"] == [0.5]


@pytest.mark.parametrize("batch", [1, 2, 5, 64])
def test_batches_do_not_matter(batch):
    image = cases.image((50, 75))
    one, some = (
        sliding_window(predict_case, image, kinds=KINDS, tile=cases.TILE, batch=b)["logits"] for b in (3, batch)
    )
    np.testing.assert_allclose(some, one, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(60, 80), (20, 24), (7, 9), (7, 80)])
def test_sites_come_from_the_tile_that_is_sure(size):
    image = np.full(size, 0.25, np.float32)
    y, x = size[0] - 3, size[1] // 2
    image[y, x], image[2, 1] = 0.9, 0.6
    found = sliding_window(predict_sites, image, kinds=KINDS, tile=(20, 24), overlap=0.5, batch=3)
    np.testing.assert_array_equal(found["boxes"][0], [y, x, y + 1, x + 1])
    assert found["confidence"][0] == np.float32(0.9)
    assert found["boxes"].shape == (2, 4) and found["be"].shape == (2, 1)
    # Site 1 and its score are those of the darkest tile; the first of several.
    assert found["confidence"][1] + found["be"][1, 0] == pytest.approx(1)
    if size == (60, 80):
        assert found["be"][1, 0] == 0.25
        np.testing.assert_array_equal(found["boxes"][1], np.tile([0, 12], 2))


def test_without_confidence_sites_are_means_and_boxes_cannot_be_chosen():
    def predict(*left_out):
        return lambda tiles: {k: v for k, v in predict_sites(tiles).items() if k not in ("confidence", *left_out)}

    image = np.zeros((20, 48))
    image[:, 24:] = 1
    found = sliding_window(predict("boxes"), image, kinds=KINDS, tile=(20, 24), overlap=0)
    assert set(found) == {"map", "be"}
    np.testing.assert_allclose(found["be"], [[0.5], [0.5]])
    with pytest.raises(ValueError, match="'boxes' of several tiles cannot be chosen from without a confidence"):
        sliding_window(predict(), image, kinds=KINDS, tile=(20, 24))


def test_sites_alone():
    def predict(tiles):
        return {name: value for name, value in predict_sites(tiles).items() if name != "map"}

    found = sliding_window(predict, np.eye(50), kinds=KINDS, tile=(20, 24))
    np.testing.assert_array_equal(found["boxes"][0], [0, 0, 1, 1])


def test_the_real_network(debug_config):
    """An image of one tile is the network's own answer; a larger one has maps and sites of its own size."""
    canvas = debug_config.data.canvas
    state = init_state(debug_config)
    predict = functools.partial(compilation.jit(make_predict_step(debug_config)), state)
    image = np.random.default_rng(0).random((canvas.height, canvas.width), np.float32)
    tile = image.shape
    direct = predict(np.stack([image, 0 * image])[..., None])
    found = sliding_window(predict, image, kinds=KINDS, tile=tile, batch=2)
    assert set(found) == set(direct)
    for name, value in found.items():
        np.testing.assert_allclose(value, direct[name][0], atol=1e-4, err_msg=name)

    large = sliding_window(predict, np.pad(image, 21), kinds=KINDS, tile=tile, batch=2)
    assert predict.func._cache_size() == 1
    stride = tile[0] // found["bones"].shape[0]
    cells = [math.ceil((side + 42) / stride) for side in tile]
    assert large["bones"].shape == (*cells, anatomy.NUM_BONES)
    assert large["boxes"].shape == (anatomy.NUM_SITES, 4) and (large["confidence"] <= 1).all()


def test_weights():
    weight = windows.tile_weight((5, 7), "gaussian", 0.125)
    assert weight[2, 3] == 1 and weight.min() == np.float32(windows.MIN_WEIGHT)
    np.testing.assert_array_equal(weight, weight[::-1, ::-1])
    assert weight[1, 3] == pytest.approx(math.exp(-0.5 / 0.625**2))
    assert (windows.tile_weight((5, 7), "constant", 0.125) == 1).all()


def test_starts():
    np.testing.assert_array_equal(windows.tile_starts((10, 9), (4, 9), 0.25), [[0, 0], [3, 0], [6, 0]])
    np.testing.assert_array_equal(windows.tile_starts((11, 4), (4, 4), 0.25)[:, 0], [0, 3, 6, 7])
    np.testing.assert_array_equal(windows.tile_starts((12, 4), (4, 4), 0.25, step=2)[:, 0], [0, 2, 4, 6, 8])
    np.testing.assert_array_equal(windows.tile_starts((6, 4), (4, 4), 0.99)[:, 0], [0, 1, 2])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"overlap": 1.0}, "overlap is 1.0; expected a share"),
        ({"overlap": -0.1}, "overlap is -0.1"),
        ({"overlap": math.nan}, "overlap is nan"),
        ({"batch": 0}, "batch is 0"),
        ({"blending": "linear"}, "blending is 'linear'; expected 'gaussian' or 'constant'"),
        ({"sigma": 0}, "sigma is 0"),
        ({"tile": (0, 8)}, r"tile is \(0, 8\)"),
        ({"tile": (9, 8)}, "'map' is 5 x 4 for a tile of 9 x 8"),
        ({"image": np.ones((4, 4, 3))}, r"image is \(4, 4, 3\); expected \(H, W\)"),
        ({"image": np.ones((0, 4))}, r"image is \(0, 4\)"),
        ({"image": np.full((20, 20), np.nan)}, "'map' are not finite"),
    ],
)
def test_bad_input(changes, words):
    arguments = {"image": np.ones((20, 20)), "tile": (8, 8), "kinds": KINDS} | changes
    with pytest.raises(ValueError, match=words):
        sliding_window(lambda tiles: {"map": tiles[:, ::2, ::2]}, **arguments)


def test_sites_that_are_not_finite():
    def predict(tiles):
        return {"confidence": jnp.full((4, 2), jnp.nan)}

    with pytest.raises(ValueError, match="predicted 'confidence' are not finite"):
        sliding_window(predict, np.ones((20, 20)), kinds=KINDS, tile=(8, 8))

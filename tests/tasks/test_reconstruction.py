"""Masked autoencoding: what is hidden, what the loss looks at, and what a picture shows."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ramjax
from experiments import debug, pretrain_mae
from ramjax import config as config_lib
from ramjax.config import ConfigError, TeacherConfig
from ramjax.data.grid import Grid
from ramjax.devices import sharding
from ramjax.figures.overlay import Pixels, paint
from ramjax.models.encoders import GREY_MEAN
from ramjax.models.masking import draw_hidden, over_pixels, spread_hidden
from ramjax.record import LABEL_FLAGS, Record
from ramjax.steps.state import abstract_state, init_state, make_apply, make_train_apply, place_first_state
from ramjax.steps.train import make_gradient
from ramjax.tasks import make_tasks
from ramjax.tasks.reconstruction import learning
from ramjax.training.beginning import start_from_source
from tests.inference import fakes
from tests.tasks.batches import random_batch

CONFIG = config_lib.from_config_dict(debug.shrink(pretrain_mae.get_config()))
CONFIG = dataclasses.replace(
    CONFIG,
    data=dataclasses.replace(CONFIG.data, canvas=dataclasses.replace(CONFIG.data.canvas, height=64, width=48)),
    model=dataclasses.replace(CONFIG.model, widths=(8, 16), blocks=(0, 1), decoder_width=8),
    reconstruction=config_lib.ReconstructionConfig(patch=16, ratio=0.5),
)
(TASK,) = make_tasks(CONFIG)
PATCH = CONFIG.reconstruction.patch


@pytest.fixture(scope="module")
def state():
    return init_state(CONFIG)


@pytest.fixture(scope="module")
def batch():
    batch = random_batch(3)
    batch["padding"][1, :20] = True
    batch["image"][1, :20] = 0
    batch["valid"][2] = False
    return batch


@pytest.fixture(scope="module")
def train_apply():
    return jax.jit(make_train_apply(CONFIG))


@pytest.fixture(scope="module")
def outputs(state, batch, train_apply):
    return train_apply(state.params, {}, jax.random.key(0), batch["image"], None)[0]["reconstruction"]


def total(outputs, batch):
    (term,) = TASK.loss(outputs, batch)
    return float(term.total)


def test_the_loss_looks_at_hidden_pixels_alone(outputs, batch):
    hidden = np.asarray(over_pixels(outputs["hidden"], PATCH))
    loss = total(outputs, batch)
    seen = batch | {"image": np.where(hidden[..., None], batch["image"], 1 - batch["image"])}
    assert total(outputs, seen) == loss
    made = outputs | {"pixels": jnp.where(hidden, outputs["pixels"], 99.0)}
    assert total(made, batch) == loss
    for changed in ({"image": np.where(hidden[..., None], 1 - batch["image"] ** 2, batch["image"])},):
        assert total(outputs, batch | changed) != loss
    padded = outputs | {"pixels": jnp.where(batch["padding"], 99.0, outputs["pixels"])}
    assert total(padded, batch) == loss
    of_fill = outputs | {"pixels": outputs["pixels"].at[2].set(99.0)}
    assert total(of_fill, batch) == loss


def test_the_loss_by_hand():
    """Two patches of 2 x 2 pixels, the right one hidden."""
    config = config_lib.ReconstructionConfig(patch=2)
    image = np.float32([[0.1, 0.2, 0.0, 0.4], [0.3, 0.4, 0.8, 0.4]])
    target = (image[:, 2:] - 0.4) / (np.sqrt(0.08) + 0.05)
    pixels = np.float32([[9, 9, 0.5, 0], [9, 9, 0, 0]])
    outputs = {"pixels": pixels[None], "hidden": np.array([[[False, True]]]), "image": image[None]}
    batch = {"image": image[None, ..., None], "padding": np.zeros((1, 2, 4), bool), "valid": np.ones(1, bool)}
    (term,) = learning.loss(config, outputs, batch)
    expected = np.mean((pixels[:, 2:] - target) ** 2)
    np.testing.assert_allclose((float(term.total), float(term.count)), (expected, 1), rtol=1e-5)
    predicted = np.asarray(learning.predict(config, outputs)["reconstruction"][0])
    np.testing.assert_allclose(predicted[..., 0], image)
    np.testing.assert_array_equal(predicted[..., 1], [[0, 0, 1, 1]] * 2)
    assert predicted[0, 2, 2] == pytest.approx(0.4 + 0.5 * (np.sqrt(0.08) + 0.05))
    error, variance = learning.squares(pixels, image, np.array([[0, 0, 1, 1]] * 2, bool), 2)
    np.testing.assert_allclose((error, variance), (4 * expected, np.sum(target**2)), rtol=1e-5)


def test_masks_follow_from_the_seed_and_the_step(state, batch, train_apply):
    def hidden(seed, step):
        key = jax.random.fold_in(jax.random.key(seed), step)
        outputs, _ = train_apply(state.params, {}, key, batch["image"], None)
        return np.asarray(outputs["reconstruction"]["hidden"])

    first = hidden(0, 0)
    np.testing.assert_array_equal(hidden(0, 0), first)
    assert np.any(hidden(0, 1) != first) and np.any(hidden(1, 0) != first)
    assert np.any(first[0] != first[1])
    assert (first.sum((1, 2)) == 6).all()


def test_in_evaluation_the_same_patches_are_hidden_in_every_image(state, batch):
    outputs = jax.jit(make_apply(CONFIG))(state.params, batch["image"])["reconstruction"]
    hidden = np.asarray(outputs["hidden"])
    assert (hidden == hidden[:1]).all() and hidden[0].sum() == 6


def test_the_network_does_not_see_what_is_hidden(state, batch):
    apply = jax.jit(make_apply(CONFIG))
    one = apply(state.params, batch["image"])["reconstruction"]
    hidden = np.asarray(over_pixels(one["hidden"], PATCH))[..., None]
    other = apply(state.params, np.where(hidden, 0.123, batch["image"]))["reconstruction"]
    np.testing.assert_array_equal(one["pixels"], other["pixels"])
    seen = apply(state.params, np.where(hidden, batch["image"], 0.123))["reconstruction"]
    assert np.any(one["pixels"] != seen["pixels"])


def test_in_evaluation_the_hidden_patches_are_spread_evenly():
    """In every 4 x 4 patches, about as many as everywhere: a random choice is off by up to 6 in so many places."""
    hidden = spread_hidden((14, 10), 0.6)
    assert hidden.sum() == 84
    windows = np.lib.stride_tricks.sliding_window_view(hidden, (4, 4)).sum((2, 3))
    assert np.abs(windows - 0.6 * 16).max() <= 2


@pytest.mark.parametrize(("ratio", "count"), [(0.5, 10), (0.01, 1), (0.99, 19), (0.75, 15)])
def test_as_many_patches_of_each_image(ratio, count):
    hidden = np.asarray(draw_hidden(jax.random.key(0), 200, (4, 5), ratio))
    assert (hidden.sum((1, 2)) == count).all()
    shares = hidden.mean(0)  # every patch is as likely
    assert np.abs(shares - count / 20).max() < 0.15


def test_it_learns_without_a_label(state, batch):
    unlabelled = batch | {flag: np.zeros(3, bool) for flag in LABEL_FLAGS}
    grads, losses, labelled, _ = jax.jit(make_gradient(CONFIG))(state.params, {}, jax.random.key(0), unlabelled)
    assert losses["reconstruction"] > 0 and labelled["reconstruction"]
    assert all(np.isfinite(leaf).all() and np.any(leaf) for leaf in jax.tree.leaves(grads))


def test_a_run_starts_another_network(tmp_path):
    """Its encoder and decoder, not what hid and made the patches."""
    source = fakes.save_run(tmp_path / "mae", dataclasses.replace(CONFIG, seed=8))
    config = dataclasses.replace(CONFIG, tasks=("joints",), init=config_lib.InitConfig(source=str(source)))
    abstract = abstract_state(config, sharding.make_mesh(config))
    random = place_first_state(config, abstract)
    begun = start_from_source(config, random, abstract, tmp_path)
    there = ramjax.load(source).parameters
    for part in ("encoder", "decoder"):
        jax.tree.map(np.testing.assert_array_equal, begun.params[part], there[part])
    jax.tree.map(np.testing.assert_array_equal, begun.params["heads"], random.params["heads"])


def test_what_is_explained_on_the_canvas_and_of_a_radiograph_is_the_same(state, batch):
    outputs = jax.jit(make_apply(CONFIG))(state.params, batch["image"])["reconstruction"]
    observed = jax.device_get(TASK.observe(outputs, batch))
    values = TASK.canvas_values(observed)["reconstruction"]["explained"]
    maps = {"reconstruction": np.asarray(TASK.predict(outputs)["reconstruction"][0])}
    grid = Grid((64, 48), np.eye(2, 3), 64, (1.0, 1.0))
    record = Record.unlabelled(np.zeros((64, 48), np.uint8))
    of_record = TASK.measure(record, maps, grid, CONFIG.evaluation)["reconstruction"]["explained"]
    np.testing.assert_allclose(of_record[0, 0], values[0, 0, 0], rtol=1e-5)
    perfect = outputs | {"pixels": learning.normalised(batch["image"][..., 0], PATCH)}
    observed = jax.device_get(TASK.observe(perfect, batch))
    np.testing.assert_allclose(TASK.canvas_values(observed)["reconstruction"]["explained"], 1, atol=1e-6)
    nothing = outputs | {"pixels": jnp.zeros_like(outputs["pixels"])}
    observed = jax.device_get(TASK.observe(nothing, batch))
    np.testing.assert_allclose(TASK.canvas_values(observed)["reconstruction"]["explained"], 0, atol=1e-6)


def test_a_picture_shows_what_was_seen_and_what_was_made():
    """On a radiograph of twice the canvas's resolution."""
    maps = np.zeros((4, 4, 4), np.float32)
    maps[..., 0], maps[:2, :2, 1], maps[..., 2] = 0.5, 1, 0.8
    finding, not_judged = TASK.find({"reconstruction": maps}, Grid((8, 8), 0.5 * np.eye(2, 3), 4, (1, 1)), 0.3, {})
    assert not not_judged
    picture = paint(np.full((8, 8, 3), 10, np.uint8), TASK.draw(finding, []), 1.0)
    assert (picture[:3, :3] == 204).all() and (picture[4:] == 10).all() and (picture[:, 4:] == 10).all()
    (covered,) = TASK.covered(finding)
    assert isinstance(covered, Pixels) and (covered.grey[:2, :2] == np.float32(GREY_MEAN)).all()
    assert (covered.grey[2:] == 0.5).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tasks": ("bones", "reconstruction")}, "reconstruction hides a part of the image .* trained alone"),
        ({"teacher": TeacherConfig(weight=1.0)}, "teacher.weight is above 0, but tasks has reconstruction"),
        (
            {"reconstruction": config_lib.ReconstructionConfig(patch=32)},
            "reconstruction.patch is 32, but data.canvas is 64 x 48; .* such as 16",
        ),
    ],
)
def test_what_cannot_be_combined(change, said):
    with pytest.raises(ConfigError, match=said):
        make_tasks(dataclasses.replace(CONFIG, **change))

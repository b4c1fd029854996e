"""Records on the devices, and the batches that they make of plans, beside those that OpenCV makes."""

import dataclasses
import logging

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ramjax.config import AugmentConfig, CanvasConfig, DataConfig
from ramjax.data import canvas as canvases
from ramjax.data import pipeline, plan
from ramjax.data.labels import Labels, Spec
from ramjax.devices import sharding
from ramjax.errors import RunError
from ramjax.record import Record
from ramjax.steps import device_cache, rendering
from tests.steps.rendered import LABELS, assert_alike, both, compare, planes_of, renderer_of

CANVASES = {
    "fit, shrunk": CanvasConfig(128, 96),
    "fit, magnified": CanvasConfig(256, 192),
    "native crops": CanvasConfig(96, 96, "scale", 1.0),
    "spacing": CanvasConfig(128, 96, "spacing", 1.0, 1.1),
}


@pytest.fixture(scope="module")
def hands(data_dir) -> list[Record]:
    """Synthetic hands of several sizes, left and right."""
    return list(pipeline.open_sources(DataConfig(datasets=("ram_phantom/tiny",), data_dir=str(data_dir)), "train")[0])


@pytest.mark.parametrize("name", CANVASES)
def test_the_devices_make_what_opencv_makes(hands, name):
    compare(hands, DataConfig(canvas=CANVASES[name], augment=AugmentConfig(mirror=0.3, erase=0.4)), 40)


def test_several_pixels_become_one(hands):
    def larger(record):
        image = cv2.resize(record.image, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
        bones, erosions = (plane.repeat(3, axis=0).repeat(3, axis=1) for plane in (record.bones, record.erosions))
        return dataclasses.replace(record, image=image, bones=bones, erosions=erosions)

    data = DataConfig(canvas=CanvasConfig(160, 128))
    assert rendering.make_renderer(data, LABELS, 0, 160 / 660).taps >= 4
    compare([larger(hand) for hand in hands], data, 12)


@pytest.mark.parametrize(
    "settings",
    [
        dict.fromkeys((field.name for field in dataclasses.fields(AugmentConfig)), 0.0),
        {"blur": 2.5, "noise": 0.0, "contrast": 0.0},
        {"resample": 2.0, "blur": 1.5},
        {"resample": 5.0, "blur": 0.0, "noise": 0.1},
        {"gamma": 0.0, "contrast": 0.0, "brightness": 0.0, "erase": 1.0},
        {"wrist_crop": 1.0, "brightness": 0.3},
        {"scale": 1.5, "rotation": 90.0, "shift": 0.5},
    ],
    ids=["none", "wide blur", "resampled", "coarse and noisy", "no curve, covered", "wrists alone", "far away"],
)
def test_every_change_can_be_left_out_or_strong(hands, settings):
    data = DataConfig(canvas=CanvasConfig(128, 96), augment=dataclasses.replace(AugmentConfig(), **settings))
    compare(hands, data, 12)


def test_a_record_of_which_nothing_is_shown_is_padding(hands):
    data = DataConfig(canvas=CanvasConfig(64, 48))
    planned = plan.draw(hands[0], data.canvas, data.augment, np.random.default_rng(0), LABELS)
    planned["plan/window"] = np.zeros(4, np.float32)
    made = renderer_of(data, hands)(planes_of(hands[0], (230, 190)), planned, np.zeros((64, 48), np.uint8))
    assert made["padding"].all() and not made["image"].any() and not made["bones"].any()


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (100, 10), (2200, 2100)])
def test_percentiles_are_those_of_the_host(shape):
    """Of few pixels, and of more than fit into 32 bits a thousandfold."""
    rng = np.random.default_rng(shape[0])
    grey = rng.integers(40, 200, shape, np.uint8)
    shown = rng.random(shape) < 0.95
    shown[0, 0] = True
    black, white = rendering._percentiles(jnp.asarray(grey, jnp.int32), shown, (1.0, 99.5))
    expected = np.clip((grey - float(black)) / max(int(white) - int(black), 1), 0, 1)
    np.testing.assert_allclose(canvases._normalise(grey, shown), expected, atol=1e-6)


def test_bones_overlap_in_one_word():
    """All 32 bits of a word survive."""
    word = np.array([0x8000_0001], "<u4").view(np.uint8)
    record = dataclasses.replace(Record.unlabelled(np.zeros((40, 30), np.uint8)), bones=np.tile(word, (40, 30, 1)))
    data = DataConfig(canvas=CanvasConfig(64, 48), augment=AugmentConfig(wrist_crop=0))
    _, made = both(record, data, renderer_of(data, [record]), 0, (44, 33))
    assert set(np.unique(made["bones"])) == {0, 0x8000_0001}


# The cache.


@pytest.fixture
def config(debug_config, tmp_path):
    """Of a mixture: the tiny data set by both its names."""
    data = dataclasses.replace(
        debug_config.data, cache="device", cache_dir=str(tmp_path), weights=(3.0, 1.0), batch_size=4, crops=2,
        datasets=("ram_phantom/tiny", "tfds_builders.ram_phantom/tiny"), canvas=CanvasConfig(64, 64),
    )  # fmt: skip
    return dataclasses.replace(debug_config, data=data)


def fill(config, mesh=None, labels=LABELS):
    sources = pipeline.open_sources(config.data, "train")
    mesh = mesh or sharding.make_mesh(config)
    return sources, mesh, device_cache.fill(config, sources, labels, mesh)


def batches(config, make, steps=3, start_step=0):
    sources, mesh, cache = fill(config)
    made = make(config.data, sources, seed=5, start_step=start_step, steps=steps, labels=LABELS)
    if make is pipeline.make_train_plans:
        made = (cache.batch(sharding.place_batch(batch, mesh)) for batch in made)
    return [jax.tree.map(np.asarray, batch) for batch in made]


def test_batches_of_the_cache_are_those_of_the_host(config):
    """Of a mixture, several crops of each record; without noise, which the devices draw themselves."""
    quiet = dataclasses.replace(config.data.augment, noise=0.0)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, augment=quiet))
    made, expected = (batches(config, make) for make in (pipeline.make_train_plans, pipeline.make_train_batches))
    assert {int(which) for batch in made for which in batch["dataset"]} == {0, 1}
    for one, other in zip(made, expected, strict=True):
        for row in range(4):
            assert_alike({k: v[row] for k, v in one.items()}, {k: v[row] for k, v in other.items()})


def test_a_run_that_goes_on_sees_the_same_noise(config):
    loud = dataclasses.replace(config.data.augment, noise=0.2)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, augment=loud))
    whole = batches(config, pipeline.make_train_plans)
    (last,) = batches(config, pipeline.make_train_plans, start_step=2)
    for name, value in last.items():
        np.testing.assert_array_equal(value, whole[2][name], err_msg=name)


def test_the_noise_is_white_and_as_strong_as_planned(hands):
    augment = dataclasses.replace(AugmentConfig(**dict.fromkeys(AugmentConfig.__dataclass_fields__, 0.0)), noise=0.05)
    data = DataConfig(canvas=CanvasConfig(128, 96), augment=augment)
    render = renderer_of(data, hands)
    noises = []
    for row in range(3):
        planned = plan.draw(hands[0], data.canvas, augment, np.random.default_rng(0), LABELS, moment=(7, row))
        planned["plan/noise"] = np.float32(0.05)
        silent = planned | {"plan/noise": np.float32(0)}
        planes = planes_of(hands[0], (230, 190))
        plain = np.asarray(render(planes, silent)["image"])
        within = (plain > 0.3) & (plain < 0.7)  # there nothing is cut off
        noises.append((np.asarray(render(planes, planned)["image"]) - plain)[within])
    for noise in noises:
        assert abs(noise.mean()) < 0.004 and abs(noise.std() / 0.05 - 1) < 0.08
    assert all(abs(np.corrcoef(noises[i], noises[j])[0, 1]) < 0.1 for i, j in ((0, 1), (0, 2), (1, 2)))


def without(config, caplog, labels=LABELS) -> str:
    """The warning of a cache that is not filled."""
    with caplog.at_level(logging.WARNING):
        assert fill(config, labels=labels)[2] is None
    (record,) = caplog.records
    return record.getMessage()


def test_a_budget_that_is_too_small_is_a_warning(config, caplog):
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, cache_gigabytes=1e-4))
    message = without(config, caplog)
    assert "the 8 records take 0.00 GB" in message and "data.cache_gigabytes is 0.0001" in message
    assert message.endswith("set data.cache to host.")


def test_two_thirds_of_a_device_are_left_to_the_step(config, caplog, monkeypatch):
    size = sum(plane.nbytes for plane in fill(config)[2].planes.values())
    monkeypatch.setattr(device_cache, "device_bytes", lambda: 3 * size)
    assert fill(config)[2] is not None
    monkeypatch.setattr(device_cache, "device_bytes", lambda: 3 * size - 3)
    assert "two thirds of its memory are the step's" in without(config, caplog)


def test_a_label_that_only_the_host_can_make_is_a_warning(config, caplog):
    own = Labels({"silhouette": Spec(np.bool_, ("h", "w"), "shows a bone")}, lambda record, view: {})
    assert "silhouette" in without(config, caplog, (*LABELS, own)) and "Spec.plane" in caplog.text


def test_records_that_could_not_be_kept_decoded_are_a_warning(config, caplog, tmp_path):
    (tmp_path / "file").write_text("in the way")
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, cache_dir=str(tmp_path / "file")))
    with caplog.at_level(logging.WARNING):
        assert fill(config)[2] is None
    assert "cannot be written" in caplog.text and "batches are made on the host" in caplog.text


def test_devices_that_become_full_end_the_run_in_words(config, monkeypatch):
    def full(*args):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 bytes.")

    monkeypatch.setattr(jax, "make_array_from_callback", full)
    with pytest.raises(
        RunError, match=r"became full .* on each; lower data.cache_gigabytes \(now 16\) or set data.cache to"
    ):
        fill(config)


@pytest.mark.parametrize("cache", ["none", "host"])
def test_it_is_filled_only_if_asked_for(config, cache):
    assert fill(dataclasses.replace(config, data=dataclasses.replace(config.data, cache=cache)))[2] is None

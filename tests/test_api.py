"""What `import ramjax` offers, as a notebook uses it."""

import subprocess
import sys
import typing

import jax
import numpy as np
import pytest

import ramjax
from ramjax import api
from ramjax.tasks.dense import on_grid


@pytest.fixture(scope="module")
def config(data_dir):
    changes = {"data.data_dir": str(data_dir), "train.steps": 3, "tasks": ("bones", "joints", "scores")}
    return ramjax.load_experiment("experiments/debug.py", changes)


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    return ramjax.train(config, tmp_path_factory.mktemp("runs") / "debug")


def test_it_names_what_it_offers():
    assert set(api.__all__) == set(ramjax._PUBLIC) <= set(dir(ramjax))
    for name in api.__all__:
        assert getattr(ramjax, name) is getattr(api, name) and getattr(ramjax, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ramjax.nothing


def test_importing_it_takes_no_time():
    code = (
        "import ramjax, sys; assert not {'jax', 'cv2', 'grain'} & set(sys.modules); ramjax.load; "
        "assert 'jax' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_experiment_with_changed_keys(config):
    assert config.train.steps == 3 and config.tasks == ("bones", "joints", "scores")
    with pytest.raises(Exception, match="steeps"):
        ramjax.load_experiment("experiments/debug.py", {"train.steeps": 3})


def test_records_and_batches(config, data_dir):
    source = ramjax.open_dataset("ram_phantom/tiny", "train[:2]", data_dir=str(data_dir))
    assert len(source) == 2 and isinstance(source[0], ramjax.Record)
    picture = ramjax.draw(source[0], height=300)
    assert picture.shape[0] == 300 and picture.dtype == np.uint8 and (picture[..., 0] != picture[..., 1]).any()
    batches = list(ramjax.train_batches(config))
    assert len(batches) == 3 and len(list(ramjax.train_batches(config, start_step=2))) == 1
    np.testing.assert_array_equal(next(ramjax.train_batches(config, start_step=2))["image"], batches[2]["image"])
    seen = sum(int(batch["valid"].sum()) for batch in ramjax.eval_batches(config, "test"))
    assert seen == len(ramjax.open_dataset("ram_phantom/tiny", "test", data_dir=str(data_dir)))


def test_a_network_its_loss_and_its_gradient(config):
    network, batch = ramjax.build_network(config), next(ramjax.train_batches(config))
    assert set(network(batch["image"])) == {"bones", "joints", "scores"}
    losses, gradient = ramjax.loss_and_gradient(config, network, batch)
    weights = {"bones": config.bones.weight, "joints": config.joints.weight, "scores": config.scores.weight}
    assert losses["loss"] == pytest.approx(sum(weights[name] * losses[name] for name in weights))
    kernel = gradient["heads"]["bones"]["fine"]["kernel"]
    assert np.isfinite(kernel).all() and np.any(kernel)
    # Along the gradient the loss changes by its square: a finite difference in one direction.
    import flax.nnx as nnx

    graphdef, params = nnx.split(network)
    norm = float(np.sqrt(sum(np.square(leaf).sum() for leaf in jax.tree.leaves(gradient))))
    step, pure = 1e-3 / norm, nnx.to_pure_dict(params)
    ahead, behind = (
        ramjax.loss_and_gradient(config, _moved(graphdef, params, pure, gradient, sign * step), batch)[0]["loss"]
        for sign in (1, -1)
    )
    assert (ahead - behind) / (2 * step) == pytest.approx(norm**2, rel=0.1)


def _moved(graphdef, params, pure, gradient, by):
    import flax.nnx as nnx

    params = jax.tree.map(lambda leaf: leaf, params)
    nnx.replace_by_pure_dict(params, jax.tree.map(lambda p, g: p + by * g, pure, gradient))
    return nnx.merge(graphdef, params)


def test_a_run_is_asked(run, config, data_dir):
    assert run.config == config and run.step == 3 and [task.name for task in run.tasks] == list(config.tasks)
    batch = next(ramjax.eval_batches(config, "test"))
    outputs, predictions = run.outputs(batch["image"]), run.predictions(batch["image"])
    probabilities = jax.nn.sigmoid(on_grid(outputs["bones"]["logits"]))
    np.testing.assert_allclose(predictions["bones"], probabilities, atol=1e-5)
    dense = run.features(batch["image"])
    assert [level.shape[-1] for level in dense] == [16, 16, 24]
    assert set(run.parameters) == {"encoder", "decoder", "heads"}


def test_a_radiograph_in_five_lines(run, config, data_dir, tmp_path):
    pixels = ramjax.open_dataset("ram_phantom/tiny", "test", data_dir=str(data_dir))[0].image
    reading = run.predict(pixels, pixel_spacing_mm=0.5, view="hand", side="R")
    reading.save(tmp_path / "overlay.png")
    assert (tmp_path / "overlay.png").read_bytes() == reading._repr_png_()
    assert reading.report["side"] == "R" and reading.report["pixel_spacing_mm"] == 0.5
    assert reading.overlay().dtype == np.uint8 and "not a medical device" in reading.report["note"]
    as_float = run.predict(pixels / 255.0, view="hand", side="R")
    assert as_float.report["joints"] is not None


def test_a_split_is_evaluated_as_the_command_does(run):
    import json

    expected = json.loads((run.workdir / "eval_test.json").read_text())
    found = run.evaluate("test", quiet=True)
    assert found["bones/dsc"] == expected["bones/dsc"] and found["joints/iou"] == expected["joints/iou"]
    assert not [hint for hint in typing.get_type_hints(api.Run.evaluate).values() if hint is None]


def test_a_network_in_a_file_is_evaluated_as_its_run(run, tmp_path):
    run.export(tmp_path / "network.safetensors")
    of_file = ramjax.load(tmp_path / "network.safetensors").evaluate("test", quiet=True)
    expected = run.evaluate("test", quiet=True)
    assert of_file.keys() == expected.keys()
    for name in ("bones/dsc", "joints/iou"):
        assert of_file[name] == pytest.approx(expected[name], abs=0.02)  # its numbers are of half precision

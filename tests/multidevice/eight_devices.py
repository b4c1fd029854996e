"""Tests that need eight devices; `test_multidevice.py` runs them in a process that has them.

XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m pytest tests/multidevice/eight_devices.py
"""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from ramjax.config import ConfigError
from ramjax.data import pipeline
from ramjax.evaluation import final
from ramjax.evaluation.cases import collect
from ramjax.evaluation.evaluate import evaluate, jit_eval_step
from ramjax.training import sharding, step
from ramjax.training.checkpoints import Checkpoints
from ramjax.training.state import abstract_state

STEPS = 2


@pytest.fixture
def config(debug_config):
    """Two tasks that cover dense and box losses, eight examples a batch."""
    data = dataclasses.replace(debug_config.data, batch_size=8, eval_batch_size=8)
    return dataclasses.replace(debug_config, tasks=("bones", "joints"), data=data)


def on(config, devices: int):
    return dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, data=devices))


def start(config):
    mesh = sharding.make_mesh(config)
    state = jax.jit(functools.partial(step.init_state, config), out_shardings=sharding.replicated(mesh))()
    train_step = jax.jit(step.make_train_step(config), out_shardings=sharding.replicated(mesh))
    return mesh, state, train_step


def train(config, mesh, state, train_step, first: int, last: int):
    """Losses of steps `first` to `last` - 1, and the state after them."""
    sources = pipeline.open_sources(config.data, config.data.train_split)
    losses = []
    for batch in pipeline.make_train_batches(config.data, sources, seed=0, start_step=first, steps=last):
        state, metrics = train_step(state, sharding.place_batch(batch, mesh))
        losses.append({name: float(value) for name, value in metrics.items()})
    return losses, state


def assert_close(one, other):
    """Losses agree closely; the gradient's norm less so, for that of an absolute error jumps where it is near 0."""
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            rtol = 1e-3 if name == "grad_norm" else 1e-5
            np.testing.assert_allclose(a[name], b[name], rtol=rtol, err_msg=name)


def test_there_are_eight_devices_and_each_holds_its_rows(config):
    assert jax.device_count() == 8
    mesh = sharding.make_mesh(config)
    placed = sharding.place_batch({"x": np.arange(16).reshape(8, 2)}, mesh)["x"]
    assert [shard.data.tolist() for shard in placed.addressable_shards] == [[[2 * i, 2 * i + 1]] for i in range(8)]


def test_the_losses_and_the_evaluation_are_those_of_one_device(config, tmp_path):
    results = []
    for devices in (8, 1):
        mesh, state, train_step = start(on(config, devices))
        losses, state = train(config, mesh, state, train_step, 0, STEPS)
        (source,) = pipeline.open_sources(config.data, config.data.test_split)
        metrics = evaluate(
            jit_eval_step(step.make_eval_step(config), mesh), state, pipeline.make_eval_batches(config.data, source),
            mesh=mesh, size=len(source), summarize=functools.partial(step.summarize, config), label="test", quiet=True,
        )  # fmt: skip
        results.append((losses, metrics))
        if devices == 8:
            checkpoints = Checkpoints(tmp_path)
            checkpoints.save_latest(STEPS, state)
            checkpoints.wait()
    (losses8, metrics8), (losses1, metrics1) = results
    assert losses8[0]["loss"] != losses8[1]["loss"]
    assert_close(losses8, losses1)
    assert metrics8.keys() == metrics1.keys()
    for name in metrics1:
        np.testing.assert_allclose(metrics8[name], metrics1[name], rtol=1e-2, atol=1e-2, err_msg=name)

    # The checkpoint of eight devices goes on on one: the next losses are those one device reaches by itself.
    restored = Checkpoints(tmp_path, read_only=True).restore_latest(abstract_state(on(config, 1), mesh))
    assert int(restored.step) == STEPS
    assert {shard.device for leaf in jax.tree.leaves(restored) for shard in leaf.addressable_shards} == {
        jax.devices()[0]
    }
    assert_close(
        train(config, mesh, restored, train_step, STEPS, STEPS + 1)[0],
        train(config, mesh, state, train_step, STEPS, STEPS + 1)[0],
    )


def test_the_cases_are_those_of_one_device_each_once(config, data_dir):
    """An odd split: three records in batches of eight."""
    (source,) = pipeline.open_sources(config.data, "train[:3]")
    results = []
    for devices in (8, 1):
        mesh, state, _ = start(on(config, devices))
        evaluated = final.evaluate_source(config, [state], source, mesh=mesh, dataset=0, name="hands", quiet=True)
        assert [one.index for one in evaluated] == list(range(3))
        results.append(collect([one.case for one in evaluated], {}))
    for task, metrics in results[0].values.items():
        for metric, values in metrics.items():
            np.testing.assert_array_equal(values, results[1].values[task][metric], err_msg=metric)


@pytest.mark.parametrize(("devices", "batch", "words"), [(3, 8, "use a multiple of 3"), (9, 9, "there are 8 device")])
def test_a_batch_that_does_not_divide_is_named(config, devices, batch, words):
    data = dataclasses.replace(config.data, batch_size=batch)
    with pytest.raises(ConfigError, match=words):
        sharding.make_mesh(on(dataclasses.replace(config, data=data), devices))

"""Losses on the device beside those of the CPU: the same batches, the same parameters, three steps.

Every test runs on the CPU in the device's place, too, and on a GPU or TPU where JAX has one:
JAX_PLATFORMS='' XLA_FLAGS='' python -m pytest tests/accelerator
"""

import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from ramjax.data import pipeline
from ramjax.devices import sharding
from ramjax.devices.compilation import compile_train_step
from ramjax.steps.state import abstract_state, init_state
from ramjax.steps.train import make_train_step
from ramjax.tasks import labels_of, make_tasks

STEPS = 3
FLOAT32 = 1e-4

BFLOAT16 = 2e-2
"""How far losses may be apart in bfloat16, as a share of the loss.

A number is rounded to 8 bits when it is stored, an error of at most u = 2^-9 of it. From the image to the logits of the
debug experiment some twenty such roundings follow each other. As errors of random sign they add up to 20^0.5 u = 0.9 %
of the logits. Two devices sum in different orders, so that they round differently: the difference of two such results
is 2^0.5 times as large, 1.2 %. The mean of a loss over pixels can only average that; steps between add a little."""


@pytest.fixture
def config(device, debug_config):
    """The debug experiment; on a CPU in the device's place a smaller network, to be quick."""
    if device.platform != "cpu":
        return debug_config
    canvas = dataclasses.replace(debug_config.data.canvas, height=64, width=48)
    model = dataclasses.replace(debug_config.model, widths=(8, 16), blocks=(0, 1), decoder_width=8)
    return dataclasses.replace(debug_config, model=model, data=dataclasses.replace(debug_config.data, canvas=canvas))


@pytest.fixture(scope="module")
def made():
    """The CPU's losses, which all tests share."""
    return {}


def losses(config, device, shift: float = 0.0) -> list[dict[str, float]]:
    """The losses of the first steps on one device, products in full precision; `shift` scales the first parameters."""
    mesh = Mesh(np.array([[[device]]]), sharding.AXES, axis_types=(AxisType.Auto,) * 3)
    with jax.default_device(jax.devices("cpu")[0]):
        state = jax.device_get(init_state(config))
    state = state.replace(params=jax.tree.map(lambda leaf: leaf * np.float32(1 + shift), state.params))
    state = jax.device_put(state, jax.tree.map(lambda leaf: leaf.sharding, abstract_state(config, mesh)))
    sources = pipeline.open_sources(config.data, config.data.train_split)
    batches = pipeline.make_train_batches(
        config.data, sources, seed=0, start_step=0, steps=STEPS, labels=labels_of(make_tasks(config))
    )
    results, step = [], None
    with jax.default_matmul_precision("highest"):  # a GPU takes TF32 for float32 otherwise
        for batch in batches:
            placed = sharding.place_batch(batch, mesh)
            step = step or compile_train_step(make_train_step(config), config, state, placed, mesh)
            state, metrics = step(state, placed)
            results.append({name: float(value) for name, value in metrics.items() if name.startswith("loss")})
    assert {leaf.device for leaf in jax.tree.leaves(state.params)} == {device}
    return results


def of_cpu(made, config):
    """`losses` of the CPU, computed once for each network."""
    if config.model not in made:
        made[config.model] = losses(config, jax.devices("cpu")[0])
    return made[config.model]


def difference(one, other) -> float:
    """The largest difference of any loss of any step, as a share of it."""
    assert len(one) == len(other) == STEPS
    return max(abs(a[name] - b[name]) / abs(b[name]) for a, b in zip(one, other, strict=True) for name in b)


def computing_in(config, dtype: str):
    return dataclasses.replace(config, model=dataclasses.replace(config.model, dtype=dtype))


def test_losses_of_three_steps_are_the_cpu_s(device, config, made):
    expected = of_cpu(made, config)
    assert {f"loss/{task}" for task in config.tasks} < expected[0].keys()
    assert len({of_step["loss"] for of_step in expected}) == STEPS
    assert difference(losses(config, device), expected) < FLOAT32


def test_losses_in_bfloat16_are_the_cpu_s_to_its_rounding(device, config, made):
    rounded = computing_in(config, "bfloat16")
    expected = of_cpu(made, rounded)
    assert difference(losses(rounded, device), expected) < BFLOAT16
    assert FLOAT32 < difference(expected, of_cpu(made, config)) < BFLOAT16  # that of the CPU's own rounding


def test_a_difference_would_be_seen(device, config, made):
    """Parameters that are off by a thousandth, as by TF32 or a wrong kernel."""
    assert difference(losses(config, device, shift=1e-3), of_cpu(made, config)) > FLOAT32

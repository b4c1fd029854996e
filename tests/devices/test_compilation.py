"""The compiled step: what it says of its memory, and how a run ends that has too little."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ramjax.devices import compilation, sharding
from ramjax.errors import RunError
from ramjax.evaluation import testing
from ramjax.steps import train as train_steps
from ramjax.steps.state import abstract_state
from tests.training import tiny_job


def test_the_table_adds_up(debug_config):
    """Parameters and their average are counted in parameters.txt; AdamW keeps two numbers of each, and a few counts."""
    state = abstract_state(debug_config, sharding.make_mesh(debug_config))
    count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    batch = {"image": jax.device_put(np.zeros((2, 128, 96, 1), np.float32))}
    rows = dict(re.findall(r"^  (\S.*?) +([\d.,]+) MB$", compilation.memory_table(state, batch), re.MULTILINE))
    size = {name: float(value) for name, value in rows.items()}
    assert size["parameters"] == size["average of the parameters"] == round(count * 4e-6, 1)
    assert size["optimiser"] == round(count * 8e-6, 1)
    assert size["batch"] == 0.1
    assert abs(size["together"] - count * 16e-6 - 0.1) < 0.1


def test_a_step_that_needs_more_than_there_is_ends_with_what_to_lower(monkeypatch, debug_config, tmp_path, capsys):
    """A real allocation of 17 TB, which no machine grants."""
    tiny_job.install(monkeypatch)
    make = train_steps.make_train_step

    def make_huge(config):
        train_step = make(config)

        def huge_step(state, batch, seed):
            line = jnp.tile(batch["y"][:1], 2**21) + jnp.arange(2**21)
            state, metrics = train_step(state, batch, seed)
            return state, metrics | {"loss": metrics["loss"] + 0 * jnp.sort(jnp.outer(line, line), axis=0).sum()}

        return huge_step

    monkeypatch.setattr(train_steps, "make_train_step", make_huge)
    config = tiny_job.tiny(debug_config, steps=9, log_every=2, eval_every=4, checkpoint_every=3, keep_checkpoints=2)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, remat="activations"))
    with pytest.raises(RunError, match=r"too little memory: raise train\.accumulation_steps \(now 1.*blocks \(now act"):
        tiny_job.go(config, tmp_path)
    log = (tmp_path / "log.txt").read_text()
    assert re.search(r"activations, gradients and all else for a time +17,[\d,.]+ MB", log)


def test_a_test_that_needs_more_than_there_is_ends_likewise(monkeypatch, debug_config, tmp_path, capsys):
    """Raised by hand: where a whole program is too large, XLA's CPU backend waits for ever instead."""
    tiny_job.install(monkeypatch)

    def exhausted(*args, **kwargs):
        raise jax.errors.JaxRuntimeError(
            "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17592186044416 bytes."
        )

    monkeypatch.setattr(testing, "evaluate_source", exhausted)
    with pytest.raises(RunError, match=r"too little memory: raise .*lower data\.batch_size .*eval_batch_size \(2\)"):
        tiny_job.go(tiny_job.tiny(debug_config, steps=2), tmp_path)
    assert re.search(r"parameters +0\.0 MB\n", (tmp_path / "log.txt").read_text())


def test_the_compiler_knows_the_options_of_determinism_and_gets_them_where_they_are_asked_for(monkeypatch):
    """XLA refuses an option that it does not know, on a CPU as on a GPU; a TPU's does not know those of a GPU."""
    double = compilation.jit(lambda x: 2 * x, deterministic=True)
    assert double(2.0) == 4
    given, plain = [], jax.jit
    monkeypatch.setattr(compilation.jax, "jit", lambda f, compiler_options, **_: given.append(compiler_options))
    for deterministic, backend in ((True, "gpu"), (True, "tpu"), (False, "gpu")):
        monkeypatch.setattr(compilation.jax, "default_backend", lambda backend=backend: backend)
        compilation.jit(abs, deterministic=deterministic)
    assert [compilation.DETERMINISTIC.items() <= options.items() for options in given] == [True, False, False]
    with pytest.raises(jax.errors.JaxRuntimeError, match="No such compile option"):
        plain(abs, compiler_options={"xla_gpu_deterministic_opps": True}).lower(1.0).compile()


def test_a_deterministic_run_compiles_its_steps_so(monkeypatch, debug_config, tmp_path, capsys):
    tiny_job.install(monkeypatch)
    asked, jit = [], compilation.jit
    monkeypatch.setattr(
        compilation, "jit", lambda f, *, deterministic=False, **rest: asked.append(deterministic) or jit(f, **rest)
    )
    for deterministic in (True, False):
        tiny_job.go(tiny_job.tiny(debug_config, steps=1, deterministic=deterministic), tmp_path / str(deterministic))
    assert asked == [True, True, False, False]  # the steps of training and of validation


def test_another_error_is_not_taken_for_want_of_memory():
    assert not compilation.is_device_out_of_memory(ValueError("RESOURCE_EXHAUSTED"))
    assert not compilation.is_device_out_of_memory(jax.errors.JaxRuntimeError("INTERNAL: something else"))
    assert compilation.is_device_out_of_memory(jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory"))

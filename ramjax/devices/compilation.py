"""Programs as XLA compiles them: their options, their memory, and what to do where memory does not suffice."""

import functools
import logging
import math
import time
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh

from ramjax.config import Config
from ramjax.devices import sharding
from ramjax.errors import RunError

log = logging.getLogger(__name__)


DETERMINISTIC = {"xla_gpu_deterministic_ops": True}
"""What makes XLA (of jax 0.10) compute equal bits on a GPU each time, in each process.

It covers `xla_gpu_exclude_nondeterministic_ops`: values are scattered in a fixed order, and cuDNN and cuBLAS use no
algorithm that sums in the order in which threads come. It also takes the first algorithm that fits in place of the one
that was fastest in a measurement (`xla_gpu_autotune_level` has no effect then), for the fastest may be another one in
the next process. CPUs and TPUs compute equal bits without it.
"""


def jit(function: Callable, *, deterministic: bool = False, **settings: Any) -> jax.stages.Wrapped:
    """`jax.jit` for a function with convolutions that is called by itself, not traced within another.

    Args:
      function: what is compiled.
      deterministic: whether a GPU must compute equal bits each time (`DETERMINISTIC`), be it slower.
      **settings: of `jax.jit`.
    """
    options = _compiler_options()
    if deterministic and jax.default_backend() != "tpu":  # whose compiler does not know the options of a GPU's
        options = options | DETERMINISTIC
    return jax.jit(function, compiler_options=options, **settings)


@functools.cache
def _compiler_options() -> dict[str, str]:
    """Turns YNNPACK off, with which XLA's CPU backend (of jax 0.10) computes convolutions.

    It then uses Eigen, which takes half the time where channels are few, and a quarter for the gradient of a kernel.
    YNNPACK stays on where a process has several CPU devices, as in tests: there the rounding of Eigen depends on how a
    batch is split, by up to 3e-6.
    """
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    if jax.default_backend() != "cpu" or jax.local_device_count() > 1:
        return {}
    try:
        jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:  # This XLA does not know the option: an experimental one comes and goes.
        return {}
    return options


def compile_train_step(
    train_step: Callable, config: Config, state: Any, batch: dict[str, jax.Array], mesh: Mesh, *more: jax.Array
) -> Callable:
    """Returns ``step(state, batch, *more) -> (state, metrics)``, compiled once; a batch of another shape is an error.

    The state's buffers are donated, the batch's are not.

    Args:
      train_step: of `ramjax.steps.train`, not yet jitted.
      config: of the run.
      state, batch: as the step takes them, on the devices of `mesh`.
      mesh: of the devices.
      *more: further arguments of the step, such as the seed.
    """
    began = time.perf_counter()
    placed = sharding.state_shardings(config.mesh, mesh, state), sharding.replicated(mesh)
    step = jit(train_step, deterministic=config.train.deterministic, donate_argnums=0, out_shardings=placed)
    compiled = step.lower(state, batch, *more).compile()
    flops = (compiled.cost_analysis() or {}).get("flops", math.nan) * config.train.accumulation_steps
    log.info(
        "Compiled the training step in %.1f s: %.1f GFLOP a device.\n%s",
        time.perf_counter() - began,
        flops / 1e9,
        memory_table(state, batch, compiled),
    )
    return compiled


def memory_table(state: Any, batch: dict[str, jax.Array], compiled: Any = None) -> str:
    """What a training step keeps in the memory of each device, in MB.

    Args:
      state, batch: arrays, or ShapeDtypeStructs with shardings.
      compiled: the compiled step, which knows the size of its temporary arrays; None where it could not be compiled.
    """
    rows = {
        "parameters": _bytes(state.params),
        "optimiser": _bytes(state.opt_state),
        "average of the parameters": _bytes(state.ema_params),
        "variables and their average": _bytes((state.variables, state.ema_variables)),
        "batch": _bytes(batch),
    }
    if not state.variables:
        del rows["variables and their average"]
    memory = compiled.memory_analysis() if compiled else None
    if memory:
        rows["activations, gradients and all else for a time"] = memory.temp_size_in_bytes
    rows["together"] = sum(rows.values())
    width = max(map(len, rows))
    lines = [f"  {name:{width}}  {size / 1e6:>10,.1f} MB" for name, size in rows.items()]
    there = device_bytes()
    if there:
        lines.append(f"  {'a device has':{width}}  {there / 1e6:>10,.1f} MB")
    return "\n".join(lines)


def device_bytes() -> int | None:
    """Memory of a device that JAX may use; None where it does not tell, as on a CPU."""
    return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")


def is_device_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the machine, had too little memory."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def out_of_memory(config: Config, state: Any, batch: dict[str, jax.Array], compiled: Any) -> RunError:
    """Logs the memory table; returns an error that says which settings to lower, those that cost least first."""
    log.error("A training step keeps in the memory of each device:\n%s", memory_table(state, batch, compiled))
    data, mesh = config.data, config.mesh
    remedies = [f"raise train.accumulation_steps (now {config.train.accumulation_steps}; as a batch is taken in parts)"]
    if config.model.remat != "blocks":
        remedies.append(f"set model.remat to blocks (now {config.model.remat})")
    if jax.device_count() > 1:
        remedies.append(f"split more over the devices by mesh.fsdp or mesh.space (now {mesh.fsdp} and {mesh.space})")
    if data.cache == "device":
        remedies.append(f"lower data.cache_gigabytes (now {data.cache_gigabytes:g}) or set data.cache to host")
    remedies.append(f"lower data.batch_size (now {data.batch_size}) or data.eval_batch_size ({data.eval_batch_size})")
    remedies.append(f"or lower data.canvas (now {data.canvas.height} x {data.canvas.width})")
    return RunError(f"The devices have too little memory: {', '.join(remedies)}.")


def _bytes(tree: Any) -> int:
    """Of the shards that one device holds."""
    return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree))

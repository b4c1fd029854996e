"""Measures which share of the device's matrix product speed training and inference of a config reach.

    python -m benchmarks.utilisation [--config=experiments/multitask.py:accelerator] [--repeats=5] [--largest=0]
                                     [--json]

The same on a CPU, a GPU or a TPU, over all local devices:

- peak: square matrix products of growing size on one device, in float32 (at the precision that JAX takes by default,
  that of the network) and, on an accelerator, in bfloat16; the fastest size counts. Times the local devices: fake
  devices of a CPU share its cores, and count as one. The last product of the sweep is of --largest rows and columns;
  0 chooses 4,096 on a CPU and 16,384 elsewhere.
- train: a training step on the config's batch; inference: prediction of an evaluation batch. Model FLOPs, counted by
  hand from the convolutions and matrix products (`benchmarks.flops`), over the seconds and over the peak of the dtype
  that the config computes in. Beside it the same from XLA's cost analysis. They differ: XLA counts element-wise work
  too, and a convolution that a library computes (cuDNN) as nothing, so that the hand count is the one to quote.

Times are medians of --repeats calls, each after one that does not count. With --json the last line is one JSON object:
`train_utilisation`, `inference_utilisation`, `train_utilisation_xla`, `inference_utilisation_xla` (null where XLA does
not tell), `train_seconds`, `inference_seconds`, `train_gflop`, `inference_gflop`, `train_gflop_xla`,
`inference_gflop_xla`, `train_gflops_per_second`, `inference_gflops_per_second`, `peak_gflops_per_second_float32`,
`peak_gflops_per_second_bfloat16` (null on a CPU), `train_batch`, `inference_batch`, `dtype`, and the machine.
"""

import functools
import math
import sys
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags

from benchmarks import common, flops, synthetic
from ramjax import command_line
from ramjax import config as config_lib
from ramjax.config import Config
from ramjax.devices import compilation, sharding
from ramjax.steps.predict import make_predict_step
from ramjax.steps.state import TrainState
from ramjax.steps.train import make_train_step

SMALLEST = 512
"""Rows of the first matrix of the sweep; each further one has twice as many."""


def peak(dtype: str, largest: int, repeats: int) -> float:
    """The fastest square matrix product of one device in GFLOP a second, sides from `SMALLEST` to `largest`."""
    multiply = jax.jit(jnp.matmul)
    best, size = 0.0, min(SMALLEST, largest)
    while size <= largest:
        matrix = jnp.full((size, size), 1 / size, dtype)
        seconds = common.take_turns(
            {"product": lambda matrix=matrix: multiply(matrix, matrix).block_until_ready()}, repeats
        )
        best = max(best, 2 * size**3 / seconds["product"] / 1e9)
        size *= 2
    return best


def measure(config: Config, repeats: int, largest: int) -> dict[str, Any]:
    """Returns all numbers of the module's docstring."""
    on_cpu = jax.default_backend() == "cpu"
    devices = 1 if on_cpu else jax.local_device_count()
    largest = largest or (4096 if on_cpu else 16_384)
    peaks = {"float32": devices * peak("float32", largest, repeats), "bfloat16": None}
    if not on_cpu:
        peaks["bfloat16"] = devices * peak("bfloat16", largest, repeats)
    of_dtype = peaks[config.model.dtype] or peaks["float32"]  # a CPU computes bfloat16 in float32

    ready = synthetic.train_step(config)
    gflop = {"train": flops.product_flops(make_train_step(config), ready.state, ready.batch) / 1e9}
    xla = {"train": flops.cost_flops(ready.compiled) / 1e9 * len(ready.state.step.sharding.device_set)}
    seconds = common.take_turns({"train": synthetic.caller(ready)}, repeats)
    del ready  # its memory

    mesh = sharding.make_mesh(config)
    state = jax.device_put(synthetic.random_state(config), sharding.replicated(mesh))
    images = synthetic.make_batch(config, config.data.eval_batch_size)["image"]
    images = sharding.place_batch({"image": images}, mesh)["image"]
    predict = make_predict_step(config)
    compiled = compilation.jit(predict).lower(state, images).compile()
    gflop["inference"] = flops.product_flops(predict, state, images) / 1e9
    xla["inference"] = flops.cost_flops(compiled) / 1e9 * mesh.size
    call = functools.partial(_call, compiled, state, images)
    seconds |= common.take_turns({"inference": call}, repeats)

    numbers: dict[str, Any] = {}
    for name in ("train", "inference"):
        numbers[f"{name}_utilisation"] = gflop[name] / seconds[name] / of_dtype
        numbers[f"{name}_utilisation_xla"] = _known(xla[name] / seconds[name] / of_dtype)
        numbers[f"{name}_seconds"] = seconds[name]
        numbers[f"{name}_gflop"] = gflop[name]
        numbers[f"{name}_gflop_xla"] = _known(xla[name])
        numbers[f"{name}_gflops_per_second"] = gflop[name] / seconds[name]
    numbers |= {f"peak_gflops_per_second_{dtype}": value for dtype, value in peaks.items()}
    return {
        **numbers,
        "train_batch": config.data.batch_size,
        "inference_batch": config.data.eval_batch_size,
        "dtype": config.model.dtype,
        **common.machine(),
    }


def show(numbers: dict[str, Any]) -> str:
    """The numbers as a table."""
    columns = ("seconds", "gflop", "gflops_per_second", "utilisation", "gflop_xla", "utilisation_xla")
    lines = [f"{'':12}" + "".join(f"{column:>19}" for column in columns)]
    for name in ("train", "inference"):
        values = [numbers[f"{name}_{column}"] for column in columns]
        lines.append(f"{name:12}" + "".join(f"{'' if value is None else f'{value:.4g}':>19}" for value in values))
    for dtype in ("float32", "bfloat16"):
        value = numbers[f"peak_gflops_per_second_{dtype}"]
        if value is not None:
            lines.append(f"Matrix products of {dtype} on {numbers['device']}: at most {value:.4g} GFLOP a second.")
    return "\n".join(lines)


def _call(compiled: jax.stages.Compiled, state: TrainState, images: jax.Array) -> None:
    jax.block_until_ready(compiled(state, images))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) and value > 0 else None


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""

    def define(values):
        common.define_config(values, argv)
        flags.DEFINE_integer("repeats", 5, "Calls, of which the median counts.", 1, flag_values=values)
        flags.DEFINE_integer("largest", 0, "Rows of the largest matrix of the sweep.", 0, flag_values=values)

    def run(values):
        command_line.set_up_jax()
        return measure(config_lib.from_config_dict(values.config), values.repeats, values.largest)

    return common.run(argv, __doc__, define, run, show)


if __name__ == "__main__":
    sys.exit(main(sys.argv))

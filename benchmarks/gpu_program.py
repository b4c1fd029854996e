"""Compiles a config's step for an NVIDIA GPU that need not be there, and tells what the program moves and keeps.

    python -m benchmarks.gpu_program [--config=experiments/multitask.py:accelerator] [--program=train] [--hlo=FILE]
                                     [--kernels=20] [--json]

XLA compiles for the description of an H200 (`TARGET`); nothing is run and nothing is tuned, so no time is measured.
It needs ``pip install "jax[cuda12]"``, 3 GB, best in an environment of its own, but neither a GPU nor a driver.

- bytes and FLOPs: what the kernels of the optimised program read, write and multiply, and the time that they take at
  least: the longer one of bytes at `BANDWIDTH` and FLOPs at `PEAK`, of each kernel. Kinds of kernels are told apart as
  in `benchmarks.hlo`; reductions of a few numbers cost no bytes worth telling, but a start each, which is not counted.
- memory: temporary buffers, as XLA plans them.
- planes: the largest float32 array, and how many there are of at least 30 float32 numbers a pixel of the canvas.

--hlo keeps the optimised program as text. With --json the last line is one JSON object: `gigabytes`,
`gigabytes_products`, `milliseconds_at_least`, `temporary_gigabytes`, `largest_float32_gigabytes`, `float32_planes`,
`kernels`, `trace_seconds` (to a program in StableHLO), `compile_seconds` (from there), `batch`, `kinds` with the same
of each kind, and the versions.
"""

import dataclasses
import functools
import importlib.metadata
import importlib.util
import math
import os
import pathlib
import sys
import time
from typing import Any

import jax
import numpy as np
from absl import flags
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks import common, hlo, synthetic
from ramjax import anatomy
from ramjax import config as config_lib
from ramjax.config import Config
from ramjax.devices import compilation
from ramjax.steps.predict import make_predict_step
from ramjax.steps.state import init_state
from ramjax.steps.train import make_train_step

BANDWIDTH = 4.8e12
"""Bytes a second of an H200's memory, by its data sheet."""

PEAK = 989e12
"""FLOPs a second of an H200 in dense products of bfloat16, by its data sheet."""

TARGET = """gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128 block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535 block_dim_limit_z: 65535 memory_bandwidth: 4800000000000 l2_cache_size: 52428800
  clock_rate_ghz: 1.98 device_memory_size: 150000000000 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 } registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
runtime_version { major: 12 minor: 8 }
device_description_str: "NVIDIA H200"
"""
"""What XLA wants to know of the GPU (xla/tools/hlo_opt/gpu_specs has the like)."""

_WITHOUT_A_GPU = {
    "CUDA_VISIBLE_DEVICES": "",
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
    "XLA_FLAGS": "--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false",  # both would measure on the GPU
}


def measure(config: Config, program: str, keep: pathlib.Path | None = None) -> dict[str, Any]:
    """Compiles and returns all numbers of the module's docstring, and ``largest``, the kernels by bytes."""
    began = time.perf_counter()
    lowered = lower_for_gpu(config, program)
    traced = time.perf_counter()
    compiled = lowered.compile()
    ended = time.perf_counter()
    text = compiled.as_text()
    if keep:
        keep.write_text(text)
    found = sorted(hlo.kernels(text), key=lambda kernel: -kernel.bytes)
    size = config.data.batch_size if program == "train" else config.data.eval_batch_size
    pixels = size * config.data.canvas.height * config.data.canvas.width
    wide = [math.prod(shape) for kernel in found for dtype, shape in kernel.arrays if dtype == "f32"]
    return {
        **bounds(found),
        "gigabytes_products": sum(kernel.bytes for kernel in found if kernel.product) / 1e9,
        "temporary_gigabytes": compiled.memory_analysis().temp_size_in_bytes / 1e9,
        "largest_float32_gigabytes": 4 * max(wide, default=0) / 1e9,
        "float32_planes": sum(count >= anatomy.NUM_BONES * pixels for count in wide),
        "trace_seconds": traced - began,
        "compile_seconds": ended - traced,
        "batch": size,
        "kinds": {kind: bounds(of_kind) for kind, of_kind in by_kind(found)},
        "largest": [dataclasses.asdict(kernel) for kernel in found],
        **{name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "jax-cuda12-pjrt")},
    }


def by_kind(found: list[hlo.Kernel]) -> list[tuple[str, list[hlo.Kernel]]]:
    """The kernels of each kind that there is, in the order of `benchmarks.hlo`."""
    kinds = (*hlo.KIND_BY_TARGET, *hlo.KIND_BY_FILE, hlo.OTHERS)
    kernels = {kind: [kernel for kernel in found if kernel.kind == kind] for kind in kinds}
    return [(kind, of_kind) for kind, of_kind in kernels.items() if of_kind]


def bounds(found: list[hlo.Kernel]) -> dict[str, float]:
    """What kernels move and compute together, and the milliseconds that this takes at least."""
    least = [(kernel.bytes / BANDWIDTH * 1e3, kernel.flops / PEAK * 1e3) for kernel in found]
    return {
        "gigabytes": sum(kernel.bytes for kernel in found) / 1e9,
        "gflop": sum(kernel.flops for kernel in found) / 1e9,
        "milliseconds_for_bytes": sum(of_bytes for of_bytes, _ in least),
        "milliseconds_for_flops": sum(of_flops for _, of_flops in least),
        "milliseconds_at_least": sum(map(max, least)),
        "kernels": len(found),
    }


def go_without_a_gpu() -> None:
    """Sets JAX up to compile for GPUs that are not there; call it before JAX looks for devices."""
    os.environ.update(_WITHOUT_A_GPU)
    jax.config.update("jax_platforms", "cpu")  # whose variable was read when JAX was imported


def topology(devices: int) -> topologies.TopologyDescription:
    """So many GPUs of one machine, each as `TARGET` describes it.

    Raises:
      ValueError: JAX's plugin for CUDA is not installed.
    """
    try:
        return topologies.get_topology_desc(platform="cuda", target_config=TARGET, topology=f"1x1x{devices}")
    except NotImplementedError as error:
        raise ValueError('JAX for CUDA is not installed; run pip install "jax[cuda12]".') from error


def lower_for_gpu(config: Config, program: str) -> jax.stages.Lowered:
    """``train`` or ``inference``, traced and ready to be compiled for one GPU; raises as `topology`."""
    mesh = Mesh(np.array(topology(1).devices), ("device",))
    here = NamedSharding(mesh, PartitionSpec())
    place = functools.partial(_placed, where=here)
    state = place(jax.eval_shape(functools.partial(init_state, config)))
    size = config.data.batch_size if program == "train" else config.data.eval_batch_size
    batch = place({name: _of_size(value, size) for name, value in synthetic.make_batch(config, 1).items()})
    options = compilation.DETERMINISTIC if config.train.deterministic else None
    settings = {"out_shardings": here, "compiler_options": options}
    if program == "train":
        return jax.jit(make_train_step(config), donate_argnums=0, **settings).lower(state, batch)
    return jax.jit(make_predict_step(config), **settings).lower(state, batch["image"])


def show(numbers: dict[str, Any]) -> str:
    """The numbers, and the largest kernels."""
    lines = [common.table({name: value for name, value in numbers.items() if name not in ("kinds", "largest")}), ""]
    lines.append(
        f"{'':36}{'kernels':>8}{'GB':>8}{'GFLOP':>8}{'ms for bytes':>14}{'ms for FLOPs':>14}{'ms at least':>13}"
    )
    for kind, of in numbers["kinds"].items():
        lines.append(
            f"{kind:36}{of['kernels']:8}{of['gigabytes']:8.1f}{of['gflop']:8.0f}{of['milliseconds_for_bytes']:14.2f}"
            f"{of['milliseconds_for_flops']:14.2f}{of['milliseconds_at_least']:13.2f}"
        )
    lines.append("")
    for kernel in numbers["largest"]:
        arrays = ", ".join(f"{dtype}[{','.join(map(str, shape))}]" for dtype, shape in kernel["arrays"])
        lines.append(f"{kernel['bytes'] / 1e9:8.2f} GB  {kernel['name']:44} {arrays[:60]:60} {kernel['source'][-60:]}")
    return "\n".join(lines)


def _placed(tree: Any, where: NamedSharding) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where), tree)


def _of_size(value: np.ndarray, size: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((size, *value.shape[1:]), value.dtype)


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""
    go_without_a_gpu()

    def define(values):
        common.define_config(values, argv)
        flags.DEFINE_enum("program", "train", ["train", "inference"], "What is compiled.", flag_values=values)
        flags.DEFINE_string("hlo", None, "File for the optimised program.", flag_values=values)
        flags.DEFINE_integer("kernels", 20, "Kernels to list.", 0, flag_values=values)

    def run(values):
        keep = pathlib.Path(values.hlo).expanduser() if values.hlo else None
        numbers = measure(config_lib.from_config_dict(values.config), values.program, keep)
        return {**numbers, "largest": numbers["largest"][: values.kernels]}

    return common.run(argv, __doc__, define, run, show)


if __name__ == "__main__":
    sys.exit(main(sys.argv))

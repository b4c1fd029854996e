"""What a training step sends between devices, counted in the program that XLA makes of it, and how long that takes.

    python -m benchmarks.collectives [--config=experiments/multitask.py:accelerator] [--devices=8] [--target=gpu]
                                     [--axes=data,fsdp,space] [--hands=32] [--step_ms=97] [--json]

The step is compiled for --devices with all of them along one axis of the mesh, for each of --axes: ``data`` and
``fsdp`` with --hands hands a device, ``space`` with --hands hands on all of them together. Nothing is run. --target=gpu
compiles for H200s that need not be there (see `benchmarks.gpu_program`); --target=cpu for fake devices of the CPU,
whose compiler combines the collectives in other ways, but moves about the same.

A collective of the optimised program has a payload of S bytes: what a device puts into an all-reduce, a reduce-scatter,
an all-to-all or a collective-permute, and what it gets out of an all-gather. Among n devices in a ring, each of them
sends 2 (n - 1) / n S for an all-reduce, (n - 1) / n S for an all-gather, a reduce-scatter or an all-to-all, and S for a
permutation (Patarasuk and Yuan, J Parallel Distrib Comput 2009;69:117-24; NCCL's algorithms of large messages). Time is
what is sent by the bandwidth of a device in one direction: `NVLINK` among the 8 H100 of a machine, `INFINIBAND` among
machines. Latency is left out, and nothing is taken to overlap with computation. The share is that of the step, which
takes --step_ms for --hands hands on one device, and an eighth of it where 8 devices share them.

With --json the last line is one JSON object: for each axis ``payload_mb`` by kind of collective, ``count`` by kind,
``sent_mb`` and ``milliseconds`` on NVLink, ``share``; for data and fsdp also ``sent_mb_64``, ``milliseconds_64`` and
``share_64``, of 64 devices on InfiniBand; and the versions.
"""

import collections
import dataclasses
import importlib.metadata
import math
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from absl import flags
from jax.sharding import AxisType, Mesh

from benchmarks import common, gpu_program, synthetic
from benchmarks.hlo import bytes_of
from ramjax import config as config_lib
from ramjax.config import Config
from ramjax.devices import sharding
from ramjax.steps.state import abstract_state
from ramjax.steps.train import make_train_step

NVLINK = 450e9
"""Bytes a second that an H100 sends over NVLink 4: 18 links of 25 GB/s in each direction."""

INFINIBAND = 50e9
"""Bytes a second that a GPU sends over an InfiniBand port of 400 Gb/s of its own."""

MANY = 64
"""Devices of the second prediction: 8 machines of 8."""

FACTORS = {
    "all-reduce": lambda n: 2 * (n - 1) / n,
    "all-gather": lambda n: (n - 1) / n,
    "reduce-scatter": lambda n: (n - 1) / n,
    "all-to-all": lambda n: (n - 1) / n,
    "collective-permute": lambda n: 1.0,
}
"""What a device sends of a collective's payload among n devices, by kind."""

_COMPUTATION = re.compile(r"^(?:ENTRY )?(%[\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?(%[\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclasses.dataclass(frozen=True)
class Collective:
    """A collective of an optimised program.

    Attributes:
      kind: a key of `FACTORS`.
      payload: bytes on one device, S of the module's docstring.
      devices: in a group.
      times: that the program runs it, more than once within a loop.
    """

    kind: str
    payload: int
    devices: int
    times: int = 1

    def sent(self, devices: int | None = None) -> float:
        """Bytes that a device sends, were there so many `devices` in a group; None for those there are."""
        return self.times * self.payload * FACTORS[self.kind](devices or self.devices)


def collectives(hlo: str, devices: int) -> list[Collective]:
    """The collectives of an optimised HLO module as text, in order; `devices` are those of the whole program.

    Raises:
      ValueError: a loop of unknown length has some in it.
    """
    computations: dict[str, list[str]] = {}
    for line in hlo.splitlines():
        if started := _COMPUTATION.match(line):
            lines = computations[started[1]] = []
            if line.startswith("ENTRY"):
                entry = started[1]
        elif line.startswith(" ") and computations:
            lines.append(line)
    return _of_computation(computations, entry, devices)


def _of_computation(computations: dict[str, list[str]], name: str, devices: int) -> list[Collective]:
    sizes: dict[str, int] = {}
    found = []
    for line in computations[name]:
        match = _INSTRUCTION.match(line)
        if not match:
            continue
        result, written, opcode, rest = match.groups()
        sizes[result] = bytes_of(written)
        kind = opcode.removesuffix("-start")
        if kind in FACTORS:
            operands = re.findall(r"%[\w.\-]+", rest.partition("), ")[0])
            read = sum(sizes[operand] for operand in operands)
            n = _group_size(line, devices)
            found.append(Collective(kind, read * n if kind == "all-gather" else read, n))
        elif opcode in ("while", "call", "conditional", "async-start"):
            called = re.findall(r"(?:body|to_apply|calls|true_computation|false_computation)=(%[\w.\-]+)", line)
            inner = [one for of in called for one in _of_computation(computations, of, devices)]
            trips = _TRIPS.search(line)
            if inner and opcode == "while" and not trips:
                raise ValueError(f"The loop {result} of unknown length has collectives in it.")
            times = int(trips[1]) if opcode == "while" and trips else 1
            found += [dataclasses.replace(one, times=one.times * times) for one in inner]
    return found


def _group_size(line: str, devices: int) -> int:
    """Devices of a group of an instruction.

    They are written as ``{{0,1},{2,3}}``, as ``[2,4]<=[8]`` (groups, devices), as axes of a mesh or parts of them,
    ``mesh['a'=2,'b'=4] {'a','b':(1)2}``, or as ``{}``, all devices.
    """
    if named := re.search(r"replica_groups=mesh\[(.*?)\] \{(.*?)\}", line):
        sides = {name: int(side) for name, side in re.findall(r"('[^']*')=(\d+)", named[1])}
        axes = re.findall(r"('[^']*')(?::\(\d+\)(\d+))?", named[2])
        return math.prod(int(part) if part else sides[name] for name, part in axes)
    if short := re.search(r"replica_groups=\[\d+,(\d+)\]<=", line):
        return int(short[1])
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", line):
        return len(listed[1].split(","))
    return devices  # of a permutation, too, which pairs devices


def compile_for(config: Config, devices: Sequence[Any], axis: str) -> jax.stages.Compiled:
    """Compiles the training step with all devices along one axis of the mesh."""
    shape = {name: len(devices) if name == axis else 1 for name in sharding.AXES}
    mesh = Mesh(np.array(devices).reshape(tuple(shape.values())), sharding.AXES, axis_types=(AxisType.Auto,) * 3)
    config = dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, **shape))
    state = abstract_state(config, mesh)
    one, size = synthetic.make_batch(config, 1), config.data.batch_size
    where = sharding.batch_shardings(one, mesh)
    batch = {
        name: jax.ShapeDtypeStruct((size, *value.shape[1:]), value.dtype, sharding=where[name])
        for name, value in one.items()
    }
    placed = jax.tree.map(lambda leaf: leaf.sharding, state), sharding.replicated(mesh)
    return jax.jit(make_train_step(config), donate_argnums=0, out_shardings=placed).lower(state, batch).compile()


def measure(
    config: Config, devices: Sequence[Any], hands: int, step_ms: float, along: Sequence[str] = sharding.AXES
) -> dict[str, Any]:
    """Returns all numbers of the module's docstring, ``axes`` by axis, for those that are named in `along`."""
    axes = {}
    for axis in along:
        size = hands if axis == "space" else hands * len(devices)
        of_axis = dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=size))
        text = compile_for(of_axis, devices, axis).as_text()
        step = step_ms / 1e3 / (len(devices) if axis == "space" else 1)
        axes[axis] = summarize(collectives(text, len(devices)), step, many=axis != "space")
    return {
        "axes": axes,
        "devices": len(devices),
        "device": devices[0].device_kind,
        "hands": hands,
        "step_ms": step_ms,
        **{name: importlib.metadata.version(name) for name in ("jax", "jaxlib")},
    }


def summarize(found: Sequence[Collective], step: float, many: bool) -> dict[str, Any]:
    """The numbers of one axis; `step` are the seconds of a step, `many` adds those of `MANY` devices."""
    payload: dict[str, float] = collections.defaultdict(float)
    count: dict[str, int] = collections.Counter()
    for one in found:
        payload[one.kind] += one.times * one.payload / 1e6
        count[one.kind] += one.times
    sent = sum(one.sent() for one in found)
    numbers = {
        "payload_mb": dict(payload),
        "count": dict(count),
        "sent_mb": sent / 1e6,
        "milliseconds": sent / NVLINK * 1e3,
        "share": sent / NVLINK / step,
    }
    if many:
        sent = sum(one.sent(MANY) for one in found)
        numbers |= {"sent_mb_64": sent / 1e6, "milliseconds_64": sent / INFINIBAND * 1e3}
        numbers["share_64"] = sent / INFINIBAND / step
    return numbers


def show(numbers: dict[str, Any]) -> str:
    """The numbers as a table in Markdown."""
    lines = [
        f"| axis of {numbers['devices']} devices | collectives, payload a device | sent a device | NVLink "
        f"| share of the step | {MANY} devices, InfiniBand | share |",
        "|---|---|---|---|---|---|---|",
    ]
    for axis, of in numbers["axes"].items():
        payload = sorted(of["payload_mb"].items(), key=lambda item: -item[1])
        kinds = ", ".join(f"{of['count'][kind]} {kind}: {_mb(mb)}" for kind, mb in payload)
        row = [f"`mesh.{axis}`", kinds or "none", _mb(of["sent_mb"]), f"{of['milliseconds']:.2g} ms"]
        row.append(f"{of['share']:.1%}")
        if "share_64" in of:
            row += [f"{_mb(of['sent_mb_64'])}, {of['milliseconds_64']:.2g} ms", f"{of['share_64']:.1%}"]
        else:
            row += ["stays within a machine", ""]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def _mb(value: float) -> str:
    return f"{value:.2g} MB" if value < 10 else f"{value:,.0f} MB"


def _devices(target: str, count: int) -> Sequence[Any]:
    if target == "gpu":
        return gpu_program.topology(count).devices
    if jax.local_device_count() < count:
        raise ValueError(f"There are {jax.local_device_count()} devices of the CPU; start this with fewer --devices.")
    return jax.devices()[:count]


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""

    def define(values):
        common.define_config(values, argv)
        flags.DEFINE_integer("devices", 8, "Along each axis.", 2, flag_values=values)
        flags.DEFINE_list("axes", list(sharding.AXES), "Of the mesh, one program each.", flag_values=values)
        known = f"must name any of {', '.join(sharding.AXES)}"
        flags.register_validator("axes", lambda axes: axes and set(axes) <= set(sharding.AXES), known, values)
        flags.DEFINE_enum("target", "gpu", ["gpu", "cpu"], "What is compiled for.", flag_values=values)
        flags.DEFINE_integer("hands", 32, "In the batch of a device.", 1, flag_values=values)
        flags.DEFINE_float("step_ms", 97.0, "Milliseconds of a step of --hands on one device.", 0, flag_values=values)

    def run(values):
        if values.target == "gpu":
            gpu_program.go_without_a_gpu()
        else:
            os.environ["XLA_FLAGS"] = (
                f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={values.devices}".strip()
            )
        devices = _devices(values.target, values.devices)
        config = config_lib.from_config_dict(values.config)
        return measure(config, devices, values.hands, values.step_ms, values.axes)

    return common.run(argv, __doc__, define, run, show)


if __name__ == "__main__":
    sys.exit(main(sys.argv))

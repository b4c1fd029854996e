"""Devices: one mesh with three axes, and what is split over them.

==========  =======================================================================================================
``data``    the batch
``fsdp``    the batch too, and the large parameters with their optimiser state and average (fully sharded data
            parallelism: each device keeps a part and gathers the rest where it computes; arXiv 2004.13336, 1910.02054)
``space``   each canvas by its height; convolutions exchange the rows at the borders of the parts
==========  =======================================================================================================

The compiler inserts all communication. Any shape of the mesh computes the same numbers, except for the order of sums.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ramjax.config import Config, ConfigError, MeshConfig
from ramjax.trees import name_of

AXES = ("data", "fsdp", "space")
BATCH_AXES = ("data", "fsdp")


def make_mesh(config: Config) -> Mesh:
    """The mesh of `config.mesh`.

    Raises:
      ConfigError: the devices are too few or too many, or batches or canvases do not divide among them.
    """
    mesh, there = config.mesh, jax.device_count()
    known = math.prod(size for size in (mesh.data, mesh.fsdp, mesh.space) if size != -1)
    sizes = {axis: there // known if getattr(mesh, axis) == -1 else getattr(mesh, axis) for axis in AXES}
    used = math.prod(sizes.values())
    asked = ", ".join(f"mesh.{axis} is {getattr(mesh, axis)}" for axis in AXES)
    if not 1 <= used <= there or (jax.process_count() > 1 and used != there):
        raise ConfigError(
            f"{asked}, but there are {there} device(s); set one of the three to -1 for all that are left."
        )
    if jax.local_device_count() % sizes["space"]:
        raise ConfigError(
            f"mesh.space is {sizes['space']}, but each process has {jax.local_device_count()} devices; a canvas stays "
            f"within a process, so use a divisor of that."
        )
    copies, steps = sizes["data"] * sizes["fsdp"], config.train.accumulation_steps
    in_parts = f" in {steps} parts" if steps > 1 else ""
    for key, size, parts, who in (
        ("data.batch_size", config.data.batch_size, copies * steps, f"{copies} devices along data and fsdp{in_parts}"),
        ("data.eval_batch_size", config.data.eval_batch_size, used, f"{used} devices"),
        ("data.canvas.height", config.data.canvas.height, sizes["space"], f"{sizes['space']} devices along space"),
    ):
        if size % parts:
            raise ConfigError(f"{key} is {size}, which {who} cannot share evenly; use a multiple of {parts}.")
    # Auto: the compiler places what the program leaves open; with the default, Explicit, many operations raise.
    # In the order of processes, not of a torus as in jax.make_mesh: a process has neighbouring rows, as in the batch.
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))[:used]
    placed = np.array(devices).reshape(tuple(sizes.values()))
    return Mesh(placed, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def on_one_device(config: Config) -> Config:
    """The config for whoever uses a trained network on one device, whatever it was trained on."""
    return dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, data=1, fsdp=1, space=1))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def state_shardings(config: MeshConfig, mesh: Mesh, state: Any) -> Any:
    """Returns a tree of NamedShardings: where each parameter and its optimiser state are kept.

    A leaf of at least `config.split_from` elements is split over ``fsdp``, along its largest axis that divides (the
    last of several equal ones). Smaller leaves are whole on every device. `config.rules` are exceptions.

    Args:
      config: the rule.
      mesh: the devices.
      state: tree of arrays or ShapeDtypeStructs.

    Raises:
      ConfigError: a rule splits an axis that a parameter does not have or that does not divide.
    """

    def place(path, leaf):
        name = name_of(path)
        return NamedSharding(mesh, _spec(config, mesh.shape["fsdp"], name, leaf.shape))

    return jax.tree_util.tree_map_with_path(place, state)


def place_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Puts this process's rows of a batch on its devices. The rows of all processes, in order, are the global batch.

    Arrays of the image's height and width, (b, h, w, ...), are split over ``space`` too.
    """
    where = batch_shardings(batch, mesh)
    return {name: jax.make_array_from_process_local_data(where[name], value) for name, value in batch.items()}


def batch_shardings(batch: Mapping[str, Any], mesh: Mesh) -> dict[str, NamedSharding]:
    """Where `place_batch` puts the arrays of a batch, or their ShapeDtypeStructs."""
    canvas = batch["image"].shape[1:3] if "image" in batch else None
    split, by_height = (NamedSharding(mesh, PartitionSpec(BATCH_AXES, *rest)) for rest in ((), ("space",)))
    return {name: by_height if value.shape[1:3] == canvas else split for name, value in batch.items()}


def place_rows(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """As `place_batch`, but each row whole on one device, for `row_by_row`."""
    sharding = NamedSharding(mesh, PartitionSpec(AXES))
    return {name: jax.make_array_from_process_local_data(sharding, value) for name, value in batch.items()}


def row_by_row(function: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """Returns a function of (whole, batch) that applies `function` to each row alone.

    Each device takes its rows one by one. So the result of a row is the same to the last bit on any number of devices
    and processes; with batches it would not be, because batches of different sizes are computed in different orders.

    Args:
      function: of (whole, batch), batch a dict of arrays with a leading axis; returns arrays with that axis.
      mesh: over whose devices, of all axes, the rows are split; `whole` is on all of them.
    """

    def of_device(whole, rows):
        def of_row(row):
            one = function(whole, jax.tree.map(lambda leaf: leaf[None], row))
            return jax.tree.map(lambda leaf: leaf[0], one)

        return jax.lax.map(of_row, rows)

    specs = (PartitionSpec(), PartitionSpec(AXES))
    # The check would need every operation of the network to know of the mesh.
    return jax.shard_map(of_device, mesh=mesh, in_specs=specs, out_specs=specs[1], check_vma=False)


def local_rows(array: jax.Array) -> np.ndarray:
    """This process's rows of an array that is split over the devices, in order: the inverse of `place_rows`."""
    starts = {shard.index[0].start or 0: shard.data for shard in array.addressable_shards}
    return np.concatenate([np.asarray(starts[start]) for start in sorted(starts)])


def gather_bytes(content: bytes) -> list[bytes]:
    """Returns the bytes of every process, in their order, on all processes; every process must call it."""
    if jax.process_count() == 1:
        return [content]
    sizes = multihost_utils.process_allgather(np.array([len(content)], np.int64)).ravel()
    padded = np.zeros(int(sizes.max()), np.uint8)
    padded[: len(content)] = np.frombuffer(content, np.uint8)
    rows = multihost_utils.process_allgather(padded)
    return [row[:size].tobytes() for row, size in zip(rows, sizes, strict=True)]


def _spec(config: MeshConfig, fsdp: int, name: str, shape: tuple[int, ...]) -> PartitionSpec:
    """How the leaf called `name` is split."""
    for rule in config.rules:
        pattern, _, axis = rule.rpartition("=")
        if not re.search(pattern, name):
            continue
        if axis == "none":
            return PartitionSpec()
        if int(axis) >= len(shape) or shape[int(axis)] % fsdp:
            raise ConfigError(
                f"mesh.rules has {rule!r}, but {name} is {shape}, which {fsdp} devices cannot share along axis {axis}; "
                "name another axis, or none."
            )
        return _along(int(axis))
    sides = [(size, axis) for axis, size in enumerate(shape) if size % fsdp == 0 and size >= fsdp]
    if not sides or math.prod(shape) < config.split_from:
        return PartitionSpec()
    return _along(max(sides)[1])


def _along(axis: int) -> PartitionSpec:
    return PartitionSpec(*[None] * axis, "fsdp")

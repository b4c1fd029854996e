"""Devices: a mesh with the axis ``data``, a replicated state, batches split over the axis, any number of processes."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ramjax.config import Config, ConfigError

DATA_AXIS = "data"


def make_mesh(config: Config) -> Mesh:
    """The mesh of `config.mesh.data` devices, all of them for -1.

    Raises:
      ConfigError: the devices are too few, or a batch does not divide among them.
    """
    wanted, there = config.mesh.data, jax.device_count()
    size = there if wanted == -1 else wanted
    if not 1 <= size <= there or (jax.process_count() > 1 and size != there):
        raise ConfigError(f"mesh.data is {wanted}, but there are {there} devices; use {there}, or -1 for all of them.")
    for key in ("batch_size", "eval_batch_size"):
        batch = getattr(config.data, key)
        if batch % size:
            raise ConfigError(
                f"data.{key} is {batch}, which {size} devices cannot share evenly; use a multiple of {size}."
            )
    # Auto: the compiler places what the program leaves open; with the default, Explicit, many operations raise.
    return jax.make_mesh((size,), (DATA_AXIS,), axis_types=(AxisType.Auto,), devices=jax.devices()[:size])


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """The leading axis is split over the devices."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def place_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Puts this process's rows of a batch on its devices; the processes' rows in order are the global batch."""
    sharding = split(mesh)
    return {key: jax.make_array_from_process_local_data(sharding, value) for key, value in batch.items()}


def row_by_row(function: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """A function of (whole, batch) that gives each row what `function` gives a batch of that row alone.

    Each device takes its rows one by one, so that a row's result is the same, to the last bit, on any number of devices
    and processes: a batch of another size is computed in another order.

    Args:
      function: of (whole, batch), batch a dict of arrays with a leading axis; returns arrays with that axis.
      mesh: over whose devices the rows are split; `whole` is on all of them.
    """

    def of_device(whole, rows):
        def of_row(row):
            one = function(whole, jax.tree.map(lambda leaf: leaf[None], row))
            return jax.tree.map(lambda leaf: leaf[0], one)

        return jax.lax.map(of_row, rows)

    specs = (PartitionSpec(), PartitionSpec(DATA_AXIS))
    # The check would need every operation of the network to know of the mesh.
    return jax.shard_map(of_device, mesh=mesh, in_specs=specs, out_specs=specs[1], check_vma=False)


def local_rows(array: jax.Array) -> np.ndarray:
    """This process's rows of an array that is split over the devices, in order: the inverse of `place_batch`."""
    starts = {shard.index[0].start or 0: shard.data for shard in array.addressable_shards}
    return np.concatenate([np.asarray(starts[start]) for start in sorted(starts)])


def gather_bytes(content: bytes) -> list[bytes]:
    """What each process has, on all of them, in the order of the processes; every process must call it."""
    if jax.process_count() == 1:
        return [content]
    sizes = multihost_utils.process_allgather(np.array([len(content)], np.int64)).ravel()
    padded = np.zeros(int(sizes.max()), np.uint8)
    padded[: len(content)] = np.frombuffer(content, np.uint8)
    rows = multihost_utils.process_allgather(padded)
    return [row[:size].tobytes() for row, size in zip(rows, sizes, strict=True)]

"""The training records kept decoded on the devices, which make the batches of them.

Each device keeps all records, or a part where all are more than it may give: they are split along the axes
of the mesh that split the batch, as few of them as suffice. The row of a batch takes its record from whichever device
has it, so batches are the same for any number of devices.
"""

import dataclasses
import functools
import logging
import math
import sys
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ramjax.config import Config, DataConfig
from ramjax.data.canvas import scale_of
from ramjax.data.decoded import DecodedSource
from ramjax.data.labels import Labels
from ramjax.data.plan import PREFIX
from ramjax.data.source import Source
from ramjax.devices import compilation
from ramjax.devices.compilation import device_bytes, is_device_out_of_memory
from ramjax.devices.sharding import BATCH_AXES, gather_bytes
from ramjax.errors import RunError
from ramjax.steps.rendering import Renderer, make_renderer
from ramjax.steps.state import place_seed
from ramjax.tasks.base import Batch

log = logging.getLogger(__name__)

_DTYPES = {"image": np.uint8, "bones": np.uint32, "erosions": np.uint8}

_SPLITS: tuple[tuple[str, ...], ...] = ((), ("fsdp",), ("data",), BATCH_AXES)
"""Axes of the mesh that records may be split along, in the order of preference. What is split has to be exchanged: each
row of a batch costs n - 1 records where n devices have a part each."""


@dataclasses.dataclass(frozen=True)
class DeviceCache:
    """Records on the devices, and how batches are made of them.

    Attributes:
      planes: by name, (slots, H, W), H and W those of the largest record.
      seed: of the noise.
      render: ``render(planes, plans, seed)``, compiled.
    """

    planes: dict[str, jax.Array]
    seed: jax.Array
    render: Callable[[dict[str, jax.Array], Batch, jax.Array], Batch]

    def batch(self, plans: Batch) -> Batch:
        """The batch of plans that `sharding.place_batch` has put on the devices, split as it splits batches."""
        return self.render(self.planes, plans, self.seed)


def fill(config: Config, sources: Sequence[Source], labels: Sequence[Labels], mesh: Mesh) -> DeviceCache | None:
    """Puts the training records on the devices; all processes must call it.

    Returns None where `data.cache` does not ask for it, and, after a warning that says why, where it cannot be: the
    records are more than `data.cache_gigabytes`, or than a third of a device's memory; they are not kept decoded; or a
    label has the size of the canvas and is no plane of the record.

    Raises:
      RunError: the devices have too little memory, though the budget allows it.
    """
    data = config.data
    if data.cache != "device":
        return None
    dense = [name for group in labels for name, spec in group.arrays.items() if spec.dense and not spec.plane]
    if dense:
        return _without(
            f"the label {dense[0]} is made on the host; declare it by Spec.plane, or set data.cache to host"
        )
    room = _room(data) if all(isinstance(source, DecodedSource) for source in sources) else -1
    room = min(int(of_process) for of_process in gather_bytes(str(room).encode()))  # all processes must do the same
    if room < 0:
        return _without("not all processes could keep them decoded; see the warning above")
    records = [source.peek(index) for source in sources for index in range(len(source))]
    height, width = np.max([record.image.shape for record in records], axis=0).tolist()
    names = list(dict.fromkeys(["image", *(spec.plane for group in labels for spec in group.planes.values())]))
    of_record = height * width * sum(np.dtype(_DTYPES[name]).itemsize for name in names)
    for axes in _SPLITS:
        parts = math.prod(mesh.shape[axis] for axis in axes)
        of_part = -(-len(records) // parts)
        size = of_part * of_record
        if size <= room:
            break
    else:
        return _without(
            f"the {len(records)} records take {size / 1e9:.2f} GB of each device, which may give {room / 1e9:.2f} "
            f"(data.cache_gigabytes is {data.cache_gigabytes:g}, and two thirds of its memory are the step's); set "
            "data.cache to host"
        )
    shape, placed = (parts * of_part, height, width), NamedSharding(mesh, PartitionSpec(axes))
    try:
        planes = {name: _put(name, sources, shape, placed) for name in names}
        jax.block_until_ready(planes)
    except jax.errors.JaxRuntimeError as error:
        if is_device_out_of_memory(error):
            raise RunError(
                f"The devices became full while the decoded records were put there, {size / 1e9:.2f} GB on each; lower "
                f"data.cache_gigabytes (now {data.cache_gigabytes:g}) or set data.cache to host."
            ) from error
        raise
    which = "all" if parts == 1 else f"one part of {parts}"
    log.info(
        "%d decoded records of up to %d x %d pixels are kept on the devices, on each %s (%.2f GB).",
        len(records),
        height,
        width,
        which,
        size / 1e9,
    )
    smallest_scale = min(scale_of(record, data.canvas) for record in records)
    renderer = make_renderer(data, labels, config.seed, smallest_scale)
    render = compilation.jit(_make_render(renderer, mesh, axes), deterministic=config.train.deterministic)
    return DeviceCache(planes, place_seed(config, mesh), render)


def _room(data: DataConfig) -> int:
    """Bytes of each device that records may take."""
    there = device_bytes()
    return min(round(data.cache_gigabytes * 1e9), there // 3 if there else sys.maxsize)


def _without(why: str) -> None:
    log.warning("The training records are not kept on the devices, and batches are made on the host: %s.", why)


def _put(name: str, sources: Sequence[Source], shape: tuple[int, int, int], placed: NamedSharding) -> jax.Array:
    """A plane of all records, in the order of the sources; each process reads what its own devices keep."""
    places = [(source, index) for source in sources for index in range(len(source))]

    @functools.cache  # several devices may keep the same part
    def read(start: int, stop: int) -> np.ndarray:
        content = np.zeros((stop - start, *shape[1:]), _DTYPES[name])
        for slot, (source, position) in enumerate(places[start:stop]):
            plane = getattr(source[position], name)
            plane = np.ascontiguousarray(plane).view("<u4")[..., 0] if name == "bones" else plane
            content[slot, : plane.shape[0], : plane.shape[1]] = plane
        return content

    return jax.make_array_from_callback(shape, placed, lambda index: read(*index[0].indices(shape[0])[:2]))


def _make_render(
    renderer: Renderer, mesh: Mesh, axes: tuple[str, ...]
) -> Callable[[dict[str, jax.Array], Batch, jax.Array], Batch]:
    """Returns ``render(planes, plans, seed)``: each device renders rows of its own; then they are split by height."""
    canvas, split = renderer.data.canvas, PartitionSpec(BATCH_AXES)

    def of_device(planes, plans, seed):
        slots = plans[PREFIX + "slot"]
        records = _exchange(planes, slots, axes) if axes else {name: plane[slots] for name, plane in planes.items()}
        return jax.vmap(dataclasses.replace(renderer, seed=seed))(records, plans)

    # The check would need to know that devices along `space` do the same.
    specs = PartitionSpec(axes), split, PartitionSpec()
    of_devices = jax.shard_map(of_device, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)

    def render(planes, plans, seed):
        def placed(value):
            dense = value.shape[1:3] == (canvas.height, canvas.width)
            spec = PartitionSpec(BATCH_AXES, "space") if dense else split
            return jax.lax.with_sharding_constraint(value, NamedSharding(mesh, spec))

        return jax.tree.map(placed, of_devices(planes, plans, seed))

    return render


def _exchange(planes: dict[str, jax.Array], slots: jax.Array, axes: tuple[str, ...]) -> dict[str, jax.Array]:
    """The records of this device's rows, each of which some device along the axes has."""
    first = jax.lax.axis_index(axes) * len(planes["image"])

    def exchange(slot):
        wanted = jax.lax.all_gather(slot, axes) - first

        def of_plane(plane):
            here = (wanted >= 0) & (wanted < len(plane))
            given = jnp.where(here[:, None, None], plane[jnp.clip(wanted, 0, len(plane) - 1)], 0)
            return jax.lax.psum_scatter(given, axes, scatter_dimension=0)

        return jax.tree.map(of_plane, planes)

    # A row of each device at a time, so that what is exchanged takes little memory.
    return jax.lax.map(exchange, slots)

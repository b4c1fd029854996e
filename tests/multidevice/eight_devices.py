"""Tests that need eight devices; `test_multidevice.py` runs them in a process that has them.

XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m pytest tests/multidevice/eight_devices.py
"""

import dataclasses
import functools
import itertools
import math
import re

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from benchmarks import collectives
from ramjax.config import BalanceConfig, ConfigError
from ramjax.data import pipeline
from ramjax.data.canvas import empty
from ramjax.devices import sharding
from ramjax.devices.compilation import compile_train_step
from ramjax.evaluation import testing
from ramjax.evaluation.validation import canvas_metrics_of, evaluate, jit_eval_step
from ramjax.metrics.cases import collect
from ramjax.runs.checkpoints import Checkpoints
from ramjax.steps import device_cache
from ramjax.steps.evaluate import make_eval_step
from ramjax.steps.optimizer import make_optimizer
from ramjax.steps.state import abstract_state, place_first_state
from ramjax.steps.train import make_train_step
from ramjax.tasks import labels_of, make_tasks, parts_of
from tests.models import stochastic

STEPS = 3
SHAPES = [shape for shape in itertools.product((1, 2, 4, 8), repeat=3) if math.prod(shape) == 8]


@pytest.fixture(scope="module")
def made():
    """What tests share: the results of one device are computed once."""
    return {}


@pytest.fixture
def config(debug_config):
    """Dense and box losses, eight examples a batch, a network that compiles quickly, kernels large enough to split."""
    data = dataclasses.replace(debug_config.data, batch_size=8, eval_batch_size=8)
    mesh = dataclasses.replace(debug_config.mesh, split_from=256)
    model = dataclasses.replace(debug_config.model, widths=(8, 16), blocks=(0, 1), decoder_width=8)
    return dataclasses.replace(debug_config, tasks=("erosions", "joints"), data=data, mesh=mesh, model=model)


def on(config, data: int, fsdp: int = 1, space: int = 1):
    return dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, data=data, fsdp=fsdp, space=space))


def start(config):
    """The mesh, and the state before the first step."""
    mesh = sharding.make_mesh(config)
    return mesh, place_first_state(config, abstract_state(config, mesh))


def train(config, mesh, state, first: int, last: int):
    """Losses of steps `first` to `last` - 1, the state after them, and the step as compiled."""
    sources = pipeline.open_sources(config.data, config.data.train_split)
    losses, train_step = [], None
    for batch in pipeline.make_train_batches(
        config.data, sources, seed=0, start_step=first, steps=last, labels=labels_of(make_tasks(config))
    ):
        placed = sharding.place_batch(batch, mesh)
        train_step = train_step or compile_train_step(make_train_step(config), config, state, placed, mesh)
        state, metrics = train_step(state, placed)
        losses.append({name: float(value) for name, value in metrics.items()})
    return losses, state, train_step


def assert_close(one, other, rtol=1e-5):
    """Losses agree closely; the gradient's norm less so, for that of an absolute error jumps where it is near 0."""
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        assert np.isfinite(list(a.values())).all()
        for name in a:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-3 if name == "grad_norm" else rtol, err_msg=name)


def of_one_device(config, made):
    """Losses, state and step of one device; the state before the first is kept beside."""
    config = on(config, 1)
    if "one" not in made:
        mesh, state = start(config)
        made["start"] = jax.device_get(state)
        made["one"] = train(config, mesh, state, 0, STEPS)
    return made["one"]


def begun(config, made):
    """The mesh, and the state of `of_one_device` before the first step, placed on it."""
    mesh = sharding.make_mesh(config)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state(config, mesh))
    return mesh, jax.device_put(made["start"], shardings)


@pytest.mark.parametrize("name", ["sgd", "lion", "muon", "adafactor", "schedule_free"])
def test_optimisers_shard_as_adamw_does(config, name):
    """Parameters and optimiser state in eight parts, against whole ones."""
    chosen = dataclasses.replace(config.optimizer, name=name, schedule="constant")
    config = on(dataclasses.replace(config, optimizer=chosen), 1, fsdp=8)
    optimizer = make_optimizer(config.optimizer, STEPS, ("joints",))
    keys = jax.random.split(jax.random.key(0), 3)
    params = {
        "encoder": {"kernel": jax.random.normal(keys[0], (3, 3, 16, 32)), "bias": jax.numpy.ones(32)},
        "heads": {"joints": {"kernel": jax.random.normal(keys[1], (256, 128))}},  # which Adafactor keeps factored
    }

    @jax.jit
    def step(number, params, state):
        grads = jax.tree.map(lambda leaf: jax.random.normal(keys[2], leaf.shape) * (1 + number) + leaf, params)
        updates, state = optimizer.update(grads, state, params, labelled={"joints": jax.numpy.bool_(True)})
        return jax.tree.map(jax.numpy.add, params, updates), state

    whole = params, optimizer.init(params)
    split = jax.device_put(whole, sharding.state_shardings(config.mesh, sharding.make_mesh(config), whole))
    assert any(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(split[1])) or name == "adafactor"
    for number in range(STEPS):
        whole, split = step(number, *whole), step(number, *split)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-6), split, whole)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_every_shape_of_the_mesh_gives_the_losses_of_one_device(config, made, shape):
    expected, *_ = of_one_device(config, made)
    config = on(config, *shape)
    mesh, state = begun(config, made)
    losses, state, _ = train(config, mesh, state, 0, STEPS)
    assert_close(losses, expected)

    kernel = state.params["encoder"]["levels"][1][0]["second"]["kernel"]
    moment = state.opt_state[1].inner_states["shared"].inner_state[0].mu["encoder"]["levels"][1][0]["second"]["kernel"]
    for array in (kernel, moment):
        assert array.addressable_shards[0].data.size == array.size / shape[1]
    assert len({loss["loss"] for loss in expected}) == STEPS


def test_the_other_tasks_on_eight_devices_have_the_losses_of_one(config):
    """Bones and scores, whose boxes reach over the borders of what a device holds of a canvas."""
    config = dataclasses.replace(config, tasks=("bones", "scores"))
    results = []
    for shape in ((1, 1, 1), (2, 2, 2)):
        at = on(config, *shape)
        mesh, state = start(at)
        results.append(train(at, mesh, state, 0, STEPS)[0])
    assert_close(*results)
    assert {f"loss/{task}" for task in config.tasks} < results[0][0].keys()


@pytest.mark.parametrize("task", ["joints", "reconstruction"])
def test_what_is_learned_without_labels_on_eight_devices_is_what_one_learns(config, task):
    """With a teacher, in two parts; and of hidden patches, which cross the borders of what a device holds."""
    config = dataclasses.replace(config, tasks=(task,))
    if task == "joints":
        config = dataclasses.replace(
            config,
            teacher=dataclasses.replace(config.teacher, weight=2.0, ramp_steps=0),
            data=dataclasses.replace(config.data, labelled_fraction=0.5),
            train=dataclasses.replace(config.train, accumulation_steps=2),
        )
    results = []
    for shape in ((1, 1, 1), (2, 2, 2)):
        at = on(config, *shape)
        mesh, state = start(at)
        results.append(train(at, mesh, state, 0, STEPS)[0])
    assert_close(*results, rtol=1e-4)


def test_balancing_by_gradients_on_eight_devices_is_that_of_one(config):
    """The products of gradients of which each device has a part."""
    config = dataclasses.replace(config, balance=BalanceConfig(method="nash"))
    results = []
    for shape in ((1, 1, 1), (2, 4, 1)):
        at = on(config, *shape)
        mesh, state = start(at)
        results.append(train(at, mesh, state, 0, 2)[0])
    assert_close(*results, rtol=1e-3)
    assert results[0][0]["factor/joints"] > 0


def test_statistics_and_dropout_on_eight_devices_are_those_of_one(config, tmp_path):
    """A network with batch statistics, dropout and drop path, its batch in two parts, and its checkpoint."""
    model = dataclasses.replace(config.model, blocks=(0, 2), encoder=stochastic.ENCODER)
    train_config = dataclasses.replace(config.train, accumulation_steps=2)
    config = dataclasses.replace(config, tasks=("erosions",), model=model, train=train_config)
    results = []
    for shape in ((1, 1, 1), (2, 2, 2)):
        at = on(config, *shape)
        mesh, state = start(at)
        losses, state, _ = train(at, mesh, state, 0, 2)
        results.append((losses, jax.device_get((state.variables, state.ema_variables))))
    (expected, variables_of_one), (losses, variables) = results
    assert_close(losses, expected)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), variables, variables_of_one)
    assert int(variables[0]["encoder"]["levels"][1][0]["calls"]) == 4  # two parts in each of two steps

    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save_latest(2, state)
    expected, *_ = train(at, mesh, state, 2, 3)
    here = on(config, 1)
    mesh = sharding.make_mesh(here)
    restored = Checkpoints(tmp_path, read_only=True).restore_latest(abstract_state(here, mesh))
    assert_close(train(here, mesh, restored, 2, 3)[0], expected)


@pytest.mark.parametrize(
    ("spec", "out", "kind", "payload"),
    [
        (PartitionSpec("data"), PartitionSpec(), "all-reduce", 4000),  # the sums of the rows that a device holds
        (PartitionSpec(None, "data"), PartitionSpec(), "all-gather", 4000),  # an eighth of the sums on each
    ],
)
def test_the_bytes_of_a_known_collective_are_counted(spec, out, kind, payload):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    rows = jax.ShapeDtypeStruct((8, 1000), np.float32, sharding=NamedSharding(mesh, spec))
    total = jax.jit(lambda rows: rows.sum(0), out_shardings=NamedSharding(mesh, out))
    (found,) = collectives.collectives(total.lower(rows).compile().as_text(), 8)
    assert (found.kind, found.payload, found.devices) == (kind, payload, 8)


def test_data_parallel_steps_exchange_the_gradient_once(config):
    """Of each parameter 4 bytes, and some scalars: the losses and counts."""
    found = collectives.collectives(compiled_for(on(config, 8)).as_text(), 8)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(abstract_state(config, sharding.make_mesh(config)).params))
    sent = sum(one.payload for one in found if one.kind == "all-reduce")
    assert 4 * parameters <= sent < 4 * parameters + 10_000
    assert sum(one.payload for one in found) == sent


def test_nothing_is_compiled_after_the_second_step(config, made, compilations):
    of_one_device(config, made)
    config = on(config, 2, 2, 2)
    mesh, state = begun(config, made)
    sources = pipeline.open_sources(config.data, config.data.train_split)
    train_step, seen = None, []
    for batch in pipeline.make_train_batches(
        config.data, sources, seed=0, start_step=0, steps=5, labels=labels_of(make_tasks(config))
    ):
        placed = sharding.place_batch(batch, mesh)
        train_step = train_step or compile_train_step(make_train_step(config), config, state, placed, mesh)
        state, metrics = train_step(state, placed)
        jax.device_get(metrics)
        seen.append(len(compilations))
    assert seen[0] > 0
    assert seen[1:] == [seen[1]] * 4


def test_the_state_is_made_split(config, made):
    """No device ever holds the whole of it, and it is that of one device."""
    of_one_device(config, made)
    _, state = start(on(config, 2, 4))
    assert max(leaf.addressable_shards[0].data.size for leaf in jax.tree.leaves(state.params)) < 1000
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-7), state, made["start"])


def test_splitting_parameters_saves_memory(config):
    """Of a network whose state outweighs its activations, eight devices hold little more than an eighth each."""
    canvas = dataclasses.replace(config.data.canvas, height=64, width=64)
    model = dataclasses.replace(config.model, widths=(64, 256), blocks=(0, 2))
    config = dataclasses.replace(config, model=model, data=dataclasses.replace(config.data, canvas=canvas))
    needs = {}
    for shape in ((8, 1, 1), (1, 8, 1)):
        memory = compiled_for(on(config, *shape)).memory_analysis()
        needs[shape] = memory.argument_size_in_bytes, memory.argument_size_in_bytes + memory.temp_size_in_bytes
    assert needs[1, 8, 1][0] < 0.2 * needs[8, 1, 1][0]
    assert needs[1, 8, 1][1] < 0.6 * needs[8, 1, 1][1]


def test_a_radiograph_of_native_size_on_four_devices_equals_one(config):
    """1700 x 1300 and a margin to divide by 4 x 8: split by its height, at a third of the memory at most.

    Devices exchange the rows that a convolution needs of their neighbours; none gathers more of the maps than the
    joints' softmax over all places of a site.
    """
    canvas = dataclasses.replace(config.data.canvas, height=1728, width=1312)
    data = dataclasses.replace(config.data, canvas=canvas, batch_size=1, eval_batch_size=4)
    config = dataclasses.replace(config, data=data)
    results, moments, needs = [], [], []
    for devices in (1, 4):
        at = on(config, 1, 1, devices)
        mesh, state = start(at)
        losses, state, train_step = train(at, mesh, state, 0, 2)
        results.append(losses)
        moments.append(jax.tree.leaves(jax.device_get(state.opt_state)))
        needs.append(train_step.memory_analysis().temp_size_in_bytes)
    assert_close(*results)
    for one, other in zip(*moments, strict=True):  # the gradients' means: AdamW makes a whole step of a tiny gradient
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-3 * np.abs(one).max())
    assert needs[1] < needs[0] / 3
    assert "collective-permute" in train_step.as_text()
    gathered = re.findall(r"\[([\d,]+)\]\S* all-gather\(", train_step.as_text())
    maps = [shape for shape in gathered if shape.count(",") == 3]  # (examples, rows, columns, channels)
    assert gathered and all(math.prod(map(int, shape.split(","))) < 0.01 * 1728 * 1312 for shape in maps)


def compiled_for(config):
    """The train step, compiled from shapes alone."""
    mesh = sharding.make_mesh(config)
    blank = {
        name: np.stack([value] * config.data.batch_size)
        for name, value in empty(config.data.canvas, labels=labels_of(make_tasks(config))).items()
    }
    return compile_train_step(
        make_train_step(config), config, abstract_state(config, mesh), sharding.place_batch(blank, mesh), mesh
    )


def test_the_evaluation_is_that_of_one_device(config, made):
    _, state, _ = of_one_device(config, made)
    results = []
    for shape in ((2, 2, 2), (1, 1, 1)):
        mesh = sharding.make_mesh(on(config, *shape))
        (source,) = pipeline.open_sources(config.data, config.data.test_split)
        placed = jax.device_put(
            jax.device_get(state), jax.tree.map(lambda leaf: leaf.sharding, abstract_state(on(config, *shape), mesh))
        )
        results.append(
            evaluate(
                jit_eval_step(make_eval_step(config), mesh), placed,
                pipeline.make_eval_batches(config.data, source, labels=labels_of(make_tasks(config))),
                mesh=mesh, size=len(source), label="test", quiet=True,
                summarize=functools.partial(canvas_metrics_of, make_tasks(config), "hands"),
            )
        )  # fmt: skip
    assert results[0].keys() == results[1].keys()
    for name in results[0]:
        np.testing.assert_allclose(results[0][name], results[1][name], rtol=1e-2, atol=1e-2, err_msg=name)


@pytest.mark.parametrize("shapes", [((2, 2, 2), (1, 1, 1)), ((1, 1, 1), (1, 4, 1))], ids=str)
def test_a_checkpoint_goes_on_on_another_number_of_devices(config, made, tmp_path, shapes):
    """The checkpoint is bit for bit the same, and the next losses are those of the devices that made it."""
    of_one_device(config, made)
    there, here = (on(config, *shape) for shape in shapes)
    mesh, state = begun(there, made)
    _, state, _ = train(there, mesh, state, 0, 1)
    saved = jax.device_get(state)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_latest(1, state)
    checkpoints.wait()
    expected, *_ = train(there, mesh, state, 1, 2)

    mesh = sharding.make_mesh(here)
    restored = Checkpoints(tmp_path, read_only=True).restore_latest(abstract_state(here, mesh))
    jax.tree.map(np.testing.assert_array_equal, restored, saved)
    devices = {shard.device for leaf in jax.tree.leaves(restored) for shard in leaf.addressable_shards}
    assert len(devices) == math.prod(shapes[1])
    losses, *_ = train(here, mesh, restored, 1, 2)
    assert_close(losses, expected, rtol=1e-6)


def test_the_cases_are_those_of_one_device_each_once(config, made):
    """An odd split: three records in batches of eight."""
    _, state, _ = of_one_device(config, made)
    (source,) = pipeline.open_sources(config.data, "train[:3]")
    results = []
    for shape in ((2, 2, 2), (1, 1, 1)):
        mesh = sharding.make_mesh(on(config, *shape))
        whole = jax.device_put(jax.device_get(state), sharding.replicated(mesh))
        evaluated = testing.evaluate_source(config, [whole], source, mesh=mesh, dataset=0, name="hands", quiet=True)
        assert [one.index for one in evaluated] == list(range(3))
        results.append(collect([one.case for one in evaluated], {}, parts_of(make_tasks(config))))
    for task, metrics in results[0].values.items():
        for metric, values in metrics.items():
            np.testing.assert_array_equal(values, results[1].values[task][metric], err_msg=metric)


def test_each_device_holds_its_rows_and_its_part_of_the_height(config):
    assert jax.device_count() == 8
    mesh = sharding.make_mesh(on(config, 2, 2, 2))
    batch = {"image": np.arange(4 * 6).reshape(4, 6, 1), "boxes": np.arange(4)[:, None]}
    placed = sharding.place_batch(batch, mesh)
    assert [shard.data[0, :, 0].tolist() for shard in placed["image"].addressable_shards] == [
        [6 * row + column for column in range(half, half + 3)] for row in range(4) for half in (0, 3)
    ]
    assert [int(shard.data[0, 0]) for shard in placed["boxes"].addressable_shards] == [0, 0, 1, 1, 2, 2, 3, 3]
    rows = sharding.place_rows({"x": np.arange(16).reshape(8, 2)}, mesh)["x"]
    assert [shard.data.tolist() for shard in rows.addressable_shards] == [[[2 * i, 2 * i + 1]] for i in range(8)]
    np.testing.assert_array_equal(sharding.local_rows(rows), np.arange(16).reshape(8, 2))


@pytest.mark.parametrize(
    ("shape", "changes", "words"),
    [
        ((3, 1, 1), {}, "data.batch_size is 8, which 3 devices .* use a multiple of 3"),
        ((9, 1, 1), {}, "mesh.data is 9, .* there are 8 device"),
        ((-1, 16, 1), {}, "mesh.fsdp is 16, .* there are 8 device"),
        ((1, 1, 8), {"height": 132}, "data.canvas.height is 132, which 8 devices along space .* multiple of 8"),
        ((1, 1, 8), {"eval_batch_size": 4}, "data.eval_batch_size is 4, which 8 devices"),
        ((8, 1, 1), {"accumulation_steps": 2}, "data.batch_size is 8, which 8 devices .* in 2 parts .* multiple of 16"),
    ],
)
def test_what_does_not_divide_is_named(config, shape, changes, words):
    data, train = config.data, config.train
    if "height" in changes:
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, stem_stride=2))
        data = dataclasses.replace(data, canvas=dataclasses.replace(data.canvas, height=changes["height"]))
    if "eval_batch_size" in changes:
        data = dataclasses.replace(data, eval_batch_size=changes["eval_batch_size"])
    if "accumulation_steps" in changes:
        train = dataclasses.replace(train, accumulation_steps=changes["accumulation_steps"])
    with pytest.raises(ConfigError, match=words):
        sharding.make_mesh(on(dataclasses.replace(config, data=data, train=train), *shape))


def test_minus_one_takes_the_devices_that_are_left(config):
    assert sharding.make_mesh(on(config, 2, -1, 2)).shape == {"data": 2, "fsdp": 2, "space": 2}


@pytest.mark.parametrize(
    ("shape", "records_a_device", "parts"),
    [((8, 1, 1), 1, 8), ((2, 2, 2), 3, 2), ((2, 2, 2), 2, 4), ((4, 2, 1), 2, 4), ((1, 4, 2), 6, 1), ((1, 1, 8), 6, 1)],
    ids=lambda value: "x".join(map(str, value)) if isinstance(value, tuple) else str(value),
)
def test_records_on_the_devices_give_the_batches_of_one(config, tmp_path, shape, records_a_device, parts):
    """Six records, image and erosions, of which the budget lets each device keep so many; some of eight have none."""
    data = dataclasses.replace(config.data, cache="device", cache_dir=str(tmp_path), train_split="train+test")
    sources, labels = pipeline.open_sources(data, data.train_split), labels_of(make_tasks(config))
    height, width = np.max([record.image.shape for record in sources[0]], axis=0)
    small = dataclasses.replace(data, cache_gigabytes=1e-9 * records_a_device * 2 * float(height * width))
    results = []
    for at, of_data in ((on(config, 1), data), (on(config, *shape), small)):
        at = dataclasses.replace(at, data=of_data)
        mesh = sharding.make_mesh(at)
        cache = device_cache.fill(at, sources, labels, mesh)
        kept = {len(shard.data) for shard in cache.planes["image"].addressable_shards}
        assert kept == {6 if of_data is data else -(-6 // parts)}
        plans = pipeline.make_train_plans(of_data, sources, seed=0, start_step=0, steps=2, labels=labels)
        batches = [cache.batch(sharding.place_batch(plan, mesh)) for plan in plans]
        expected = sharding.place_batch({name: np.asarray(value) for name, value in batches[0].items()}, mesh)
        for name, value in batches[0].items():
            assert value.sharding.is_equivalent_to(expected[name].sharding, value.ndim), name
        results.append(jax.device_get(batches))
    for one, other in zip(*results, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            tolerance = 1e-5 if name == "image" else 0
            np.testing.assert_allclose(one[name], other[name], atol=tolerance, rtol=0, err_msg=name)

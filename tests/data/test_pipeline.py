import ast
import dataclasses
import pathlib
import time

import handmade
import numpy as np
import pytest

import ramjax.data
from ramjax.data import pipeline


def train(source, data, start_step=0, steps=6, seed=0, **process):
    return list(pipeline.make_train_batches(data, source, seed=seed, start_step=start_step, steps=steps, **process))


@pytest.fixture(scope="module")
def source():
    return handmade.make_source(7)


@pytest.fixture(scope="module")
def batches(source):
    return train(source, handmade.make_data())


def test_every_epoch_shows_each_record_once_in_another_order(source):
    stream = np.concatenate([batch["index"] for batch in train(source, handmade.make_data(batch_size=7), steps=8)])
    epochs = stream.reshape(8, 7)
    assert (np.sort(epochs, axis=1) == np.arange(7)).all()
    assert len({tuple(epoch) for epoch in epochs}) >= 7


def test_batches_reach_across_epochs(source, batches):
    stream = np.concatenate([batch["index"] for batch in batches])
    assert sorted(stream[:7]) == sorted(stream[7:14]) == sorted(stream[14:21]) == list(range(7))


def test_the_seed_decides(source, batches):
    handmade.assert_equal(train(source, handmade.make_data())[3], batches[3])
    other = np.concatenate([batch["index"] for batch in train(source, handmade.make_data(), seed=1)])
    assert (other != np.concatenate([batch["index"] for batch in batches])).any()


def test_a_record_is_augmented_anew_each_time(batches):
    affines = {}
    for batch in batches:
        for index, affine in zip(batch["index"], batch["affine"], strict=True):
            affines.setdefault(int(index), set()).add(affine.tobytes())
    assert all(len(seen) >= 3 for seen in affines.values())


@pytest.mark.parametrize("start_step", [1, 4, 6])
def test_resuming_goes_on_with_the_same_batches(source, batches, start_step):
    resumed = train(source, handmade.make_data(), start_step=start_step)
    assert len(resumed) == 6 - start_step
    for got, expected in zip(resumed, batches[start_step:], strict=True):
        handmade.assert_equal(got, expected)


def test_workers_make_the_same_batches(source, batches):
    data = handmade.make_data(workers=2)
    resumed = train(source, data, start_step=1)
    for got, expected in zip(resumed, batches[1:], strict=True):
        handmade.assert_equal(got, expected)
    evaluated = zip(
        pipeline.make_eval_batches(data, source), pipeline.make_eval_batches(handmade.make_data(), source), strict=True
    )
    for got, expected in evaluated:
        handmade.assert_equal(got, expected)


@pytest.mark.parametrize("processes", [2, 4])
def test_the_processes_rows_are_the_global_batch(source, batches, processes):
    data = handmade.make_data()
    parts = [train(source, data, process_index=i, process_count=processes) for i in range(processes)]
    for step, whole in enumerate(batches):
        together = {key: np.concatenate([part[step][key] for part in parts]) for key in whole}
        handmade.assert_equal(together, whole)


@pytest.mark.parametrize(
    "count, batch_size, processes", [(7, 4, 1), (7, 4, 2), (7, 4, 4), (8, 4, 2), (1, 4, 4), (3, 8, 2)]
)
def test_evaluation_shows_every_record_once(count, batch_size, processes):
    source = handmade.make_source(count)
    data = handmade.make_data(eval_batch_size=batch_size)
    parts = [
        list(pipeline.make_eval_batches(data, source, process_index=i, process_count=processes))
        for i in range(processes)
    ]
    assert len({len(part) for part in parts}) == 1
    whole = [np.concatenate([part[step]["index"] for part in parts]) for step in range(len(parts[0]))]
    valid = np.concatenate([batch["valid"] for part in parts for batch in part])
    assert {len(batch) for batch in whole} == {batch_size}
    stream = np.concatenate(whole)
    assert stream[stream >= 0].tolist() == list(range(count)) and valid.sum() == count
    for batch in (batch for part in parts for batch in part):
        assert batch["padding"][~batch["valid"]].all() and not batch["present"][~batch["valid"]].any()
        assert (batch["index"] >= 0).tolist() == batch["valid"].tolist()


def test_evaluation_is_not_augmented(source):
    first = next(iter(pipeline.make_eval_batches(handmade.make_data(), source)))
    scale = first["affine"][:, 0, 0]
    np.testing.assert_allclose(
        np.abs(scale), [64 / (120 + 8 * i) if 64 / (120 + 8 * i) < 48 / 90 else 48 / 90 for i in range(4)], rtol=1e-6
    )
    assert not first["affine"][:, 0, 1].any() and first["mirrored"].tolist() == [False, True, False, True]


def test_batches_are_made_ahead_of_time(source):
    """With threads alone, too, the next batches are ready while the caller is busy."""
    read = []

    @dataclasses.dataclass(frozen=True)
    class Watched(pipeline.Source):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    data = handmade.make_data(prefetch=2)
    iterator = pipeline.make_train_batches(data, Watched(*dataclasses.astuple(source)), seed=0, start_step=0, steps=20)
    next(iterator)
    deadline = time.monotonic() + 10
    while len(read) < 12 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)
    assert 12 <= len(read) <= 20  # The batch taken, two kept ready, at most two more in the making.


def test_fingerprint_tells_what_changes_the_batches(source):
    data = handmade.make_data()
    same = pipeline.fingerprint(data, source)
    assert same == pipeline.fingerprint(dataclasses.replace(data, workers=2, prefetch=9, data_dir="elsewhere"), source)
    others = [
        pipeline.fingerprint(dataclasses.replace(data, batch_size=2), source),
        pipeline.fingerprint(dataclasses.replace(data, canvas=handmade.make_canvas(96)), source),
        pipeline.fingerprint(dataclasses.replace(data, augment=handmade.make_augment()), source),
        pipeline.fingerprint(data, dataclasses.replace(source, name="handmade/1.0.1 train")),
        pipeline.fingerprint(data, dataclasses.replace(source, examples=source.examples[:3])),
    ]
    assert len({same, *others}) == 6


def test_impossible_settings_are_one_sentence(source):
    with pytest.raises(ValueError, match=r"data.batch_size is 4; it must be a multiple of the 3 processes"):
        pipeline.make_train_batches(handmade.make_data(), source, seed=0, start_step=0, steps=1, process_count=3)
    with pytest.raises(ValueError, match="has no records to train on"):
        pipeline.make_train_batches(
            handmade.make_data(), dataclasses.replace(source, examples=[]), seed=0, start_step=0, steps=1
        )


def test_the_data_code_does_not_import_jax():
    """Worker processes must not touch the devices; JAX itself is imported by grain, but nothing here may use it."""
    for path in pathlib.Path(ramjax.data.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] in ("jax", "flax", "tensorflow")], path.name

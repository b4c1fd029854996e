import ast
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time

import grain
import handmade
import numpy as np
import pytest

import ramjax.data
from ramjax.data import pipeline
from ramjax.data.canvas import to_canvas
from ramjax.data.source import open_source

MIXTURE = dict(datasets=("ram_phantom/tiny", "ram_phantom/small"), weights=(3.0, 1.0))


def train(sources, data, start_step=0, steps=6, seed=0, **process):
    sources = sources if isinstance(sources, tuple) else (sources,)
    return list(
        pipeline.make_train_batches(
            data, sources, seed=seed, start_step=start_step, steps=steps, **process, labels=handmade.LABELS
        )
    )


@pytest.fixture(scope="module")
def source():
    return handmade.make_source(7)


@pytest.fixture(scope="module")
def batches(source):
    return train(source, handmade.make_data())


@pytest.fixture(scope="module")
def wrists():
    """Records that know the bones of the wrist and six sites, as a set of wrist radiographs does."""
    return handmade.make_wrist_source(5)


@pytest.fixture(scope="module")
def mixed(source, wrists):
    """The first twelve batches of three hands to one wrist."""
    return train((source, wrists), handmade.make_data(**MIXTURE), steps=12)


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
        pipeline.make_eval_batches(data, source, labels=handmade.LABELS),
        pipeline.make_eval_batches(handmade.make_data(), source, labels=handmade.LABELS),
        strict=True,
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
        list(pipeline.make_eval_batches(data, source, process_index=i, process_count=processes, labels=handmade.LABELS))
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
    first = next(iter(pipeline.make_eval_batches(handmade.make_data(), source, labels=handmade.LABELS)))
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
    watched = Watched(source.name, source.examples)
    iterator = pipeline.make_train_batches(data, (watched,), seed=0, start_step=0, steps=20, labels=handmade.LABELS)
    next(iterator)
    deadline = time.monotonic() + 10
    while len(read) < 12 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)
    assert 12 <= len(read) <= 20  # The batch taken, two kept ready, at most two more in the making.


def test_fingerprint_tells_what_changes_the_batches(source, wrists):
    data, mixture = handmade.make_data(), handmade.make_data(**MIXTURE)

    def of(data, *sources):
        return pipeline.fingerprint(data, sources)

    same = of(data, source)
    assert same == of(dataclasses.replace(data, workers=2, prefetch=9, data_dir="elsewhere"), source)
    different = [
        same,
        of(dataclasses.replace(data, batch_size=2), source),
        of(dataclasses.replace(data, crops=2), source),
        of(dataclasses.replace(data, canvas=handmade.make_canvas(96)), source),
        of(dataclasses.replace(data, augment=handmade.make_augment()), source),
        of(data, dataclasses.replace(source, name="handmade/1.0.1 train")),
        of(data, dataclasses.replace(source, examples=source.examples[:3])),
        of(mixture, source, wrists),
        of(mixture, wrists, source),
        of(mixture, source, dataclasses.replace(wrists, examples=wrists.examples[:3])),
        of(dataclasses.replace(mixture, weights=(1.0, 2.0)), source, wrists),
    ]
    assert len(set(different)) == len(different)


def test_impossible_settings_are_one_sentence(source, wrists):
    def make(*sources, **process):
        pipeline.make_train_batches(
            handmade.make_data(), sources, seed=0, start_step=0, steps=1, **process, labels=handmade.LABELS
        )

    with pytest.raises(ValueError, match=r"data.batch_size is 4; it must be a multiple of the 3 processes"):
        make(source, process_count=3)
    with pytest.raises(ValueError, match=r"^handmade wrists has no records to train on; check data\.train_split"):
        make(source, dataclasses.replace(wrists, examples=[]))


def test_a_single_data_set_is_the_epochs_permutations_and_the_positions_randomness(source, batches):
    """What the batches of one data set have always been: runs from before the mixtures are repeated bit for bit."""
    data = handmade.make_data()
    order = list(grain.MapDataset.range(7).shuffle(seed=0).repeat().batch(4)[0:6])
    for step, (indices, batch) in enumerate(zip(order, batches, strict=True)):
        examples = [
            to_canvas(
                source[int(index)],
                data.canvas,
                data.augment,
                np.random.default_rng((0, 4 * step + row)),
                labels=handmade.LABELS,
            )
            for row, index in enumerate(indices)
        ]
        expected = {key: np.stack([example[key] for example in examples]) for key in examples[0]}
        handmade.assert_equal(batch, expected | {"index": indices, "dataset": np.zeros(4)})


def test_the_data_sets_take_turns_by_their_weights_and_each_has_its_epochs(source, wrists, mixed):
    dataset = np.concatenate([batch["dataset"] for batch in mixed])
    index = np.concatenate([batch["index"] for batch in mixed])
    assert len(dataset) == 48 and (dataset == 1).sum() == 48 / 4
    for first in range(0, 48, 4):  # evenly: not only in the long run
        assert (dataset[first : first + 4] == 1).sum() == 1
    for number, count in ((0, 7), (1, 5)):
        epochs = index[dataset == number]
        epochs = epochs[: len(epochs) // count * count].reshape(-1, count)
        assert len(epochs) >= 2 and (np.sort(epochs, axis=1) == np.arange(count)).all()
    for batch in mixed:
        for row, (number, record) in enumerate(zip(batch["dataset"], batch["index"], strict=True)):
            height, width = (source, wrists)[number][int(record)].image.shape
            assert batch["native_size"][row].tolist() == [height, width]
            assert batch["bones_known"][row].sum() == (30, 14)[number]
            assert batch["joints_known"][row].sum() <= (22, 6)[number]


def test_every_batch_of_a_mixture_has_the_same_shapes(mixed):
    shapes = [{key: (value.shape, value.dtype) for key, value in batch.items()} for batch in mixed]
    assert all(shape == shapes[0] for shape in shapes)


def test_a_mixture_is_the_same_resumed_by_workers_and_by_processes(source, wrists, mixed):
    data, sources = handmade.make_data(**MIXTURE), (source, wrists)
    for got, expected in zip(train(sources, data, start_step=5, steps=12), mixed[5:], strict=True):
        handmade.assert_equal(got, expected)
    for got, expected in zip(train(sources, dataclasses.replace(data, workers=2), steps=12), mixed, strict=True):
        handmade.assert_equal(got, expected)
    parts = [train(sources, data, steps=12, process_index=i, process_count=2) for i in range(2)]
    for step, whole in enumerate(mixed):
        handmade.assert_equal({key: np.concatenate([part[step][key] for part in parts]) for key in whole}, whole)


@pytest.mark.parametrize(("crops", "processes"), [(2, 1), (2, 2), (4, 1), (4, 2)])
def test_crops_of_a_record_follow_each_other_and_differ(source, wrists, crops, processes):
    """Where processes share a record's rows, both read it; otherwise it is read once a batch."""
    read = []

    @dataclasses.dataclass(frozen=True)
    class Watched(pipeline.Source):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    sources = tuple(Watched(s.name, s.examples) for s in (source, wrists))
    data = handmade.make_data(**MIXTURE, crops=crops)
    parts = [train(sources, data, process_index=i, process_count=processes) for i in range(processes)]
    assert len(read) == 6 * max(4 // crops, processes)
    reads = []
    for step in range(6):
        batch = {key: np.concatenate([part[step][key] for part in parts]) for key in parts[0][step]}
        assert len({affine.tobytes() for affine in batch["affine"]}) == 4
        for rows in np.stack([batch["dataset"], batch["index"]], 1).reshape(-1, crops, 2):
            assert (rows == rows[0]).all()
            reads.append(tuple(rows[0]))
    once = train((source, wrists), handmade.make_data(**MIXTURE), steps=24 // crops)
    order = [pair for batch in once for pair in zip(batch["dataset"], batch["index"], strict=True)]
    assert reads == order[: len(reads)]


def test_the_batches_of_training_and_evaluation_have_the_same_keys(source, wrists, mixed):
    data = handmade.make_data(**MIXTURE)
    evaluated = list(pipeline.make_eval_batches(data, wrists, dataset=1, labels=handmade.LABELS))
    for batch in evaluated:
        assert {key: value.shape for key, value in batch.items()} == {k: v.shape for k, v in mixed[0].items()}
        assert batch["dataset"].tolist() == np.where(batch["valid"], 1, -1).tolist()


def test_the_data_sets_are_opened_in_order(monkeypatch):
    monkeypatch.setattr(pipeline, "open_source", lambda *asked: asked)
    opened = pipeline.open_sources(handmade.make_data(**MIXTURE), "test")
    assert opened == (("ram_phantom/tiny", "data", "test"), ("ram_phantom/small", "data", "test"))


def test_the_data_code_does_not_import_jax():
    """Worker processes must not touch the devices; JAX itself is imported by grain, but nothing here may use it."""
    for path in pathlib.Path(ramjax.data.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] in ("jax", "flax", "tensorflow")], path.name


def test_workers_leave_a_signal_to_all_processes_to_the_main_one(source, batches):
    data = handmade.make_data(workers=1)
    going = iter(pipeline.make_train_batches(data, [source], seed=0, start_step=0, steps=6, labels=handmade.LABELS))
    got = [next(going)]
    workers = pathlib.Path("/proc/self/task").glob("*/children")
    workers = {int(child) for path in workers for child in path.read_text().split()} if sys.platform == "linux" else ()
    for worker in workers:
        os.kill(worker, signal.SIGTERM)
    got += going
    for ours, expected in zip(got, batches, strict=True):
        handmade.assert_equal(ours, expected)


LOADER = """
import sys
import handmade
from ramjax.data import pipeline, source

if __name__ == "__main__":
    of = [source.open_source("ram_phantom/tiny", sys.argv[1], "train")]
    data = handmade.make_data(workers=2)
    batches = pipeline.make_train_batches(data, of, seed=0, start_step=0, steps=6, labels=handmade.LABELS)
    kept = next(batches) if sys.argv[2] == "early" else list(batches)
    if sys.argv[2] == "error":
        raise SystemExit(3)
    if sys.argv[2] == "early":
        batches.close()
"""


@pytest.mark.parametrize("end", ["whole", "early", "error"])
def test_workers_leave_no_shared_memory_behind(data_dir, tmp_path, end):
    (tmp_path / "loader.py").write_text(LOADER)
    open_source("ram_phantom/tiny", str(data_dir), "train")
    root = pathlib.Path(ramjax.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, str(tmp_path / "loader.py"), str(data_dir), end], capture_output=True, text=True, cwd=root,
        env=os.environ | {"PYTHONPATH": f"{root}:{root / 'tests' / 'data'}"}, timeout=120,
    )  # fmt: skip
    assert done.returncode == (3 if end == "error" else 0), done.stderr
    assert "leaked" not in done.stderr and "Warning" not in done.stderr

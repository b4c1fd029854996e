"""The loop around a tiny job: going on exactly, stopping well, and saying what is wrong."""

import dataclasses
import itertools
import json
import os
import shutil
import signal
import threading
import time

import jax
import numpy as np
import pytest

from ramjax.config import ConfigError
from ramjax.data import pipeline
from ramjax.devices import hosts, sharding
from ramjax.devices.preemption import Preempted, Preemption
from ramjax.errors import RunError
from ramjax.evaluation import testing
from ramjax.files import read_json_lines
from ramjax.runs.checkpoints import Checkpoints
from ramjax.steps import state as states
from ramjax.steps import train as train_steps
from ramjax.steps.state import abstract_state, restore_best
from ramjax.training import loop
from ramjax.training.writers import Writer
from tests.training import tiny_job

TIMES = ("train/examples_per_second", "train/data_wait_share")


@pytest.fixture
def config(monkeypatch, debug_config):
    tiny_job.install(monkeypatch)
    return tiny_job.tiny(debug_config, steps=9, log_every=2, eval_every=4, checkpoint_every=3, keep_checkpoints=2)


@pytest.fixture
def slow_disk(monkeypatch):
    """A checkpoint that was begun takes much longer than a step until it is whole."""
    rename = os.rename
    monkeypatch.setattr(os, "rename", lambda *args, **kwargs: (time.sleep(0.2), rename(*args, **kwargs))[1])


def final_state(config, workdir):
    checkpoints = Checkpoints(workdir / "checkpoints", read_only=True)
    return checkpoints.restore_latest(abstract_state(config, sharding.make_mesh(config)))


def outcome(config, workdir):
    """All that must not depend on where a run was interrupted: bytes of the state, metrics, best step, test metrics."""
    state = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(final_state(config, workdir))]
    rows = [{k: v for k, v in row.items() if k not in TIMES} for row in read_json_lines(workdir / "metrics.jsonl")]
    best = Checkpoints(workdir / "checkpoints", read_only=True)
    return state, rows, best.best_step, best.best_score, json.loads((workdir / "eval_test.json").read_text())


def test_a_run_learns_and_leaves_everything(config, tmp_path, capsys):
    tiny_job.go(config, tmp_path)
    names = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert names == {
        "config.json", "versions.json", "parameters.txt", "log.txt", "metrics.jsonl", "tensorboard", "checkpoints",
        "eval_test.json", "cases.parquet", "test_grid.png",
    }  # fmt: skip
    rows = read_json_lines(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows if "train/loss" in row] == [2, 4, 6, 8, 9]
    assert [row["step"] for row in rows if "validation/canvas/bones/dsc" in row] == [4, 8, 9]
    losses = [row["train/loss"] for row in rows if "train/loss" in row]
    assert losses[-1] < losses[0]
    assert {path.name for path in (tmp_path / "checkpoints" / "latest").iterdir() if path.is_dir()} == {"6", "9"}
    test = json.loads((tmp_path / "eval_test.json").read_text())
    assert test["bones/dsc/n"] == test["records"] == tiny_job.RECORDS["test"]
    assert "not a medical device" in test["note"]
    shown = capsys.readouterr().out
    assert "bones/dsc" in shown
    assert str(tmp_path / "eval_test.json") in shown
    assert str(tmp_path / "cases.parquet") in shown and "python -m ramjax.report --workdir=" in shown
    assert (tmp_path / "cases.parquet").read_text() == f"{tmp_path.name} {test['step']} [7]"


@pytest.mark.parametrize(
    ("datasets", "names"),
    [
        (("ram_h1200", "ram_phantom/tiny"), ("ram_h1200", "ram_phantom")),
        (("ram_phantom/tiny", "ram_phantom/small"), ("ram_phantom/tiny", "ram_phantom/small")),
    ],
)
def test_each_data_set_of_a_mixture_is_evaluated_apart(config, tmp_path, capsys, datasets, names):
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, datasets=datasets, weights=(2.0, 1.0)))
    tiny_job.go(config, tmp_path)
    shown = capsys.readouterr().out
    assert "tiny: 10 records, weight 2." in shown and "tiny: 11 records, weight 1." in shown
    test = json.loads((tmp_path / "eval_test.json").read_text())
    assert test["records"] == {names[0]: 7, names[1]: 8}
    metrics = {key for key in test if "/" in key}
    assert metrics == {f"{name}/bones/dsc{end}" for name in names for end in ("", "/n")}
    assert [test[f"{name}/bones/dsc/n"] for name in names] == [7, 8]
    assert test[f"{names[0]}/bones/dsc"] != test[f"{names[1]}/bones/dsc"]
    for row in read_json_lines(tmp_path / "metrics.jsonl"):
        if "validation/selection" in row:
            of_each = [row[f"validation/{name}/canvas/bones/dsc"] for name in names]
            assert row["validation/selection"] == pytest.approx(np.mean(of_each))
            told = [f"{name}/canvas/bones/dsc {of:.4f}" for name, of in zip(names, of_each, strict=True)]
            assert f"validation {told[0]}, {told[1]}," in shown


def test_a_mixture_interrupted_in_validation_or_test_ends_the_same(config, tmp_path):
    data = dataclasses.replace(config.data, datasets=("ram_h1200", "ram_w600/joint"), weights=(2.0, 1.0))
    config = tiny_job.tiny(dataclasses.replace(config, data=data), steps=2, eval_every=2)
    looks = tiny_job.go(config, tmp_path / "whole").looks
    assert looks > 2 + (3 + 3) + (4 + 4) - 1
    for look in range(3, looks + 1):
        with pytest.raises(Preempted):
            tiny_job.go(config, tmp_path / f"stopped{look}", look)
        tiny_job.go(config, tmp_path / f"stopped{look}")
        assert outcome(config, tmp_path / f"stopped{look}") == outcome(config, tmp_path / "whole")


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_data_set_without_records_in_a_split_is_named(config, tmp_path, monkeypatch, split):
    data = dataclasses.replace(config.data, datasets=("ram_h1200", "ram_w600/joint"), weights=(2.0, 1.0))

    def open_sources(data, asked):
        hands, wrists = tiny_job.open_sources(data, asked)
        return hands, tiny_job.Source() if asked == split else wrists

    monkeypatch.setattr(pipeline, "open_sources", open_sources)
    with pytest.raises(RunError, match=rf"^Split '{split}' of data set ram_w600/joint has no records; name another\.$"):
        tiny_job.go(dataclasses.replace(config, data=data), tmp_path)


def test_the_best_on_validation_is_the_one_tested(config, tmp_path):
    tiny_job.go(config, tmp_path)
    rows = [row for row in read_json_lines(tmp_path / "metrics.jsonl") if "validation/selection" in row]
    best = max(rows, key=lambda row: row["validation/selection"])
    state, chosen = restore_best(tmp_path, config, sharding.make_mesh(config))
    assert int(state.step) == best["step"] == json.loads((tmp_path / "eval_test.json").read_text())["step"]
    assert chosen == "the best on validation"


def test_a_run_interrupted_anywhere_ends_the_same(config, tmp_path):
    """Wherever the loop looks for a signal, in steps, validations and the test, it can stop and go on exactly."""
    looks = tiny_job.go(config, tmp_path / "whole").looks
    expected = outcome(config, tmp_path / "whole")
    assert looks > 9 + 3 * 3 + 4 - 1  # steps, three validations of three batches, a test of four
    for look in range(1, looks + 1):
        workdir = tmp_path / f"stopped{look}"
        with pytest.raises(Preempted):
            tiny_job.go(config, workdir, look)
        tiny_job.go(config, workdir)
        assert outcome(config, workdir) == expected, f"interrupted at look {look}"
        shutil.rmtree(workdir)


def test_a_run_that_ends_at_once_leaves_later_rows_and_a_later_best_and_ends_the_same(
    config, tmp_path, monkeypatch, slow_disk
):
    """After step 9: the last checkpoint is of step 6, but rows are there, and a best of step 8, just being written."""
    config = tiny_job.tiny(config, steps=12, log_every=1, eval_every=4, checkpoint_every=6)
    tiny_job.go(config, tmp_path / "whole")

    def ending_batches(*args, start_step, **kwargs):
        for number, batch in enumerate(tiny_job.make_train_batches(*args, start_step=start_step, **kwargs), start_step):
            if number == 10:
                raise SystemExit
            yield batch

    monkeypatch.setattr(pipeline, "make_train_batches", ending_batches)
    with pytest.raises(SystemExit):
        tiny_job.go(config, tmp_path / "run")
    assert max(row["step"] for row in read_json_lines(tmp_path / "run" / "metrics.jsonl")) > 6
    assert [path.name for path in (tmp_path / "run" / "checkpoints" / "best").iterdir()] == ["8"]
    monkeypatch.setattr(pipeline, "make_train_batches", tiny_job.make_train_batches)
    tiny_job.go(config, tmp_path / "run")
    assert outcome(config, tmp_path / "run") == outcome(config, tmp_path / "whole")


def test_a_second_interrupt_saves_nothing_and_the_run_goes_on_from_the_checkpoint(
    config, tmp_path, monkeypatch, slow_disk
):
    """It may come where the state's arrays are donated already, so that there is nothing to save.

    The checkpoint that was being written is whole before another run may train there.
    """
    tiny_job.go(config, tmp_path / "whole")

    def interrupted_batches(*args, start_step, **kwargs):
        for number, batch in enumerate(tiny_job.make_train_batches(*args, start_step=start_step, **kwargs), start_step):
            if number == 5:
                for _ in range(2):
                    os.kill(os.getpid(), signal.SIGINT)
            yield batch

    monkeypatch.setattr(pipeline, "make_train_batches", interrupted_batches)
    with pytest.raises(KeyboardInterrupt):
        tiny_job.go(config, tmp_path / "run")
    assert int(final_state(config, tmp_path / "run").step) == 3
    monkeypatch.setattr(pipeline, "make_train_batches", tiny_job.make_train_batches)
    tiny_job.go(config, tmp_path / "run")
    assert outcome(config, tmp_path / "run") == outcome(config, tmp_path / "whole")


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("where", ["make_train_batches", "make_eval_batches"])
def test_data_workers_that_end_by_the_same_signal_are_no_failure(config, tmp_path, monkeypatch, slow_disk, told, where):
    """A failure that no signal excuses leaves the last checkpoint whole as well, though it was still being written."""
    made = getattr(tiny_job, where)

    def dying_batches(*args, **kwargs):
        for number, batch in enumerate(made(*args, **kwargs)):
            if number == (5 if where == "make_train_batches" else 2):
                if told:
                    os.kill(os.getpid(), signal.SIGTERM)
                raise RuntimeError("a worker died")
            yield batch

    monkeypatch.setattr(pipeline, where, dying_batches)
    with pytest.raises(Preempted if told else RuntimeError):
        tiny_job.go(config, tmp_path)
    assert int(final_state(config, tmp_path).step) == (4 if told else 3)


def test_workers_of_the_test_that_end_by_the_same_signal_are_no_failure(config, tmp_path, monkeypatch):
    """In a run of several processes, in which a signal waits for all of them."""
    tiny_job.go(config, tmp_path)

    def dying(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("a worker died")

    monkeypatch.setattr(testing, "evaluate_source", dying)
    with pytest.raises(Preempted), Preemption() as preemption, preemption.deferred():
        loop.test(config, tmp_path, sharding.make_mesh(config), preemption, Writer(tmp_path, config))


def test_nothing_is_compiled_once_all_was_done_once(config, tmp_path, monkeypatch, compilations):
    """Steps, metrics, validation and checkpoints, from the second of each on."""
    seen = []

    def counted(*args, **kwargs):
        for batch in tiny_job.make_train_batches(*args, **kwargs):
            seen.append(len(compilations))
            yield batch

    monkeypatch.setattr(pipeline, "make_train_batches", counted)
    tiny_job.go(tiny_job.tiny(config, steps=16), tmp_path, mode="train")
    assert len(seen) == 16
    assert 0 < seen[7] == len(compilations), "the validation after step 4 was the last that was new"


def test_a_run_that_lost_a_process_ends_without_waiting_for_a_save(config, tmp_path, monkeypatch):
    """No save ends without that process; waiting for one would keep this one from saying so."""
    rename, ended = os.rename, threading.Event()
    monkeypatch.setattr(os, "rename", lambda *args, **kwargs: (ended.wait(60), rename(*args, **kwargs))[1])
    monkeypatch.setattr(hosts, "_name", "Process 0 of 2")

    def losing(*args, **kwargs):
        yield from itertools.islice(tiny_job.make_train_batches(*args, **kwargs), 5)
        raise RuntimeError("Gloo all-reduce failed: Connection closed by peer")

    monkeypatch.setattr(pipeline, "make_train_batches", losing)
    try:
        with pytest.raises(RuntimeError, match="Gloo"):
            tiny_job.go(tiny_job.tiny(config, eval_every=9), tmp_path)
        assert not (tmp_path / "checkpoints" / "latest" / "3").exists(), "it is still being written"
    finally:
        ended.set()


def test_a_loss_that_is_not_finite_leaves_the_best_on_disk(config, tmp_path, monkeypatch, slow_disk):
    """The run ends while it is being written."""

    def ending(*args, **kwargs):
        for number, batch in enumerate(tiny_job.make_train_batches(*args, **kwargs)):
            yield batch | {"y": batch["y"] * np.float32(np.nan)} if number == 4 else batch

    monkeypatch.setattr(pipeline, "make_train_batches", ending)
    with pytest.raises(RunError, match="not finite at step 5"):
        tiny_job.go(config, tmp_path)
    assert (tmp_path / "checkpoints" / "best" / "4").exists()


def test_another_network_is_refused_and_nothing_is_moved_or_forgotten(config, tmp_path, monkeypatch):
    tiny_job.go(config, tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "checkpoints").rglob("*") if path.is_file()}
    rows = (tmp_path / "metrics.jsonl").read_bytes()

    def init_wider(config):
        state = tiny_job.init_state(config)
        return state.replace(params=state.params | {"more": jax.numpy.zeros(2)})

    monkeypatch.setattr(states, "init_state", init_wider)
    for _ in range(2):
        with pytest.raises(RunError, match="made by another version of the network"):
            tiny_job.go(config, tmp_path)
    assert {path: path.read_bytes() for path in (tmp_path / "checkpoints").rglob("*") if path.is_file()} == before
    assert (tmp_path / "metrics.jsonl").read_bytes() == rows


def test_a_damaged_newest_checkpoint_is_done_again(config, tmp_path, capsys):
    tiny_job.go(config, tmp_path / "run")
    expected = outcome(config, tmp_path / "run")
    for file in (tmp_path / "run" / "checkpoints" / "latest" / "9").rglob("*"):
        if file.is_file():
            file.write_bytes(b"?")
    tiny_job.go(config, tmp_path / "run")
    shown = capsys.readouterr()
    assert "latest/9 is damaged" in shown.err
    assert "Continuing from step 6" in shown.out
    assert outcome(config, tmp_path / "run") == expected


def test_a_finished_run_is_only_tested_again(config, tmp_path, capsys):
    tiny_job.go(config, tmp_path)
    expected = outcome(config, tmp_path)
    capsys.readouterr()
    tiny_job.go(config, tmp_path)
    assert "All 9 steps were done before" in capsys.readouterr().out
    assert outcome(config, tmp_path) == expected


def test_eval_repeats_the_test_and_touches_no_checkpoint(config, tmp_path):
    tiny_job.go(config, tmp_path, mode="train")
    assert not (tmp_path / "eval_test.json").exists()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "checkpoints").rglob("*")}
    tiny_job.go(config, tmp_path, mode="eval")
    first = (tmp_path / "eval_test.json").read_bytes()
    tiny_job.go(config, tmp_path, mode="eval")
    assert (tmp_path / "eval_test.json").read_bytes() == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "checkpoints").rglob("*")} == before


def test_eval_of_an_untrained_run_says_so(config, tmp_path):
    with pytest.raises(RunError, match="has no checkpoint; train first"):
        tiny_job.go(config, tmp_path, mode="eval")


@pytest.mark.parametrize(("key", "words"), [("loss/bones", "loss of bones"), ("grad_norm", "grad_norm")])
def test_a_loss_that_is_not_finite_stops_and_spares_the_checkpoints(config, tmp_path, monkeypatch, key, words):
    healthy = tiny_job.make_train_step

    def make_sick_step(config):
        def sick_step(state, batch, seed):
            state, metrics = healthy(config)(state, batch, seed)
            bad = jax.numpy.where(state.step == 6, np.nan, 0.0)  # step 6 is to be saved
            return state.replace(params=jax.tree.map(lambda p: p + bad, state.params)), metrics | {
                key: metrics[key] + bad
            }

        return sick_step

    monkeypatch.setattr(train_steps, "make_train_step", make_sick_step)
    with pytest.raises(RunError, match=rf"^The {words} is not finite at step 6; lower optimizer\.learning_rate"):
        tiny_job.go(config, tmp_path)
    state = final_state(config, tmp_path)
    assert int(state.step) == 3
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(state))


def test_a_batch_of_another_shape_does_not_recompile(config, tmp_path, monkeypatch):
    def odd_batches(*args, **kwargs):
        for number, batch in enumerate(tiny_job.make_train_batches(*args, **kwargs)):
            yield batch if number != 4 else {name: value[:2] for name, value in batch.items()}

    monkeypatch.setattr(pipeline, "make_train_batches", odd_batches)
    with pytest.raises(TypeError, match="compiled"):
        tiny_job.go(config, tmp_path)


def test_an_unknown_split_is_one_sentence(config, tmp_path, monkeypatch):
    def no_such(data, split):
        raise ValueError(f"There is no split {split!r}.")

    monkeypatch.setattr(pipeline, "open_sources", no_such)
    with pytest.raises(RunError, match=r"^There is no split 'train'\.$"):
        tiny_job.go(config, tmp_path)


@pytest.mark.parametrize("key", ["train_split", "validation_split", "test_split"])
def test_a_refused_mistake_can_be_corrected_in_the_same_folder(config, tmp_path, monkeypatch, key):
    def open_sources(data, split):
        if split not in tiny_job.RECORDS:
            raise ValueError(f"There is no split {split!r}.")
        return tiny_job.open_sources(data, split)

    monkeypatch.setattr(pipeline, "open_sources", open_sources)
    wrong = dataclasses.replace(config, data=dataclasses.replace(config.data, **{key: "tets"}))
    with pytest.raises(RunError, match="There is no split 'tets'"):
        tiny_job.go(wrong, tmp_path)
    tiny_job.go(config, tmp_path)
    assert (tmp_path / "eval_test.json").exists()


def test_too_many_devices_can_be_corrected_in_the_same_folder(config, tmp_path):
    wrong = dataclasses.replace(config, seed=3, mesh=dataclasses.replace(config.mesh, data=jax.device_count() + 1))
    with pytest.raises(ConfigError, match=r"mesh\.data"):
        tiny_job.go(wrong, tmp_path)
    tiny_job.go(config, tmp_path, mode="train")


def test_more_devices_than_there_are_is_a_config_error(config):
    wrong = dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, data=jax.device_count() + 1))
    with pytest.raises(ConfigError, match=r"mesh\.data is \d+, .* but there are \d+ device\(s\); set"):
        sharding.make_mesh(wrong)

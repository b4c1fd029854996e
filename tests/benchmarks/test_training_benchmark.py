"""Where a run's time goes: costs and shares of a made-up timeline, and the timers about a real run."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from benchmarks import training
from benchmarks.training import Timeline
from ramjax.evaluation import validation
from ramjax.runs.checkpoints import Checkpoints
from ramjax.training import loop
from ramjax.training.progress import Progress


def run_of_six_steps() -> Timeline:
    """Steps of 1 s; after the third 2 s of checkpoint and 4 s of validation, and a fourth step that takes 1.5 s."""
    return Timeline(
        (
            ("step", 9.9, 10.0), ("step", 10.9, 11.0), ("step", 11.9, 12.0),
            ("save_latest", 12.0, 13.5), ("wait", 12.0, 12.5), ("evaluate", 13.5, 17.5), ("save_best", 17.5, 18.0),
            ("step", 19.4, 19.5), ("step", 20.4, 20.5), ("step", 21.4, 21.5),
            ("test", 22.0, 32.0), ("wait", 31.0, 32.0),
        )
    )  # fmt: skip


def test_spans_that_overlap_count_once():
    timeline = run_of_six_steps()
    assert timeline.of("save_latest", "wait") == [(12.0, 13.5), (31.0, 32.0)]
    assert timeline.seconds(*training.CHECKPOINTS, until=22.0) == 2.0
    assert timeline.seconds("evaluate", since=14.0, until=15.0) == 1.0


def test_unit_costs():
    costs = training.unit_costs(run_of_six_steps())
    assert costs["step_seconds"] == pytest.approx(1)
    assert costs["checkpoint_seconds_blocked"] == pytest.approx(2)
    assert costs["checkpoint_seconds_slowed"] == pytest.approx(0.5)
    assert costs["validation_seconds"] == costs["validation_seconds_first"] == pytest.approx(4)
    assert costs["test_seconds"] == pytest.approx(10)
    assert costs["checkpoints"] == 1


def test_shares_of_the_whole_schedule(debug_config):
    train = dataclasses.replace(debug_config.train, steps=101, eval_every=50, checkpoint_every=25)
    config = dataclasses.replace(debug_config, train=train)
    costs = {
        "step_seconds": 0.5, "validation_seconds": 2.0, "validation_seconds_first": 6.0, "test_seconds": 20.0,
        "checkpoint_seconds_blocked": 0.6, "checkpoint_seconds_slowed": 0.4,
    }  # fmt: skip
    got = training.shares(config, 10.0, costs)
    # Validations after steps 50, 100 and 101; checkpoints after 25, 50, 75, 100 and 101.
    whole = 10 + 100 * 0.5 + (6 + 2 + 2) + 5 * 1.0 + 20
    assert got["quickstart_seconds"] == pytest.approx(whole)
    assert got["checkpoint_share"] == pytest.approx(5 / whole)
    assert got["evaluation_share"] == pytest.approx(30 / whole)
    assert got["validation_share"] == pytest.approx(10 / whole)
    assert got["start_share"] == pytest.approx(10 / whole)


def test_what_the_timers_are_about_is_there():
    assert all(callable(getattr(Checkpoints, name)) for name in training.CHECKPOINTS)
    assert callable(Progress.advance) and callable(Progress.watch)
    assert callable(validation.evaluate) and callable(loop.test)


def test_failed_run_is_told(debug_config):
    with pytest.raises(ValueError, match=r"ended with 2 instead of 0: Usage error: .*nowhere"):
        process = subprocess.Popen(
            [sys.executable, "-c", "import sys; print('Usage error: nowhere', file=sys.stderr); sys.exit(2)"],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        training._check(process, 0)


@pytest.mark.slow
def test_timers_about_a_real_run(data_dir, tmp_path):
    events = tmp_path / "events.jsonl"
    command = [
        sys.executable, "-m", "benchmarks.timed_main", str(events), "--config=experiments/debug.py",
        f"--workdir={tmp_path / 'run'}", "--mode=train", f"--config.data.data_dir={data_dir}",
        "--config.tasks=('bones',)", "--config.train.steps=4", "--config.train.eval_every=2",
        "--config.train.checkpoint_every=2",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in events.read_text().splitlines()]
    names = [name for name, *_ in rows]
    assert [names.count(name) for name in ("first_step", "step", "evaluate", "save_latest")] == [1, 4, 2, 2]
    assert {"compile", "save_best", "wait"} <= set(names)
    assert all(began <= ended for _, began, ended in rows)

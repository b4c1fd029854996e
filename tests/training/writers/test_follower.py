"""A tracker that is far away: slow, failing, gone, and back again."""

import json
import logging
import threading
import time

import pytest

from ramjax.training.writers import follower
from ramjax.training.writers.follower import Follower


class Far:
    """A tracker that keeps what it takes; `failures` calls fail first, and all of the kind `broken`."""

    def __init__(self, failures=0, broken="", id="one", delay=0.0):
        self.id, self.failures, self.broken, self.delay = id, failures, broken, delay
        self.ids, self.rows, self.others, self.ends = [], [], [], []

    def connect(self, id):
        self._take("connect")
        self.ids.append(id)
        return self

    def hyperparameters(self, config):
        self._take("hyperparameters")
        self.others.append(config)

    def write(self, step, metrics):
        self._take("write")
        self.rows.append((step, metrics))

    def test(self, step, metrics):
        self._take("test")
        self.others.append((step, metrics))

    def pictures(self, step, pictures):
        self._take("pictures")
        self.others.append((step, pictures))

    def close(self, failed):
        self.ends.append(failed)

    def _take(self, kind):
        time.sleep(self.delay)
        if self.failures or kind == self.broken:
            self.failures = max(self.failures - 1, 0)
            raise ConnectionError("no route\nto host")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(follower, "RETRY_SECONDS", 0.01)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "far.json"


ROWS = [(20, {"train/loss": 0.5}), (40, {"train/loss": 0.25}), (40, {"validation/selection": 0.75})]


def as_lines(rows):
    """As metrics.jsonl gives them."""
    return [{"step": step, **metrics} for step, metrics in rows]


def follow(far, path, rows=(), before=(), failed=False):
    one = Follower("Far", far.connect, path, as_lines(before))
    for step, metrics in rows:
        one.write(step, metrics)
    one.close(failed)


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_everything_arrives_in_order(path, caplog):
    far = Far()
    one = Follower("Far", far.connect, path, [])
    one.hyperparameters({"seed": 0})
    for step, metrics in ROWS:
        one.write(step, metrics)
    one.test(40, {"test/bones/dsc": 0.5})
    one.pictures(40, {"test_grid": path})
    one.close(failed=False)
    assert far.ids == [""] and far.rows == ROWS and far.ends == [False] and warnings(caplog) == []
    assert far.others == [{"seed": 0}, (40, {"test/bones/dsc": 0.5}), (40, {"test_grid": path})]
    assert json.loads(path.read_text()) == {"id": "one", "written": {"train": 40, "validation": 40}}


def test_a_run_that_goes_on_goes_on_there_and_writes_no_step_twice(path):
    """It was stopped after step 60, and goes on from step 40."""
    first, second = Far(), Far()
    follow(first, path, [*ROWS, (60, {"train/loss": 0.125})], failed=True)
    follow(second, path, [(60, {"train/loss": 0.125}), (80, {"train/loss": 0.0625})], before=ROWS)
    assert (first.ends, second.ends, second.ids) == ([True], [False], ["one"])
    assert second.rows == [(80, {"train/loss": 0.0625})]


def test_a_tracker_that_comes_later_gets_what_it_missed(path):
    far = Far()
    follow(far, path, [(60, {"train/loss": 0.125})], before=ROWS)
    assert far.rows == [*ROWS, (60, {"train/loss": 0.125})]


def test_a_run_that_is_gone_there_begins_anew(path):
    follow(Far(), path, ROWS)
    far = Far(id="two")
    follow(far, path, before=ROWS)
    assert far.ids == ["one"] and far.rows == ROWS and json.loads(path.read_text())["id"] == "two"


@pytest.mark.parametrize("failures", [1, 5])
def test_a_failure_is_a_warning_once_and_nothing_is_lost(path, caplog, failures):
    far = Far(failures)
    one = Follower("Far", far.connect, path, [])
    for step, metrics in ROWS:
        one.write(step, metrics)
    until(lambda: len(far.rows) == len(ROWS))
    one.close(failed=False)
    assert far.rows == ROWS
    assert warnings(caplog) == ["Far does not take the run's metrics (no route to host); the run goes on."]


def test_a_tracker_that_is_never_reached_delays_nothing_and_gets_the_run_next_time(path, caplog, monkeypatch):
    monkeypatch.setattr(follower, "RETRY_SECONDS", 60)
    began = time.monotonic()
    follow(Far(10**9), path, ROWS)
    assert time.monotonic() - began < 10 and not path.exists()
    assert len(warnings(caplog)) == 2 and "metrics.jsonl has it, and --mode=eval sends the rest" in warnings(caplog)[1]
    far = Far()
    follow(far, path, before=ROWS)
    assert far.rows == ROWS


def test_a_tracker_that_hangs_keeps_the_end_of_a_run_for_a_while_only(path, caplog, monkeypatch):
    monkeypatch.setattr(follower, "CLOSE_SECONDS", 0.1)
    hanging, ended = threading.Event(), threading.Event()

    def connect(id):
        hanging.set()
        ended.wait(60)
        raise TimeoutError

    one = Follower("Far", connect, path, [])
    one.write(20, {"train/loss": 0.5})
    assert hanging.wait(10)
    began = time.monotonic()
    one.close(failed=False)
    assert time.monotonic() - began < 5 and "has not taken all" in warnings(caplog)[0]
    ended.set()
    one._thread.join(10)


@pytest.mark.parametrize("broken", ["hyperparameters", "test", "pictures"])
def test_what_is_refused_for_good_does_not_stop_the_rows(path, caplog, broken):
    """Such as pictures without the right to store files."""
    far = Far(broken=broken)
    one = Follower("Far", far.connect, path, [])
    one.hyperparameters({})
    one.test(20, {})
    one.pictures(20, {})
    for step, metrics in ROWS:
        one.write(step, metrics)
    until(lambda: len(far.rows) == len(ROWS))
    one.close(failed=False)
    assert far.rows == ROWS and len(far.others) == 2 and far.ends == [False]


def test_a_damaged_file_is_named_with_the_remedy(path, caplog):
    path.write_text('{"id": ')
    follow(Far(), path, ROWS)
    assert f"{path} is damaged; delete it to begin a new run there" in warnings(caplog)[0]


def until(done):
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)

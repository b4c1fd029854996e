"""Running a sweep's commands: side by side, past failures, stopped by signals. The commands are small scripts."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from ramjax.errors import RunError
from ramjax.sweep import local, locks
from ramjax.sweep.plan import Run

SCRIPT = """
import os, pathlib, signal, sys, time
here = pathlib.Path(sys.argv[1])
(here / f"started_{sys.argv[2]}").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
def stop(*_):
    print("saved", flush=True)
    sys.exit(75)
if "stubborn" in sys.argv[3]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
else:
    signal.signal(signal.SIGTERM, stop)
(here / f"listening_{sys.argv[2]}").touch()
"""


def script(tmp_path, body: str) -> list[str]:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT + body)
    return [sys.executable, "-S", str(path), str(tmp_path)]


def make_runs(*flags: tuple[str, ...]):
    return [Run(of[0], pathlib.Path("unused"), {}, of, config=None) for of in flags]


def run_all(tmp_path, body, *flags, jobs=1, devices=None, **more):
    return local.run_all(make_runs(*flags), tmp_path, jobs, devices or [None] * jobs, script(tmp_path, body), **more)


def after(condition, action):
    """Does something in a thread as soon as a condition holds."""

    def wait():
        deadline = time.monotonic() + 30
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.02)
        action()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_failure_is_named_by_its_last_line_and_stops_nobody(tmp_path):
    body = """
if sys.argv[2] == "bad":
    print("Error: the disk is full.\\n\\n", flush=True)
    sys.exit(1)
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""
    outcomes = run_all(tmp_path, body, ("bad", "-"), ("killed", "-"), ("good", "-"))
    assert outcomes == {
        "bad": local.Outcome("failed", "Error: the disk is full."),
        "killed": local.Outcome("failed", "ended by signal 9; it printed nothing"),
        "good": local.Outcome("done"),
    }
    assert (tmp_path / "logs" / "bad.txt").read_text().startswith("Error: the disk is full.")


def test_a_log_goes_on(tmp_path):
    for _ in range(2):
        run_all(tmp_path, "print('line')", ("a", "-"))
    assert (tmp_path / "logs" / "a.txt").read_text() == "line\nline\n"


def test_so_many_at_a_time_and_a_device_each(tmp_path):
    body = """
time.sleep(0.3)
print(len(list(here.glob("listening_*"))) - len(list(here.glob("ended_*"))), flush=True)
(here / f"ended_{sys.argv[2]}").touch()
"""
    flags = [(name, "-") for name in "abcde"]
    outcomes = run_all(tmp_path, body, *flags, jobs=2, devices=["4", "7"])
    assert set(outcomes.values()) == {local.Outcome("done")} and len(outcomes) == 5
    at_once = [int((tmp_path / "logs" / f"{name}.txt").read_text()) for name in "abcde"]
    assert max(at_once) == 2
    devices = [(tmp_path / f"started_{name}").read_text() for name in "abcde"]
    assert devices[:2] == ["4", "7"] and set(devices) == {"4", "7"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_what_runs_and_starts_nothing_more(tmp_path, number):
    both = lambda: all((tmp_path / f"listening_{name}").exists() for name in "ab")  # noqa: E731
    before = signal.getsignal(number)
    thread = after(both, lambda: os.kill(os.getpid(), number))
    outcomes = run_all(tmp_path, "time.sleep(60)", ("a", "-"), ("b", "-"), ("c", "-"), jobs=2)
    thread.join()
    assert outcomes == {"a": local.Outcome("stopped"), "b": local.Outcome("stopped")}
    assert not (tmp_path / "started_c").exists()
    assert (tmp_path / "logs" / "a.txt").read_text() == "saved\n"
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_stops_at_once(tmp_path):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    thread = after((tmp_path / "listening_a").exists, twice)
    assert run_all(tmp_path, "time.sleep(60)", ("a", "stubborn")) == {"a": local.Outcome("stopped")}
    thread.join()


def test_a_run_that_was_told_to_stop_by_others_has_not_failed(tmp_path):
    outcomes = run_all(tmp_path, "sys.exit(75 if sys.argv[2] == 'a' else 0)", ("a", "-"), ("b", "-"))
    assert outcomes == {"a": local.Outcome("stopped"), "b": local.Outcome("done")}


SWEEP = """
import pathlib, sys
from ramjax.sweep import local, locks
from ramjax.sweep.plan import Run
here = pathlib.Path(sys.argv[1])
runs = [Run(name, here / name, {}, (name, "-"), config=None) for name in sys.argv[2:]]
command = [sys.executable, "-S", str(here / "script.py"), str(here)]
with locks.one_sweep(here):
    local.run_all(runs, here, 1, [None], command)
"""


def killed_sweep(tmp_path, body: str) -> None:
    """A sweep of ``a`` and ``b`` that was killed when ``a`` was running, which goes on."""
    script(tmp_path, f"(here / 'process').write_text(str(os.getpid()))\n{body}")
    sweep = subprocess.Popen([sys.executable, "-c", SWEEP, str(tmp_path), "a", "b"], cwd=local.ROOT)
    wait_for((tmp_path / "logs" / "a.lock").exists)
    wait_for(lambda: (tmp_path / "process").exists() and (tmp_path / "process").read_text())
    wait_for(lambda: locks.holder(tmp_path / "logs" / "a.lock"))
    sweep.kill()
    sweep.wait()
    process = int((tmp_path / "process").read_text())
    assert locks.holder(tmp_path / "logs" / "a.lock") == process and not locks.is_free(tmp_path / "logs" / "a.lock")
    return process


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Planned(Run):
    """A run that is done when its folder has a file ``done``."""

    @property
    def state(self) -> str:
        return "done" if (self.workdir / "done").exists() else "unfinished"


@pytest.mark.parametrize("done", [True, False])
def test_a_run_that_a_killed_sweep_left_is_waited_for_and_started_again_if_it_is_not_done(tmp_path, caplog, done):
    caplog.set_level("INFO", "ramjax")
    killed_sweep(tmp_path, "while not (here / 'go').exists(): time.sleep(0.02)")
    (tmp_path / "a").mkdir()

    def end():
        (tmp_path / "a" / "done").touch() if done else None
        (tmp_path / "go").touch()

    thread = after(lambda: any("still running" in record.getMessage() for record in caplog.records), end)
    (tmp_path / "process").unlink()
    with locks.one_sweep(tmp_path):  # the killed one has left no lock
        command = [sys.executable, "-S", str(tmp_path / "script.py"), str(tmp_path)]
        runs = [Planned(name, tmp_path / name, {}, (name, "-"), config=None) for name in ("a", "b")]
        outcomes = local.run_all(runs, tmp_path, 1, [None], command)
    thread.join()
    assert outcomes == {"a": local.Outcome("done"), "b": local.Outcome("done")}
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "a is still running, left by a sweep that was killed; waiting for it, 1 of 2."
    assert ("a started, 1 of 2." in said) == (not done)
    assert locks.is_free(tmp_path / "logs" / "a.lock")


def test_a_signal_stops_a_run_that_a_killed_sweep_left_too(tmp_path, caplog):
    caplog.set_level("INFO", "ramjax")
    killed_sweep(tmp_path, "time.sleep(60)")
    thread = after(
        lambda: any("still running" in record.getMessage() for record in caplog.records),
        lambda: os.kill(os.getpid(), signal.SIGTERM),
    )
    runs = [Planned(name, tmp_path / name, {}, (name, "-"), config=None) for name in ("a", "b")]
    outcomes = local.run_all(runs, tmp_path, 1, [None], ["false"])
    thread.join()
    assert outcomes == {"a": local.Outcome("stopped")}
    assert (tmp_path / "logs" / "a.txt").read_text() == "saved\n"
    assert locks.is_free(tmp_path / "logs" / "a.lock")


def test_two_sweeps_do_not_share_a_folder(tmp_path):
    script(tmp_path, "while not (here / 'go').exists(): time.sleep(0.02)")
    first = subprocess.Popen([sys.executable, "-c", SWEEP, str(tmp_path), "a"], cwd=local.ROOT)
    wait_for((tmp_path / "listening_a").exists)
    with pytest.raises(RunError) as caught, locks.one_sweep(tmp_path):
        pass
    assert str(caught.value) == (
        f"Another sweep is running in {tmp_path} (process {first.pid}); wait for it, or name another --output."
    )
    (tmp_path / "go").touch()
    assert first.wait(60) == 0
    with locks.one_sweep(tmp_path):
        pass


def test_when_the_time_is_up_runs_save_and_those_that_do_not_are_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "GRACE_SECONDS", 1.0)
    began = time.monotonic()
    flags = ("a", "-"), ("b", "stubborn"), ("c", "-")
    outcomes = run_all(tmp_path, "time.sleep(60)", *flags, jobs=2, limit=1.0)
    assert time.monotonic() - began < 20
    assert outcomes == {"a": local.Outcome("stopped"), "b": local.Outcome("stopped")}
    assert "saved" in (tmp_path / "logs" / "a.txt").read_text() and not (tmp_path / "started_c").exists()


def test_runs_that_share_a_gpu_leave_each_other_memory(tmp_path, monkeypatch):
    monkeypatch.delenv("XLA_PYTHON_CLIENT_PREALLOCATE", raising=False)
    body = 'print(os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE"))'
    for devices, said in ((["0", "0"], "false"), (["0", "1"], "None"), ([None, None], "None")):
        (folder := tmp_path / f"{devices}").mkdir()
        assert len(run_all(folder, body, ("a", "-"), ("b", "-"), jobs=2, devices=devices)) == 2
        assert (folder / "logs" / "a.txt").read_text().strip() == said


def test_devices_are_shared_where_that_is_asked_for():
    gpus = {"CUDA_VISIBLE_DEVICES": "2,3"}
    assert local.devices_for(5, gpus, share=True) == ["2", "3", "2", "3", "2"]
    assert local.devices_for(2, {"CUDA_VISIBLE_DEVICES": ""}, share=True) == [None] * 2
    with pytest.raises(ValueError, match="use --jobs=2, or --share_gpus"):
        local.devices_for(5, gpus)


def test_devices():
    gpus = {"CUDA_VISIBLE_DEVICES": "2,3,5"}
    assert local.devices_for(1, gpus) == [None]
    assert local.devices_for(2, gpus) == ["2", "3"]
    assert local.devices_for(3, {"CUDA_VISIBLE_DEVICES": ""}) == [None] * 3
    with pytest.raises(ValueError, match="use --jobs=3"):
        local.devices_for(4, gpus)


def test_devices_of_this_machine_are_counted(tmp_path, monkeypatch):
    smi = tmp_path / "nvidia-smi"
    smi.write_text(
        '#!/bin/sh\n[ "$1" = --list-gpus ] && printf "GPU 0: A (UUID: x)\\n  MIG 1g\\nGPU 1: A (UUID: y)\\n"'
    )
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert local.devices_for(2, {}) == ["0", "1"]

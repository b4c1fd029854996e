import subprocess
import sys

import pytest

from ramjax.devices import hosts


@pytest.fixture
def joined(monkeypatch):
    monkeypatch.setattr(hosts, "_name", "Process 1 of 2")


LOST = [
    ValueError("UNKNOWN: Gloo AllGather failed: [pair.cc:547] Connection closed by peer [127.0.0.1]:61673"),
    RuntimeError("INTERNAL: Barrier failed because: task is set to ERROR: UNAVAILABLE: Task 1 heartbeat timeout."),
    RuntimeError("INTERNAL: NCCL operation ncclAllReduce failed: remote process exited"),
]


@pytest.mark.parametrize("error", LOST)
def test_a_lost_process_is_known_by_what_jax_says_of_it(joined, error):
    assert hosts.is_lost(error)
    outer = RuntimeError("A checkpoint could not be saved.")
    outer.__cause__ = error
    assert hosts.is_lost(outer)
    assert hosts.lost_message().startswith("Process 1 of 2 lost another one")


@pytest.mark.parametrize("error", [ValueError("canvas is 3"), OSError(28, "Gloo"), KeyError("barrier"), None])
def test_other_errors_are_not(joined, error):
    assert not hosts.is_lost(error)


@pytest.mark.parametrize("error", LOST)
def test_a_process_alone_loses_none(error):
    assert not hosts.is_lost(error)


@pytest.mark.parametrize(
    ("before", "code", "words"),
    [
        ("hosts._name = 'Process 0 of 2'", 1, "Error: Process 0 of 2 lost another one"),
        ("", 1, "Error: The other processes did not all join within 300 s"),
        ("hosts._ending_with = 75", 75, ""),
    ],
)
def test_an_abort_in_any_thread_ends_in_words(before, code, words):
    program = f"""
import os, threading, time
from ramjax.devices import hosts
hosts._end_in_words_when_aborted()
{before}
threading.Thread(target=os.abort).start()
time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == code
    assert done.stderr.strip().startswith(words) and (words or not done.stderr)


@pytest.mark.parametrize(
    ("code", "ends_with", "words"), [(0, 1, "Error: Process 0 of 2 lost another one"), (75, 75, ""), (1, 1, "")]
)
def test_one_that_is_missing_at_the_end_is_told_by_those_that_were_done(code, ends_with, words):
    program = f"""
import jax
from ramjax.devices import hosts
def shutdown():
    raise RuntimeError("INTERNAL: Barrier failed because: task is set to ERROR")
jax.distributed.shutdown = shutdown
hosts._name = "Process 0 of 2"
hosts.leave({code})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == ends_with
    assert done.stderr.startswith(words) and len(done.stderr.splitlines()) == bool(words)


def test_no_cluster_is_one_sentence(data_dir, tmp_path):
    command = [sys.executable, "-m", "ramjax.main", "--config=experiments/debug.py", f"--workdir={tmp_path}"]
    done = subprocess.run([*command, "--distributed"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("Error: --distributed found no cluster")

"""A run of two processes on this machine: the numbers of one process, and an end in words whatever happens to one."""

import itertools
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ramjax.files import read_json_lines
from ramjax.metrics import cases
from tests.commands import assert_one_sentence

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("usual_code")]
ROOT = pathlib.Path(__file__).parent.parent.parent


def flags(data_dir, workdir) -> list[str]:
    """A few steps of the true network with an odd split; parameters are split over the processes, as batches are."""
    return [
        "--config=experiments/debug.py", f"--workdir={workdir}", f"--config.data.data_dir={data_dir}",
        "--config.tasks=('joints',)", "--config.data.validation_split=train[:3]", "--config.data.test_split=train[:3]",
        "--config.train.steps=4", "--config.train.log_every=1", "--config.train.eval_every=4",
        "--config.mesh.data=1", "--config.mesh.fsdp=-1", "--config.mesh.split_from=256",
    ]  # fmt: skip


def launcher() -> list[str]:
    """`launch/local.sh`; where it would make another environment than that of the tests, what it calls in it."""
    stamp, made = ROOT / ".venv" / "installed", pathlib.Path(sys.prefix) == ROOT / ".venv"
    if made and stamp.exists() and (ROOT / "requirements.txt").read_text().strip() in stamp.read_text():
        return ["bash", "launch/local.sh"]
    return [sys.executable, "launch/processes.py"]


def call(command: list[str]) -> subprocess.CompletedProcess:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def together(data_dir, tmp_path_factory) -> tuple[pathlib.Path, str]:
    """The run of two processes, and what it showed."""
    workdir = tmp_path_factory.mktemp("together") / "run"
    return workdir, call([*launcher(), "--processes=2", *flags(data_dir, workdir)]).stdout


@pytest.fixture(scope="module")
def alone(data_dir, tmp_path_factory) -> pathlib.Path:
    """The same in one process."""
    workdir = tmp_path_factory.mktemp("alone") / "run"
    call([sys.executable, "-m", "ramjax.main", *flags(data_dir, workdir)])
    return workdir


def test_two_processes_get_the_numbers_of_one(together, alone):
    shown = together[1]
    assert "Process 0 of 2: 1 of 2 device(s), cpu." in shown
    both, one = (read_json_lines(of / "metrics.jsonl") for of in (together[0], alone))
    assert [row["step"] for row in both] == [row["step"] for row in one] == [1, 2, 3, 4, 4]
    measured = {"train/examples_per_second", "train/data_wait_share"}
    for row, expected in zip(both, one, strict=True):
        assert row.keys() == expected.keys()
        for key in row.keys() - measured:
            if expected[key] is None:  # no hand to measure it on
                assert row[key] is None
            else:
                assert row[key] == pytest.approx(expected[key], rel=1e-5, abs=1e-6), (row["step"], key)


def test_two_processes_that_share_the_records_get_the_losses_of_one(data_dir, tmp_path):
    """Each keeps half of them on its device, and gives the other what its rows need."""
    more = ["--mode=train", "--config.data.cache=device", f"--config.data.cache_dir={tmp_path / 'cache'}"]
    more += ["--config.train.steps=2"]
    half = "--config.data.cache_gigabytes=0.0001"  # the images of the four records take 127 kB
    two = call([*launcher(), "--processes=2", *flags(data_dir, tmp_path / "two"), *more, half]).stdout
    one = call([sys.executable, "-m", "ramjax.main", *flags(data_dir, tmp_path / "one"), *more]).stdout
    assert "on each one part of 2 (" in two and "on each all (" in one
    losses = [
        [row["train/loss"] for row in read_json_lines(tmp_path / name / "metrics.jsonl") if "train/loss" in row]
        for name in ("two", "one")
    ]
    assert len(losses[0]) == 2 and losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_one_process_writes(together, alone):
    both, one = (sorted(str(path.relative_to(of)) for path in of.glob("*")) for of in (together[0], alone))
    assert both == one
    events = [path.name.endswith(".test") for path in (together[0] / "tensorboard").iterdir()]
    assert sorted(events) == [False, True]  # one file of the training, one of the test
    assert (together[0] / "log.txt").read_text().count("4/4: loss") == 1


def test_two_processes_begin_with_the_network_of_a_run(data_dir, alone, tmp_path):
    """Nothing is trained yet where the learning rate is 0: the parameters are those of the source, on both."""
    still = [
        "--config.optimizer.learning_rate=1e-30",
        "--config.optimizer.ema_decay=0.0",
        f"--config.init.source={alone}",
    ]
    call([*launcher(), "--processes=2", *flags(data_dir, tmp_path / "run"), *still])
    assert " random" not in (tmp_path / "run" / "init.txt").read_text()
    both = [json.loads((run / "eval_test.json").read_text()) for run in (alone, tmp_path / "run")]
    assert both[0]["joints/iou"] == both[1]["joints/iou"]


def test_two_processes_evaluate_an_odd_split_as_one_does(together):
    workdir = together[0]
    before = json.loads((workdir / "eval_test.json").read_text()), cases.read(workdir / "cases.parquet")
    assert len(before[1]) == len(list((workdir / "pictures").iterdir())) == before[0]["records"] == 3
    call([sys.executable, "-m", "ramjax.main", f"--workdir={workdir}", "--mode=eval"])
    assert json.loads((workdir / "eval_test.json").read_text()) == before[0]
    again = cases.read(workdir / "cases.parquet")
    for metric, values in again.values["joints"].items():
        np.testing.assert_array_equal(values, before[1].values["joints"][metric], err_msg=metric)


class Pair:
    """Two processes of the tiny job that no launcher minds, as on a cluster, which linger at `moment`."""

    def __init__(self, folder: pathlib.Path, moment: str = "never", slurm: bool = False, more=((), ())):
        self._folder, self._number = folder, next(_numbers)
        self.workdir = folder / "run"
        port = random.randrange(20000, 30000)
        self.processes = [self._start(moment, process, port, slurm, more[process]) for process in range(2)]

    def _start(self, moment: str, process: int, port: int, slurm: bool, more: tuple[str, ...]) -> subprocess.Popen:
        meeting = [f"--coordinator=127.0.0.1:{port}", "--process_count=2", f"--process_index={process}"]
        environment = dict(os.environ)
        if slurm:  # which JAX derives the meeting place from
            meeting = ["--distributed"]
            environment |= {"SLURM_JOB_ID": str(port), "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
            environment |= {"SLURM_PROCID": str(process), "SLURM_LOCALID": str(process)}
        command = [
            sys.executable, "-m", "tests.faults.tiny_main", moment, self._marker(process), *meeting,
            "--config=experiments/debug.py", f"--workdir={self.workdir}", "--config.tasks=('bones',)",
            "--config.data.batch_size=4", "--config.train.steps=12", "--config.train.checkpoint_every=3",
            "--config.train.eval_every=4", *more,
        ]  # fmt: skip
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)

    def _marker(self, process: int) -> pathlib.Path:
        return self._folder / f"reached-{self._number}-{process}"

    def wait_for_moment(self) -> None:
        while not all(self._marker(process).exists() for process in range(2)):
            if any(process.poll() is not None for process in self.processes):
                raise AssertionError([done.stderr for done in self.finish()])
            time.sleep(0.01)

    def finish(self, seconds: float = 120) -> list[subprocess.CompletedProcess]:
        try:
            outputs = [process.communicate(timeout=seconds) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
        return [
            subprocess.CompletedProcess(process.args, process.returncode, *output)
            for process, output in zip(self.processes, outputs, strict=True)
        ]

    def finish_well(self) -> tuple[bytes, list[bytes]]:
        """Waits for a good end; returns the test and the losses."""
        done = self.finish()
        assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
        assert not (self.workdir / "checkpoints" / "damaged").exists()
        about = self.workdir / "checkpoints" / "latest" / "12" / "about" / "metadata"
        return (self.workdir / "eval_test.json").read_bytes(), json.loads(about.read_text())["checksums"]


_numbers = itertools.count()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[bytes, list[bytes]]:
    """What the tiny job comes to when nothing happens."""
    return Pair(tmp_path_factory.mktemp("whole")).finish_well()


@pytest.mark.parametrize(("moment", "slurm"), [("batch", True), ("test", False)])
def test_a_signal_to_one_process_stops_both_and_they_go_on(whole, tmp_path, moment, slurm):
    pair = Pair(tmp_path, moment, slurm)
    pair.wait_for_moment()
    pair.processes[1].send_signal(signal.SIGTERM)
    done = pair.finish()
    assert [one.returncode for one in done] == [75, 75], [one.stderr for one in done]
    assert not (pair.workdir / "eval_test.json").exists()
    assert Pair(tmp_path, slurm=slurm).finish_well() == whole


@pytest.mark.parametrize("dead", [0, 1])
def test_when_one_dies_the_other_says_so_within_a_minute_and_they_go_on(whole, tmp_path, dead):
    pair = Pair(tmp_path, "batch")
    pair.wait_for_moment()
    pair.processes[dead].kill()
    done = pair.finish(seconds=60)
    assert done[dead].returncode == -signal.SIGKILL
    assert done[1 - dead].returncode == 1
    last = done[1 - dead].stderr.strip().splitlines()[-1]
    assert last.startswith(f"Error: Process {1 - dead} of 2 lost another one") and "the same command continues" in last
    assert Pair(tmp_path).finish_well() == whole


def test_another_config_is_refused_by_both_before_anything_is_written(tmp_path):
    pair = Pair(tmp_path, more=((), ("--config.optimizer.learning_rate=0.5",)))
    for one in pair.finish(seconds=60):
        assert_one_sentence(one, 1, "Process 1 was given another config", "optimizer.learning_rate is 0.5 there and ")
    assert not pair.workdir.exists()


def test_more_devices_in_the_config_than_there_are(tmp_path):
    wrong = ("--config.mesh.data=4",)
    for one in Pair(tmp_path, more=(wrong, wrong)).finish(seconds=60):
        assert_one_sentence(one, 1, "mesh.data is 4", "there are 2 device(s)")


def test_the_launcher_ends_all_when_the_first_dies(tmp_path):
    """The true launcher and two true processes of the tiny job, which a stand-in of Python starts instead."""
    stand_in = tmp_path / "python"
    job = f'exec {sys.executable} -m tests.faults.tiny_main batch "{tmp_path}/reached-$$" "$@"'
    stand_in.write_text(f'#!/bin/sh\nshift 2\ncase "$*" in *index=0*) echo $$ >{tmp_path}/first ;; esac\n{job}\n')
    stand_in.chmod(0o755)
    command = [
        sys.executable, "launch/processes.py", "--processes=2", f"--python={stand_in}", f"--workdir={tmp_path}/run",
        "--config=experiments/debug.py", "--config.tasks=('bones',)", "--config.train.steps=12",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while len(list(tmp_path.glob("reached-*"))) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.kill(int((tmp_path / "first").read_text()), signal.SIGKILL)
    try:
        _, shown = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGKILL
    assert "[1] Error: Process 1 of 2 lost another one" in shown
    assert shown.splitlines()[-1].startswith("Error: Process 0 of 2 was ended by SIGKILL; the same command continues")

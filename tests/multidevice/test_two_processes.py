"""Two processes of one run on this machine, as a cluster's scheduler starts them."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

from ramjax.evaluation import cases

ROOT = pathlib.Path(__file__).parent.parent.parent


def start(data_dir, workdir, job: int, process: int, *more: str) -> subprocess.Popen:
    command = [
        sys.executable, "-m", "ramjax.main", "--distributed", "--config=experiments/debug.py", f"--workdir={workdir}",
        f"--config.data.data_dir={data_dir}", "--config.train.log_every=1", "--config.tasks=('joints',)", *more,
    ]  # fmt: skip
    slurm = {
        "SLURM_JOB_ID": job, "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": 2,
        "SLURM_PROCID": process, "SLURM_LOCALID": process,
    }  # fmt: skip
    environment = {**os.environ, **{key: str(value) for key, value in slurm.items()}}
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.slow
def test_a_signal_to_one_process_stops_and_saves_both(data_dir, tmp_path):
    job = random.randrange(10**6)  # the port of the meeting place follows from it
    processes = [start(data_dir, tmp_path / "run", job, process, "--config.train.steps=40") for process in range(2)]
    try:
        shown = ""
        for line in processes[0].stdout:
            shown += line
            if line.startswith("step 4/"):
                processes[1].send_signal(signal.SIGTERM)
                break
        outputs = [shown + processes[0].communicate(timeout=300)[0], processes[1].communicate(timeout=300)[0]]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [75, 75], "\n".join(outputs)
    assert "2 device(s)" in outputs[0]
    assert "Stopped and saved after step" in outputs[0]
    saved = [path.name for path in (tmp_path / "run" / "checkpoints" / "latest").iterdir() if path.is_dir()]
    assert max(map(int, saved)) >= 4


@pytest.mark.slow
def test_two_processes_evaluate_an_odd_split_as_one_does(data_dir, tmp_path):
    job = random.randrange(10**6)
    options = ("--config.train.steps=2", "--config.data.test_split=train[:3]")
    processes = [start(data_dir, tmp_path / "run", job, process, *options) for process in range(2)]
    try:
        outputs = [process.communicate(timeout=600)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    workdir = tmp_path / "run"
    together = json.loads((workdir / "eval_test.json").read_text()), cases.read(workdir / "cases.parquet")
    assert len(together[1]) == len(list((workdir / "pictures").iterdir())) == 3
    alone = [sys.executable, "-m", "ramjax.main", f"--workdir={workdir}", "--mode=eval"]
    done = subprocess.run(alone, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((workdir / "eval_test.json").read_text()) == together[0]
    again = cases.read(workdir / "cases.parquet")
    for metric, values in again.values["joints"].items():
        np.testing.assert_array_equal(values, together[1].values["joints"][metric], err_msg=metric)

"""Two processes of one run on this machine, as a cluster's scheduler starts them."""

import os
import pathlib
import random
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent


def start(data_dir, workdir, job: int, process: int) -> subprocess.Popen:
    command = [
        sys.executable, "-m", "ramjax.main", "--distributed", "--config=experiments/debug.py", f"--workdir={workdir}",
        f"--config.data.data_dir={data_dir}", "--config.train.steps=40", "--config.train.log_every=1",
        "--config.tasks=('joints',)",
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
    processes = [start(data_dir, tmp_path / "run", job, process) for process in range(2)]
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

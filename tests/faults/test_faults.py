"""Real processes ended from outside at a chosen moment: the same command continues, and ends as if nothing had been.

The job is the tiny one of `tests/training`; `tests/test_main.py` does the same once with the true network.
"""

import contextlib
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import orbax.checkpoint as ocp
import pytest

from ramjax.files import read_json_lines
from tests.commands import assert_one_sentence

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).parent.parent.parent
STEPS = 12
FLAGS = (
    "--config=experiments/debug.py", "--config.tasks=('bones',)", "--config.data.batch_size=4",
    f"--config.train.steps={STEPS}", "--config.train.checkpoint_every=3", "--config.train.eval_every=4",
)  # fmt: skip


def start(workdir: pathlib.Path, moment: str = "never", **options) -> subprocess.Popen:
    """The job in a process of its own, which lingers at `moment`; its marker is beside the workdir."""
    command = [sys.executable, "-m", "tests.faults.tiny_main", moment, marker(workdir), f"--workdir={workdir}", *FLAGS]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def marker(workdir: pathlib.Path) -> pathlib.Path:
    return workdir.with_name(f"{workdir.name}.reached")


def finish(process: subprocess.Popen) -> subprocess.CompletedProcess:
    """Waits for a process; a hanging one fails the test and is gone."""
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def wait_for(process: subprocess.Popen, there) -> None:
    """Waits until `there()` is true, while the process runs."""
    while process.poll() is None and not there():
        time.sleep(0.002)
    assert there(), finish(process).stderr


def interrupt(workdir: pathlib.Path, moment: str, number: int) -> subprocess.CompletedProcess:
    """Starts the job and sends it the signal `number` when it is at `moment`."""
    process = start(workdir, moment)
    wait_for(process, marker(workdir).exists)
    process.send_signal(number)
    return finish(process)


def final_arrays(workdir: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of the checkpoint of the last step, as they are on disk."""
    with contextlib.closing(ocp.PyTreeCheckpointer()) as checkpointer:
        restored = checkpointer.restore(workdir / "checkpoints" / "latest" / str(STEPS) / "state")
    assert {name.split("/")[0] for name in restored} == {"step", "params", "opt_state", "ema_params"}
    return {name: np.asarray(array) for name, array in restored.items()}


def assert_goes_on(workdir: pathlib.Path, whole: pathlib.Path, *shown: str) -> None:
    """The same command ends with 0 and with the arrays and the test of an uninterrupted run, bit for bit."""
    done = finish(start(workdir))
    assert done.returncode == 0, done.stderr
    for words in shown:
        assert words in done.stdout + done.stderr
    here, there = final_arrays(workdir), final_arrays(whole)
    assert here.keys() == there.keys()
    for name, array in there.items():
        assert here[name].tobytes() == array.tobytes(), name
    assert (workdir / "eval_test.json").read_bytes() == (whole / "eval_test.json").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> pathlib.Path:
    """The run that nothing happened to."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    done = finish(start(workdir))
    assert done.returncode == 0, done.stderr
    return workdir


@pytest.mark.parametrize(
    ("moment", "saved"), [("compile", 0), ("step", 5), ("validation", 4), ("write", 3), ("test", STEPS)]
)
def test_sigterm(whole, tmp_path, moment, saved):
    workdir = tmp_path / "run"
    stopped = interrupt(workdir, moment, signal.SIGTERM)
    assert stopped.returncode == 75, stopped.stderr
    assert stopped.stderr.splitlines()[-1] == "Stopped; start the same command again to continue."
    assert "Traceback" not in stopped.stderr
    assert not (workdir / "eval_test.json").exists()
    steps = [int(path.name) for path in (workdir / "checkpoints" / "latest").iterdir() if path.name.isdigit()]
    assert saved <= max(steps) <= saved + 2
    assert_goes_on(workdir, whole, f"Continuing from step {max(steps)} of" if max(steps) else "Training")


def test_a_second_ctrl_c_saves_nothing_more_but_lets_a_save_that_was_begun_end(whole, tmp_path):
    workdir = tmp_path / "run"
    process = start(workdir, "write")
    wait_for(process, marker(workdir).exists)
    process.send_signal(signal.SIGINT)
    while "Ctrl-C stops at once" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    stopped = finish(process)
    assert stopped.returncode == 130, stopped.stderr
    assert stopped.stderr.splitlines()[-1] == "Stopped at once; the same command continues from the last checkpoint."
    assert [path.name for path in (workdir / "checkpoints" / "latest").iterdir()] == ["3"]
    assert_goes_on(workdir, whole, "Continuing from step 3 of")


def test_sigkill_when_a_checkpoint_is_written_and_not_yet_named(whole, tmp_path):
    workdir = tmp_path / "run"
    assert interrupt(workdir, "write", signal.SIGKILL).returncode == -signal.SIGKILL
    there = [path.name for path in (workdir / "checkpoints" / "latest").iterdir()]
    assert len(there) == 1 and there[0].startswith("3.")  # under a name that says it is not whole
    assert_goes_on(workdir, whole, "Training")
    assert not (workdir / "checkpoints" / "latest" / there[0]).exists()


def test_sigkill_when_a_part_of_a_checkpoint_is_written(whole, tmp_path):
    workdir = tmp_path / "run"
    assert interrupt(workdir, "item", signal.SIGKILL).returncode == -signal.SIGKILL
    there = [path.name for path in (workdir / "checkpoints" / "latest").iterdir()]
    assert len(there) == 2 and "3" in there and any(name.startswith("6.") for name in there)
    assert_goes_on(workdir, whole, "Continuing from step")


def test_sigkill_when_the_best_is_written_and_its_metrics_are_there(whole, tmp_path):
    workdir = tmp_path / "run"
    process = start(workdir, "best")
    wait_for(process, lambda: marker(workdir).exists() and STEPS in validations(workdir))
    process.kill()
    assert finish(process).returncode == -signal.SIGKILL
    best = workdir / "checkpoints" / "best"
    assert not (best / str(STEPS)).exists() and (whole / "checkpoints" / "best" / str(STEPS)).exists()
    assert_goes_on(workdir, whole, f"Continuing from step {STEPS} of", "Testing the checkpoint of step 12, the best")
    assert validations(workdir) == validations(whole)


def validations(workdir: pathlib.Path) -> list[int]:
    """The steps of the rows of validations."""
    rows = read_json_lines(workdir / "metrics.jsonl")
    return [row["step"] for row in rows if "validation/selection" in row]


@pytest.fixture
def disk(tmp_path) -> pathlib.Path:
    """A disk of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(
            f"this user may not mount a disk ({mounted.stderr.strip()}); a limit of the size of files is tested"
        )
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("kilobytes", [0, 16, 32, 160])
def test_a_disk_that_fills_up(whole, disk, kilobytes):
    workdir, ballast = disk / "run", disk / "ballast"
    workdir.mkdir()
    ballast.write_bytes(bytes(shutil.disk_usage(disk).free - 1024 * kilobytes))
    assert_one_sentence(finish(start(workdir)), 1, "disk of", str(workdir), "is full", "make room")
    ballast.unlink()
    assert_goes_on(workdir, whole)


def test_a_limit_of_the_size_of_files(whole, tmp_path):
    """As a quota that is used up in the middle of a run; every user may set it, so that a write fails everywhere."""
    workdir = tmp_path / "run"
    process = start(workdir, "step")
    wait_for(process, marker(workdir).exists)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100, 100))
    assert_one_sentence(finish(process), 1, str(workdir))
    assert_goes_on(workdir, whole, "Continuing from step 3 of")


def test_a_damaged_checkpoint(whole, tmp_path):
    """A bit is flipped in each file of numbers of the newest: the one before is used, with a warning."""
    workdir = tmp_path / "run"
    assert interrupt(workdir, "step", signal.SIGTERM).returncode == 75
    latest = workdir / "checkpoints" / "latest"
    older, newer = sorted(int(path.name) for path in latest.iterdir() if path.name.isdigit())
    for path in (latest / str(newer) / "state").rglob("d/*"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    assert_goes_on(
        workdir, whole, f"Warning: Checkpoint {latest}/{newer} is damaged", f"Continuing from step {older} of"
    )
    assert json.loads((workdir / "versions.json").read_text())["continued"]
    assert os.listdir(workdir / "checkpoints" / "damaged") == [f"latest-{newer}"]


def test_double_precision_is_not_heeded(whole, tmp_path):
    """JAX_ENABLE_X64, which a user may have set for other programs."""
    workdir = tmp_path / "run"
    done = finish(start(workdir, env=os.environ | {"JAX_ENABLE_X64": "1"}))
    assert done.returncode == 0, done.stderr
    assert_goes_on(workdir, whole)

"""The launcher of several processes, minding stand-ins of ramjax.main that end as their flags say."""

import pathlib
import re
import signal
import stat
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent

STAND_IN = f"""#!{sys.executable}
import signal, sys, time
index = next(argument for argument in sys.argv if argument.startswith("--process_index="))[-1]
what = next(argument for argument in sys.argv if argument.startswith(f"--do{{index}}="))[6:]
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
signal.signal(signal.SIGINT, lambda *_: sys.exit(75))
print(f"process {{index}} is here", flush=True)
if what == "wait":
    time.sleep(60)
elif what == "die":
    signal.raise_signal(signal.SIGKILL)
sys.exit(int(what))
"""


@pytest.fixture
def python(tmp_path):
    path = tmp_path / "python"
    path.write_text(STAND_IN)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def start(python, *does: str) -> subprocess.Popen:
    """The launcher, with half a second of grace, and a stand-in for each of `does`."""
    setting = "import sys; sys.path.insert(0, 'launch'); import processes; processes.GRACE_SECONDS = 0.5"
    flags = [f"--do{index}={what}" for index, what in enumerate(does)]
    command = [sys.executable, "-c", f"{setting}; sys.exit(processes.main(sys.argv[1:]))"]
    command += [f"--processes={len(does)}", f"--python={python}", *flags]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, process_group=0)


@pytest.mark.parametrize(
    ("does", "code"),
    [(("0", "0", "0"), 0), (("0", "1"), 1), (("75", "75"), 75), (("wait", "2"), 2), (("die", "wait"), 137)],
)
def test_the_exit_code_is_that_of_the_first_that_failed(python, does, code):
    process = start(python, *does)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert "process 0 is here" in out
    assert "[1] process 1 is here" in err
    if "wait" in does:
        assert f"Process {does.index('wait')} of 2 did not end within 0.5 s and is killed." in err
    if "die" in does:
        assert err.splitlines()[-1].startswith("Error: Process 0 of 2 was ended by SIGKILL; the same command continues")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_all(python, number):
    process = start(python, "wait", "wait")
    assert "process 0 is here" in process.stdout.readline()
    assert "[1] process 1 is here" in process.stderr.readline()
    began = time.monotonic()
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 75
    assert time.monotonic() - began < 5


def test_a_dry_run_prints_the_command_of_each_process():
    command = ["bash", "launch/local.sh", "--dry-run", "--processes=3", "--config=a b.py", "--config.train.steps=5"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "ramjax.main" in line]
    ports = {re.search(r"--coordinator=127\.0\.0\.1:(\d+) ", line)[1] for line in lines}
    assert len(lines) == 3 and len(ports) == 1
    for index, line in enumerate(lines):
        assert f"--process_count=3 --process_index={index} --workdir=runs/multitask '--config=a b.py'" in line
        assert line.endswith("--config.train.steps=5")


def test_a_dry_run_of_one_process_is_the_plain_command():
    for given, expected in (
        ((), "--config=experiments/multitask.py --workdir=runs/multitask"),
        (("--workdir=b", "--config=a"), "--workdir=b --config=a"),
        (("--mode=eval", "--workdir=b"), "--config=experiments/multitask.py --mode=eval --workdir=b"),
    ):
        command = ["bash", "launch/local.sh", "--dry-run", *given]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.stdout.splitlines()[-1].endswith(f"python -m ramjax.main {expected}"), done.stdout + done.stderr


@pytest.mark.parametrize(("flag", "words"), [("--processes=0", "at least 1"), ("--processes=two", "invalid int")])
def test_a_wrong_number_of_processes(flag, words):
    command = ["bash", "launch/local.sh", "--dry-run", flag]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert words in done.stderr

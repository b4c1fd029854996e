"""The command line end to end, in its own processes: the debug experiment, interrupting it, and mistakes of users."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

from ramjax.files import read_json_lines
from tests.commands import assert_one_sentence

ROOT = pathlib.Path(__file__).parent.parent
LONGER = (
    "--config.train.steps=40", "--config.train.log_every=1", "--config.train.eval_every=25",
    "--config.train.checkpoint_every=20",
)  # fmt: skip


def command(data_dir, workdir, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "ramjax.main", "--config=experiments/debug.py", f"--workdir={workdir}",
        f"--config.data.data_dir={data_dir}", *more,
    ]  # fmt: skip


def call(arguments: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, timeout=300)


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory) -> tuple[pathlib.Path, subprocess.CompletedProcess]:
    """A finished run of the debug experiment, long enough that there is time to interrupt another like it."""
    workdir = tmp_path_factory.mktemp("run") / "debug"
    return workdir, call(command(data_dir, workdir, *LONGER))


def test_the_debug_experiment_runs_from_the_command_line(run):
    workdir, done = run
    assert done.returncode == 0, done.stderr
    metrics = json.loads((workdir / "eval_test.json").read_text())
    for name in ("bones/dsc", "erosions/dsc", "joints/iou", "scores/be_qwk", "scores/jsn_qwk"):
        assert name in metrics
        assert metrics[f"{name}/n"] >= 0
        assert name in done.stdout
    assert metrics["records"] > 0
    assert "step 40/40" in done.stdout
    assert "not a medical device" in done.stdout
    assert (workdir / "test_grid.png").read_bytes().startswith(b"\x89PNG")
    assert (workdir / "parameters.txt").read_text().splitlines()[-1].startswith("total")


def test_eval_needs_only_the_workdir_and_repeats_itself(run):
    workdir, _ = run
    before = json.loads((workdir / "eval_test.json").read_text())
    done = call([sys.executable, "-m", "ramjax.main", f"--workdir={workdir}", "--mode=eval"])
    assert done.returncode == 0, done.stderr
    assert "the best on validation" in done.stdout
    assert json.loads((workdir / "eval_test.json").read_text()) == before


def test_the_workdir_of_another_config_is_refused(run, data_dir):
    workdir, _ = run
    done = call(command(data_dir, workdir, *LONGER, "--config.train.steps=41"))
    assert_one_sentence(done, 1, "belongs to another config", "train.steps is 40 there and 41 here", "--workdir")


def test_a_run_with_no_whole_checkpoint_is_one_sentence(run, data_dir, tmp_path):
    shutil.copytree(run[0], tmp_path / "damaged")
    for file in (tmp_path / "damaged" / "checkpoints").rglob("*"):
        if file.is_file():
            file.write_bytes(b"?")
    done = call(command(data_dir, tmp_path / "damaged", *LONGER))
    assert_one_sentence(done, 1, "None of the", "is whole")


def test_sigterm_saves_and_the_same_command_ends_as_if_nothing_was(run, data_dir, tmp_path):
    whole, stopped = run[0], tmp_path / "stopped"
    with subprocess.Popen(command(data_dir, stopped, *LONGER), stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        for line in process.stdout:
            if line.startswith("step 4/"):
                process.send_signal(signal.SIGTERM)
                break
        shown = process.stdout.read()
    assert process.returncode == 75
    assert "Stopped and saved after step" in shown
    assert 4 <= max(row["step"] for row in read_json_lines(stopped / "metrics.jsonl")) < 40
    assert not (stopped / "eval_test.json").exists()

    again = call(command(data_dir, stopped, *LONGER))
    assert again.returncode == 0, again.stderr
    assert "Continuing from step" in again.stdout
    assert (stopped / "eval_test.json").read_bytes() == (whole / "eval_test.json").read_bytes()
    assert checksums(stopped) == checksums(whole)


def checksums(workdir: pathlib.Path) -> dict[str, int]:
    """CRC-32 of every array of the final state: equal ones mean states that are equal bit for bit."""
    found = json.loads((workdir / "checkpoints" / "latest" / "40" / "about" / "metadata").read_text())["checksums"]
    assert any(name.startswith("params/") for name in found)
    assert any(name.startswith("opt_state/") for name in found)
    return found


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--config.train.stpes=3"], 2, ["'stpes'", "did you mean 'steps'?"]),
        (["--config.train.steps=many"], 2, ["train.steps", "many"]),
        (["--config=experiments/none.py"], 2, ["experiments/none.py", "No such file"]),
        (["--config=experiments/multitask.py:huge"], 2, ["Unknown preset 'huge'", "accelerator"]),
        (["--mode=trian"], 2, ["mode", "train_and_eval"]),
        (["--wrokdir=x"], 2, ["wrokdir", "workdir"]),
        (["extra"], 2, ["'extra' is not a flag"]),
        (["--coordinator=a:1"], 2, ["--process_index is missing"]),
        (["--process_index=0"], 2, ["--coordinator is missing"]),
        (["--coordinator=a", "--process_index=0", "--process_count=2"], 2, ["--coordinator=a is not HOST:PORT"]),
        (["--coordinator=a:1", "--process_index=2", "--process_count=2"], 2, ["--process_index=2", "from 0"]),
        (["--distributed", "--process_count=2"], 2, ["--distributed", "--process_count", "one of the two"]),
        (["--config.seed=4294967296"], 1, ["seed is 4294967296; it must be in 0..4294967295."]),
        (["--config.data.canvas.height=100"], 1, ["data.canvas.height is 100", "multiple of 16", "96"]),
        (["--config.tasks=('bones','teeth')"], 1, ["tasks", "teeth", "joints"]),
        (["--config.mesh.data=64"], 1, ["mesh.data is 64", "-1 for all"]),
        (["--config.data.datasets=('ram_nothing',)"], 1, ["ram_nothing", "ram_phantom"]),
        (["--config.data.train_split=tarin"], 1, ["tarin", "validation"]),
    ],
)
def test_mistakes_are_one_sentence(data_dir, tmp_path, flags, code, words):
    assert_one_sentence(call(command(data_dir, tmp_path / "run", *flags)), code, *words)


def test_a_run_goes_on_elsewhere(run, tmp_path):
    """A copied run with the data in another folder, too: the test is repeated with the same result."""
    shutil.copytree(run[0], tmp_path / "copy")
    elsewhere = tmp_path / "data"
    elsewhere.symlink_to(json.loads((run[0] / "config.json").read_text())["data"]["data_dir"])
    done = call(command(elsewhere, tmp_path / "copy", *LONGER, "--mode=eval", "--config.train.log_every=7"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "copy" / "eval_test.json").read_bytes() == (run[0] / "eval_test.json").read_bytes()


def test_eval_takes_keys_without_the_config(run, tmp_path):
    shutil.copytree(run[0], tmp_path / "my copy")
    base = [sys.executable, "-m", "ramjax.main", f"--workdir={tmp_path / 'my copy'}", "--mode=eval"]
    done = call([*base, "--config.evaluation.grid=square512"])
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "my copy" / "eval_test.json").read_text())["grid"] == "square512"
    assert f"python -m ramjax.report --workdir='{tmp_path / 'my copy'}'" in done.stdout


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--mode=eval", "--config.evaluation.gird=native"], 2, ["unknown config key 'gird'", "did you mean 'grid'?"]),
        (["--mode=eval", "--config.foo=1"], 2, ["unknown config key 'foo'."]),
        (["--mode=eval", "--config.evaluation.tolerance=nan"], 2, ["evaluation.tolerance is nan", "must be finite"]),
        (["--mode=eval", "--config.seed=4294967296"], 1, ["seed is 4294967296; it must be in 0..4294967295."]),
        (["--mode=eval", "--config.train.steps=7"], 1, ["belongs to another config", "train.steps is 40 there and 7"]),
        (["--mode=eval", "--config.a-b=1"], 2, ["--config.a-b names no key"]),
        (["--config.evaluation.grid=native"], 2, ["--config is missing", "--config.evaluation.grid"]),
    ],
)
def test_mistakes_in_keys_without_the_config_are_one_sentence(run, flags, code, words):
    assert_one_sentence(call([sys.executable, "-m", "ramjax.main", f"--workdir={run[0]}", *flags]), code, *words)


def test_eval_with_keys_of_a_folder_that_is_no_run(tmp_path):
    command = [sys.executable, "-m", "ramjax.main", f"--workdir={tmp_path}", "--mode=eval", "--config.seed=1"]
    assert_one_sentence(call(command), 1, "is no run of ramjax")


def test_missing_flags_are_named():
    base = [sys.executable, "-m", "ramjax.main"]
    assert_one_sentence(call(base), 2, "--workdir is missing")
    assert_one_sentence(call([*base, "--workdir=x"]), 2, "--config is missing")


def test_a_workdir_below_a_file_is_named(data_dir, tmp_path):
    (tmp_path / "file").write_text("mine")
    done = call(command(data_dir, tmp_path / "file" / "run"))
    assert_one_sentence(done, 1, str(tmp_path / "file" / "run"), "not a directory", "name another folder")


def test_eval_of_a_folder_that_is_no_run(tmp_path):
    done = call([sys.executable, "-m", "ramjax.main", f"--workdir={tmp_path}", "--mode=eval"])
    assert_one_sentence(done, 1, "is no run of ramjax")
    assert list(tmp_path.iterdir()) == []


def test_help_helps():
    done = call([sys.executable, "-m", "ramjax.main", "--help"])
    assert done.returncode == 0
    for word in ("--config", "--workdir", "--mode", "train_and_eval", "75", "experiments/multitask.py"):
        assert word in done.stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_workdir_that_may_not_be_written(data_dir, tmp_path):
    tmp_path.chmod(0o500)
    assert_one_sentence(call(command(data_dir, tmp_path / "run")), 1, "permission denied")

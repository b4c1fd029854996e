import errno
import os
import resource
import subprocess
import sys

import pytest
from absl import flags

from ramjax import command_line
from ramjax.config import Config, ConfigError, TrainConfig
from ramjax.errors import RunError, explain
from tests.commands import assert_one_sentence


def caused(error, cause):
    error.__cause__ = cause
    return error


MEMORY = (
    "The memory does not suffice; lower data.batch_size, data.eval_batch_size or data.canvas, raise "
    "train.accumulation_steps, or end other programs. --debug shows where."
)
FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RunError("All is lost; try again."), "All is lost; try again."),
        (ConfigError("seed is -1; it must be 0 or above."), "seed is -1; it must be 0 or above."),
        (FULL, "The disk is full; make room and start the same command again."),
        (
            OSError(errno.ENOSPC, "No space left on device", "/a/b.json"),
            "The disk of /a/b.json is full; make room and start the same command again.",
        ),
        (caused(OSError("The data cannot be made in /d: full; name another"), FULL),
         "The data cannot be made in /d: full; name another."),
        (
            PermissionError(errno.EACCES, "Permission denied", "/a/b.json"),
            "/a/b.json cannot be written or read: permission denied; fix that, or name another folder.",
        ),
        (
            NotADirectoryError(errno.ENOTDIR, "Not a directory", "/a/b"),
            "/a/b cannot be written or read: not a directory; fix that, or name another folder.",
        ),
        (MemoryError(), MEMORY),
        (caused(ValueError("x"), OSError(errno.ENOMEM, "Cannot allocate memory")), MEMORY),
        (RuntimeError("can't start new thread"), MEMORY),
        (KeyError("two words"), "KeyError: two words. --debug shows where."),
        (ValueError(), "ValueError: ValueError. --debug shows where."),
    ],
)  # fmt: skip
def test_errors_are_one_sentence(error, text):
    assert explain(error) == text
    assert "None" not in text


def test_a_refusal_without_a_file_names_none():
    assert "None" not in explain(PermissionError(errno.EPERM, "Operation not permitted"))


@pytest.mark.slow
def test_a_training_keeps_its_compiled_programs_in_the_home_folder(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "JAX_COMPILATION_CACHE_DIR"}
    environment |= {"HOME": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    command = [sys.executable, "-m", "tests.faults.tiny_main", "never", "none", f"--workdir={tmp_path / 'run'}"]
    settings = ["--config=experiments/debug.py", "--config.tasks=('bones',)", "--config.train.steps=2"]
    done = subprocess.run([*command, *settings], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / ".cache" / "ramjax" / "jax").glob("jit_*-cache"))


@pytest.mark.parametrize("gigabytes", [1.5, 2.5, 3.0])
def test_too_little_address_space_is_one_sentence(tmp_path, gigabytes):
    """As after ulimit -v: JAX would hang, or LLVM abort."""
    command = [sys.executable, "-m", "ramjax.main", f"--workdir={tmp_path / 'run'}", "--config=experiments/debug.py"]
    limit = int(gigabytes * 1e9)
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    assert_one_sentence(done, 1, f"(ulimit -v) is {gigabytes} GB, and JAX needs about 3.3 GB", "raise the limit")
    assert not (tmp_path / "run").exists()


def test_the_address_space_of_a_training_grows_with_its_batch(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (4_000_000_000, 4_000_000_000))
    command_line.check_memory()
    with pytest.raises(RunError, match=r"is 4\.0 GB, and JAX needs about 4\.4 GB .*data\.batch_size \(now 4\)"):
        command_line.check_memory(Config())
    command_line.check_memory(Config(train=TrainConfig(accumulation_steps=4)))
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY,) * 2)
    command_line.check_memory(Config())


def test_a_float_of_no_number_passes_no_flag():
    def define(values):
        flags.DEFINE_float("share", 0.5, "Of it.", 0.0, 1.0, flag_values=values)

    assert command_line.parse("", define, ["x", "--share=0.25"]).share == 0.25
    for text in ("nan", "-nan", "inf"):
        with pytest.raises(flags.Error):
            command_line.parse("", define, ["x", f"--share={text}"])

import errno
import os
import subprocess
import sys

import pytest

from ramjax.config import ConfigError
from ramjax.errors import RunError, explain


def caused(error, cause):
    error.__cause__ = cause
    return error


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

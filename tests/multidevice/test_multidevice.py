"""Runs the tests of eight devices in a process of their own: the number of devices is fixed when JAX starts."""

import os
import pathlib
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parent


@pytest.mark.slow
@pytest.mark.usefixtures("usual_code")
def test_eight_devices():
    # Unoptimised machine code: compiling takes a third of the time, and the numbers are the same on any devices.
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    environment = {key: value for key, value in environment.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(FOLDER / "eight_devices.py")],
        env=environment, cwd=FOLDER.parent.parent, capture_output=True, text=True, timeout=1500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout and "skipped" not in done.stdout

"""Every launcher: short, strict, and a dry run that does nothing."""

import shutil
import subprocess

import pytest

from tests.launch.fakes import LAUNCH

SHELL = ["accelerator_check.sh", "environment.sh", "gke.sh", "local.sh", "slurm.sbatch", "test.sh", "tpu_vm.sh"]
TPU = ("--name=pod", "--zone=z", "--workdir=/mnt/shared/x")
GKE = (
    "--name=big", "--image=i", "--claim=c", "--accelerator=tpu-v5-lite-podslice", "--topology=4x4", "--hosts=4",
    "--workdir=/mnt/ramjax/x",
)  # fmt: skip


def test_all_launchers_are_tested_here():
    assert sorted(path.name for path in LAUNCH.glob("*.s*")) == SHELL


@pytest.mark.parametrize("name", [*SHELL, "sweep.py"])
def test_launchers_are_short(name):
    assert len((LAUNCH / name).read_text().splitlines()) < 80


@pytest.mark.parametrize("name", SHELL)
def test_shell_takes_them(name):
    subprocess.run(["bash", "-n", LAUNCH / name], check=True)
    if name != "environment.sh":  # which its sources make strict
        assert "\nset -euo pipefail\n" in (LAUNCH / name).read_text()


def test_the_check_of_the_accelerator_installs_or_takes_a_python_as_it_is(cluster):
    cluster.has_gpus("NVIDIA H100 80GB HBM3, 550.54.15, 9.0")
    assert cluster.run("accelerator_check.sh", "--stages=step").returncode == 0
    python = cluster.home / "bin" / "python"
    assert cluster.run("accelerator_check.sh", f"--python={python}", "--output=o").returncode == 0
    words = [call["words"] for call in cluster.calls("python")]
    checks = [of for of in words if of[:2] == ["-m", "benchmarks.accelerator_check"]]
    assert [of[2:] for of in checks] == [["--stages=step"], ["--output=o"]]
    assert any("jax[cuda12]" in of for of in words) and words[-1] == checks[-1]
    assert sum("install" in of for of in words) == 2  # ramjax and JAX, once


def test_a_dry_run_of_the_check_tells_its_command_and_does_nothing(cluster):
    done = cluster.run("accelerator_check.sh", "--dry-run", "--small")
    assert done.returncode == 0, done.stderr
    assert "+ .venv/bin/python -m benchmarks.accelerator_check --small" in done.stdout
    assert not cluster.calls("python")


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
@pytest.mark.parametrize("name", ["accelerator_check.sh", "gke.sh", "slurm.sbatch", "tpu_vm.sh"])
def test_shellcheck_finds_nothing(name):
    done = subprocess.run(["shellcheck", LAUNCH / name], capture_output=True, text=True)
    assert not done.stdout


@pytest.mark.parametrize(
    ("launcher", "words", "environment"),
    [
        ("local.sh", (), {}),
        ("slurm.sbatch", (), {}),
        ("slurm.sbatch", (), {"SLURM_JOB_ID": 7, "SLURM_SUBMIT_DIR": ".", "SLURM_GPUS_ON_NODE": 1}),
        ("tpu_vm.sh", TPU, {}),
        ("gke.sh", GKE, {}),
    ],
    ids=["local", "slurm", "slurm_job", "tpu_vm", "gke"],
)
def test_a_dry_run_shows_the_training_and_does_nothing(cluster, launcher, words, environment):
    before = sorted(cluster.tree.rglob("*"))
    done = cluster.run(launcher, "--dry-run", "--config=experiments/bones.py", *words, **environment)
    assert done.returncode == 0, done.stderr
    shown = done.stdout.replace("'", "").replace(",", "")
    assert "-m ramjax.main" in shown
    assert "--config=experiments/bones.py" in shown
    assert all(word in shown for word in words if word.startswith("--workdir"))
    assert not (cluster.home / "calls").exists()
    assert sorted(cluster.tree.rglob("*")) == before


def test_local_passes_the_exit_code_on(cluster):
    cluster.end_with(75)
    assert cluster.run("local.sh", "--config=a", "--workdir=b c").returncode == 75
    assert cluster.trainings() == [["--config=a", "--workdir=b c"]]


def test_the_readme_tells_when_to_use_each():
    text = (LAUNCH / "README.md").read_text()
    for name in {*SHELL, "sweep.py"} - {"environment.sh"}:
        assert f"launch/{name}" in text

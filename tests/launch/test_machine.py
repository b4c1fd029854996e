"""What the launchers find on a machine, and which JAX they install for it."""

import importlib.util
import re
import subprocess

import pytest

from tests.launch.fakes import LAUNCH

H100 = "NVIDIA H100 80GB HBM3, {driver}, 9.0"


@pytest.fixture(scope="module")
def machine():
    spec = importlib.util.spec_from_file_location("machine", LAUNCH / "machine.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def installed(cluster) -> list[str]:
    """The builds of JAX that were installed, in order."""
    words = [word for call in cluster.calls("python") if "install" in call["words"] for word in call["words"]]
    return [word for word in words if word.startswith("jax[")]


@pytest.mark.parametrize(
    ("gpu", "extra"),
    [
        (H100.format(driver="580.65.06"), "cuda13"),
        (H100.format(driver="550.54.15"), "cuda12"),
        (H100.format(driver="525.60.13"), "cuda12"),
        ("Tesla V100-SXM2-16GB, 580.65.06, 7.0", "cuda12"),  # CUDA 13 has left Volta
        ("Tesla T4, 590.10, 7.5", "cuda13"),
    ],
)
def test_a_gpu_gets_the_best_build_that_its_driver_supports(cluster, gpu, extra):
    cluster.has_gpus(gpu)
    done = cluster.run("local.sh")
    assert done.returncode == 0, done.stderr
    assert installed(cluster) == [f"jax[{extra}]"]
    assert gpu.split(",")[0] in done.stdout and extra in done.stdout
    assert cluster.trainings() == [
        ["--config=experiments/multitask.py:accelerator+quick", "--workdir=runs/accelerator"]
    ]


def test_without_an_accelerator_it_does_what_it_always_did(cluster):
    assert cluster.run("local.sh").returncode == 0
    assert installed(cluster) == []
    assert cluster.trainings() == [["--config=experiments/multitask.py", "--workdir=runs/multitask"]]


def test_the_weakest_gpu_decides(machine):
    gpus = [machine.Gpu("H100", "580.1", 9.0), machine.Gpu("V100", "580.1", 7.0)]
    assert machine.cuda_for(gpus) == "cuda12"


@pytest.mark.parametrize(
    ("gpu", "sentence"),
    [
        (
            H100.format(driver="470.82.01"),
            r"H100 .* driver 470\.82\.01, .* 525 or newer; update the driver.*--machine=cpu",
        ),
        ("Tesla K80, 550.54.15, 3.7", r"K80 has compute capability 3\.7, .* 5\.2 or more.*--machine=cpu"),
        ("Failed to initialize NVML: Driver/library version mismatch", r"does not answer.*mismatch.*--machine=cpu"),
    ],
)
def test_a_gpu_that_jax_cannot_use_ends_it_with_a_sentence(cluster, gpu, sentence):
    cluster.has_gpus(gpu)
    done = cluster.run("local.sh")
    assert done.returncode == 1
    assert re.search(sentence, done.stderr) and len(done.stderr.strip().splitlines()) == 1
    assert not cluster.trainings()


def test_a_gpu_that_jax_does_not_find_once_it_is_installed_ends_it(cluster):
    cluster.has_gpus(H100.format(driver="550.54.15"))
    cluster.end_with(1, of="check")
    assert cluster.run("local.sh").returncode == 1
    assert not cluster.trainings()


def test_jax_for_the_cpu_cannot_use_a_gpu(machine):
    with pytest.raises(machine.MachineError, match=r"installed for cuda12, cannot use .*--machine=cpu"):
        machine.check("cuda12")


def test_a_flag_overrides_what_is_found(cluster):
    cluster.has_gpus(H100.format(driver="470.82.01"))
    assert cluster.run("local.sh", "--machine=cpu", "--workdir=w").returncode == 0
    assert cluster.trainings() == [["--config=experiments/multitask.py", "--workdir=w"]]
    assert cluster.run("local.sh", "--machine=tpu", "--config=a").returncode == 0
    assert installed(cluster) == ["jax[tpu]"]
    assert cluster.trainings()[1] == ["--workdir=runs/accelerator", "--config=a"]
    done = cluster.run("local.sh", "--machine=gpu")
    assert done.returncode == 2 and "one of auto, cpu, cuda12" in done.stderr


def test_a_dry_run_shows_what_was_found_and_chosen(cluster):
    cluster.has_gpus(H100.format(driver="580.65.06"))
    done = cluster.run("local.sh", "--dry-run")
    assert done.returncode == 0 and not installed(cluster) and not cluster.trainings()
    for shown in ("H100", "driver 580.65.06", "jax[cuda13]", "accelerator+quick"):
        assert shown in done.stdout


def test_jax_is_installed_once_and_another_build_makes_a_new_environment(cluster):
    cluster.has_gpus(H100.format(driver="550.54.15"))
    for _ in range(2):
        assert cluster.run("local.sh").returncode == 0
    assert installed(cluster) == ["jax[cuda12]"]
    cluster.has_gpus(H100.format(driver="580.65.06"))
    assert cluster.run("local.sh").returncode == 0
    assert installed(cluster) == ["jax[cuda12]", "jax[cuda13]"]
    assert sum("venv" in call["words"] for call in cluster.calls("python")) == 2


def test_the_environment_can_be_made_where_there_is_no_gpu(cluster):
    cluster.end_with(1, of="check")
    assert cluster.run("local.sh", "--machine=cuda12", "--help").returncode == 0
    assert installed(cluster) == ["jax[cuda12]"]


def test_tpus_are_told_from_google_s_network_cards(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    devices = {
        "a": ("0x1ae0", "0x0063"),
        "b": ("0x1ae0", "0x0063"),
        "c": ("0x1ae0", "0x0042"),
        "d": ("0x8086", "0x0063"),
    }
    for name, (vendor, device) in devices.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(vendor + "\n")
        (tmp_path / name / "device").write_text(device + "\n")
    assert machine.find(tmp_path, str(tmp_path / "none")) == ("tpu", "2 TPU chips")
    assert machine.find(tmp_path / "c", str(tmp_path / "none"))[0] == "cpu"
    with pytest.raises(machine.MachineError, match=r"no nvidia-smi.*--machine=cuda12"):
        machine.find(tmp_path, str(tmp_path / "a"))


def test_the_ids_of_tpus_are_those_that_jax_knows(machine):
    hardware = pytest.importorskip("jax._src.hardware_utils")
    assert set(hardware._TPU_PCI_DEVICE_IDS) == set(machine.TPUS)
    assert hardware._GOOGLE_PCI_VENDOR_ID == machine.GOOGLE


def test_the_image_is_built_for_the_same_machines(machine):
    text = (LAUNCH / "Dockerfile").read_text()
    assert all(name in text for name in machine.MACHINES if name != "auto")
    steps = [line for line in text.splitlines() if re.match("[A-Z]+ ", line)]
    assert steps.index("COPY requirements.txt ./") < steps.index("COPY --chown=ramjax . .")
    assert "USER ramjax" in steps
    chosen = re.search(r'case "\$MACHINE".*?esac', text, re.DOTALL)[0].replace("\\\n", "")
    for name in (*machine.MACHINES[1:], "gpu"):
        done = subprocess.run(
            ["sh", "-c", f'{chosen}; echo "$jax"'], env={"MACHINE": name}, capture_output=True, text=True
        )
        assert (done.returncode == 0) == (name != "gpu")
        assert done.stdout.strip() == {"cpu": "jax", "gpu": ""}.get(name, f"jax[{name}]")

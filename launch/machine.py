"""Finds out what this machine computes with, and which build of JAX its driver supports. Needs nothing but Python.

    python launch/machine.py [auto|cpu|cuda12|cuda13|tpu]
    python launch/machine.py --check cuda12

The first prints two lines: the extra of the package jax to install (``cuda13``, ``cuda12`` or ``tpu``; ``cpu`` for
none), and what was found, in words. A name other than ``auto`` is taken as it is. The second asks JAX, once it is
installed, whether it can use the devices. Exit code 1, with one sentence: there is a GPU that JAX cannot use.
"""

import dataclasses
import pathlib
import shutil
import subprocess
import sys

MACHINES = ("auto", "cpu", "cuda12", "cuda13", "tpu")

CUDA = {"cuda13": (580, 7.5), "cuda12": (525, 5.2)}
"""The oldest driver and compute capability for JAX's wheels (https://docs.jax.dev/en/latest/installation.html), by
extra, the best first."""

GOOGLE, TPUS = "0x1ae0", ("0x0027", "0x0056", "0x005e", "0x0062", "0x0063", "0x006f", "0x0076")
"""PCI vendor, and the device ids of TPUs (as in jax/_src/hardware_utils.py); Google makes network cards, too."""


class MachineError(Exception):
    """There is an accelerator that JAX cannot use; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU as nvidia-smi tells of it; `driver` such as ``550.54.15``, `capability` such as 9.0."""

    name: str
    driver: str
    capability: float


def find(devices: pathlib.Path = pathlib.Path("/sys/bus/pci/devices"), node: str = "/dev/nvidia0") -> tuple[str, str]:
    """Returns the extra of jax for this machine, and what was found, in words.

    Raises:
      MachineError: there is a GPU that JAX cannot use.
    """
    if shutil.which("nvidia-smi"):
        gpus = _nvidia()
        if gpus:
            extra = cuda_for(gpus)
            names = f"{len(gpus)} GPUs, the first {gpus[0].name}" if len(gpus) > 1 else gpus[0].name
            return extra, f"{names}, driver {gpus[0].driver}"
    elif pathlib.Path(node).exists():
        raise MachineError(
            f"There is an NVIDIA GPU ({node}) but no nvidia-smi to tell its driver; install the driver's tools, or "
            "name the build of JAX yourself: --machine=cuda12 or cuda13. --machine=cpu trains without the GPU."
        )
    chips = _tpus(devices)
    if chips:
        return "tpu", f"{chips} TPU chips"
    return "cpu", "no GPU or TPU"


def cuda_for(gpus: list[Gpu]) -> str:
    """The best CUDA build of JAX that drives all these GPUs, which have one driver.

    Raises:
      MachineError: there is none.
    """
    driver, capability = gpus[0].driver, min(gpu.capability for gpu in gpus)
    for extra, (oldest, least) in CUDA.items():
        if int(driver.partition(".")[0]) >= oldest and capability >= least:
            return extra
    oldest, least = CUDA["cuda12"]
    weakest = min(gpus, key=lambda gpu: gpu.capability)
    if capability < least:
        wrong = f"{weakest.name} has compute capability {capability}, and JAX needs {least} or more; use another GPU"
    else:
        wrong = f"{gpus[0].name} has NVIDIA driver {driver}, and JAX needs {oldest} or newer; update the driver"
    raise MachineError(f"{wrong}, or train without it: --machine=cpu.")


def check(extra: str) -> None:
    """Asks JAX for the devices that it was installed for.

    Raises:
      MachineError: it cannot use them.
    """
    import jax

    platform = "tpu" if extra == "tpu" else "cuda"
    try:
        jax.devices(platform)
    except Exception as error:  # a plugin raises nearly anything
        gpus = _nvidia() if shutil.which("nvidia-smi") else []
        about = f"{gpus[0].name} with NVIDIA driver {gpus[0].driver}" if gpus else f"the {platform.upper()} device"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise MachineError(
            f"JAX, installed for {extra}, cannot use {about} ({reason}); update the driver or choose another build by "
            "--machine=cuda12 or cuda13, or train on the CPU: --machine=cpu."
        ) from error


def _nvidia() -> list[Gpu]:
    """The GPUs that nvidia-smi lists; [] where it says that there is none."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=60)
    said = (done.stdout + done.stderr).strip()
    if "No devices were found" in said:
        return []
    try:
        if done.returncode:
            raise ValueError(said)
        rows = [line.split(", ") for line in done.stdout.strip().splitlines()]
        return [Gpu(name, driver, float(capability)) for name, driver, capability in rows]
    except ValueError as error:
        lines = said.splitlines() or ["nothing"]
        raise MachineError(
            f"The NVIDIA driver does not answer: nvidia-smi says {lines[-1]!r}; mend or update the driver, or train "
            "without the GPU: --machine=cpu."
        ) from error


def _tpus(devices: pathlib.Path) -> int:
    """How many TPU chips there are on the PCI bus."""

    def read(folder: pathlib.Path, name: str) -> str:
        file = folder / name
        return file.read_text().strip() if file.exists() else ""

    folders = devices.iterdir() if devices.is_dir() else ()
    return sum(read(folder, "vendor") == GOOGLE and read(folder, "device") in TPUS for folder in folders)


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""
    checking, words = argv[1:2] == ["--check"], [word for word in argv[1:] if word != "--check"]
    wanted = words[0] if words else "auto"
    if wanted not in MACHINES:
        print(f"--machine={wanted} is unknown; it is one of {', '.join(MACHINES)}.", file=sys.stderr)
        return 2
    try:
        if checking:
            check(wanted)
        else:
            print(*(find() if wanted == "auto" else (wanted, "as --machine says")), sep="\n")
    except MachineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))

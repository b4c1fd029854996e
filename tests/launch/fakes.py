"""Stand-ins for the commands of clusters, first on PATH: they note how they were called and do their part for real.

srun runs its command; gcloud copies to a folder that stands for a worker's home and runs commands there; kubectl takes
its input. python makes environments of itself, and ends as a training with the next of the exit codes that were set.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

LAUNCH = pathlib.Path(__file__).parents[2] / "launch"

_FAKE = f"""#!{sys.executable} -IS
import json, os, pathlib, shutil, subprocess, sys, time
home = pathlib.Path({{home!r}})
name, words = pathlib.Path(sys.argv[0]).name, sys.argv[1:]

def note(**more):
    with open(home / "calls", "a") as file:
        file.write(json.dumps(dict(name=name, words=words, **more)) + "\\n")

def next_code(of):
    codes = home / f"codes_{{{{of}}}}"
    left = codes.read_text().split() if codes.exists() else []
    codes.write_text(" ".join(left[1:]))
    return int(left[0]) if left else 0

if name == "python":
    asks_jax = words[:2] == ["launch/machine.py", "--check"]
    if words[:1] in (["-c"], ["--version"], ["launch/machine.py"]) and not asks_jax:
        sys.exit(subprocess.call([sys.executable, *words]))
    note()
    if asks_jax:
        sys.exit(next_code("check"))
    if words[:2] == ["-m", "venv"]:
        shutil.rmtree(words[-1], ignore_errors=True)
        (pathlib.Path(words[-1]) / "bin").mkdir(parents=True)
        shutil.copy(sys.argv[0], pathlib.Path(words[-1]) / "bin" / "python")
    if words[:2] == ["-m", "ramjax.main"]:
        while (home / "hold").exists():
            time.sleep(0.02)
        sys.exit(next_code("training"))
elif name == "srun":
    note()
    command = next(i for i, word in enumerate(words) if not word.startswith("--"))
    sys.exit(subprocess.call(words[command:]))
elif name == "gcloud":
    note()
    worker = home / "worker"
    worker.mkdir(exist_ok=True)
    if "scp" in words:
        shutil.copy(words[words.index("scp") + 1], worker)
    else:
        command = next(word for word in words if word.startswith("--command=")).partition("=")[2]
        if "pkill" in command:  # never for real
            early = home / "early"
            (early if early.exists() else home / "hold").unlink()
        else:
            sys.exit(subprocess.call(["bash", "-c", command], cwd=worker))
elif name == "kubectl":
    note(input=sys.stdin.read())
elif name == "nvidia-smi":
    print((home / "gpus").read_text() if (home / "gpus").exists() else "No devices were found")
else:
    note()
    sys.exit(next_code(name))
"""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A copy of launch/ in `tree`, with an environment, and the fakes of `home` first on PATH."""

    home: pathlib.Path
    tree: pathlib.Path

    def start(self, launcher: str, *words: str, **environment: Any) -> subprocess.Popen:
        """Starts a launcher; `environment` is set beside this process's own, without its Slurm."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
        path = f"{self.home / 'bin'}:{os.environ['PATH']}"
        given = {key: str(value) for key, value in environment.items()}
        return subprocess.Popen(
            ["bash", f"launch/{launcher}", *words], cwd=self.tree, text=True,
            env={**inherited, "PATH": path, "PYTHON": str(self.home / "bin" / "python"), **given},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, launcher: str, *words: str, **environment: Any) -> subprocess.CompletedProcess:
        """Runs a launcher to its end."""
        process = self.start(launcher, *words, **environment)
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def calls(self, name: str) -> list[dict[str, Any]]:
        """How a fake was called: ``words``, and for kubectl ``input``."""
        path = self.home / "calls"
        calls = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [call for call in calls if call["name"] == name]

    def trainings(self) -> list[list[str]]:
        """The flags of each training that was started."""
        return [call["words"][2:] for call in self.calls("python") if call["words"][:2] == ["-m", "ramjax.main"]]

    def end_with(self, *codes: int, of: str = "training") -> None:
        """The exit codes of the next trainings, or calls of another fake; 0 after these."""
        (self.home / f"codes_{of}").write_text(" ".join(map(str, codes)))

    def has_gpus(self, *rows: str) -> None:
        """What nvidia-smi tells of the GPUs: rows such as ``NVIDIA H100 80GB HBM3, 550.54.15, 9.0``."""
        (self.home / "gpus").write_text("\n".join(rows))

    def hold(self) -> pathlib.Path:
        """Trainings last until the file that is returned is removed."""
        path = self.home / "hold"
        path.touch()
        return path

    def miss_the_next_signal(self) -> None:
        """The next signal to the workers comes before the training has begun there."""
        (self.home / "early").touch()


def make_cluster(folder: pathlib.Path) -> Cluster:
    """A cluster in an empty folder."""
    home, tree = folder / "home", folder / "tree"
    (home / "bin").mkdir(parents=True)
    for name in ("python", "srun", "scontrol", "sbatch", "gcloud", "kubectl", "sudo", "nvidia-smi"):
        path = home / "bin" / name
        path.write_text(_FAKE.format(home=str(home)))
        path.chmod(0o755)
    shutil.copytree(LAUNCH, tree / "launch", ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "requirements.txt").write_text("jax\n")
    (tree / "pyproject.toml").write_text("[project]\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=a"]):
        subprocess.run([*git, *words], cwd=tree, check=True)
    return Cluster(home, tree)

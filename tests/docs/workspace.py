"""A folder like the repository in which the pages' commands run as they stand, on tiny data and for a few steps."""

import csv
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

from PIL import Image

from experiments import debug, multitask
from ramjax import anatomy
from ramjax import config as config_lib
from ramjax.io import release_tree
from tests.builders import trees
from tests.docs.pages import ROOT, Block

SHRINK = shlex.join(
    f"--config.{key}={value!r}"
    for key, value in config_lib.trained(config_lib.to_dict(config_lib.from_config_dict(debug.get_config()))).items()
    if value != config_lib.trained(config_lib.to_dict(config_lib.from_config_dict(multitask.get_config())))[key]
)
"""What makes any experiment as small as experiments/debug.py."""

SHORT = "--config.train.eval_every=6 --config.train.checkpoint_every=6"
"""What shortens the training of experiments/debug.py, by the same program: it is validated and saved once."""

SUBSTITUTIONS: tuple[tuple[str, str], ...] = (
    # Launchers make environments and submit jobs: shown, not run. `tests/launch` runs them.
    (r"\bbash launch/(local|test)\.sh", r"bash launch/\1.sh --dry-run"),
    (r"\bsbatch\s+(--\S+\s+)*launch/slurm\.sbatch", "bash launch/slurm.sbatch --dry-run"),
    (r"(?<!/)\blaunch/(tpu_vm|gke)\.sh", r"bash launch/\1.sh --dry-run"),
    (r"\bpython launch/sweep\.py", "python launch/sweep.py --dry-run"),
    # The main job in miniature.
    (r"--config\.train\.steps=\d+", "--config.train.steps=4"),
    (r"experiments/multitask\.py", "experiments/debug.py"),
    (r"--config=((?!experiments/debug)\w+/\w+\.py)", rf"--config=\1 {SHRINK}"),
    (r"(python -m ramjax\.main --config=\S+)", rf"\1 {SHORT}"),
    (r'"train\.steps": \d+', '"train.steps": 8'),
    (r"ram_phantom/(small|full)", "ram_phantom/tiny"),
    # Measurements take minutes.
    (r"(python -m benchmarks\.\w+)[^\n]*", r"\1 --help"),
    (r"(python -m tests\.fuzz\.run)[^\n]*", r"\1 --count=3 --formats=png8,eval_test"),
)
"""What is written otherwise before it is run, as regular expressions, in this order; lines that a backslash continues
are one. Everything else runs as it stands."""


def substitute(text: str) -> str:
    """Commands or code as they are run."""
    text = text.replace("\\\n", " ")
    for pattern, replacement in SUBSTITUTIONS:
        text = re.sub(pattern, replacement, text)
    return text


def make(folder: pathlib.Path) -> None:
    """Makes the workspace in an empty folder: the repository, and what the pages expect a reader to have."""
    for name in ("ramjax", "tfds_builders", "benchmarks", "tests", "requirements.txt", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("experiments", "launch"):  # files may be added to these, or stand beside what they make
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    release_tree.write_h1200(trees.split(release_tree.as_h1200(trees.hands())), folder / "RAM-H1200-v1")
    release_tree.write_w600(trees.split(trees.wrists()), folder / "RAM-W600")
    _write_films(folder)


def run(folder: pathlib.Path, block: Block, names: dict) -> None:
    """Does what a block says in the workspace, whose folder is the working directory.

    Args:
      folder: of the workspace.
      block: commands, code or a file.
      names: of the page's Python code so far; what the block defines is added.

    Raises:
      AssertionError: a command failed; it has what was printed last.
      Exception: what the code raised.
    """
    text = substitute(block.text)
    if block.file:
        (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
        (folder / block.file).write_text(text)
    elif block.language == "python":
        exec(compile(text, str(block), "exec"), names)
    else:
        path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], cwd=folder, env={**os.environ, "PATH": path}, timeout=1800,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{text}\nexit code {done.returncode}\n{done.stdout[-3000:]}"


def _write_films(folder: pathlib.Path) -> None:
    """Radiographs of the reader's own, with points placed on two, and with a table of ages."""
    radiographs, films = folder / "my_radiographs", folder / "my_films"
    radiographs.mkdir()
    films.mkdir()
    for name, record in zip(("hand", "hand_normal_R"), trees.hands(), strict=False):
        Image.fromarray(record.image).save(radiographs / f"{name}.png")
        height, width = record.image.shape
        points = {
            joint.site: [(joint.bbox[1] + joint.bbox[3]) / 2 * width, (joint.bbox[0] + joint.bbox[2]) / 2 * height]
            for joint in record.joints
            if joint.site in anatomy.SITE_NAMES
        }
        values = {"pixel_spacing_mm": record.pixel_spacing_mm, "sites_xy": points}
        (folder / f"{name}.points.json").write_text(json.dumps(values))
    with (films / "films.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ("file", "patient", "age", "split"))
        table.writeheader()
        for split, records in trees.split(trees.hands()).items():
            for record in records:
                Image.fromarray(record.image).save(films / f"{record.id}.png")
                table.writerow(
                    {"file": f"{record.id}.png", "patient": record.patient, "age": record.age, "split": split}
                )

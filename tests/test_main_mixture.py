"""The main job on a mixture of all three data sets, from releases on disk to the metrics, in processes of its own."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ramjax.io import release_tree
from tests.builders import trees
from tests.commands import assert_one_sentence

ROOT = pathlib.Path(__file__).parent.parent


def call(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=ROOT, timeout=300)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> pathlib.Path:
    """RAM-H1200 and RAM-W600, written as released and prepared; training prepares the synthetic hands itself."""
    folder = tmp_path_factory.mktemp("mixture")
    release_tree.write_h1200(trees.split(release_tree.as_h1200(trees.hands())), folder / "RAM-H1200-v1", quirks=True)
    release_tree.write_w600(trees.split(trees.wrists()), folder / "RAM-W600", quirks=True)
    for dataset, release in (("ram_h1200", "RAM-H1200-v1"), ("ram_w600/joint", "RAM-W600")):
        trees.prepare(dataset, folder / release, folder / "data")
    return folder / "data"


def test_it_trains_on_all_three_and_reports_each_apart(data_dir, tmp_path):
    done = call(
        "ramjax.main", "--config=experiments/debug.py:h1200+w600+phantom", f"--workdir={tmp_path / 'run'}",
        f"--config.data.data_dir={data_dir}", "--config.train.log_every=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Compiled the training step") == 1
    assert "ram_h1200/1.0.0 train: " in done.stdout and "weight 2" in done.stdout
    metrics = json.loads((tmp_path / "run" / "eval_test.json").read_text())
    hands, wrists = (trees.split(records)["test"] for records in (trees.hands(), trees.wrists()))
    assert metrics["records"] == {"ram_h1200": len(hands), "ram_w600": len(wrists), "ram_phantom": 2}
    assert metrics["ram_h1200/bones/dsc/n"] == len(hands) and metrics["ram_w600/bones/dsc/n"] == len(wrists)
    assert metrics["ram_w600/bones/dsc_DP1/n"] == 0 and metrics["ram_w600/bones/dsc_Lunate/n"] == len(wrists)
    assert metrics["ram_w600/erosions/dsc/n"] == metrics["ram_w600/scores/jsn_qwk/n"] == 0
    assert metrics["ram_w600/scores/be_mae/n"] == sum(joint.be >= 0 for record in wrists for joint in record.joints)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["train/loss"] for row in rows if "train/loss" in row]
    assert len(losses) == 6 and np.isfinite(losses).all()
    assert Image.open(tmp_path / "run" / "test_grid.png").width > 600


def test_a_data_set_that_was_not_prepared_is_one_sentence(tmp_path):
    done = call(
        "ramjax.main", "--config=experiments/debug.py:h1200", f"--workdir={tmp_path / 'run'}",
        f"--config.data.data_dir={tmp_path / 'data'}",
    )  # fmt: skip
    assert_one_sentence(done, 1, "ram_h1200/1.0.0 is not prepared", "python -m ramjax.prepare --dataset=ram_h1200")

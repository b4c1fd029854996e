"""Whole runs on the device, each in a process of its own: equal bits, and predictions beside those of the CPU."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from ramjax import phantom
from ramjax.devices import sharding
from ramjax.files import read_json_lines
from ramjax.runs import run_dir
from ramjax.runs.checkpoints import Checkpoints
from ramjax.steps.state import abstract_state

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).parent.parent.parent
STEPS = 6
FLAGS = (
    "--config=experiments/debug.py:deterministic", "--mode=train", f"--config.train.steps={STEPS}",
    f"--config.train.eval_every={STEPS}", "--config.train.checkpoint_every=3", "--config.train.log_every=1",
)  # fmt: skip
MINIATURE = (
    "--config.model.widths=(8,8)", "--config.model.blocks=(0,0)", "--config.model.decoder_width=8",
    "--config.data.canvas.height=64", "--config.data.canvas.width=48",
)  # fmt: skip
"""What a CPU trains in the device's place, to be quick: the tests are tried there, not the network."""


@dataclasses.dataclass(frozen=True)
class Runs:
    """Runs of one config on `device`: to its end, the same again, and stopped after two steps and gone on with."""

    device: jax.Device
    whole: pathlib.Path
    again: pathlib.Path
    stopped: pathlib.Path


def start(module: str, *words: str, cpu: bool, cache: pathlib.Path | None = None) -> subprocess.Popen:
    """Starts a command on the CPU or on the accelerator, with a folder for compiled programs of its own."""
    own = {"JAX_PLATFORMS": "cpu"} if cpu else {}
    own |= {"JAX_COMPILATION_CACHE_DIR": str(cache)} if cache else {}
    own |= {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}
    command = [sys.executable, "-m", module, *words]
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen, code: int = 0) -> None:
    try:
        _, err = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == code, err


@pytest.fixture(scope="module")
def runs(device, data_dir, tmp_path_factory) -> Runs:
    folder = tmp_path_factory.mktemp("runs")
    cpu = device.platform == "cpu"
    flags = (*FLAGS, f"--config.data.data_dir={data_dir}", *(MINIATURE if cpu else ()))

    def train(name: str, *words: str, module: str = "ramjax.main") -> subprocess.Popen:
        # On an accelerator each compiles anew: a choice that is measured may be another one the next time.
        cache = None if cpu else folder / f"compiled_{name}"
        return start(module, *words, *flags, f"--workdir={folder / name}", cpu=cpu, cache=cache)

    whole = train("whole")
    if cpu:
        finish(whole)  # it prepares the data and compiles for all
    others = train("again"), train("stopped", "3", module="tests.accelerator.stopped_main")
    for process, code in zip((whole, *others), (0, 0, 75), strict=True):
        if process.returncode is None:
            finish(process, code)
    assert [row["step"] for row in losses(folder / "stopped")] == [1, 2]
    finish(train("stopped"))
    return Runs(device, *(folder / name for name in ("whole", "again", "stopped")))


def losses(workdir: pathlib.Path) -> list[dict[str, float]]:
    """The losses of each step, as they were logged."""
    rows = [{name: value for name, value in row.items() if name == "step" or name.startswith("train/loss")}
            for row in read_json_lines(workdir / "metrics.jsonl")]  # fmt: skip
    return [row for row in rows if "train/loss" in row]


def assert_same_bits(one: pathlib.Path, other: pathlib.Path) -> None:
    """Equal losses of all steps, and equal bits in all that a run keeps."""
    assert [row["step"] for row in losses(one)] == list(range(1, STEPS + 1))
    assert losses(one) == losses(other)
    config = run_dir.load_config(one)
    abstract = abstract_state(config, sharding.make_mesh(config))
    states = [Checkpoints(run / "checkpoints", read_only=True).restore_latest(abstract) for run in (one, other)]
    of_one, of_other = (jax.tree_util.tree_leaves_with_path(jax.device_get(state)) for state in states)
    assert len(of_one) > 100 and int(states[0].step) == STEPS
    for (path, leaf), (_, twin) in zip(of_one, of_other, strict=True):
        assert leaf.tobytes() == twin.tobytes(), jax.tree_util.keystr(path)


def test_the_same_run_twice_gives_the_same_bits(runs):
    assert len({row["train/loss"] for row in losses(runs.whole)}) == STEPS
    assert_same_bits(runs.whole, runs.again)


def test_stopped_and_gone_on_with_gives_the_same_bits(runs):
    assert_same_bits(runs.whole, runs.stopped)


def test_predictions_are_those_of_the_cpu(runs, tmp_path):
    """Boxes to half a pixel, probabilities to 1e-3, masks in all but a thousandth of the film."""
    hands = phantom.PhantomConfig(patients=1, scale=0.25)
    for number, case in enumerate(phantom.cases(hands)[:2]):
        Image.fromarray(phantom.render(hands, case).record.image).save(tmp_path / f"{number}.png")
    given = "--side=R", "--view=hand", "--masks", "--min_confidence=0", f"--input={tmp_path}/0.png,{tmp_path}/1.png"
    outputs = []
    for name, cpu in (("device", runs.device.platform == "cpu"), ("cpu", True)):
        outputs.append(tmp_path / name)
        finish(start("ramjax.predict", f"--workdir={runs.whole}", f"--output={outputs[-1]}", *given, cpu=cpu))
    for number in range(2):
        one, other = (json.loads((output / f"{number}.json").read_text()) for output in outputs)
        assert [joint["site"] for joint in one["joints"]] == [joint["site"] for joint in other["joints"]] != []
        for mine, theirs in zip(one["joints"], other["joints"], strict=True):
            np.testing.assert_allclose(mine["bbox"], theirs["bbox"], atol=0.5)
            for scale in ("be", "jsn"):
                if theirs[scale] is not None:
                    np.testing.assert_allclose(mine[scale]["probabilities"], theirs[scale]["probabilities"], atol=1e-3)
        for what in ("bones", "erosions"):
            masks = [np.asarray(Image.open(output / f"{number}_{what}.png")) for output in outputs]
            assert masks[0].shape == masks[1].shape and (masks[0] != masks[1]).mean() <= 1e-3

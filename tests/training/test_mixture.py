"""Whole hands and wrists trained together through the real loop, pipeline and network."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from ramjax.data import pipeline
from ramjax.devices import sharding
from ramjax.devices.preemption import Preempted
from ramjax.files import read_json_lines
from ramjax.runs.checkpoints import Checkpoints
from ramjax.steps.state import abstract_state
from tests.data import handmade
from tests.training import tiny_job

COUNTS = {"train": (7, 5), "validation": (2, 3), "test": (3, 2)}


@pytest.fixture
def config(monkeypatch, debug_config):
    def open_sources(data, split):
        hands, wrists = COUNTS[split]
        return handmade.make_source(hands), handmade.make_wrist_source(wrists)

    monkeypatch.setattr(pipeline, "open_sources", open_sources)
    data = dataclasses.replace(
        debug_config.data,
        datasets=("ram_h1200", "ram_w600/joint"),
        weights=(2.0, 1.0),
        batch_size=3,
        canvas=handmade.make_canvas(64, 48),
    )
    train = dataclasses.replace(debug_config.train, steps=5, log_every=1, eval_every=5, checkpoint_every=5)
    return dataclasses.replace(debug_config, data=data, train=train)


def final_state(config, workdir):
    checkpoints = Checkpoints(workdir / "checkpoints", read_only=True)
    return checkpoints.restore_latest(abstract_state(config, sharding.make_mesh(config)))


@pytest.mark.slow
def test_a_mixture_trains_by_one_program_is_evaluated_apart_and_goes_on_exactly(config, tmp_path, capsys):
    """The step is compiled ahead, so a batch of another shape would be an error; it goes on with other workers."""
    tiny_job.go(config, tmp_path / "whole")
    shown = capsys.readouterr().out
    assert shown.count("Compiled the training step") == 1
    assert "handmade train: 7 records, weight 2." in shown and "handmade wrists: 5 records, weight 1." in shown
    losses = [row for row in read_json_lines(tmp_path / "whole" / "metrics.jsonl") if "train/loss" in row]
    assert len(losses) == 5 and all(row[f"train/loss/{task}"] > 0 for row in losses for task in config.tasks)
    test = json.loads((tmp_path / "whole" / "eval_test.json").read_text())
    assert test["records"] == {"ram_h1200": 3, "ram_w600": 2}
    assert test["ram_h1200/bones/dsc_DP1/n"] == test["ram_h1200/erosions/dsc/n"] == 3
    assert test["ram_w600/bones/dsc/n"] == test["ram_w600/bones/dsc_Capitate/n"] == 2
    assert test["ram_w600/bones/dsc_DP1/n"] == test["ram_w600/erosions/dsc/n"] == test["ram_w600/scores/jsn_qwk/n"] == 0
    assert test["ram_w600/joints/iou/n"] == 2 * 6 and test["ram_w600/joints/false_finds/n"] == 0
    assert "bones/dsc" not in test
    assert (tmp_path / "whole" / "test_grid.png").read_bytes().startswith(b"\x89PNG")

    with pytest.raises(Preempted):
        tiny_job.go(config, tmp_path / "stopped", look=4, mode="train")
    workers = dataclasses.replace(config, data=dataclasses.replace(config.data, workers=2))
    tiny_job.go(workers, tmp_path / "stopped", mode="train")
    jax.tree.map(
        np.testing.assert_array_equal, *(final_state(config, tmp_path / name) for name in ("whole", "stopped"))
    )

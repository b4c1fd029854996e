"""A real run that an older version began: training goes on, it is evaluated, and its network predicts."""

import json
import sys

import numpy as np
import pytest

from ramjax import main
from ramjax.devices.preemption import Preempted
from ramjax.files import write_json
from ramjax.inference.network import load
from ramjax.logs import logging_to
from ramjax.runs import run_dir, stored_config
from ramjax.training import loop
from tests.training.tiny_job import StopAt

LACKS = ("patient", "own", "mesh", "model.remat", "optimizer.ema_decay", "data.augment.erase")
"""Keys and groups that the older version does not know."""


def as_of_old(values: dict) -> dict:
    """A stored config without `LACKS`, and with scores.roi_size and train under the names they had."""
    for path in LACKS:
        *groups, name = path.split(".")
        place = values
        for group in groups:
            place = place[group]
        del place[name]
    values["scores"]["crop"] = values["scores"].pop("roi_size")
    values["loop"] = values.pop("train")
    return values


@pytest.mark.slow
def test_a_run_of_an_older_version_goes_on_is_evaluated_and_predicts(tmp_path, data_dir, debug_config, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # `main` sets it
    workdir = tmp_path / "run"
    run_dir.prepare(workdir, debug_config)
    with logging_to(workdir / "log.txt"), StopAt(4) as preemption, pytest.raises(Preempted):
        loop.run(debug_config, workdir, "train", preemption)
    older = as_of_old(json.loads((workdir / "config.json").read_text()))
    write_json(workdir / "config.json", older)
    monkeypatch.setattr(stored_config, "RENAMED", {"scores.crop": "scores.roi_size", "loop": "train"})
    command = ["main", "--config=experiments/debug.py", f"--workdir={workdir}", f"--config.data.data_dir={data_dir}"]

    assert main.main(command) == 0
    log = (workdir / "log.txt").read_text()
    assert f"Continuing from step 3 of {workdir}: 6 steps" in log
    (told,) = [line for line in log.splitlines() if "older version" in line]
    lacks = "data.augment.erase, model.remat, patient, own, optimizer.ema_decay, mesh"
    assert told.endswith(f"config.json is of an older version; the keys that it lacks have their defaults: {lacks}.")
    evaluated = (workdir / "eval_test.json").read_bytes()
    assert json.loads(evaluated)["step"] in (3, 6) and json.loads(evaluated)["bones/dsc/n"] > 0

    # Going on has written the config as of now; a run that was finished long ago still has the old one.
    write_json(workdir / "config.json", older)
    assert main.main(["main", f"--workdir={workdir}", "--mode=eval"]) == 0
    assert (workdir / "eval_test.json").read_bytes() == evaluated
    assert json.loads((workdir / "config.json").read_text()) == older
    loaded = load(workdir)
    assert loaded.config == debug_config
    canvas = debug_config.data.canvas
    outputs = loaded.predict(np.full((1, canvas.height, canvas.width, 1), 0.5, np.float32))
    assert {"bones", "erosions", "be", "jsn"} <= set(outputs)
    assert all(np.isfinite(value).all() for value in map(np.asarray, outputs.values()) if value.dtype.kind == "f")
